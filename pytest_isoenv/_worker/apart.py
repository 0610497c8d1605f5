"""Runs each test in a process of its own, forked from the session that has collected it.

The child runs the whole protocol of its test, sets up all the fixtures that it needs and tears
them down; the worker passes on what it tells, and logs its reports for the plugins here. Nothing
is set up before the fork, so nothing is torn down twice. A test whose process is lost fails alone.
While a test runs the child of the next one is forked, and waits: all children begin alike.

Where a fork is not possible, or would lose something, a worker runs one test only; the host
starts another for the next.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import marshal
import os
import select
import signal
import stat
import struct
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Kept, for a test may replace them; a child is forked from what no test has touched, but in a
# session with plugins.
_fork: Any = getattr(os, "fork", None)
_exit, _kill, _waitpid, _read, _write = os._exit, os.kill, os.waitpid, os.read, os.write
_handle, _handled = signal.signal, signal.getsignal
_loads = marshal.loads
_LENGTH = struct.Struct("!I")
# How often one looks whether a child is still there (milliseconds): a process that it has left
# may hold its line open.
_GLANCE = 500
_CHUNK = 1 << 16
# How much of what a lost process wrote to its stderr is told (bytes); the host shows half of it.
_TAIL = 16384
# What tells plugins of reports: the worker's are told, for what a child's plugins learn is lost.
_LOGGING = ("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish")
# How a child ends that could not do its work.
_BROKEN = 70


def plugin(request: dict[str, Any], host: Any) -> Apart:
    """This part as a plugin of the session."""
    return Apart(request, host)


class Apart:
    """Forks a child for each test."""

    def __init__(self, request: dict[str, Any], host: Any) -> None:
        #: Why a fork is not possible here; empty if it is, or if no test has been run.
        self.why_not = ""
        #: Whether this worker has run the only test that it can.
        self.is_used_up = False
        self._host = host
        self._steps = request["steps"]
        self._keeps_stderr = request["streams"][2] is None
        self._reporter: Any = None
        self._parts: list[Any] = []
        self._number = self._forks = 0
        self._next: _Child | None = None
        self._indices: dict[Any, int] = {}
        self._suite_properties: set[tuple[str, str]] = set()

    def works_with(self, reporter: Any, parts: list[Any]) -> None:
        """The plugin that reports to the host, and all other parts of this program."""
        self._reporter, self._parts = reporter, parts

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
        child = self._next or self._forked(session, None)
        self._next = None
        with child.signals_passed_on():
            child.go(self._indices[item], session.testsfailed)
            try:
                if not is_last:
                    self._next = self._forked(session, child)
                self._listen(item, child)
            except BaseException:
                child.interrupt()
                raise
            if child.ended is None:
                self._lost(item, child, nodeid)
            else:
                self._over(session, child.ended)
            child.wait()
        child.obey_signals()

    def _prepare(self, session: Any) -> None:
        self.why_not = _why_no_fork()
        if self.why_not:
            return
        factory = getattr(session.config, "_tmp_path_factory", None)
        if factory is not None and factory._given_basetemp is None:
            factory.getbasetemp()  # children make theirs below it
        self._indices = {item: index for index, item in enumerate(session.items)}
        # No child has to look at what has been there before.
        gc.collect()
        gc.freeze()

    def _forked(self, session: Any, running: _Child | None) -> _Child:
        """A child that waits to be told what it is to run."""
        self._forks += 1
        child = _Child()
        child.fork(lambda: self._be_child(session, child), running)
        return child

    # In the worker

    def _listen(self, item: Any, child: _Child) -> None:
        """Pass on what the child says, and to it what the host says, until there is no more."""
        poll = select.poll()
        poll.register(child.line.incoming, select.POLLIN)
        poll.register(self._host.descriptor, select.POLLIN)
        while child.ended is None:
            ready = [descriptor for descriptor, _ in poll.poll(_GLANCE)]
            if not ready and child.has_gone():
                return
            if self._host.descriptor in ready:
                self._obey(self._host.next_command(), child)
            if child.line.incoming in ready:
                told = child.line.received()
                if told is None:
                    return
                for frame in told:
                    self._hear(item, child, frame)

    def _obey(self, command: dict[str, Any], child: _Child) -> None:
        if "end" not in command:
            child.line.tell(command)
        elif command["end"] == self._number - 1:  # else it speaks of a test that has ended
            child.is_timed_out = True
            child.kill(signal.SIGABRT)

    def _hear(self, item: Any, child: _Child, frame: bytes) -> None:
        event = _loads(frame)
        kind = event["kind"]
        if kind == "test":
            self._reporter.log_told(item, event["reports"])
        elif kind == "end":
            child.ended = event
        elif kind != "suite property" or self._is_news(event):
            child.note(kind)
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

    def _lost(self, item: Any, child: _Child, nodeid: str) -> None:
        """The process has ended before its test had: the test fails, and no other."""
        status = child.wait()
        words, sections = child.last_words(self._keeps_stderr), _captured(item.config)
        event = {"kind": "lost", "id": nodeid, "status": status, "words": words}
        self._host.send({**event, "sections": sections, "timed out": child.is_timed_out})
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

    # In the child

    def _be_child(self, session: Any, child: _Child) -> None:
        """Run a test, and end: nothing of the session is done here but what the test needs."""
        line, number = child.line, self._forks
        self._host.speak_through(line)
        _forget_what_ends_the_worker()
        _log_only_for_pytest(session.config.pluginmanager)
        _have_own_directory(session.config, number)
        for part in self._parts:
            if hasattr(part, "begin_apart"):
                part.begin_apart(number)
        try:
            index, session.testsfailed = line.next_command()
        except EOFError:
            return  # no test is left
        ended = self._run_here(session, session.items[index])
        for part in self._parts:
            if part is not self:
                part.finish()
        atexit._run_exitfuncs()
        _flush()
        ended.update(shouldstop=session.shouldstop, shouldfail=session.shouldfail)
        self._host.send({"kind": "end", **ended})
        line.flush()

    def _run_here(self, session: Any, item: Any) -> dict[str, Any]:
        """Run the protocol, and tell what has ended more than the test."""
        ended = {"raised": None, "why": "", "returncode": None}
        try:
            try:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            except (KeyboardInterrupt, pytest.exit.Exception) as error:
                self._reporter.send_what_is_known()
                ended["raised"] = "interrupt" if isinstance(error, KeyboardInterrupt) else "exit"
                ended["why"] = getattr(error, "msg", None) or str(error)
                ended["returncode"] = getattr(error, "returncode", None)
                session._setupstate.teardown_exact(None)
        except BaseException as error:  # noqa: BLE001 - an internal error, told as such
            item.config.notify_exception(pytest.ExceptionInfo.from_current(), item.config.option)
            ended.update(raised="error", why=repr(error))
        return ended


class _Line:
    """A way between the worker and a child: frames, each with its length in front."""

    def __init__(self) -> None:
        self._down, self._up = os.pipe(), os.pipe()
        self.incoming = self._outgoing = -1
        self._held = self._received = b""
        #: What no other process may hold open.
        self.descriptors: list[int] = []

    def take(self, *, child: bool) -> None:
        """After the fork: keep one end, close the other."""
        theirs, ours = (self._up, self._down) if child else (self._down, self._up)
        os.close(theirs[0])
        os.close(ours[1])
        self.incoming, self._outgoing = ours[0], theirs[1]
        self.descriptors = [self.incoming, self._outgoing]

    def close(self) -> None:
        """Close this end."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def tell(self, command: Any) -> None:
        """In the worker: say something to the child, which may have gone."""
        data = marshal.dumps(command)
        self._held += _LENGTH.pack(len(data)) + data
        with contextlib.suppress(OSError):
            self.flush()

    def send(self, data: bytes) -> None:
        """In the child: send a frame; the end of a test is sent with the end of its process."""
        self._held += _LENGTH.pack(len(data)) + data
        event = _loads(data)
        if event.get("kind") not in ("test", "end") or event.get("over") is False:
            self.flush()

    def flush(self) -> None:
        """Send all that has been held back."""
        held, self._held = memoryview(self._held), b""
        while held:
            held = held[_write(self._outgoing, held) :]

    def received(self) -> list[bytes] | None:
        """The frames that have come, once there is something to read; None at the end."""
        data = _read(self.incoming, _CHUNK)
        self._received += data
        return list(self._frames()) if data else None

    def next_command(self) -> Any:
        """In the child: what the host says."""
        frames: list[bytes] = []
        while not frames:
            told = self.received()
            if told is None:
                raise EOFError
            frames = told
        return _loads(frames[0])

    def _frames(self) -> Iterator[bytes]:
        start = _LENGTH.size
        while len(self._received) >= start:
            end = start + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            frame, self._received = self._received[start:end], self._received[end:]
            yield frame


