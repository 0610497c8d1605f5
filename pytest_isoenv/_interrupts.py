"""Ctrl-C at a moment of our choosing: after the events that are there, never amid one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def deferred(wake: Callable[[], None]) -> Iterator[None]:
    """While this lasts, the first SIGINT calls ``wake``; a second one interrupts at once.

    Outside the main thread, and where SIGINT is ignored, nothing changes.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    interrupt, was_woken = usual, False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal was_woken
        if was_woken:
            interrupt(number, frame)
        was_woken = True
        wake()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


class _PassedOn:
    """A handler of SIGINT that is somebody else's; ``beneath`` is the one before it."""

    def __init__(self, to: Callable[[], None]) -> None:
        self._to = to
        self.beneath = signal.getsignal(signal.SIGINT)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._to()


@contextlib.contextmanager
def passed_on(to: Callable[[], None]) -> Iterator[None]:
    """While this lasts, SIGINT is somebody else's: ``to`` is called with each.

    The others are not: see :func:`obey_the_others`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _PassedOn(to)
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler.beneath)


def obey_the_others() -> Callable[[], None]:
    """From now on SIGTERM, and SIGHUP of a closed terminal, do what Ctrl-C does.

    pytest would die of them on the spot, with processes and directories left behind. Whoever
    handles or ignores them keeps to that. Returns a function that undoes it.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None

    def handler(number: int, frame: FrameType | None) -> None:
        interrupt = signal.getsignal(signal.SIGINT)
        if isinstance(interrupt, _PassedOn):
            interrupt = interrupt.beneath
        if callable(interrupt):
            interrupt(number, frame)
        else:
            raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = [
        number
        for number in (getattr(signal, name) for name in names)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in ours:
        signal.signal(number, handler)

    def undo() -> None:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)

    return undo
