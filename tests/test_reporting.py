"""Reporting: the header, a line for each environment, the JSON, JUnit XML."""

from __future__ import annotations

import json
import platform
import re
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

TWO = """
    import pytest

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.env("lib==2.0", id="new")
    @pytest.mark.parametrize("case", ["a", "b"])
    def test_it(case):
        import lib
        assert lib.__version__ == "1.0" or case == "a"

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.skip(reason="not today")
    def test_skipped(): pass

    def test_here(): pass
"""


def lines_of(outcome, start: str) -> list[str]:
    return [line for line in outcome.outlines if line.startswith(start)]


def test_the_header_says_what_is_declared_and_where_the_cache_is(pytester, run, shared_caches):
    pytester.path.joinpath("isoenv.yaml").write_text("environments: {old: {}, new: {}}")
    pytester.makepyfile("def test_it(): pass")
    outcome = run()
    cache = shared_caches / "pytest-isoenv"
    assert lines_of(outcome, "isoenv: ") == [f"isoenv: declared old, new; cache {cache}"]


def test_each_environment_has_a_line_with_python_requirements_origin_and_counts(pytester, run):
    pytester.makepyfile(test_it=TWO)
    run()
    outcome = run()
    python = platform.python_version()
    assert lines_of(outcome, "old: ") == [
        f"old: Python {python}; lib==1.0; cached; 2 passed, 1 skipped"
    ]
    assert lines_of(outcome, "new: ") == [
        f"new: Python {python}; lib==2.0; cached; 1 passed, 1 failed"
    ]
    outcome.assert_outcomes(passed=4, failed=1, skipped=1)


def test_a_line_says_whether_the_environment_was_built_in_how_long(pytester, run, own_cache):
    pytester.makepyfile(test_it=TWO)
    outcome = run("-k", "old")
    (line,) = lines_of(outcome, "old: ")
    assert re.search(r"; built in \d+\.\d s; ", line)
    assert lines_of(run("-k", "old"), "old: ")[0].split("; ")[2] == "cached"


def test_a_line_says_that_an_environment_was_ephemeral(pytester, run):
    pytester.makepyfile(test_it=TWO)
    (line,) = lines_of(run("-k", "old", "--env-refresh"), "old: ")
    assert re.search(r"; ephemeral in \d+\.\d s; ", line)


def test_a_line_names_the_project_where_nothing_else_is_asked_for(pytester, run):
    from tests.packages import make_project

    make_project(pytester.path, "project")
    pytester.path.joinpath("isoenv.yaml").write_text("environments: {mine: {project: editable}}")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("mine")
        def test_it():
            import project
        """
    )
    (line,) = lines_of(run(), "mine: ")
    assert "project" in line
    assert "nothing but pytest" not in line


def test_verbosity_adds_the_key_the_path_and_the_packages(pytester, run):
    pytester.makepyfile(test_it=TWO)
    outcome = run("-v", "-k", "old")
    environment = outcome.environments["old"]
    position = outcome.outlines.index(*lines_of(outcome, "old: "))
    key, packages = outcome.outlines[position + 1 : position + 3]
    assert key == f"  key {environment['key']}, path {environment['path']}"
    expected = [f"{name} {version}" for name, version in environment["packages"].items()]
    assert packages == f"  packages {', '.join(expected)}"
    assert "lib 1.0" in packages


def test_verbosity_shows_each_test_under_its_variants_id(pytester, run):
    pytester.makepyfile(test_it=TWO)
    outcome = run("-v")
    outcome.stdout.fnmatch_lines_random(
        [
            "test_it.py::test_it?old-a? PASSED*",
            "test_it.py::test_it?new-b? FAILED*",
            "test_it.py::test_skipped SKIPPED (not today)*",
            "test_it.py::test_here PASSED*",
        ]
    )


def test_quiet_says_nothing_of_environments(pytester, run, own_cache):
    pytester.makepyfile(test_it=TWO)
    outcome = run("-q", "-k", "old")
    outcome.assert_outcomes(passed=2, deselected=4)
    text = outcome.stdout.str()
    assert "isoenv" not in text
    assert "lib==1.0" not in text


def test_a_run_without_environments_says_nothing_of_them(pytester):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(passed=1)
    assert lines_of(result, "isoenv") == []
    assert [line for line in result.outlines if " environments " in line] == []


def test_a_rebuild_says_what_changed(pytester, run, own_cache):
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments: {mine: {dependencies: [lib==1.0]}}"
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("mine")
        def test_it(): pass
        """
    )
    first = run()
    assert lines_of(first, "  rebuilding") == []
    assert first.environments["mine"]["why"] == ""
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments: {mine: {dependencies: [lib==1.1, other==1.0], env: {A: secret}}}"
    )
    second = run()
    assert lines_of(second, "  rebuilding") == [
        "  rebuilding mine: lib 1.0 -> 1.1; other added; variable A added"
    ]
    assert second.environments["mine"]["why"] in lines_of(second, "  rebuilding")[0]


