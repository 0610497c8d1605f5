"""``--fixtures`` and ``--markers`` with ``--in-env``: what the pytest in each environment lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from pytest_isoenv import _host, _options

if TYPE_CHECKING:
    from pytest_isoenv.environment import Environment

_LISTING = {
    "showfixtures": "--fixtures",
    "show_fixtures_per_test": "--fixtures-per-test",
    "markers": "--markers",
}


def asked(config: pytest.Config) -> list[str]:
    """The options that ask for a list instead of a test run."""
    return [option for name, option in _LISTING.items() if config.getoption(name, False)]


def show(config: pytest.Config, environments: Iterable[Environment], addopts: str) -> int:
    """Write what each environment lists; returns the worst exit code.

    ``addopts`` is what the shell adds to the command line: it is among the options forwarded.
    """
    writer = config.get_terminal_writer()
    options = [argument for _, arguments in _options.forwarded(config) for argument in arguments]
    options += _selecting(config)
    worst = 0
    for environment in environments:
        variables = {**environment.environ, "COLUMNS": str(writer.fullwidth)}
        if variables.get("PYTEST_ADDOPTS") == addopts:
            del variables["PYTEST_ADDOPTS"]
        ended = environment.run(
            ["python", "-m", "pytest", *options, *asked(config), *_host.positional(config)],
            cwd=config.invocation_params.dir,
            env=variables,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        writer.sep("=", f"environment {environment.name}")
        writer.write(ended.stdout + ended.stderr, flush=True)
        worst = max(worst, ended.returncode)
    return worst


def _selecting(config: pytest.Config) -> list[str]:
    """What selects tests: elsewhere that is the host's job."""
    option = config.option
    selecting = ["-k", option.keyword, "-m", option.markexpr]
    return [*selecting, *(f"--deselect={prefix}" for prefix in option.deselect or ())]
