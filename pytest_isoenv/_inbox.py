"""What is heard of jobs: the events of all their workers and threads, in one queue.

Threads put them in; the main thread takes them out, for whatever touches pytest happens there.
"""

from __future__ import annotations

import queue
import time

from pytest_isoenv._gateway import Event
from pytest_isoenv._jobs import Job
from pytest_isoenv._status import Status

# How long nothing may happen before the live line says what is being built (seconds).
_PATIENCE = 0.3
# How long events gather before the main thread wakes up for them (seconds): to be woken for each
# test takes it, and the workers whose processor it needs, a tenth of the time of a small suite.
_GATHER = 0.01

#: An event, and the job that it is of. Without an event, the worker of the job is over; without a
#: job, the run is to end.
Heard = tuple["Job | None", "Event | None"]


class Inbox:
    """The events that nobody has handled yet; ``open`` are the jobs that will send more."""

    def __init__(self, status: Status) -> None:
        self.open: set[Job] = set()
        self._status = status
        self._events: queue.SimpleQueue[Heard] = queue.SimpleQueue()

    def put(self, job: Job, event: Event | None) -> None:
        """Called from any thread."""
        self._events.put((job, event))

    def interrupt(self) -> None:
        """Ctrl-C takes its turn: results that have come before it are logged whole."""
        self._events.put((None, None))

    def is_empty(self) -> bool:
        """Whether whoever takes an event now would have to wait."""
        return self._events.empty()

    def next(self, *, gather: bool = False) -> Heard:
        """Wait for an event, or let several ``gather``; if it takes its time, show what goes on."""
        if gather and self._events.empty():
            time.sleep(_GATHER)
        try:
            return self._events.get(timeout=_PATIENCE)
        except queue.Empty:
            self._status.show()
            event = self._events.get()
            self._status.clear()
            return event

    def next_in_silence(self) -> Heard:
        """Wait for an event, however long it takes, and write nothing."""
        return self._events.get()