def test_the_json_has_the_fields_of_each_environment(pytester, run, own_cache):
    pytester.makepyfile(test_it=TWO)
    outcome = run()
    report = outcome.report
    assert isinstance(report["environments"], list)
    old, new = outcome.environments["old"], outcome.environments["new"]
    assert {
        "name", "key", "path", "python", "requirements", "packages", "provisioned", "seconds",
        "outcomes", "tests",
    } <= set(old)  # fmt: skip
    assert old["name"] == "old"
    assert old["key"] != new["key"]
    assert Path(old["path"]).parent == own_cache / "v1" / "environments" / old["key"]
    assert old["python"] == platform.python_version()
    assert old["requirements"] == ["lib==1.0"]
    assert old["packages"]["lib"] == "1.0"
    assert old["packages"]["pytest"] == pytest.__version__
    assert old["provisioned"] == "built"
    assert isinstance(old["seconds"], float)
    assert old["seconds"] > 0
    assert old["outcomes"] == {"passed": 2, "skipped": 1}
    assert old["tests"] == {
        "test_it.py::test_it[old-a]": "passed",
        "test_it.py::test_it[old-b]": "passed",
        "test_it.py::test_skipped": "skipped",
    }
    assert new["tests"]["test_it.py::test_it[new-b]"] == "failed"


