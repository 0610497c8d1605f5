"""Coverage that the host measures is measured in environments, too."""

from __future__ import annotations

import importlib.metadata
import sqlite3
import subprocess
import sys

import pytest

from tests.packages import repack

pytest.importorskip("coverage")

CODE = """
    def of(version):
        if version == "1.0":
            return "old"
        elif version == "2.0":
            return "new"
        return "other"
"""
SUITE = """
    import pytest, code_under_test

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.env("lib==2.0", id="new")
    def test_there():
        import lib
        assert code_under_test.of(lib.__version__) in ("old", "new")

    def test_here():
        assert code_under_test.of("3.0") == "other"
"""


@pytest.fixture
def suite(pytester, wheels):
    repack(importlib.metadata.distribution("coverage"), wheels)
    pytester.makepyfile(code_under_test=CODE, test_it=SUITE)


def contexts(pytester):
    with sqlite3.connect(pytester.path / ".coverage") as data:
        return {context for (context,) in data.execute("select context from context")}


@pytest.mark.slow
def test_each_process_of_a_test_adds_its_lines(pytester, wheels):
    pytest.importorskip("pytest_cov")
    repack(importlib.metadata.distribution("coverage"), wheels)
    declaration = "environments:\n  each: {dependencies: [lib==1.0], isolation: test}\n"
    (pytester.path / "isoenv.yaml").write_text(declaration)
    calls = "def test_one(): of('1.0')\ndef test_two(): of('2.0')\ndef test_three(): of('')\n"
    pytester.makepyfile(code_under_test=CODE, test_it=f"from code_under_test import of\n{calls}")
    options = ("--cov=code_under_test", "--cov-branch", "--cov-report=term-missing")
    result = pytester.runpytest_subprocess("-p", "no:xdist", *options, "--in-env=each")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["code_under_test.py *6 *0 *4 *0 *100%*"])
    assert {f"env:each|test_it.py::test_{n}" for n in ("one", "two")} <= contexts(pytester)


@pytest.mark.slow
@pytest.mark.usefixtures("suite")
def test_pytest_cov_gives_one_report_of_the_host_and_all_environments(pytester):
    pytest.importorskip("pytest_cov")
    options = ("--cov=code_under_test", "--cov-branch", "--cov-report=term-missing")
    result = pytester.runpytest_subprocess("-p", "no:xdist", *options)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["code_under_test.py *6 *0 *4 *0 *100%*"])
    assert "env:old|test_it.py::test_there" in contexts(pytester)
    assert "env:new|test_it.py::test_there" in contexts(pytester)
    alone = pytester.runpytest_subprocess("-p", "no:xdist", *options, "-k", "old")
    alone.stdout.fnmatch_lines(["code_under_test.py * 4-6"])
    whole = pytester.runpytest_subprocess("-p", "no:xdist", *options, "--in-env=lib==1.0")
    assert "CoverageWarning" not in whole.stdout.str() + whole.stderr.str()


@pytest.mark.slow
@pytest.mark.usefixtures("suite")
def test_coverage_run_gives_one_report_as_well(pytester):
    coverage = [sys.executable, "-m", "coverage"]
    run = [*coverage, "run", "--branch", "--source=.", "-m", "pytest", "-p", "no:xdist"]
    assert subprocess.run(run, cwd=pytester.path, check=False).returncode == 0
    shown = subprocess.run(
        [*coverage, "report"], cwd=pytester.path, capture_output=True, text=True, check=True
    )
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("code_under")]
    assert line.endswith("100%")
    assert [path.name for path in pytester.path.glob(".coverage*")] == [".coverage"]


@pytest.mark.usefixtures("suite")
def test_where_coverage_does_not_fit_one_warning_says_so(pytester, wheels):
    pytest.importorskip("pytest_cov")
    from tests.packages import make_wheel

    make_wheel(wheels, "coverage", "4.5")
    pytester.makepyfile(test_it=SUITE.replace('"lib==1.0"', '"lib==1.0", "coverage==4.5"'))
    result = pytester.runpytest_subprocess("-p", "no:xdist", "--cov=code_under_test")
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(["*coverage is not measured in environment 'old': *4.5*"])
