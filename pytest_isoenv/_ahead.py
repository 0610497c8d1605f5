"""What a session's workers will be forked from, begun before it is known that they will be.

To import pytest takes a process as long as it takes the host. So the host starts, first of all, the
process that the project's workers were forked from last time, and gets ready meanwhile. Should it
turn out that others are wanted, that process is ended, and all that is lost is some processor time.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _layout, _root, _settings, _whereabouts
from pytest_isoenv._files import read_json
from pytest_isoenv._forks import Forks
from pytest_isoenv._streams import copies
from pytest_isoenv.errors import StoreError

_FORKS = pytest.StashKey[Forks]()


def forks_of(config: pytest.Config) -> Forks:
    """Where the workers of a session come from; closed at the latest when the session is."""
    if _FORKS not in config.stash:
        forks = Forks(config.invocation_params.dir, copies(config))
        config.stash[_FORKS] = forks
        config.add_cleanup(forks.close)
    return config.stash[_FORKS]


def begin(config: pytest.Config) -> None:
    """Start what will most likely be wanted. Whoever needs something else is none the worse."""
    option: Any = getattr(config, "known_args_namespace", config.option)
    if _FORKS in config.stash or not _will_run_here(option):
        return
    settings = _settings.gather(config.rootpath, cache=named_cache(config, option))
    layer = _remembered(settings.cache, config.rootpath)
    if layer is not None:
        with contextlib.suppress(OSError):
            forks_of(config).begin(layer, settings.worker_environ)


def named_cache(config: pytest.Config, option: Any) -> Path | None:
    """What ``--env-cache-dir`` says; None if it says nothing."""
    named = option.env_cache_dir
    return config.invocation_params.dir / Path(named).expanduser() if named else None


def _will_run_here(option: Any) -> bool:
    """Whether this process will have workers, as far as one can tell yet."""
    others = ["help", "version", "markers", "showfixtures", "show_fixtures_per_test", "env_refresh"]
    others += ["collectonly"] * (not option.in_env)
    distributes = getattr(option, "tx", None) or getattr(option, "numprocesses", None)
    return not distributes and not any(getattr(option, name, None) for name in others)


def _remembered(cache: Path, project: Path) -> Path | None:
    """The layer that a project used last, if it can be trusted, and is there."""
    try:
        _root.refuse_strangers(cache)
        layer = Path(read_json(_layout.ahead(cache, project))["layer"])
    except (OSError, TypeError, KeyError, StoreError):
        return None  # what there is to say of it is said when it is needed
    return layer if layer.is_dir() and not _whereabouts.strange(layer) else None
