"""Markers: what a test declares is where it runs."""

from __future__ import annotations

import pytest


def test_a_marked_test_runs_with_the_version_it_declares(pytester, run):
    pytester.makepyfile(
        """
        import pytest, sys

        @pytest.mark.env("lib==1.0")
        def test_it():
            import lib
            assert lib.__version__ == "1.0"
            assert "pytest-isoenv" in sys.prefix
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.tests == {"test_a_marked_test_runs_with_the_version_it_declares.py::test_it": "passed"}
    assert outcome.environments["lib-1.0"]["packages"]["lib"] == "1.0"


def test_several_marks_are_variants_with_their_id_in_the_node_id(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        @pytest.mark.parametrize("case", ["a", "b"])
        def test_it(case, request):
            import lib
            assert request.node.name == f"test_it[{case}]"
            print(lib.__version__)
        """
    )
    outcome = run("-v")
    outcome.assert_outcomes(passed=4)
    assert outcome.environments["old"]["tests"] == {
        "test_it.py::test_it[old-a]": "passed",
        "test_it.py::test_it[old-b]": "passed",
    }
