"""A process that is forked from the worker, as the worker sees it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import line

# Kept, for a test may replace them; a child is forked from what no test has touched, but in a
# session with plugins.
_fork: Any = getattr(os, "fork", None)
_exit, _kill, _waitpid = os._exit, os.kill, os.waitpid
_handle = signal.signal
# How much of what a lost process wrote to its stderr is told (bytes); the host shows half of it.
_TAIL = 16384
# How a child ends that could not do its work.
_BROKEN = 70


class Forked:
    """One child: it waits to be told what to run, runs that, and ends."""

    def __init__(self) -> None:
        self.line = line.Line()
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

    def fork(self, run: Callable[[], None], running: Forked | None) -> None:
        """Let ``run`` run in a child, which then ends; it is none of the one that is running."""
        flush()
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
                flush()
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


def why_not() -> str:
    """Why this process cannot fork, and go on as if nothing had been; empty if it can.

    A thread would not be there in a child, and what it had locked would be for ever. Threads
    of libraries that Python does not know are no obstacle: those who have them provide for it.
    """
    if _fork is None or not hasattr(select, "poll"):
        return "this system cannot fork"
    others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    if others:
        return f"a fork would lose threads that were started before the tests: {', '.join(others)}"
    return ""


def _said(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _size_of_stderr() -> int:
    try:
        found = os.fstat(2)
    except OSError:  # a plugin has closed it
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


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


def flush() -> None:
    """Write what is still held back for the standard streams."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # None, or closed
            stream.flush()  # type: ignore[union-attr]
