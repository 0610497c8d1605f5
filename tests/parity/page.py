"""The page of the documentation that shows the suites, written by ``--parity=write``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.parity.suites import Comparison, Suite

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "parity.md"
#: The name of the property by which a test hands on its row.
PROPERTY = "parity row"
BEGIN, END = "<!-- rows: begin -->\n", "<!-- rows: end -->\n"


def title(suite: Suite) -> str:
    """What the first column says."""
    extras = [suite.what] if suite.what != "as released" else []
    extras += ["every kind of report added"] if suite.tests else []
    return ", ".join([f"{suite.project} {suite.version}", *extras])


def title_of(row: str) -> str:
    """What the first column of a row says."""
    return row.split("|")[1].strip()


def beginning(suite: Suite) -> str:
    """Of a suite's row, what is known without running it."""
    return f"| {title(suite)} | {suite.python} | {suite.pytest} |"


def row(suite: Suite, comparison: Comparison) -> str:
    """A suite's row of the table."""
    cells = [
        f"{comparison.count:,}",
        comparison.outcomes,
        str(comparison.plain.events["exit"]),
        str(len(suite.allowed)),
    ]
    return f"{beginning(suite)} {' | '.join(cells)} |"


def steady(row: str) -> str:
    """A row without its outcomes, which depend on the machine: some tests skip themselves."""
    cells = row.split("|")
    return "|".join([*cells[:5], *cells[6:]])


def rows() -> list[str]:
    """The rows that the page has."""
    table = _table().splitlines()
    return [line for line in table if re.match(r"\| [a-z]", line)]


def _table() -> str:
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def reasons(suites: Iterable[Suite]) -> list[str]:
    """Every difference that is allowed, as the page lists them."""
    every = Counter(allowed.why for suite in suites for allowed in suite.allowed)
    return [f"- In {count} of the suites: {why}." for why, count in every.items()]


def write(found: Iterable[str], suites: Sequence[Suite]) -> None:
    """Replace the rows of these suites, and the differences below the table."""
    by_title = {title_of(line): line for line in [*rows(), *found]}
    head = ["| Suite | Python | pytest | Tests | Outcomes | Exit code | Differences |"]
    head.append("|---|---|---|---:|---|---:|---:|")
    lines = [by_title[title(suite)] for suite in suites if title(suite) in by_title]
    text = "\n".join([*head, *lines, "", *reasons(suites)]) + "\n"
    PAGE.write_text(PAGE.read_text().replace(BEGIN + _table() + END, BEGIN + text + END))
