"""What was measured, as data, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import Usage

#: What a goal may be about: the fields of these names hold one number for each round.
MEASURES = ("wall", "cpu", "host", "tree")


@dataclasses.dataclass
class Sample:
    """What one contender took, round by round: seconds and MiB.

    ``error`` says why it was given up, ``absent`` that it does not exist yet; then the numbers
    count for nothing.
    """

    name: str
    title: str
    kind: str
    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)
    host: list[float] = dataclasses.field(default_factory=list)
    tree: list[float] = dataclasses.field(default_factory=list)
    error: str = ""
    absent: str = ""

    def add(self, usage: Usage) -> None:
        """Keep what another round took."""
        self.wall.append(round(usage.wall, 5))
        self.cpu.append(round(usage.cpu, 5))
        if usage.host is not None and usage.tree is not None:
            self.host.append(round(usage.host, 2))
            self.tree.append(round(usage.tree, 2))

    def numbers(self, measure: str) -> list[float]:
        """Its numbers; none where it was given up."""
        numbers: list[float] = getattr(self, measure)
        return [] if self.error or self.absent else numbers

    @property
    def why_not(self) -> str:
        """Why there are no numbers, in two or three words."""
        return self.absent or ("error" if self.error else "not measured")


@dataclasses.dataclass
class JobResult:
    """The samples of one job, in the order in which its contenders are named."""

    name: str
    title: str
    samples: list[Sample] = dataclasses.field(default_factory=list)

    def numbers(self, contender: str, measure: str = "wall") -> list[float]:
        """The numbers of one contender; none where it did not take part."""
        for sample in self.samples:
            if sample.name == contender:
                return sample.numbers(measure)
        return []


@dataclasses.dataclass
class Results:
    """Everything that one run of the benchmarks has to say."""

    machine: dict[str, str]
    versions: dict[str, str]
    rounds: int
    jobs: list[JobResult] = dataclasses.field(default_factory=list)

    def job(self, name: str) -> JobResult | None:
        """The result of a job, if it was run."""
        return next((job for job in self.jobs if job.name == name), None)

    @property
    def errors(self) -> list[str]:
        """What went wrong, by contender."""
        samples = [(job, sample) for job in self.jobs for sample in job.samples if sample.error]
        return [f"{job.name}, {sample.title}: {sample.error}" for job, sample in samples]


def renewed(old: Results | None, new: Results, order: Sequence[str]) -> Results:
    """Older results with newer ones of some jobs; contenders are compared within a job only."""
    if old is None:
        return new
    jobs = {job.name: job for job in (*old.jobs, *new.jobs)}
    return Results(
        machine=old.machine if len(new.jobs) < len(jobs) else new.machine,
        versions={**old.versions, **new.versions},
        rounds=min(old.rounds, new.rounds),
        jobs=[jobs[name] for name in order if name in jobs],
    )


def write(results: Results, path: Path) -> None:
    """Keep results as JSON."""
    path.write_text(to_json(results))


def to_json(results: Results) -> str:
    """The JSON of results; lists of numbers stay in one line each."""
    data = dataclasses.asdict(results)
    return _pretty(data) + "\n"


def _pretty(value: Any, indent: str = "") -> str:
    deeper = indent + " "
    if isinstance(value, dict) and value:
        lines = [f"{deeper}{json.dumps(k)}: {_pretty(v, deeper)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        lines = [deeper + _pretty(entry, deeper) for entry in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def read(path: Path) -> Results:
    """Results that were written before."""
    data = json.loads(path.read_text())
    jobs: Sequence[dict[str, Any]] = data.pop("jobs")
    return Results(**data, jobs=[_job(job) for job in jobs])


def _job(data: dict[str, Any]) -> JobResult:
    samples = [Sample(**sample) for sample in data.pop("samples")]
    return JobResult(**data, samples=samples)
