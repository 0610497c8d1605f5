"""Our own options -> the settings of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _ahead, _settings
from pytest_isoenv.errors import ConfigError, Problem

# What a worker of pytest-xdist is told: where ephemeral environments are.
_SHARED = "isoenv_shared"


def settings_of(config: pytest.Config) -> _settings.Settings:
    """The settings of a session; raises ConfigError where an option has no valid value."""
    option = config.option
    return _settings.gather(
        config.rootpath,
        cache=_ahead.named_cache(config, option),
        jobs=_jobs(option.env_jobs),
        refresh=option.env_refresh,
        upgrade=option.env_upgrade,
        offline=option.env_offline,
        timeout=_timeout(option.env_timeout),
        outputs=_outputs(config),
        shared=_shared(config),
    )


def share(workerinput: dict[str, Any], directory: Path) -> None:
    """Tell a worker of pytest-xdist where this run keeps its ephemeral environments."""
    workerinput[_SHARED] = str(directory)


def _shared(config: pytest.Config) -> Path | None:
    """What the process that distributes tests has told this one."""
    shared = getattr(config, "workerinput", {}).get(_SHARED)
    return Path(shared) if shared else None


def _outputs(config: pytest.Config) -> list[Path]:
    """The files that this run writes."""
    paths = [config.getoption(name, None) for name in ("env_report", "xmlpath", "log_file")]
    return [
        (config.invocation_params.dir / Path(path).expanduser()).resolve() for path in paths if path
    ]


def _jobs(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError([Problem("--env-jobs", f"{text!r} is not a whole number from 1")])
    return int(text)


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        what = f"{text!r} is not a number of seconds above 0, such as 60 or 0.5"
        raise ConfigError([Problem("--env-timeout", what)])
    return seconds
