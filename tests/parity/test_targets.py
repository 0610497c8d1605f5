"""A suite with every kind of report, on every Python and pytest that environments may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import kitchen_sink
from tests.parity.compare import Kitchen, difference, pythons

NEWEST = "newest"
FEW = [("3.13", NEWEST)]
ALL = [
    *FEW,
    ("3.8", "7.0.1"),
    ("3.8", "8.3.5"),
    ("3.9", "7.4.4"),
    ("3.9", NEWEST),
    ("3.10", "7.0.1"),
    ("3.10", "8.0.2"),
    ("3.11", "8.4.2"),
    ("3.12", "7.4.4"),
    ("3.12", NEWEST),
    ("3.13", "8.4.2"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "version" in metafunc.fixturenames:
        few = metafunc.config.getoption("--parity") == "few"
        metafunc.parametrize(("python", "version"), FEW if few else ALL)


@pytest.mark.network
def test_marked_and_in_env_a_suite_gives_what_plain_pytest_gives_there(
    tmp_path: Path, python: str, version: str, fields: dict[str, Any]
) -> None:
    if python not in pythons():
        pytest.skip(f"no Python {python} on this machine")
    wanted = "pytest" if version == NEWEST else f"pytest=={version}"
    declared = {"python": pythons()[python], "dependencies": [wanted], **fields}
    kitchen = Kitchen(tmp_path, None, json.dumps(declared))
    kitchen_sink.write(kitchen.directory)
    options = ("--flavour=bitter", "-vv", "--doctest-modules")
    collected_here = kitchen.isolated(*options)
    collected_there = kitchen.isolated(*options, "--in-env=here")
    plain = kitchen.plain(*options)
    assert f"Python {python}." in plain.output
    assert len(plain.by_test) > 60
    for isolated in (collected_here, collected_there):
        assert f"here: Python {python}." in isolated.output
        assert list(isolated.by_test) == list(plain.by_test), isolated.output
    found = difference(plain.lines, collected_there.lines)
    assert not found, found
    # Where the host collects, what -k looks at is what its own pytest says.
    there, here = (
        [line for line in told.lines if " items: names " not in line]
        for told in (plain, collected_here)
    )
    found = difference(there, here)
    assert not found, found
