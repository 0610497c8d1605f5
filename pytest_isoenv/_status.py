"""The live line: what is being built, while there is nothing else to show."""

from __future__ import annotations

import pytest

from pytest_isoenv._redact import redact
from pytest_isoenv.spec import EnvSpec


class Status:
    """Shows on a terminal which environments are being built; elsewhere says so once for each."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.getplugin("terminalreporter")
        self._live = bool(
            self._reporter and self._reporter.isatty and config.getoption("capture", "fd") != "no"
        )
        self._silent = self._reporter is None or config.get_verbosity() < 0
        self._building: dict[str, str] = {}
        self._shown = False

    def building(self, name: str, spec: EnvSpec) -> None:
        """Work on an environment has begun."""
        if name in self._building:
            return
        self._building[name] = redact(spec.asked_for())
        if not self._live and not self._silent:
            self._reporter.ensure_newline()
            self._reporter.write_line(f"isoenv: building {name} ({self._building[name]})")

    def ready(self, name: str) -> None:
        """It is there, or will not be."""
        self._building.pop(name, None)

    def show(self) -> None:
        """Put the line up, if something is being built."""
        if not self._live or self._silent or not self._building:
            return
        self._reporter.ensure_newline()
        self._reporter.rewrite(f"isoenv: building {', '.join(self._building)} ...", erase=True)
        self._shown = True

    def clear(self) -> None:
        """Take the line down, so that something else can be written."""
        if self._shown:
            self._reporter.rewrite("", erase=True)
            self._reporter.write("\r")
            self._shown = False
