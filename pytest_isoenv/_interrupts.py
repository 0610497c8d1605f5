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
