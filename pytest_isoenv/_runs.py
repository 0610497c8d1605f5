"""Who is at work in the store: each run, what it uses, and its throw-away environments.

::

    runs/RUN.lock        held while the run lives
    runs/RUN/            its throw-away environments
    leases/THING@RUN     an empty file for each thing that it uses

The lock is the first that a run makes, and the last that goes. The operating system releases it
with the process, however that ends: so whoever can take it knows that the run is dead, and removes
what it has left. A lease is a file without content, for which there is room on a full disk, too.
"""

from __future__ import annotations

import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from pytest_isoenv._file_locks import Lock, release, taken
from pytest_isoenv._files import children
from pytest_isoenv._process import MARK, kill_marked
from pytest_isoenv._steps import reached
from pytest_isoenv._trash import Trash

_BETWEEN = "@"


class Runs:
    """The runs of a store; they know of each other, and clean up after the dead."""

    def __init__(self, home: Path) -> None:
        self._places = home / "runs"
        self._leases = home / "leases"
        self._trash = Trash(home / "trash")

    def lock_of(self, run: str) -> Path:
        """What a run holds while it lives."""
        return self._places / f"{run}.lock"

    def place_of(self, run: str) -> Path:
        """Where its throw-away environments are."""
        return self._places / run

    def lease_of(self, thing: str, run: str) -> Path:
        """What says that a run uses something."""
        return self._leases / f"{thing}{_BETWEEN}{run}"

    def leased(self, thing: str, but: str = "") -> bool:
        """Whether a living run uses something, other than the run ``but``."""
        runs = [path.name.rpartition(_BETWEEN)[2] for path in self._leases.glob(f"{thing}@*")]
        return any(self._lives(run) for run in runs if run != but)

    def in_use(self) -> set[str]:
        """Everything that living runs use."""
        leases = [path.name.rpartition(_BETWEEN) for path in self._leases.glob("*")]
        living = {run for run in {run for _, _, run in leases} if self._lives(run)}
        return {thing for thing, _, run in leases if run in living}

    def _lives(self, run: str) -> bool:
        if not self.lock_of(run).exists():
            return False
        lock = taken(self.lock_of(run))
        if lock is None:
            return True
        release(lock, remove=True)
        return False

    def sweep(self) -> None:
        """Remove what dead runs have left: processes, leases, throw-away environments."""
        reached("sweep")
        for run in sorted(set(self._known())):
            lock = taken(self.lock_of(run))
            if lock is not None:
                reached("sweep a dead run", run)
                kill_marked(MARK, run)
                self.remove(run, lock)

    def _known(self) -> Iterator[str]:
        """The runs that there are traces of."""
        for path in children(self._places):
            yield path.name.removesuffix(".lock")
        for path in children(self._leases):
            yield path.name.rpartition(_BETWEEN)[2]

    def remove(self, run: str, lock: Lock) -> None:
        """Remove every trace of a run, whose lock is held, and the lock last."""
        for lease in children(self._leases):
            if lease.name.endswith(f"{_BETWEEN}{run}"):
                lease.unlink(missing_ok=True)
        self._trash.remove(self.place_of(run))
        release(lock, remove=True)


class ThisRun:
    """What this process, or one part of it, does in a store."""

    def __init__(self, runs: Runs) -> None:
        self.name = f"run-{uuid.uuid4().hex[:12]}"
        self._runs = runs
        self._alive: Lock | None = None
        self._leased: set[str] = set()
        self._guard = threading.Lock()
        self._process = os.getpid()

    def begin(self) -> None:
        """Be known to others: what this run leaves is swept if it is killed from now on."""
        with self._guard:
            self._begin()

    def lease(self, thing: str) -> None:
        """From now on nobody removes something, until this run ends.

        Whoever leases something and finds it afterwards has it for good: what is to be removed is
        hidden first, and left alone if it turns out to be leased.
        """
        with self._guard:
            self._begin()
            if thing in self._leased:
                return
            reached("lease", thing)
            lease = self._runs.lease_of(thing, self.name)
            lease.parent.mkdir(exist_ok=True)
            lease.touch()
            self._leased.add(thing)

    def directory(self) -> Path:
        """A new directory that goes when this run ends."""
        reached("throw away", self.name)
        return Path(tempfile.mkdtemp(dir=self.place(), prefix="env-"))

    def place(self) -> Path:
        """A directory for what goes when this run ends."""
        with self._guard:
            self._begin()
            place = self._runs.place_of(self.name)
            place.mkdir(exist_ok=True)
            return place

    def end(self) -> None:
        """Give back everything; a run that was never begun, or by a parent process, has nothing."""
        with self._guard:
            alive, self._alive = self._alive, None
            self._leased.clear()
        if alive is not None and self._process == os.getpid():
            reached("end the run", self.name)
            self._runs.remove(self.name, alive)

    def _begin(self) -> None:
        if self._alive is None:
            reached("begin a run", self.name)
            while self._alive is None:  # a sweeper may have held the new lock for a moment
                self._alive = taken(self._runs.lock_of(self.name))
            reached("be alive", self.name)
