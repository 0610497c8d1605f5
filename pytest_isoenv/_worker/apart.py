"""Runs each test in a process of its own, forked from the session that has collected it.

The child runs the whole protocol of its test, sets up all the fixtures that it needs and tears
them down; the worker passes on what it tells, and logs its reports for the plugins here. Nothing
is set up before the fork, so nothing is torn down twice. A test whose process is lost fails alone.
While a test runs the child of the next one is forked, and waits: all children begin alike.

Where a fork is not possible, or would lose something, a worker runs one test only; the host
starts another for the next.
"""

from __future__ import annotations

import gc
import marshal
import select
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import child, forked, reporter

# Kept, for a test may replace it.
_loads = marshal.loads
# How often one looks whether a child is still there (milliseconds): a process that it has left
# may hold its line open.
_GLANCE = 500


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Apart:
    """This part as a plugin of the session."""
    return Apart(request, host, others["reporter"], child.Child(host, others))


class Apart:
    """Forks a child for each test."""

    def __init__(
        self, request: dict[str, Any], host: Any, reporter: reporter.Reporter, child: child.Child
    ) -> None:
        #: Why a fork is not possible here; empty if it is, or if no test has been run.
        self.why_not = ""
        #: Whether this worker has run the only test that it can.
        self.is_used_up = False
        self._host = host
        self._reporter = reporter
        self._child = child
        self._steps = request["steps"]
        self._keeps_stderr = request["streams"][2] is None
        self._number = self._forks = 0
        self._next: forked.Forked | None = None
        self._indices: dict[Any, int] = {}
        self._suite_properties: set[tuple[str, str]] = set()

    def finish(self) -> None:
        """No child waits any longer."""
        if self._next is not None:
            self._next.dismiss()
            self._next = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Run the tests, where the host has said which ones these are."""
        option = session.config.option
        failed = session.testsfailed and not option.continue_on_collection_errors
        if self._steps or option.collectonly or failed or not session.items:
            return None  # pytest's own loop says what is to be said, or takes the host's steps
        last = len(session.items)
        for number, item in enumerate(session.items, 1):
            self.run(session, item, is_last=number == last)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            if self.is_used_up:
                break
        return True

    def run(self, session: Any, item: Any, *, is_last: bool = False) -> None:
        """Run one test in a process that no other test has been in, or will be."""
        if self._number == 0:
            self._prepare(session)
        self._number += 1
        if self.why_not:
            self.is_used_up = True
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            return
        nodeid = self._reporter.begin(item)
        process = self._next or self._forked(session, None)
        self._next = None
        with process.signals_passed_on():
            process.go(self._indices[item], session.testsfailed)
            try:
                if not is_last:
                    self._next = self._forked(session, process)
                self._listen(item, process)
            except BaseException:
                process.interrupt()
                raise
            if process.ended is None:
                self._lost(item, process, nodeid)
            else:
                self._over(session, process.ended)
            process.wait()
        process.obey_signals()

    def _prepare(self, session: Any) -> None:
        self.why_not = forked.why_not()
        if self.why_not:
            return
        factory = getattr(session.config, "_tmp_path_factory", None)
        if factory is not None and factory._given_basetemp is None:
            factory.getbasetemp()  # children make theirs below it
        self._indices = {item: index for index, item in enumerate(session.items)}
        # No child has to look at what has been there before.
        gc.collect()
        gc.freeze()

    def _forked(self, session: Any, running: forked.Forked | None) -> forked.Forked:
        """A child that waits to be told what it is to run."""
        self._forks += 1
        process = forked.Forked()
        process.fork(lambda: self._child.run(session, process.line, self._forks), running)
        return process

    def _listen(self, item: Any, process: forked.Forked) -> None:
        """Pass on what the child says, and to it what the host says, until there is no more."""
        poll = select.poll()
        poll.register(process.line.incoming, select.POLLIN)
        poll.register(self._host.descriptor, select.POLLIN)
        while process.ended is None:
            ready = [descriptor for descriptor, _ in poll.poll(_GLANCE)]
            if not ready and process.has_gone():
                return
            if self._host.descriptor in ready:
                self._obey(self._host.next_command(), process)
            if process.line.incoming in ready:
                told = process.line.received()
                if told is None:
                    return
                for frame in told:
                    self._hear(item, process, frame)

    def _obey(self, command: dict[str, Any], process: forked.Forked) -> None:
        if "end" not in command:
            process.line.tell(command)
        elif command["end"] == self._number - 1:  # else it speaks of a test that has ended
            process.is_timed_out = True
            process.kill(signal.SIGABRT)

    def _hear(self, item: Any, process: forked.Forked, frame: bytes) -> None:
        event = _loads(frame)
        kind = event["kind"]
        if kind == "test":
            self._reporter.log_told(item, event["reports"])
        elif kind == "end":
            process.ended = event
        elif kind != "suite property" or self._is_news(event):
            process.note(kind)
            self._host.pass_on(frame)

    def _is_news(self, event: dict[str, Any]) -> bool:
        """A session's fixture is set up in every child, and says the same in each."""
        said = (event["name"], event["value"])
        known = said in self._suite_properties
        self._suite_properties.add(said)
        return not known

    def _over(self, session: Any, ended: dict[str, Any]) -> None:
        """The session goes on, or ends, as the test has left it."""
        if ended["shouldstop"] and not session.shouldstop:
            session.shouldstop = ended["shouldstop"]
        if ended["shouldfail"] and not session.shouldfail:
            session.shouldfail = ended["shouldfail"]
        raised = ended["raised"]
        if raised is None:
            self._reporter.end()
        elif raised == "exit":
            raise pytest.exit.Exception(ended["why"], ended["returncode"])
        elif raised == "interrupt":
            raise KeyboardInterrupt(*filter(None, [ended["why"]]))
        else:
            self._reporter.error_is_told = True
            raise RuntimeError(ended["why"])

    def _lost(self, item: Any, process: forked.Forked, nodeid: str) -> None:
        """The process has ended before its test had: the test fails, and no other."""
        status = process.wait()
        words, sections = process.last_words(self._keeps_stderr), _captured(item.config)
        event = {"kind": "lost", "id": nodeid, "status": status, "words": words}
        self._host.send({**event, "sections": sections, "timed out": process.is_timed_out})
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords=dict.fromkeys(item.keywords, 1),
            outcome="failed",
            longrepr=f"its process was lost: {status}",
            when="call",
            sections=sections,
        )
        self._reporter.log_lost(item, report)


def _captured(config: Any) -> list[tuple[str, str]]:
    """What the process had printed that is lost, where it was captured in a file."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None or manager._global_capturing is None:
        return []
    out, err = manager.read_global_capture()
    texts = {"Captured stdout call": out, "Captured stderr call": err}
    return [(title, text) for title, text in texts.items() if text]
