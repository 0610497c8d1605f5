"""What plugins of an environment say beside reports: in the header, and in summaries at the end."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest

# What pytest itself says in the header; the host's pytest says the same of itself.
_HEADER_OF_PYTEST = tuple(
    f"{key}: " for key in ("rootdir", "configfile", "testpaths", "plugins", "cachedir", "using")
)


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Words:
    """This part as a plugin of the session."""
    return Words(_Listener(host, stdout_is_shown=request["live"]))


class Words:
    """Brings the listener to its place.

    It is registered before pytest's own terminal plugin and after all others, so it is wrapped by
    the one and wraps the others.
    """

    def __init__(self, listener: _Listener) -> None:
        self._listener = listener

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config: Any) -> Generator[None, Any, None]:
        """All plugins are there that do not come with a file that is collected."""
        yield
        early_config.pluginmanager.register(self._listener, "isoenv-words")


class _Listener:
    """Sends what plugins say."""

    def __init__(self, host: Any, *, stdout_is_shown: bool) -> None:
        self._host = host
        self._stdout_is_shown = stdout_is_shown

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_header(self) -> Generator[None, Any, None]:
        outcome = yield
        found = [[lines] if isinstance(lines, str) else lines for lines in outcome.get_result()]
        lines = [line for entry in reversed(found) for line in entry]
        said = [line for line in lines if not line.startswith(_HEADER_OF_PYTEST)]
        self._host.send({"kind": "header", "lines": said})

    @pytest.hookimpl(hookwrapper=True)
    def pytest_sessionfinish(self, session: Any) -> Generator[None, Any, None]:
        with self._heard(session.config):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_terminal_summary(self, config: Any) -> Generator[None, Any, None]:
        with self._heard(config):
            yield

    @contextlib.contextmanager
    def _heard(self, config: Any) -> Iterator[None]:
        reporter = config.pluginmanager.getplugin("terminalreporter")
        if reporter is None:
            yield
            return
        heard = io.StringIO()
        nowhere, reporter._tw._file = reporter._tw._file, heard
        stdout = sys.stdout if self._stdout_is_shown else heard
        try:
            with contextlib.redirect_stdout(stdout):
                yield
        finally:
            reporter._tw._file = nowhere
            if heard.getvalue().strip():
                self._host.send({"kind": "words", "text": heard.getvalue()})
