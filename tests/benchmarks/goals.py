"""What is to be reached: ratios of medians of one run."""

from __future__ import annotations

import dataclasses
from statistics import median

from tests.benchmarks.figures import Ratio, ratio
from tests.benchmarks.results import JobResult, Results


@dataclasses.dataclass(frozen=True)
class Goal:
    """``ours`` over the best of ``theirs``, at most ``limit``; ``then`` is wanted after that.

    What both sides have in ``common`` is taken away first; ``scale`` makes it a ratio per
    environment or per test where the two sides have not equally many.
    """

    job: str
    title: str
    limit: float
    ours: str
    theirs: tuple[str, ...]
    measure: str = "wall"
    common: str | None = None
    scale: float = 1.0
    then: float | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a goal stands: a ratio with what it was measured against, or why there is none.

    ``cpu`` is the same ratio in processor time, which other work on the machine disturbs less.
    """

    goal: Goal
    ratio: Ratio | None = None
    cpu: Ratio | None = None
    against: str = ""
    why_not: str = ""

    @property
    def words(self) -> str:
        """Met, not met, or why it cannot be said."""
        if self.ratio is None:
            return self.why_not
        if self.ratio.value > self.goal.limit:
            return "not met"
        if self.goal.then is not None and self.ratio.value > self.goal.then:
            return "the first met"
        return "met"


_TOOLS = ("tox", "tox-p", "tox-uv-p", "nox", "nox-j", "hatch")

GOALS = [
    Goal("one", "plain pytest", 1.05, "ours", ("plain",)),
    Goal("one", "plain pytest; the host collects, too", 1.05, "ours-default", ("plain",)),
    Goal("one", "xdist -n1", 0.5, "ours", ("xdist",)),
    Goal("one", "xdist -n1; the host collects, too", 0.5, "ours-default", ("xdist",)),
    Goal("four-warm", "plain pytests at once", 0.9, "ours", ("at-once",)),
    Goal("four-warm", "the best tool", 0.6, "ours", _TOOLS, then=0.5),
    Goal("four-warm", "plain pytests in sequence, CPU", 1.0, "ours", ("sequence",), "cpu"),
    Goal("four-cold", "uv and pytest at once", 0.45, "ours", ("at-once",)),
    Goal("four-cold", "the best tool", 0.33, "ours", ("tox-uv-p", "nox", "nox-j")),
    Goal("many", "4 environments, per environment", 1.0, "24", ("4",), scale=4 / 24),
    Goal("many", "4 environments, memory of all processes", 1.1, "24", ("4",), "tree"),
    Goal("many", "12 environments, memory of all processes", 1.1, "24", ("12",), "tree"),
    Goal("large", "plain pytest, memory of the host", 1.3, "ours", ("plain",), "host"),
    Goal("large", "5,000 tests, time per test", 1.05, "ours", ("ours-fewer",), scale=1 / 10),
    Goal("hits", "none of them is", 1.05, "50", ("0",)),
    Goal("unused", "pytest alone, no tests", 1.01, "with", ("without",)),
    Goal("unused", "pytest alone, one test", 1.01, "with-test", ("without-test",)),
    Goal("fresh", "pytest-forked, extra time", 0.75, "ours", ("forked",), common="plain"),
]


def outcomes(results: Results) -> list[Outcome]:
    """How all goals of the jobs that were run stand."""
    found = [(goal, results.job(goal.job)) for goal in GOALS]
    return [outcome(goal, job) for goal, job in found if job is not None]


def outcome(goal: Goal, job: JobResult) -> Outcome:
    """How one goal stands."""
    by_name = {sample.name: sample for sample in job.samples}
    measured = [name for name in goal.theirs if job.numbers(name, goal.measure)]
    ours = job.numbers(goal.ours, goal.measure)
    if not ours:
        sample = by_name.get(goal.ours)
        return Outcome(goal, why_not="not measured" if sample is None else sample.why_not)
    if not measured:
        return Outcome(goal, why_not="nothing to compare with")
    best = min(measured, key=lambda name: median(job.numbers(name, goal.measure)))
    found = _ratio(goal, job, best, goal.measure)
    if found is None:
        return Outcome(goal, why_not="nothing to compare with")
    cpu = _ratio(goal, job, best, "cpu") if goal.measure == "wall" else None
    return Outcome(goal, found, cpu, by_name[best].title)


def _ratio(goal: Goal, job: JobResult, other: str, measure: str) -> Ratio | None:
    common = job.numbers(goal.common, measure) if goal.common else None
    return ratio(job.numbers(goal.ours, measure), job.numbers(other, measure), common, goal.scale)
