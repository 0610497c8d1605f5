"""The user's own standard streams, for what runs in environments without being captured there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest


def copies(config: pytest.Config) -> list[int | None]:
    """Copies of this process's standard streams, None for those that are not to be had.

    Only with ``-s`` stderr is among them: it is where a worker that dies leaves its last words.
    """
    # What is set while plugins are loaded; the same as config.option later.
    option: Any = getattr(config, "known_args_namespace", config.option)
    # -p no:capture says it, too.
    wanted = (0, 1, 2) if getattr(option, "capture", "no") == "no" else (0, 1)
    with _uncaptured(config):
        return [_copy(number) if number in wanted else None for number in range(3)]


@contextlib.contextmanager
def _uncaptured(config: pytest.Config) -> Iterator[None]:
    """While this lasts, the standard streams are the user's own, stdin too.

    pytest keeps stdin away all the time, and the others only while something runs.
    """
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    if manager is None:
        yield
        return
    capturing = manager._global_capturing
    ran = capturing is not None and capturing.is_started()
    manager.suspend(in_=True)
    try:
        yield
    finally:
        manager.resume()
        if not ran:
            manager.suspend_global_capture(in_=False)


def _copy(number: int) -> int | None:
    if os.name != "posix":  # descriptors cannot be handed to another process
        return None
    try:
        return os.dup(number)
    except OSError:  # it is closed
        return None
