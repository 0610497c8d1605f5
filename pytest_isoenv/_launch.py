"""What a worker is told when it starts: the host's command line, and the tests to run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _host, _options, hookspecs


class Launch:
    """The part of the workers' requests that all workers of a session share.

    ``streams`` are the user's own, for what is not captured there, and for debuggers; None for one
    that is not to be had.
    """

    def __init__(self, config: pytest.Config, streams: Sequence[int | None]) -> None:
        self._streams = list(streams)
        self._basetemp = _basetemp(config)
        _share_log_file(config)
        self._common = self._shared(config)

    def _shared(self, config: pytest.Config) -> Mapping[str, Any]:
        return {
            "cwd": str(config.invocation_params.dir),
            "cwd_on_path": _options.runs_as_module(),
            "arguments": [str(argument) for argument in config.invocation_params.args],
            "positional": _host.positional(config),
            "options": [*_options.forwarded(config), *_options.seed(config)],
            "wanted_plugins": _options.wanted_plugins(config),
            "markers": [line for line in config.getini("markers") if line.startswith("env(")],
            "hooks": _hooks(config),
            "junit_family": _junit_family(config),
            "streams": self._streams,
            "live": self._streams[2] is not None,
            "width": config.get_terminal_writer().fullwidth,
            "failures": _options.failures_to_stop_at(config),
            "docs": config.option.collectonly and config.option.verbose >= 1,
        }

    def request(
        self,
        place: str,
        ids: Sequence[str] | None,
        files: Sequence[str] | None,
        positional: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The request of one worker: run ``ids``, which are in ``files``, in this order.

        Without ``files`` the worker collects what the command line says, of which ``positional``
        may be another than the host's; without ``ids`` it tells what it found, and waits.
        ``place`` names its share of the session's temporary directory; no two workers share one.
        """
        options = list(self._common["options"])
        if self._basetemp is not None:
            name = re.sub(r"[^\w.-]", "_", place)
            directory = self._basetemp / f"isoenv-{name}"
            options.append(("--basetemp", [f"--basetemp={directory}"]))
        told = {"options": options, "files": files, "ids": ids}
        if positional is not None:
            told["positional"] = list(positional)
        return {**self._common, **told}


def _basetemp(config: pytest.Config) -> Path | None:
    factory = getattr(config, "_tmp_path_factory", None)  # absent with -p no:tmpdir
    return factory.getbasetemp() if factory else None


def _share_log_file(config: pytest.Config) -> None:
    """Let the host add to the log file as its workers do, instead of writing where it stands."""
    plugin = config.pluginmanager.getplugin("logging-plugin")
    handler = getattr(plugin, "log_file_handler", None)
    if handler is not None and handler.stream is not None and handler.stream.name != os.devnull:
        shared = open(handler.baseFilename, "a", encoding=handler.encoding)  # noqa: SIM115, PTH123
        old = handler.setStream(shared)
        if old is not None:
            old.close()


def _junit_family(config: pytest.Config) -> str | None:
    """The form of the JUnit report that the host writes; None if it writes none."""
    return str(config.getini("junit_family")) if config.getoption("xmlpath", None) else None


def _hooks(config: pytest.Config) -> list[tuple[str, list[str]]]:
    """Hooks beside pytest's own, by name with their arguments: ours and those of plugins here.

    A conftest.py that implements one is valid in an environment that lacks the plugin.
    """
    ours = {
        name: list(function.__code__.co_varnames[: function.__code__.co_argcount])
        for name, function in vars(hookspecs).items()
        if name.startswith("pytest_isoenv_")
    }
    callers = [caller for caller in vars(config.hook).values() if getattr(caller, "spec", None)]
    added = {
        caller.name: list(caller.spec.argnames)
        for caller in callers
        if getattr(caller.spec.namespace, "__name__", "") != "_pytest.hookspec"
    }
    return sorted({**ours, **added}.items())
