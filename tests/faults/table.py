"""The table of what faults do at which step, as text and as a page of the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from pytest_isoenv._steps import Step
from tests.faults.child import STRIKES
from tests.faults.kills import Killed
from tests.faults.walk import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cache-faults.md"
_BEGIN, _END = "<!-- table -->", "<!-- end of the table -->"


def rows(outcomes: Iterable[Outcome]) -> list[list[str]]:
    """For each step, how the jobs ended that were struck there, by fault; the first row names."""
    found: dict[str, dict[str, Counter[str]]] = {step: {} for step in get_args(Step)}
    for outcome in outcomes:
        point = outcome.point
        endings = found[point.step].setdefault(point.fault, Counter())
        endings["WRONG" if outcome.wrong else outcome.ending] += 1
    table = [["step", *STRIKES]]
    for step, faults in found.items():
        table.append([step, *(_cell(faults.get(fault, Counter())) for fault in STRIKES)])
    return table


def _cell(endings: Counter[str]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))


def text(outcomes: list[Outcome]) -> str:
    lines = [_line(row) for row in rows(outcomes)]
    lines.insert(1, "|---" * (len(STRIKES) + 1) + "|")
    points = {(o.point.job.name, o.point.step, o.point.nth) for o in outcomes}
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    lines += [
        "",
        f"{len(outcomes)} faults at {len(points)} points, {wrong} with a wrong end.",
    ]
    return "\n".join(lines)


def _line(row: Iterable[str]) -> str:
    return "| " + " | ".join(row) + " |"


def write(outcomes: list[Outcome], killed: Killed) -> None:
    """Put the table into the page, between its two comments."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = f"{_BEGIN}\n{text(outcomes)}\n\n{killed}\n{_END}"
    PAGE.write_text(before + table + after, encoding="utf-8")


def written() -> list[list[str]]:
    """The rows that the page has."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    table, _, _ = rest.partition(_END)
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
