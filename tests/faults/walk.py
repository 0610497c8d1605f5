"""Every fault at every step of every job, one after the other."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from tests.faults import state
from tests.faults.child import Answer
from tests.faults.world import FEW, Job, World

#: How a job ended that was struck.
Ending = Literal["killed", "interrupted", "failed and said why", "went on"]
_REASONS = {
    "ENOSPC": "No space left on device",
    "EROFS": "Read-only file system",
}
_INTERRUPTED = 130
# How often a job is struck at one step; what comes later is the same once more. Commands differ.
_MOST = 3
# Faults that are almost like another strike once, and fewer jobs.
_LIKE_OTHERS = ("power loss, emptied", "power loss, halved", "EROFS", "KeyboardInterrupt")


@dataclasses.dataclass(frozen=True)
class Point:
    """Where a fault strikes: as a job reaches a step for the nth time."""

    job: Job
    step: str
    nth: int
    fault: str

    def __str__(self) -> str:
        return f"{self.job.name}: {self.fault} at {self.step!r} ({self.nth})"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of it: how the job ended, and what was wrong then or afterwards."""

    point: Point
    ending: Ending
    wrong: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Usual:
    """A job that nothing happens to: the steps that it takes, and what is there afterwards."""

    steps: tuple[str, ...]
    published: frozenset[str]
    bystander: dict[str, object]


def is_walked(fault: str, job: Job) -> bool:
    """Whether a fault strikes this job at all."""
    return job in FEW or fault not in _LIKE_OTHERS


class Walk:
    """Walks through jobs in a world of its own."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        self._usual: dict[Job, Usual] = {}

    def close(self) -> None:
        self.world.close()

    def usual(self, job: Job) -> Usual:
        """What a job does when nothing happens; RuntimeError if that is not right."""
        if job not in self._usual:
            world = self.world
            world.prepare(job)
            there = self._bystander() if world.home.exists() else {}
            for _ in range(2):  # the first time there is more to do: to fill the installer's cache
                world.restore(job)
                answer = world.must(*job.args)
            world.must(*job.prune)
            wrong = [*state.rubbish(world.home), *state.half(world.home)]
            if wrong or job.says not in answer.out:
                raise RuntimeError(f"{job.name}: {answer} {wrong}")
            found = frozenset(state.published(world.home))
            self._usual[job] = Usual(answer.steps, found, there)
        return self._usual[job]

    def points(self, fault: str, job: Job) -> Iterator[Point]:
        if not is_walked(fault, job):
            return
        for step, count in Counter(self.usual(job).steps).items():
            most = count if step == "run a command" else min(count, _MOST)
            most = 1 if fault in _LIKE_OTHERS else most
            yield from (Point(job, step, nth, fault) for nth in range(1, most + 1))

    def strike(self, point: Point) -> Outcome:
        """Strike, run again, prune, and see what is wrong."""
        world, job = self.world, point.job
        usual = self.usual(job)
        world.restore(job)
        before = state.small_files(world.home)
        struck = world.do(job.args, step=point.step, nth=point.nth, fault=point.fault)
        ending, wrong = _ended(point, struck)
        if point.fault.startswith("power loss"):
            self._damage(point.fault, before)
        again = world.do(job.args)
        if again.status != 0 or (job.says not in again.out and job.name != "prune"):
            wrong.append(f"the next run: {again}")
        pruned = world.do(job.prune)
        if pruned.status != 0:
            wrong.append(f"pruning: {pruned}")
        wrong += [*state.rubbish(world.home), *state.half(world.home)]
        wrong += state.processes(world.cache)
        wrong += self._changes(usual)
        return Outcome(point, ending, tuple(wrong))

    def _changes(self, usual: Usual) -> Iterator[str]:
        found = state.published(self.world.home)
        yield from (f"lost: {name}" for name in sorted(usual.published - found))
        yield from (f"stays: {name}" for name in sorted(found - usual.published))
        if usual.bystander and self._bystander() != usual.bystander:
            yield "lost: what another environment was"

    def _bystander(self) -> dict[str, object]:
        (place,) = (
            path.parent
            for path in state.manifests(self.world.home)
            if {"other", "lib"} & (state.manifest(path) or {})["facts"]["packages"].keys()
            == {"other"}
        )
        return state.picture(place)

    def _damage(self, fault: str, before: dict[Path, bytes]) -> None:
        """Let every small file that was written now be as if it had not reached the disk."""
        for path, data in state.small_files(self.world.home).items():
            if before.get(path) == data:
                continue
            if fault.endswith("removed"):
                path.unlink()
            else:
                path.write_bytes(data[: len(data) // 2] if fault.endswith("halved") else b"")


def _ended(point: Point, struck: Answer) -> tuple[Ending, list[str]]:
    """How a job ended that was struck, and what is wrong with that."""
    wrong = []
    if "Traceback" in struck.err or "internal error" in struck.err:
        wrong.append(f"a bug shows: {struck.err}")
    if Counter(struck.steps)[point.step] < point.nth:
        wrong.append(f"the step was not reached: {struck}")
    if struck.status == 0:
        ending: Ending = "went on"
        is_right = point.fault in _REASONS and (
            point.job.says in struck.out or point.job.name == "prune"
        )
    elif struck.status == -signal.SIGKILL:
        ending, is_right = "killed", point.fault == "SIGKILL" or point.fault.startswith("power")
    elif struck.status == _INTERRUPTED:
        ending, is_right = "interrupted", point.fault in ("SIGTERM", "KeyboardInterrupt")
    else:
        ending = "failed and said why"
        is_right = struck.status == 1 and _REASONS.get(point.fault, "?") in struck.err
    if not is_right:
        wrong.append(f"it ended wrongly: {struck}")
    return ending, wrong


def walk(
    directory: Path,
    jobs: Iterable[Job],
    faults: Iterable[str],
    *,
    at_once: int = 2,
    tell: Callable[[Outcome], None] = lambda outcome: None,
    known: Mapping[str, Ending] | None = None,
    once: bool = False,
) -> list[Outcome]:
    """Strike everywhere, in as many worlds as are walked at once.

    Points of which the ending is ``known``, and was right, are not walked again. With ``once`` only
    one job is struck at each step, as it reaches that for the first time.
    """
    guard = threading.Lock()
    # Fault by fault: what there is to find is found early.
    queue = deque(itertools.product(faults, jobs))
    seen = set[tuple[str, str]]()

    def is_new(point: Point) -> bool:
        with guard:
            was_seen = (point.step, point.fault) in seen
            seen.add((point.step, point.fault))
        return not was_seen

    def next_ones() -> tuple[str, Job] | None:
        with guard:
            return queue.popleft() if queue else None

    def one(number: int) -> list[Outcome]:
        walk, outcomes = Walk(directory / f"world-{number}"), []
        try:
            while ones := next_ones():
                for point in walk.points(*ones):
                    if once and not is_new(point):
                        continue
                    if known and str(point) in known:
                        outcomes.append(Outcome(point, known[str(point)], ()))
                        continue
                    outcomes.append(walk.strike(point))
                    with guard:
                        tell(outcomes[-1])
        finally:
            walk.close()
        return outcomes

    with ThreadPoolExecutor(at_once) as pool:
        return [outcome for found in pool.map(one, range(at_once)) for outcome in found]