def test_the_json_knows_every_outcome(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest
        pytestmark = pytest.mark.env("lib==1.0", id="one")

        def test_passed(): pass
        def test_failed(): assert 0
        def test_skipped(): pytest.skip("no")
        @pytest.mark.xfail
        def test_xfailed(): assert 0
        @pytest.mark.xfail
        def test_xpassed(): pass
        def test_error(absent): pass

        @pytest.fixture
        def breaks():
            yield
            raise ValueError
        def test_error_after_a_pass(breaks): pass
        def test_error_after_a_failure(breaks): assert 0
        """
    )
    environment = run().environments["one"]
    assert environment["tests"] == {
        f"test_it.py::test_{name}": name.partition("_")[0]
        for name in (
            *("passed", "failed", "skipped", "xfailed", "xpassed"),
            *("error", "error_after_a_pass", "error_after_a_failure"),
        )
    }
    assert environment["outcomes"] == {
        "passed": 1, "failed": 1, "skipped": 1, "xfailed": 1, "xpassed": 1, "error": 3
    }  # fmt: skip


def test_the_json_is_written_where_the_command_line_says(pytester):
    pytester.makepyfile("def test_it(): pass")
    pytester.mkdir("sub")
    result = pytester.runpytest_subprocess("--env-report=sub/out.json")
    assert result.ret == 0
    report = json.loads(pytester.path.joinpath("sub", "out.json").read_text())
    assert report["environments"] == []


def test_junit_xml_carries_the_environment_of_each_test_case(pytester, run):
    pytester.makepyfile(test_it=TWO)
    run("--junitxml=out.xml")
    found = {}
    for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase"):
        properties = case.findall("properties/property[@name='environment']")
        found[case.get("name")] = [entry.get("value") for entry in properties]
    assert found == {
        "test_here": [],
        "test_it[old-a]": ["old"],
        "test_it[old-b]": ["old"],
        "test_it[new-a]": ["new"],
        "test_it[new-b]": ["new"],
        "test_skipped": ["old"],
    }


# What a conftest.py does with reports of tests that have passed, and what it hears on the host.
CONFTESTS = {
    "nothing": ("", "setup - passed, call - passed, teardown - passed"),
    "an attribute": (
        """
        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport():
            report = (yield).get_result()
            if report.when == "call":
                report.mark = "liked"
        """,
        "setup - passed, call liked passed, teardown - passed",
    ),
    "a form of its own": (
        """
        def pytest_report_to_serializable(report):
            return {**report._to_json(), "mark": "sent", "$report_type": "TestReport"}
        """,
        "setup sent passed, call sent passed, teardown sent passed",
    ),
    "a reader of its own": (
        """
        def pytest_report_from_serializable(data):
            if data["$report_type"] == "TestReport" and data["when"] == "call":
                return pytest.TestReport._from_json({**data, "mark": "read"})
        """,
        "setup - passed, call read passed, teardown - passed",
    ),
    "a name": (
        """
        def pytest_report_teststatus(report):
            if report.when == "call":
                return "failed", "L", "LIKED"
        """,
        "setup - passed, call - passed, teardown - passed",
    ),
}


LISTENER = """
    import os, pytest

    def pytest_runtest_logreport(report):
        if os.environ.get("PYTEST_ISOENV_RUN") is None:
            mark = getattr(report, "mark", "-")
            assert report.user_properties == [("environment", "lib-1.0")]
            assert set(report.keywords) >= {"test_it", "env", "test_it.py"}
            assert report.stop >= report.start > 0
            with open("heard", "a") as file:
                print(report.when, mark, report.outcome, file=file)
"""


@pytest.mark.parametrize("what", CONFTESTS)
def test_plugins_have_their_say_on_reports_of_tests_that_have_passed(pytester, run, what):
    code, heard = CONFTESTS[what]
    pytester.makeconftest(textwrap.dedent(LISTENER) + textwrap.dedent(code))
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """
    )
    outcome = run()
    assert pytester.path.joinpath("heard").read_text().splitlines() == heard.split(", ")
    count = "1 failed" if what == "a name" else "1 passed"
    (line,) = lines_of(outcome, "lib-1.0: ")
    assert line.endswith(f"; {count}")
    assert re.search(rf"=+ {count} in ", outcome.outlines[-1])


def test_credentials_never_show(pytester, run, monkeypatch, index, own_cache):
    secret = index.url.replace("://", "://user:secret@")
    monkeypatch.setenv("UV_DEFAULT_INDEX", secret)
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_good(): pass

        @pytest.mark.env("broken-needs==1.0")
        def test_bad(): pass

        """
    )
    outcome = run("-vv")
    outcome.assert_outcomes(passed=1, errors=1)
    text = outcome.stdout.str() + outcome.stderr.str()
    text += pytester.path.joinpath("report.json").read_text()
    kept = [file for file in own_cache.rglob("*") if file.suffix in (".json", ".toml", ".in")]
    assert kept
    text += "".join(file.read_text() for file in kept)
    assert "secret" not in text


def test_a_usage_error_shows_no_credentials(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib=> @ http://user:secret@host.invalid/lib.zip")
        def test_it(): pass
        """
    )
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "host.invalid" in outcome.stderr.str()
    assert "secret" not in outcome.stderr.str() + outcome.stdout.str()


def test_tests_of_environments_and_of_the_host_count_together(pytester, run):
    pytester.makepyfile(test_it=TWO)
    outcome = run("--durations=0", "-vv")
    outcome.stdout.fnmatch_lines(["*s call *test_it.py::test_it?old-a?"])
    outcome.stdout.fnmatch_lines(["*1 failed, 4 passed, 1 skipped in *"])


def test_building_is_said_once_for_each_environment(pytester, run, own_cache):
    pytester.makepyfile(test_it=TWO)
    outcome = run()
    assert sorted(lines_of(outcome, "isoenv: building")) == [
        "isoenv: building new (lib==2.0)",
        "isoenv: building old (lib==1.0)",
    ]
    assert lines_of(run(), "isoenv: building") == []
