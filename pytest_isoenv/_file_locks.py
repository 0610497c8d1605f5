"""Locks between processes, which the operating system releases when their holder ends.

The only module that takes file locks. A lock's file may be removed by whoever holds the lock:
those who wait for it notice, and begin again with the new file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

#: A lock that is held.
Lock = FileLock


class Interrupted(Exception):
    """The run was interrupted while it waited for a lock."""


@contextlib.contextmanager
def waited_for(path: Path, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock; wait for it until ``cancelled`` says to stop, which raises Interrupted."""
    lock = _lock(path)
    try:
        lock.acquire(cancel_check=cancelled)
    except Timeout:
        raise Interrupted from None
    try:
        yield
    finally:
        lock.release()


def taken(path: Path) -> Lock | None:
    """The lock if nobody holds it, to be released by the caller; it waits for nobody."""
    lock = _lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@contextlib.contextmanager
def free(path: Path) -> Iterator[bool]:
    """Whether nobody holds a lock; if so, nobody takes it while this lasts."""
    lock = taken(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def release(lock: Lock, *, remove: bool = False) -> None:
    """Let a lock go; with ``remove`` its file goes with it."""
    if remove:
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _lock(path: Path) -> Lock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, thread_local=False)
