"""What plugins of an environment say beside reports: lines of the header, summaries at the end."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any, Generator, Iterator

import pytest


def plugin(request: dict[str, Any], host: Any) -> Words:
    """This part as a plugin of the session."""
    return Words(request, host)


class Words:
    """Listens from the place where it hears all plugins but pytest's own."""

    def __init__(self, request: dict[str, Any], host: Any) -> None:
        self._listener = _Words(request, host)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config: Any) -> Generator[None, Any, None]:
        """When all plugins have been registered but those that pytest's own register later."""
        yield
        early_config.pluginmanager.register(self._listener, "isoenv-words")

    def finish(self) -> None:
        """Nothing is left to do when the session is over."""


class _Words:
    """Tells what plugins have to say beside reports: their lines of the header, their summaries.

    Registered before pytest's own terminal plugin and after all others, so it is wrapped by the
    one and wraps the others.
    """

    def __init__(self, request: dict[str, Any], host: Any) -> None:
        self._host = host
        # With -s, what is printed is on the user's terminal already.
        self._stdout_is_shown = request["live"]

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


# What pytest itself says in the header; the host's pytest says the same of itself.
_HEADER_OF_PYTEST = tuple(
    f"{key}: " for key in ("rootdir", "configfile", "testpaths", "plugins", "cachedir", "using")
)