class _Child:
    """One child as the worker sees it."""

    def __init__(self) -> None:
        self.line = _Line()
        self.ended: dict[str, Any] | None = None
        self.is_timed_out = False
        self._pid = 0
        self._status: int | None = None
        self._usual: Any = None
        self._frame: Any = None
        self._signals: list[int] = []
        self._had_terminal = False
        self._terminated: Any = None
        self._stderr_before = 0

    def go(self, index: int, failed: int) -> None:
        """Let it run a test, which knows how many have failed before."""
        self._stderr_before = _size_of_stderr()
        self.line.tell((index, failed))

    def dismiss(self) -> None:
        """Let it go without a test."""
        self.line.close()
        self.wait()

    @contextlib.contextmanager
    def signals_passed_on(self) -> Iterator[None]:
        """Ctrl-C is for the test; whether the session ends is for the child to say."""
        self._usual = _handle(signal.SIGINT, self._pass_on)
        try:
            yield
        finally:
            self._have_usual_signals()
            self.note("terminal back")
            self.line.close()

    def _have_usual_signals(self) -> None:
        if self._usual is not None:  # one that was not set by Python cannot be
            _handle(signal.SIGINT, self._usual)

    def _pass_on(self, number: int, frame: Any) -> None:
        self._signals.append(number)
        self._frame = frame
        self.kill(number)

    def obey_signals(self) -> None:
        """A Ctrl-C that came when the test was over, or that it took no notice of, counts here.

        But one in a debugger was meant for that.
        """
        if self._signals and not self._had_terminal and callable(self._usual):
            self._usual(self._signals[0], self._frame)

    def note(self, kind: str) -> None:
        """Know whether the child has the terminal: then SIGTERM is to end it, too."""
        if kind == "terminal wanted":
            self._had_terminal = True
            self._terminated = _handle(signal.SIGTERM, self._pass_on)
        elif kind == "terminal back" and self._terminated is not None:
            _handle(signal.SIGTERM, self._terminated)
            self._terminated = None

    def fork(self, run: Callable[[], None], running: _Child | None) -> None:
        """Let ``run`` run in a child, which then ends; it is none of the one that is running."""
        _flush()
        with _unwarned() if _is_warned_of() else contextlib.nullcontext():
            pid = _fork()
        if pid == 0:
            status = _BROKEN
            try:
                if running is not None:
                    running._have_usual_signals()
                    running.line.close()
                self.line.take(child=True)
                run()
                status = 0
            except BaseException:  # noqa: BLE001 - there is nobody above
                traceback.print_exc(file=sys.__stderr__)
                _flush()
            finally:
                _exit(status)
        self._pid = pid
        self.line.take(child=False)

    def kill(self, number: int) -> None:
        """Send a signal; a child that has not been waited for keeps its number."""
        if self._status is None:
            _kill(self._pid, number)

    def has_gone(self) -> bool:
        """Whether the process has ended, although somebody may hold its line open."""
        if self._status is None:
            pid, status = _waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = _said(status)
        return self._status is not None

    def wait(self) -> int:
        """Wait for its end; as of :mod:`subprocess`, a signal that has ended it is below 0."""
        if self._status is None:
            self._status = _said(_waitpid(self._pid, 0)[1])
        return self._status

    def interrupt(self) -> None:
        """The worker cannot go on: let the test's fixtures be torn down."""
        self.kill(signal.SIGINT)
        self.wait()

    def last_words(self, kept: bool) -> str:
        """What it has written to its stderr, if that is kept: the end of it."""
        size = _size_of_stderr()
        if not kept or size <= self._stderr_before:
            return ""
        start = max(self._stderr_before, size - _TAIL)
        return os.pread(2, size - start, start).decode("utf-8", "replace")


