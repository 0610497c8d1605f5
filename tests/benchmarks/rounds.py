"""All contenders of a job in turn, again and again: what disturbs one disturbs all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.measuring import LeftBehindError, Usage, measure
from tests.benchmarks.results import Sample
from tests.benchmarks.suites import TALLY, IncompleteError, Suite, check

#: Who it is: ours, what a user does by hand, or another tool.
KINDS = ("ours", "plain", "tool")


def _nothing() -> None:
    """There is nothing to prepare."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A command that does the job, and what it must have done when it ends.

    ``prepare`` is called before each run, and not measured. ``suite`` is what it is to run, None
    for no tests at all; ``says`` must be in its output. If the first run ends with the words
    ``absent`` in its output, the feature does not exist yet.
    """

    name: str
    title: str
    command: Sequence[object]
    cwd: Path
    environ: Mapping[str, str]
    suite: Suite | None
    kind: str = "tool"
    says: str = ""
    absent: str = ""
    prepare: Callable[[], None] = _nothing
    memory: bool = False


class FailedError(Exception):
    """A command has not done its job."""


def run(contender: Contender, scratch: Path) -> Usage:
    """Run it once; raises FailedError where it has not done all that it was to do."""
    output, tally = scratch / "output.txt", scratch / "tally.txt"
    tally.unlink(missing_ok=True)
    contender.prepare()
    try:
        usage = measure(
            contender.command,
            cwd=contender.cwd,
            environ={**contender.environ, TALLY: str(tally)},
            output=output,
            memory=contender.memory,
        )
        if usage.status == 0 and contender.suite is not None:
            check(contender.suite, tally)
    except LeftBehindError as error:
        raise FailedError(f"it has left processes behind: {error}") from error
    except IncompleteError as error:
        raise FailedError(str(error)) from error
    text = output.read_text(errors="replace")
    if usage.status != 0:
        raise FailedError(f"it ended with {usage.status}:\n{text[-3000:]}")
    if contender.says not in text:
        raise FailedError(f"it did not say {contender.says!r}:\n{text[-3000:]}")
    return usage


Runner = Callable[[Contender], Usage]


def samples(
    contenders: Sequence[Contender],
    rounds: int,
    runner: Runner,
    tell: Callable[[str], None],
) -> list[Sample]:
    """Warm up, then run all of them in each round; every other round the other way round."""
    found = {c.name: Sample(c.name, c.title, c.kind) for c in contenders}
    for contender in contenders:
        _try(contender, found[contender.name], runner, warm_up=True)
        tell(_what_became_of(found[contender.name]))
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            _try(contender, found[contender.name], runner)
    return list(found.values())


def _try(contender: Contender, sample: Sample, runner: Runner, *, warm_up: bool = False) -> None:
    if sample.error or sample.absent:
        return
    try:
        usage = runner(contender)
    except FailedError as error:
        if warm_up and contender.absent and contender.absent in str(error):
            sample.absent = "not there yet"
        else:
            sample.error = str(error)
        return
    if not warm_up:
        sample.add(usage)


def _what_became_of(sample: Sample) -> str:
    return f"{sample.title}: {sample.error or sample.absent or 'warm'}"
