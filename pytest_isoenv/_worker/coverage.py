"""Measures coverage in an environment, as the host measures its own.

The data goes into a file of its own beside the host's. Each line is of a context that names the
environment and the test.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Generator
from typing import Any

import pytest

# An environment may well run nothing of what is measured; the host knows whether anybody did.
_UNREMARKABLE = ("no-data-collected", "module-not-imported", "module-not-measured")


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Coverage:
    """This part as a plugin of the session, measuring from now on."""
    return Coverage(request["coverage"], host)


class Coverage:
    """One measurement, from before conftest.py files are loaded to the session's end."""

    def __init__(self, wanted: dict[str, Any], host: Any) -> None:
        self._host = host
        self._wanted = wanted
        self._environment = wanted["environment"]
        self._coverage: Any = None
        self._module = module = _coverage(wanted["directory"])
        if module is None:
            self._host.send({"kind": "unmeasured", "why": "it has no coverage"})
            return
        try:
            self._coverage = self._started(module, wanted)
        except (module.CoverageException, ImportError) as error:
            why = f"coverage {module.__version__} there: {error}"
            self._host.send({"kind": "unmeasured", "why": why})

    def _started(self, module: Any, wanted: dict[str, Any]) -> Any:
        measured = module.Coverage(data_file=wanted["data_file"], config_file=False)
        for name, value in wanted["options"].items():
            try:
                measured.set_option(name, value)
            except module.CoverageException:
                continue  # an older coverage, without this option
        measured.set_option("run:disable_warnings", list(_UNREMARKABLE))
        measured.start()
        measured.switch_context(f"env:{self._environment}|")
        return measured

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, Any, None]:
        """The lines of a test are of its context."""
        self._switch(item.nodeid)
        yield
        self._switch("")

    def _switch(self, nodeid: str) -> None:
        if self._coverage is not None and self._host.is_ours:
            self._coverage.switch_context(f"env:{self._environment}|{nodeid}")

    def begin_apart(self, number: int) -> None:
        """Measure anew, into a file of this process: it is a child that runs a test."""
        if self._coverage is not None:
            self._coverage.stop()
            data_file = f"{self._wanted['data_file']}.{number}"
            self._coverage = self._started(self._module, {**self._wanted, "data_file": data_file})

    def finish(self) -> None:
        """Write the data; the host reads it when this session is over."""
        if self._coverage is not None:
            self._coverage.stop()
            self._coverage.save()


def _coverage(directory: str | None) -> Any:
    """The environment's own coverage, or the one that the host has put aside for it.

    That one is no part of the environment: only coverage itself can be imported from there.
    """
    if importlib.util.find_spec("coverage") is None:
        if directory is None:
            return None
        sys.meta_path.append(_Aside(directory))
    return importlib.import_module("coverage")


class _Aside:
    """Finds coverage in a directory that is not on ``sys.path``."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "coverage":
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self._directory])
