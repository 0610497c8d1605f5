"""Making each thing once, whichever thread asks for it first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Once(Generic[_K, _V]):
    """What was made, by its key; who asks while it is being made waits.

    What could not be made is tried again by the next who asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[_K, threading.Lock] = {}
        self._made: dict[_K, _V] = {}

    def __bool__(self) -> bool:
        return bool(self._made)

    def clear(self) -> None:
        """Forget what was made: who asks next has it made anew."""
        with self._lock:
            self._made.clear()

    def get(self, key: _K, make: Callable[[], _V]) -> _V:
        """The thing of that key, made now if nobody has."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]
