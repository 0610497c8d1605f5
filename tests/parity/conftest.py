"""Gathers the rows that the suites' tests hand on, and shows or writes the table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parity import page
from tests.parity.projects import SUITES


@pytest.fixture
def fields(pytestconfig: pytest.Config) -> dict[str, Any]:
    """What environments declare beside what they are for."""
    declared = dict.fromkeys(pytestconfig.getoption("--parity-with"), True)
    return declared | dict.fromkeys(pytestconfig.getoption("--parity-without"), False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed")
    rows = [value for r in reports for name, value in r.user_properties if name == page.PROPERTY]
    if rows and terminalreporter.config.getoption("--parity") == "write":
        page.write(rows, SUITES)
        terminalreporter.write_line(f"{len(rows)} rows written to {page.PAGE}")
