"""What a run says of its environments: the header, a line for each at the end, and the JSON."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _spans
from pytest_isoenv._config import Declarations
from pytest_isoenv._files import write_json
from pytest_isoenv._redact import redact
from pytest_isoenv.environment import Environment
from pytest_isoenv.spec import EnvName, EnvSpec

# What a test's reports add up to: the gravest of them.
_GRAVITY = ("passed", "skipped", "xfailed", "xpassed", "failed", "error")


#: What one environment did in a run, as plain data: the report for machines is made of these.
Account = dict[str, Any]


@dataclasses.dataclass
class Record:
    """What one environment did in this run; filled in while it goes on."""

    name: EnvName
    spec: EnvSpec
    environment: Environment | None = None
    error: str = ""
    exit_code: int = 0
    tests: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    words: str = ""

    def count(self, nodeid: str, outcome: str) -> None:
        """Take one report of one of its tests into account, by what pytest counts it among."""
        if outcome not in _GRAVITY:
            return
        before = self.tests.get(nodeid, "")
        if not before or _GRAVITY.index(outcome) > _GRAVITY.index(before):
            self.tests[nodeid] = outcome

    def note(self, text: str) -> None:
        """Remember something that the summary should say, once."""
        if text not in self.notes:
            self.notes.append(text)

    def add_words(self, text: str) -> None:
        """Remember what its plugins have printed at the end."""
        self.words = "\n".join(part for part in (self.words, text.strip("\n")) if part)

    def account(self) -> Account:
        """What it did as plain data, which can go from one process to another."""
        environment = self.environment
        return {
            "name": self.name,
            "asked": redact(self.spec.asked_for()),
            "key": environment.key if environment else None,
            "path": str(environment.path) if environment else None,
            "python": environment.version if environment else self.spec.python,
            "requirements": [redact(text) for text in self.spec.requirements],
            "packages": dict(environment.packages) if environment else {},
            "provisioned": environment.provisioned if environment else "failed",
            "seconds": environment.seconds if environment else 0.0,
            "why": environment.why if environment else "",
            "resolved": environment.resolved if environment else None,
            "error": self.error,
            "exit_code": int(self.exit_code),
            "notes": list(self.notes),
            "words": self.words,
            "tests": dict(self.tests),
        }


def united(accounts: Iterable[Account]) -> list[Account]:
    """One account for each environment, from those of several processes."""
    found: dict[tuple[str, str], Account] = {}
    for account in accounts:
        identity = (account["name"], account["asked"])
        found[identity] = _both(found[identity], account) if identity in found else account
    return list(found.values())


# Of what processes say of one environment, the later word here tells more.
_TELLING = ("failed", "cached", "built", "ephemeral")


def _told(account: Account) -> tuple[int, float]:
    return _TELLING.index(account["provisioned"]), account["seconds"]


def _both(one: Account, other: Account) -> Account:
    first = max(one, other, key=_told)
    return {
        **first,
        "why": one["why"] or other["why"],
        "error": one["error"] or other["error"],
        "exit_code": max(one["exit_code"], other["exit_code"]),
        "notes": list(dict.fromkeys([*one["notes"], *other["notes"]])),
        "words": "\n".join(filter(None, [one["words"], other["words"]])),
        "tests": {**one["tests"], **other["tests"]},
    }


def _outcomes(account: Account) -> dict[str, int]:
    """How many tests ended how."""
    counts = Counter(account["tests"].values())
    return {outcome: counts[outcome] for outcome in _GRAVITY if counts[outcome]}


def header(declarations: Declarations, cache: Path) -> str:
    """The line of the session's header."""
    names = ", ".join(declarations.names)
    return f"isoenv: {f'declared {names}; ' if names else ''}cache {cache}"


def summarize(
    terminal: pytest.TerminalReporter, accounts: Sequence[Account], verbosity: int
) -> None:
    """Write what the terminal says of environments at the end, where there is something to say."""
    if verbosity >= 0 and accounts:
        terminal.write_sep("=", "environments")
        for account in accounts:
            for line in _lines(account, verbosity):
                terminal.write_line(line)
    for account in accounts:
        if account["words"]:
            terminal.write_sep("=", f"plugins in {account['name']}")
            terminal.write_line(account["words"])


def _lines(account: Account, verbosity: int) -> Iterable[str]:
    """What it says of one environment."""
    name = account["name"]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in _outcomes(account).items())
    python = f"Python {account['python'] or 'of the host'}"
    parts = [f"{name}: {python}", account["asked"], _how(account)]
    yield "; ".join([*parts, counts] if counts else parts)
    if account["why"]:
        yield f"  rebuilding {name}: {account['why']}"
    if account["path"] is not None and verbosity > 0:
        yield f"  key {account['key']}, path {account['path']}"
        packages = account["packages"].items()
        yield f"  packages {', '.join(f'{package} {version}' for package, version in packages)}"
        if account["resolved"] is not None:
            yield f"  resolved {_spans.ago(account['resolved'])}"
    for note in account["notes"]:
        yield f"  {note}"


def _how(account: Account) -> str:
    how = account["provisioned"]
    if how == "failed":
        return "not provisioned"
    how = how if how == "cached" else f"{how} in {account['seconds']:.1f} s"
    resolved = account["resolved"]
    if resolved is None or not _spans.is_old(resolved):
        return how
    return f"{how}, resolved {_spans.ago(resolved)}"


def write_report(path: Path, accounts: Iterable[Account]) -> None:
    """Write the report for machines; its form is in the reference documentation."""
    environments = [{**account, "outcomes": _outcomes(account)} for account in accounts]
    write_json(path, {"version": 1, "environments": environments})