def _said(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _size_of_stderr() -> int:
    try:
        found = os.fstat(2)
    except OSError:  # a plugin has closed it
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _why_no_fork() -> str:
    """Why tests cannot be run in processes that are forked from this one; empty if they can.

    A thread would not be there in a child, and what it had locked would be for ever. Threads
    of libraries that Python does not know are no obstacle: those who have them provide for it.
    """
    if _fork is None or not hasattr(select, "poll"):
        return "this system cannot fork"
    others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    if others:
        return f"a fork would lose threads that were started before the tests: {', '.join(others)}"
    return ""


def _is_warned_of() -> bool:
    """Whether Python warns of a fork: from 3.12 on, also beside threads that are none of its."""
    if sys.version_info < (3, 12):
        return False
    try:
        return len(os.listdir("/proc/self/task")) > 1
    except OSError:
        return True


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, or closed
            stream.flush()  # type: ignore[union-attr]


def _forget_what_ends_the_worker() -> None:
    """What is to be done when the worker exits is the worker's; a child has what it adds."""
    atexit._clear()
    finalizers: Any = weakref.finalize
    for finalizer in list(getattr(finalizers, "_registry", ())):
        finalizer.atexit = False
    finalizers._registered_with_atexit = False


def _log_only_for_pytest(manager: Any) -> None:
    """Plugins learn of reports in the worker, once; pytest itself needs them in the child, too."""
    execute = manager._inner_hookexec

    def inner(hook: Any, methods: Any, *rest: Any) -> Any:
        if (hook if isinstance(hook, str) else hook.name) in _LOGGING:
            methods = [method for method in methods if _is_pytests_or_ours(method.plugin)]
        return execute(hook, methods, *rest)

    manager._inner_hookexec = inner


def _is_pytests_or_ours(plugin: Any) -> bool:
    module = getattr(plugin, "__name__", None) or type(plugin).__module__
    return str(module).startswith(("_pytest.", "isoenv_"))


def _have_own_directory(config: Any, number: int) -> None:
    """Temporary directories of a child are apart from those of others; made when one is wanted."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        given = factory._given_basetemp
        below = given.with_name(f"{given.name}-{number}") if given else None
        factory._given_basetemp = below or factory.getbasetemp() / str(number)
        factory._basetemp = None


def _captured(config: Any) -> list[tuple[str, str]]:
    """What the process had printed that is lost, where it was captured in a file."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is None or manager._global_capturing is None:
        return []
    out, err = manager.read_global_capture()
    texts = {"Captured stdout call": out, "Captured stderr call": err}
    return [(title, text) for title, text in texts.items() if text]
