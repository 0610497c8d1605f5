"""``isoenv pytest``: pytest with this plugin there before anything else."""

from __future__ import annotations

import pytest

from tests import alike
from tests.alike import Pair, comparable

# From pytest 9.2 on, this stops a host that has no such module before it asks any plugin.
INI = """
    [pytest]
    filterwarnings =
        error
        ignore::pytest_there.ThereWarning
"""
TEST = """
    import warnings
    import pytest_there

    def test_ignored():
        warnings.warn("one of these", pytest_there.ThereWarning)

    def test_raised():
        warnings.warn("another")
"""


@pytest.fixture
def suite(tmp_path, wheels):
    alike.add_plugin(wheels)
    pair = Pair(tmp_path, {"pytest.ini": INI, "test_it.py": TEST})
    pair.start = ["-m", "pytest_isoenv", "pytest"]
    return pair


def test_a_filter_may_name_what_only_the_environment_has_after_one_that_makes_errors(suite):
    isolated = suite.isolated([])
    assert comparable(isolated) == comparable(suite.plain([]))
    assert "FAILED test_it.py::test_raised - UserWarning: another" in isolated
    assert "1 failed, 1 passed" in isolated
