"""The page of the documentation: its tables and its picture are what the JSON beside it says."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import picture, results, table
from tests.benchmarks.results import Results

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "speed.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def measured(found: Results) -> str:
    """What stands between the page's marks."""
    return "\n".join(
        [
            "![Seconds that each tool takes, by job](speed.svg)\n",
            table.versions(found) + "\n",
            "### Goals\n",
            table.goals(found),
            "### Medians\n",
            table.samples(found),
        ]
    )


def shown(page: Path = PAGE) -> str:
    """What stands there now."""
    return page.read_text().partition(BEGIN)[2].partition(END)[0]


def known(page: Path = PAGE) -> Results | None:
    """What was measured before, if anything was."""
    file = page.with_suffix(".json")
    return results.read(file) if file.is_file() else None


def write(found: Results, page: Path = PAGE) -> None:
    """Replace it, and the JSON and the picture beside it."""
    text = page.read_text()
    page.write_text(text.replace(BEGIN + shown(page) + END, BEGIN + measured(found) + END))
    results.write(found, page.with_suffix(".json"))
    page.with_suffix(".svg").write_text(picture.svg(found))
