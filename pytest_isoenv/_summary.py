"""What a run says of its environments: the header, a line for each at the end, and the JSON."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv._config import Declarations
from pytest_isoenv._files import write_json
from pytest_isoenv._redact import redact
from pytest_isoenv.environment import Environment
from pytest_isoenv.spec import EnvName, EnvSpec

# What a test's reports add up to: the gravest of them.
_GRAVITY = ("passed", "skipped", "xfailed", "xpassed", "failed", "error")


@dataclasses.dataclass
class Record:
    """What one environment did in this run; filled in while it goes on."""

    name: EnvName
    spec: EnvSpec
    environment: Environment | None = None
    error: str = ""
    tests: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    words: str = ""

    def count(self, config: pytest.Config, report: pytest.TestReport) -> None:
        """Take one report of one of its tests into account."""
        category = config.hook.pytest_report_teststatus(report=report, config=config)[0]
        outcome = category if category in _GRAVITY else ""
        before = self.tests.get(report.nodeid, "")
        if outcome and (not before or _GRAVITY.index(outcome) > _GRAVITY.index(before)):
            self.tests[report.nodeid] = outcome

    def note(self, text: str) -> None:
        """Remember something that the summary should say, once."""
        if text not in self.notes:
            self.notes.append(text)

    def add_words(self, text: str) -> None:
        """Remember what its plugins have printed at the end."""
        self.words = "\n".join(part for part in (self.words, text.strip("\n")) if part)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many tests ended how."""
        counts = Counter(self.tests.values())
        return {outcome: counts[outcome] for outcome in _GRAVITY if counts[outcome]}

    @property
    def provisioned(self) -> str:
        """``cached``, ``built``, ``ephemeral``, or ``failed``."""
        return self.environment.provisioned if self.environment else "failed"


def header(declarations: Declarations, cache: Path) -> str:
    """The line of the session's header."""
    names = ", ".join(declarations.names)
    return f"isoenv: {f'declared {names}; ' if names else ''}cache {cache}"


def lines(record: Record, verbosity: int) -> Iterable[str]:
    """What the terminal says of an environment at the end."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in record.outcomes.items())
    asked = record.spec.python or "of the host"
    python = record.environment.version if record.environment else asked
    parts = [f"{record.name}: Python {python}", redact(record.spec.asked_for()), _how(record)]
    yield "; ".join([*parts, counts] if counts else parts)
    if record.environment is not None and record.environment.why:
        yield f"  rebuilding {record.name}: {record.environment.why}"
    if record.environment is not None and verbosity > 0:
        yield f"  key {record.environment.key}, path {record.environment.path}"
        packages = record.environment.packages
        yield f"  packages {', '.join(f'{name} {packages[name]}' for name in packages)}"
    for note in record.notes:
        yield f"  {note}"


def _how(record: Record) -> str:
    if record.environment is None:
        return "not provisioned"
    how, seconds = record.environment.provisioned, record.environment.seconds
    return how if how == "cached" else f"{how} in {seconds:.1f} s"


def write_report(path: Path, records: Iterable[Record]) -> None:
    """Write the report for machines; its form is in the reference documentation."""
    write_json(path, {"version": 1, "environments": [_as_json(record) for record in records]})


def _as_json(record: Record) -> Mapping[str, Any]:
    environment = record.environment
    return {
        "name": record.name,
        "key": environment.key if environment else None,
        "path": str(environment.path) if environment else None,
        "python": environment.version if environment else None,
        "requirements": [redact(text) for text in record.spec.requirements],
        "packages": dict(environment.packages) if environment else {},
        "provisioned": record.provisioned,
        "seconds": environment.seconds if environment else 0.0,
        "why": environment.why if environment else "",
        "error": record.error,
        "outcomes": record.outcomes,
        "tests": record.tests,
    }
