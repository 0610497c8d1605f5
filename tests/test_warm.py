"""A run that finds all its environments imports nothing that only building them needs.

Modules are counted, for time cannot be held by a test.
"""

from __future__ import annotations

import importlib.util

import pytest

# What resolves, builds, finds Pythons, reads lock files, cleans up, explains what went wrong, or is
# for pytest-xdist.
OURS = {
    f"pytest_isoenv.{name}"
    for name in [
        "_backends.asked",
        "_backends.conda_commands",
        "_backends.hashes",
        "_backends.pip_report",
        "_backends.records",
        "_backends.uv_commands",
        "_backends.venv_commands",
        "_build",
        "_finish",
        "_hints",
        "_outside",
        "_python_downloads",
        "_python_places",
        "_python_request",
        "_stepping",
        "_upkeep",
        "_wheels",
        "cli",
        "manager",
    ]
}
OF_OTHERS = {
    "packaging.dependency_groups",
    "packaging.pylock",
    "findpython",
    "http",
    "rattler",
    "ssl",
    "uv",
    "xml.sax",
    "yaml",
}
# The worker gets the option, too, and has nothing of ours.
LOOK = """
import sys

def pytest_unconfigure():
    if "pytest_isoenv" in sys.modules:
        with open("modules.txt", "w") as file:
            file.write("\\n".join(sys.modules))
"""


@pytest.fixture
def imported(pytester, run, monkeypatch):
    """What a host has imported when its run is over; of the plugins there are, only ours."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(look=LOOK)

    def imported(*args: str) -> set[str]:
        run("-p", "pytest_isoenv.plugin", "-p", "look", *args).assert_outcomes(passed=1)
        return set(pytester.path.joinpath("modules.txt").read_text().splitlines())

    return imported


def test_what_is_looked_for_exists():
    assert [name for name in OURS if importlib.util.find_spec(name) is None] == []


def test_a_hit_imports_nothing_that_only_a_miss_needs(pytester, imported):
    pytester.makepyprojecttoml("[tool.isoenv.environments]\nold = {dependencies = ['lib==1.0']}")
    pytester.makepyfile("def test_it(): import lib")
    imported("--in-env", "old")  # which may build it
    assert (OURS | OF_OTHERS) & imported("--in-env", "old") == set()
    # The same look finds what a build imports: it is no blind one.
    found = imported("--in-env", "old", "--env-refresh")
    assert found >= {"pytest_isoenv._build", "pytest_isoenv._backends.uv_commands", "uv"}
    assert "pytest_isoenv._backends.venv_commands" not in found


def test_a_hit_for_marked_tests_imports_no_more(pytester, imported):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): import lib
        """
    )
    imported()
    assert (OURS | OF_OTHERS | {"pytest_isoenv._collecting"}) & imported() == set()
