"""The page of the documentation that shows the suites, written by ``--parity=write``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tests.parity.suites import Comparison, Suite

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "parity.md"
#: The name of the property by which a test hands on its row.
PROPERTY = "parity row"
BEGIN, END = "<!-- rows: begin -->\n", "<!-- rows: end -->\n"


def title(suite: Suite) -> str:
    """What the first column says."""
    extra = "every kind of report added" if suite.tests else suite.what
    return f"{suite.project} {suite.version}" + (f", {extra}" if extra != "as released" else "")


def row(suite: Suite, comparison: Comparison) -> str:
    """A suite's row of the table."""
    cells = [
        title(suite),
        suite.python,
        suite.pytest,
        f"{len(comparison.plain.events['items']):,}",
        comparison.outcomes,
        str(comparison.plain.events["exit"]),
        str(len(suite.allowed)),
    ]
    return f"| {' | '.join(cells)} |"


def steady(row: str) -> str:
    """A row without its outcomes, which may hang on the machine: some tests skip themselves."""
    cells = row.split("|")
    return "|".join([*cells[:5], *cells[6:]])


def rows() -> list[str]:
    """The rows that the page has."""
    table = _table().splitlines()
    return [line for line in table if re.match(r"\| [a-z]", line)]


def _table() -> str:
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def write(found: Iterable[str], order: Iterable[Suite]) -> None:
    """Replace the page's rows."""
    by_title = {line.split("|")[1].strip(): line for line in found}
    head = ["| Suite | Python | pytest | Tests | Outcomes | Exit code | Differences |"]
    head.append("|---|---|---|---:|---|---:|---:|")
    lines = [by_title[title(suite)] for suite in order if title(suite) in by_title]
    text = "\n".join([*head, *lines]) + "\n"
    PAGE.write_text(PAGE.read_text().replace(BEGIN + _table() + END, BEGIN + text + END))
