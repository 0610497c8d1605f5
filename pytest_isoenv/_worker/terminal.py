"""What a session in an environment has to do with the user's terminal.

Its progress and summaries are the host's to write. But a debugger needs the whole terminal: it is
asked for, and given back, so that one session has it at a time. Live logs are sent to the host.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import plugins

# Kept, for a test may replace them.
_this_thread = threading.get_ident
_handle, _handled = signal.signal, signal.getsignal
_MAIN_THREAD = threading.main_thread().ident


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Terminal:
    """This part as a plugin of the session."""
    return Terminal(host, request["width"])


class _Nowhere(io.StringIO):
    """Takes what pytest prints while it runs tests; the host prints that.

    Another thread that prints there has something of its own to say, and may be about to end the
    process, as pytest-timeout does: that is kept with what the process writes to its stderr.
    """

    def write(self, text: str) -> int:
        if _this_thread() != _MAIN_THREAD and sys.__stderr__:
            sys.__stderr__.write(text)
            sys.__stderr__.flush()
        return len(text)


class Terminal:
    """Keeps the terminal's plugin silent, but while a debugger has the terminal."""

    def __init__(self, host: Any, width: int) -> None:
        self._host = host
        self._width = width
        self._writer: Any = None
        self._has_it = False
        self._real: Any = None
        self._reporter: Any = None
        self._nowhere = _Nowhere()
        self._running, self._has_others = "", False

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: Any) -> None:
        """Every way into the debugger goes through one function of pytest's."""
        debugging = config.pluginmanager.getplugin("debugging")
        if debugging is None:
            return
        enter = debugging.pytestPDB._init_pdb

        def take_and_enter(*args: Any, **kwargs: Any) -> Any:
            self._take()
            return enter(*args, **kwargs)

        debugging.pytestPDB._init_pdb = staticmethod(take_and_enter)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: Any) -> None:
        """The terminal's plugin stays, for others ask it for things, but its words go nowhere."""
        manager = session.config.pluginmanager
        reporter = manager.getplugin("terminalreporter")
        if reporter is None:
            return
        self._writer = reporter._tw
        self._writer.fullwidth = self._width
        # Nobody would see how far it is; a debugger does not show it.
        reporter.showfspath = reporter._show_progress_info = False
        self._real, self._writer._file = self._writer._file, self._nowhere
        self._reporter = reporter
        handler: Any = getattr(manager.getplugin("logging-plugin"), "log_cli_handler", None)
        if getattr(handler, "stream", None) is reporter:
            handler.stream = _LiveLog(self)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> None:
        """Every plugin is there: if none names outcomes, what the terminal has to do is known."""
        hook, reporter = session.config.hook, self._reporter
        nobody = plugins.only_pytest_has(hook.pytest_report_teststatus)
        if nobody and not plugins.is_foreign(reporter):
            for call in hook.pytest_runtest_logreport.get_hookimpls():
                if call.plugin is reporter:
                    call.function = self._counted(call.function, reporter.stats)

    def _counted(self, log: Callable[..., None], stats: dict[str, list[Any]]) -> Any:
        """What the terminal's plugin does of a report, less what nobody sees of a test's passing.

        The first report of each kind it gets itself, for it has then more to do, and so it does
        all reports of a test that has others, too: of its subtests, which may change its outcome.
        """

        def logreport(report: Any) -> None:
            category = "passed" if report.when == "call" else ""
            self._has_others = self._has_others or type(report) is not pytest.TestReport
            usual = report.outcome == "passed" and not hasattr(report, "wasxfail")
            if usual and category in stats and not self._has_others:
                stats[category].append(report)
            else:
                log(report=report)

        return logreport

    # The debugger

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self, node: Any) -> None:
        """With ``--pdb``, pytest writes the failure before it enters the debugger."""
        if getattr(node.config.option, "usepdb", False):
            self._take()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        """A test that was let go on may stop again, so it has the terminal to its end."""
        self._give_back()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logfinish(self) -> None:
        """With ``--pdb`` the debugger comes after the report."""
        self._give_back()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self) -> None:
        """The same for a file that is stopped while it is imported."""
        self._give_back()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Whoever quits the debugger ends the session."""
        self._give_back()

    def _take(self) -> None:
        if self._has_it:
            return
        self._has_it = True
        self._listen()
        self._host.send({"kind": "terminal wanted"})
        self._host.next_command()
        if self._writer is not None:
            self._writer._file = self._real

    def _give_back(self) -> None:
        if not self._has_it:
            return
        self._has_it = False
        if self._writer is not None:
            self._writer.flush()
            self._writer._file = self._nowhere
        self._host.send({"kind": "terminal back"})
        if _handled(signal.SIGTERM) in (self._leave, self._leaving):
            _handle(signal.SIGTERM, signal.SIG_DFL)

    def _listen(self) -> None:
        """The run may have to end while the debugger, which keeps Ctrl-C to itself, waits."""
        in_main_thread = _this_thread() == _MAIN_THREAD
        if in_main_thread and _handled(signal.SIGTERM) == signal.SIG_DFL:
            _handle(signal.SIGTERM, self._leave)

    def _leave(self, number: int, frame: Any) -> None:
        _handle(signal.SIGTERM, self._leaving)
        raise pytest.exit.Exception("the run has been ended")

    def _leaving(self, number: int, frame: Any) -> None:
        """It has been heard."""

    # Live logs

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Remember whose logs come now."""
        self._running, self._has_others = nodeid, False

    def live_log(self, kind: str, text: str) -> None:
        """Send a part of the live log of the running test."""
        self._host.send({"kind": "live log", "id": self._running, kind: text})


class _LiveLog:
    """Stands where the live log's handler has pytest's terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def section(self, title: str, **markup: Any) -> None:
        self._terminal.live_log("title", title)

    def write(self, text: str) -> None:
        if text.strip("\n"):
            self._terminal.live_log("text", text)

    def flush(self) -> None:
        """What is written is sent at once."""
