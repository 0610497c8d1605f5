"""Suites of real projects: the plugin tells what plain pytest tells in the same environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.parity import page
from tests.parity.compare import is_of, pythons
from tests.parity.projects import FEW, SUITES
from tests.parity.suites import Comparison, Place, Suite, compare, sdist


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "suite" in metafunc.fixturenames:
        every = metafunc.config.getoption("--parity") != "few"
        chosen = [suite for suite in SUITES if every or str(suite) in FEW]
        metafunc.parametrize("suite", chosen, ids=str)


@pytest.mark.network
def test_a_suite_gives_what_plain_pytest_gives(
    suite: Suite,
    tmp_path: Path,
    shared_caches: Path,
    record_property: pytest.RecordProperty,
    pytestconfig: pytest.Config,
    fields: dict[str, Any],
) -> None:
    if suite.python not in pythons():
        pytest.skip(f"no Python {suite.python} on this machine")
    place = Place(suite, tmp_path, sdist(suite, shared_caches / "sdists"), fields)
    comparison = compare(place)
    assert comparison.count >= 10 or comparison.plain.events["collection"]
    if place.crash:
        check_crash(comparison, place.crash)
    assert not comparison.unexplained, comparison.unexplained
    assert not comparison.gone, "these differences do not occur any more"
    row = page.row(suite, comparison)
    record_property(page.PROPERTY, row)
    if pytestconfig.getoption("--parity") == "all":
        assert page.steady(row) in map(page.steady, page.rows()), f"{page.PAGE.name} lacks\n{row}"


def check_crash(comparison: Comparison, nodeid: str) -> None:
    """What kills the process fails one test, with the signal; plain pytest has no more to say."""
    crashed = [r for r in comparison.isolated.events["reports"] if is_of(r["id"], nodeid)]
    assert crashed
    for report in crashed:
        assert report["outcome"] == "failed"
        assert f"killed by signal SIGSEGV while it ran {report['id']}" in report["longrepr"]
    assert not any(is_of(r["id"], nodeid) for r in comparison.plain.events["reports"])


@pytest.fixture
def written(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--parity") == "write":
        pytest.skip("the page is being written")


@pytest.mark.usefixtures("written")
def test_the_page_has_a_row_for_each_suite() -> None:
    assert [page.title_of(row) for row in page.rows()] == [page.title(s) for s in SUITES]
    for row, suite in zip(page.rows(), SUITES, strict=True):
        assert row.startswith(page.beginning(suite))
        assert row.endswith(f" {len(suite.allowed)} |")


@pytest.mark.usefixtures("written")
def test_the_page_names_every_difference_that_is_allowed() -> None:
    text = page.PAGE.read_text()
    assert [reason for reason in page.reasons(SUITES) if reason not in text] == []


def test_those_that_always_run_are_among_the_suites() -> None:
    assert set(FEW) <= {str(suite) for suite in SUITES}
    assert len({suite.project for suite in SUITES}) >= 12
    assert len({str(suite) for suite in SUITES}) == len(SUITES)
