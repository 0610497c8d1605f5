"""Tells the host how tests go.

One ``test`` event carries all reports of a finished test: should the process die, the host knows
what was being run. Where a plugin tries a test more than once there is one for each try, the last
of which says that the test is over.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import plugins, reports

# Kept, for a test may replace it.
_exit = os._exit


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Reporter:
    """This part as a plugin of the session."""
    return Reporter(host, others["reports"], is_apart=request["isolation"] == "test")


class Reporter:
    """Keeps what is said of a test until it has ended, and sends it then."""

    def __init__(self, host: Any, reports: reports.Reports, *, is_apart: bool) -> None:
        self.error_is_told = False
        #: What the host calls the tests that are still to run; an item may be run several times.
        self.keys: dict[Any, list[str]] = {}
        self._host = host
        self._reports = reports
        self._is_apart = is_apart
        # Whether a test is over when it has been tried, and reported.
        self._once = False
        self._running = ""
        self._kept: list[Any] = []
        self._told: dict[str, Any] | None = None
        self._tried: dict[str, Any] | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: Any) -> None:
        """What is written between the reports with ``--setup-show`` keeps its place among them."""
        terminal = session.config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None and session.config.getoption("setupshow", False):
            writer = copy.copy(terminal._tw)
            writer._file = _Words(lambda text: self._kept.append((None, {"$writes": text})))
            session.config.get_terminal_writer = lambda: writer

    # Before tests run

    def pytest_collectreport(self, report: Any) -> None:
        """Tell what could not be collected."""
        if report.outcome != "passed":
            self._host.send({"kind": "collect", "report": self._reports.data(report)})

    def pytest_collection_finish(self, session: Any) -> None:
        """Every plugin is there that may have its own way to run a test."""
        hook = session.config.hook.pytest_runtest_protocol
        self._once = not self._is_apart and plugins.only_pytest_has(hook, self)
        if not self._once:
            session.config.pluginmanager.register(_Tries(self.end), "isoenv-tries")

    # A test

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> None:
        """A test begins."""
        self.begin(item)

    def begin(self, item: Any) -> str:
        """Remember which test this is, and return what the host calls it.

        Its id may not be its alone.
        """
        first, *later = self.keys.get(item, [item.nodeid])
        self._running = first
        if later:
            self.keys[item] = later
        return self._running

    def called(self, nodeid: str) -> str:
        """What the host calls the running test."""
        return self._running or nodeid

    def end(self) -> None:
        """The test has been tried for the last time."""
        self._running = ""
        self._send_tried(over=True)

    def pytest_runtest_logstart(self) -> None:
        """If the test has been tried before, that was not its last word."""
        self._send_tried(over=False)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the report until the test has finished."""
        self._kept.append((report, self._told or self._reports.data(report)))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """All reports of a test, or of one try, go at once."""
        if not self._host.is_ours:
            _exit(0)  # a test forked, and let the child return to where the parent will be, too
        self._take_kept(nodeid)
        # A plugin with a loop of its own leaves the protocol out.
        if self._once or not self._running:
            self.end()

    def _take_kept(self, nodeid: str) -> None:
        kept, self._kept = self._kept, []
        told = [self._reports.last_data(report, data) for report, data in kept]
        self._tried = {"kind": "test", "id": self.called(nodeid), "reports": told}

    def _send_tried(self, *, over: bool) -> None:
        tried, self._tried = self._tried, None
        if tried is not None:
            self._host.send({**tried, "over": over})

    def send_what_is_known(self) -> None:
        """The reports of a test that will not be finished."""
        if self._kept:
            self._take_kept(self._running)
        self._send_tried(over=True)

    # A test that another process of this session has run

    def log_told(self, item: Any, told: list[Any]) -> None:
        """Log what it has told of one try at a test."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for said in told:
            data = reports.by_name(said)
            report = None if "$writes" in data else self._reports.rebuilt(item, data)
            if report is None:  # nobody here could do anything with it, but the host may
                self._kept.append((None, data))
                continue
            self._told = data
            item.ihook.pytest_runtest_logreport(report=report)
            self._told = None
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def log_lost(self, item: Any, report: Any) -> None:
        """Log the failure of a test whose process is lost; the host is told otherwise."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        self._running, self._tried = "", None

    # Beside tests

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        """Send what a warning says; its class may not exist on the host."""
        category = warning_message.category
        self._host.send(
            {
                "kind": "warning",
                "category": category.__name__,
                "module": category.__module__,
                "message": str(warning_message.message),
                "filename": warning_message.filename,
                "lineno": warning_message.lineno,
                "line": warning_message.line,
                "when": when,
                "id": nodeid,
                "location": location,
            }
        )

    def pytest_internalerror(self, excrepr: Any) -> None:
        """Send pytest's own traceback: this session ends here; what is known is known."""
        self.send_what_is_known()
        if not self.error_is_told:
            self.error_is_told = True
            self._host.send({"kind": "internal error", "text": str(excrepr)})


class _Words:
    """A file whose text goes to a function."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """What is written has gone already."""


class _Tries:
    """Hears of the end of tests where a plugin may try one several times within its protocol."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, None]:
        outcome = yield
        if outcome.excinfo is None:  # else an internal error: pytest raises it, the session ends
            self._end()
