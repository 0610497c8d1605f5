"""``--env-timeout``: a worker that gives no sign of life for too long is ended."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from pytest_isoenv._gateway import Worker


class Watchdog:
    """Watches workers from a thread of its own; without a ``limit`` (seconds) nothing happens."""

    def __init__(self, workers: Sequence[Worker], limit: float | None) -> None:
        self._workers = workers
        self._limit = limit
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        if self._limit is not None:
            threading.Thread(target=self._watch, name="isoenv-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self) -> None:
        assert self._limit is not None
        longest = 0.0
        while not self._stopped.wait(max(0.05, self._limit - longest)):
            for worker in list(self._workers):
                if not worker.timed_out and worker.silence() > self._limit:
                    worker.time_out(self._limit)
            longest = max((worker.silence() for worker in list(self._workers)), default=0.0)
