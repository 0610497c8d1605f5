"""Results as tables, in Markdown that can be read as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.benchmarks.figures import Spread, spread
from tests.benchmarks.goals import Outcome, outcomes
from tests.benchmarks.results import JobResult, Results, Sample

_GOALS = ("Job", "Against", "Goal", "Ratio", "Quartiles", "Result", "In CPU time")
_SAMPLES = ("Job", "Who", "Seconds", "Quartiles", "CPU seconds", "Memory (MiB)")


def goals(results: Results) -> str:
    """Each goal, and how it stands."""
    titles = {job.name: job.title for job in results.jobs}
    rows = [_goal(titles[found.goal.job], found) for found in outcomes(results)]
    return markdown(_GOALS, rows, numbers=(2, 3, 4, 6))


def _goal(title: str, outcome: Outcome) -> tuple[str, ...]:
    goal, ratio = outcome.goal, outcome.ratio
    limit = f"<= {goal.limit:g}" + (f", then {goal.then:g}" if goal.then is not None else "")
    against = goal.title
    if len(goal.theirs) > 1 and outcome.against:
        against += f" ({outcome.against})"
    if ratio is None:
        return title, against, limit, "", "", outcome.words, ""
    quartiles = f"{ratio.low:.3f}-{ratio.high:.3f}"
    cpu = f"{outcome.cpu.value:.3f}" if outcome.cpu is not None else ""
    return title, against, limit, f"{ratio.value:.3f}", quartiles, outcome.words, cpu


def samples(results: Results) -> str:
    """What each contender took."""
    rows = [_sample(job, sample) for job in results.jobs for sample in job.samples]
    return markdown(_SAMPLES, rows, numbers=range(2, 6))


def _sample(job: JobResult, sample: Sample) -> tuple[str, ...]:
    if not sample.numbers("wall"):
        return job.title, sample.title, sample.why_not, "", "", ""
    wall, cpu = spread(sample.wall), spread(sample.cpu)
    memory = ""
    if sample.host:
        memory = f"{spread(sample.host).median:.0f}, all {spread(sample.tree).median:.0f}"
    quartiles = f"{wall.low:.3f}-{wall.high:.3f}"
    return job.title, sample.title, _seconds(wall), quartiles, _seconds(cpu), memory


def _seconds(of: Spread) -> str:
    return f"{of.median:.3f}"


def versions(results: Results) -> str:
    """What was compared, and on what machine."""
    machine = "; ".join(f"{name} {text}" for name, text in results.machine.items())
    tools = ", ".join(f"{name} {text}" for name, text in sorted(results.versions.items()))
    return f"{machine}. {results.rounds} rounds.\n{tools}."


def markdown(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    """A table whose columns are aligned; those of ``numbers`` to the right."""
    lines, right = [head, *rows], set(numbers)
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (w - 1) + (":" if c in right else "-") for c, w in enumerate(widths)]
    return "\n".join(map(row, [head, rule, *lines[1:]])) + "\n"
