"""What a session's workers will be forked from, begun before it is known that they will be.

To import pytest takes a process as long as it takes the host. So the host starts, first of all, the
process that the project's workers were forked from last time, and gets ready meanwhile. For a
project that is new, that is the one of others with the same Python and pytest on the host. Should
it turn out that another is wanted, that process is ended, and all that is lost is some processor
time.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isoenv import _layout, _root, _settings, _whereabouts
from pytest_isoenv._files import read_json
from pytest_isoenv._forks import Forks
from pytest_isoenv._settings import Settings
from pytest_isoenv._streams import copies
from pytest_isoenv.errors import StoreError

if TYPE_CHECKING:
    from pytest_isoenv.environment import Environment

_FORKS = pytest.StashKey[Forks]()
_HOSTS_VERSIONS = (platform.python_version(), pytest.__version__)
#: Whose layer a new project will likely use: environments have the host's Python and pytest.
HOST = " ".join((*_HOSTS_VERSIONS, sys.base_prefix))


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
    layer = _remembered(settings)
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


def _remembered(settings: Settings) -> Path | None:
    """The layer that will likely be used, if it can be trusted, and is there."""
    try:
        _root.refuse_strangers(settings.cache)
        note = _note(settings, str(settings.root)) or _note(settings, HOST) or {}
        layer = Path(note["layer"])
    except (OSError, TypeError, KeyError, StoreError):
        return None  # what there is to say of it is said when it is needed
    return layer if layer.is_dir() and not _whereabouts.strange(layer) else None


def _note(settings: Settings, whose: str) -> dict[str, Any] | None:
    found = read_json(_layout.ahead(settings.cache, whose))
    return found if isinstance(found, dict) else None


def remember(
    settings: Settings, environments: Iterable[Environment], note: Callable[[Path, Any], None]
) -> None:
    """Let ``note`` write down from where the workers of these environments could be forked.

    For the project that is what is true now, also that there is nothing. For others with such a
    host it is what was first, as long as that is there.
    """
    forked = next((one for one in environments if one.forks_from is not None), None)
    told = {"layer": str(forked.forks_from) if forked is not None else None}
    note(_layout.ahead(settings.cache, str(settings.root)), told)
    if forked is None or (forked.version, forked.packages["pytest"]) != _HOSTS_VERSIONS:
        return
    known = (_note(settings, HOST) or {}).get("layer", "?")
    if known is not None and not Path(known).is_dir():
        note(_layout.ahead(settings.cache, HOST), told)
