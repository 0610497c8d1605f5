"""Pythons that environments ask for: which are found, which are not, and what is said then."""

from __future__ import annotations

import sys

import pytest

from tests.parity.compare import pythons


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_an_interpreter_is_found_by_its_version(pytester, run, python):
    if python not in pythons():
        pytest.skip(f"no Python {python} on this machine")
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.env("lib==1.0", python={python!r}, id="there")
        def test_it():
            import lib, sys
            assert "%d.%d" % sys.version_info[:2] == {python!r}
            assert "pytest-isoenv" in sys.prefix
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["there"]["python"].startswith(f"{python}.")


def test_one_test_on_several_pythons_skips_those_that_are_missing(pytester, run):
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pytester.makepyfile(
        test_it=f"""
        import pytest

        def on(python):
            return pytest.mark.env(
                "lib==1.0", python=python, missing_interpreter="skip", id="py" + python
            )

        @on("{here}")
        @on("3.99")
        def test_it():
            import lib
        """
    )
    outcome = run("-rs")
    outcome.assert_outcomes(passed=1, skipped=1)
    outcome.stdout.fnmatch_lines(["SKIPPED*no Python interpreter for '3.99' was found (found: *"])
    assert outcome.environments[f"py{here}"]["outcomes"] == {"passed": 1}
    assert outcome.environments["py3.99"]["outcomes"] == {"skipped": 1}


@pytest.mark.network
@pytest.mark.slow
def test_a_python_that_the_hosts_pytest_does_not_support_gets_the_newest_that_does(pytester, run):
    if "3.8" not in pythons():
        pytest.skip("no Python 3.8 on this machine")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(python="3.8", id="old")
        def test_it():
            import pytest, sys
            assert sys.version_info[:2] == (3, 8)
            assert pytest.__version__.startswith("8.3.")
        """
    )
    run().assert_outcomes(passed=1)


@pytest.mark.parametrize("python", ["3.7", "2.7"])
def test_a_python_older_than_any_that_a_worker_runs_on_is_no_answer(pytester, run, python):
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.env("lib==1.0", python={python!r})
        def test_it(): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines([f"*no Python interpreter for '{python}' was found*"])
