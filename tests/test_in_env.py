"""``--in-env``: environments collect and run what the host need not even be able to import."""

from __future__ import annotations

import sys

import pytest

YAML = """
    environments:
      old: {dependencies: [lib==1.0]}
      new: {dependencies: [lib==2.0]}
"""
# The host has no lib: neither this conftest.py nor this module can be imported there.
CONFTEST = """
    import lib
    import pytest

    def pytest_addoption(parser):
        parser.addoption("--flavour", default="plain")

    @pytest.fixture(scope="session")
    def version():
        return lib.__version__
"""
SUITE = """
    import lib
    import pytest
    import unittest

    @pytest.mark.parametrize("case", ["a", "b"])
    def test_old(version, case):
        assert version == "1.0"

    @pytest.mark.quick
    class TestGroup:
        def test_flavour(self, request):
            print("flavour", request.config.getoption("--flavour"))

    class TestUnit(unittest.TestCase):
        @unittest.skip("not today")
        def test_skipped(self): pass

    @pytest.mark.xfail(reason="known", strict=True)
    def test_known(): assert 0
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    pytester.makefile(".yaml", isoenv=YAML)
    pytester.makeini("[pytest]\nmarkers = quick: fast ones")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=SUITE)


@pytest.mark.usefixtures("suite")
def test_a_suite_that_the_host_cannot_import_runs_in_one_environment_under_its_plain_ids(run):
    outcome = run("--in-env", "old")
    outcome.assert_outcomes(passed=3, skipped=1, xfailed=1)
    assert outcome.ret == 0
    assert outcome.tests == {
        "test_it.py::test_old[a]": "passed",
        "test_it.py::test_old[b]": "passed",
        "test_it.py::TestGroup::test_flavour": "passed",
        "test_it.py::TestUnit::test_skipped": "skipped",
        "test_it.py::test_known": "xfailed",
    }


@pytest.mark.usefixtures("suite")
def test_all_runs_it_in_every_declared_environment_and_last_failed_only_what_failed_where(run):
    outcome = run("--in-env=all")
    outcome.assert_outcomes(passed=4, failed=2, skipped=2, xfailed=2)
    assert outcome.environments["new"]["tests"]["test_it.py::test_old[new-a]"] == "failed"
    again = run("--in-env=all", "--lf")
    assert again.tests == {
        "test_it.py::test_old[new-a]": "failed",
        "test_it.py::test_old[new-b]": "failed",
    }


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize(
    ("args", "ids"),
    [
        (["-k", "old-a"], ["test_old[old-a]"]),
        (["-k", "new and flavour"], ["TestGroup::test_flavour[new]"]),
        (["-m", "quick"], ["TestGroup::test_flavour[old]", "TestGroup::test_flavour[new]"]),
        (["test_it.py::test_old[new-b]"], ["test_old[new-b]"]),
        (["test_it.py::test_known"], ["test_known[old]", "test_known[new]"]),
        (["-k", "known", "--deselect=test_it.py::test_known[old]"], ["test_known[new]"]),
    ],
    ids=str,
)
def test_selection_goes_by_the_ids_that_the_host_shows(run, args, ids):
    outcome = run("--in-env=old", "--in-env=new", *args)
    assert list(outcome.tests) == [f"test_it.py::{nodeid}" for nodeid in ids]


@pytest.mark.usefixtures("suite")
def test_collect_only_shows_the_environments_tree_and_runs_nothing(run):
    outcome = run("--in-env=old", "--collect-only")
    outcome.stdout.fnmatch_lines(
        [
            "*<Module test_it.py>",
            "*<Function test_old?a?>",
            "*<Function test_old?b?>",
            "*<Class TestGroup>",
            "*<Function test_flavour>",
            "*<UnitTestCase TestUnit>",
            "*<TestCaseFunction test_skipped>",
            "*5 tests collected*",
        ]
    )
    assert outcome.tests == {}


@pytest.mark.usefixtures("suite")
@pytest.mark.parametrize("option", [["--flavour=sweet"], ["--flavour", "sweet"]], ids=str)
def test_options_that_only_the_environments_conftest_knows_are_passed_on(run, option):
    outcome = run("--in-env=old", "-rP", *option)
    outcome.stdout.fnmatch_lines(["flavour sweet"])


@pytest.mark.usefixtures("suite")
def test_an_option_that_nobody_knows_is_a_usage_error_as_in_plain_pytest(run):
    outcome = run("--in-env=old", "--flavor=sweet")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --flavor=sweet" in outcome.stderr.str()


def test_a_requirement_makes_an_environment_of_the_base_and_it(pytester, run):
    pytester.makepyfile(test_it="import lib\ndef test_it(): assert lib.__version__ == '1.1'")
    outcome = run("--in-env=lib==1.1")
    outcome.assert_outcomes(passed=1)
    assert list(outcome.environments) == ["lib-1.1"]


def test_an_unknown_name_is_a_usage_error_that_lists_the_declared(pytester, run, suite):
    outcome = run("--in-env=nwe")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "'nwe' is not a declared environment; declared are: new, old" in outcome.stderr.str()


@pytest.mark.parametrize(
    ("name", "why"), [("all", "no environment is declared"), ("host", "without the option")]
)
def test_what_names_no_environment_is_a_usage_error(pytester, run, name, why):
    pytester.makepyfile(test_it="def test_it(): pass")
    outcome = run(f"--in-env={name}")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--in-env {name}: " in outcome.stderr.str()
    assert why in outcome.stderr.str()


@pytest.mark.usefixtures("suite")
def test_marked_tests_of_the_suite_run_where_their_marks_say_once(pytester, run):
    pytester.makepyfile(
        test_marked="""
        import lib
        import pytest

        @pytest.mark.env("lib==1.1")
        def test_marked(): assert lib.__version__ == "1.1"
        """
    )
    outcome = run("--in-env=all", "-k", "marked")
    assert outcome.tests == {"test_marked.py::test_marked": "passed"}
    assert outcome.environments["lib-1.1"]["tests"] == outcome.tests


def test_collection_errors_are_reported_as_plain_pytest_reports_them(pytester, run):
    pytester.makepyfile(test_bad="import absent", test_good="import lib\ndef test_it(): pass")
    outcome = run("--in-env=lib==1.0")
    outcome.assert_outcomes(errors=1)
    assert outcome.ret == pytest.ExitCode.INTERRUPTED
    outcome.stdout.fnmatch_lines(["*ERROR collecting test_bad.py*", "*No module named 'absent'"])
    outcome = run("--in-env=lib==1.0", "--continue-on-collection-errors")
    outcome.assert_outcomes(errors=1, passed=1)


@pytest.mark.usefixtures("suite")
def test_an_environment_that_cannot_be_had_is_an_error_while_the_others_run(run):
    outcome = run("--in-env=old", "--in-env=lib==99")
    outcome.assert_outcomes(passed=3, skipped=1, xfailed=1, errors=1)
    assert outcome.ret == pytest.ExitCode.TESTS_FAILED
    outcome.stdout.fnmatch_lines(["*ERROR at setup of environment?lib-99?*", "*no version of lib*"])


def test_a_usage_error_there_is_one_here(pytester, run):
    pytester.makeconftest("import absent")
    pytester.makepyfile(test_it="def test_it(): pass")
    outcome = run("--in-env=lib==1.0")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "No module named 'absent'" in outcome.stderr.str()


def test_an_internal_error_while_collecting_there_is_one_here(pytester, run):
    pytester.makeconftest("def pytest_collection_modifyitems(): import absent")
    pytester.makepyfile(test_it="def test_it(): pass")
    outcome = run("--in-env=lib==1.0")
    assert outcome.ret == pytest.ExitCode.INTERNAL_ERROR
    outcome.stdout.fnmatch_lines(["INTERNALERROR> *No module named 'absent'"])
    outcome = run("--in-env=lib==1.0", "--in-env=lib==2.0")
    outcome.assert_outcomes(errors=2)


@pytest.mark.parametrize(
    ("hook", "passed"),
    [("pytest_collection_finish(session)", 0), ("pytest_runtest_logfinish(nodeid)", 1)],
    ids=["before the first test", "between tests"],
)
def test_an_internal_error_later_there_ends_the_run_as_it_ends_plain_pytest(
    pytester, run, hook, passed
):
    pytester.makeconftest(
        f"""
        import sys

        def {hook}:
            if "pytest-isoenv" in sys.prefix or "--in-env=lib==1.0" not in sys.argv:
                raise LookupError("a hook that breaks")
        """
    )
    pytester.makepyfile(test_it="def test_one(): pass\n\ndef test_two(): pass\n")
    plain = pytester.runpytest_subprocess("-p", "no:xdist")
    there = run("--in-env=lib==1.0")
    for outcome in (plain, there):
        assert outcome.ret == pytest.ExitCode.INTERNAL_ERROR
        outcome.stdout.fnmatch_lines(["INTERNALERROR> *LookupError: a hook that breaks"])
        assert outcome.parseoutcomes().get("passed", 0) == passed, outcome.stdout.str()
        assert "error" not in outcome.parseoutcomes()


def test_keywords_are_what_the_environments_pytest_takes_for_keywords(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.parametrize("case", ["a"])
        def test_parameters(case): pass

        def test_attribute(): pass
        test_attribute.mark_of_its_own = 1
        """
    )
    # From pytest 9.2 on, -k does not find what is only the attribute "pytestmark".
    plain = pytester.runpytest_subprocess("-k", "mark").parseoutcomes()
    there = run("--in-env=lib==1.0", "-k", "mark").parseoutcomes()
    assert plain["passed"] == there["passed"] == 2 - ("deselected" in plain)


def test_an_item_of_a_plugin_says_itself_where_it_stands(pytester, run):
    pytester.makeconftest(
        """
        import pytest

        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".num":
                return Numbers.from_parent(parent, path=file_path)

        class Numbers(pytest.File):
            def collect(self):
                yield Number.from_parent(self, name="three")

        class Number(pytest.Item):
            def runtest(self):
                assert 3 == 4
            def reportinfo(self):
                return self.path, 2, "number 3"
        """
    )
    pytester.makefile(".num", data="3")
    run("--in-env=lib==1.0").stdout.fnmatch_lines(["*__ number 3 __*"])
    run("--in-env=lib==1.0", "--in-env=lib==2.0").stdout.fnmatch_lines_random(
        ["*__ number 3 three?lib-1.0? __*", "*__ number 3 three?lib-2.0? __*"]
    )


def test_python_m_pytest_is_the_main_module_there_too(pytester):
    pytester.makepyfile(
        test_it="""
        import sys

        def test_it():
            main = sys.modules["__main__"]
            assert main.__spec__.name == "pytest.__main__"
            assert main.__file__ == sys.argv[0] == main.__spec__.origin
            assert main.__package__ == "pytest"
        """
    )
    pytester.run(sys.executable, "-m", "pytest", "-p", "no:xdist").assert_outcomes(passed=1)
    command = ["-m", "pytest", "-p", "no:xdist", "--in-env=lib==1.0"]
    pytester.run(sys.executable, *command).assert_outcomes(passed=1)


def test_no_tests_is_the_exit_code_of_no_tests(pytester, run):
    pytester.makepyfile(test_it="import lib")
    assert run("--in-env=lib==1.0").ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.usefixtures("suite")
def test_a_crash_fails_its_test_and_the_rest_runs_in_a_fresh_worker(pytester, run):
    pytester.makepyfile(
        test_crash="""
        import lib, os
        def test_before(): pass
        def test_crash(): os._exit(3)
        def test_after(): pass
        """
    )
    outcome = run("--in-env=old", "test_crash.py")
    outcome.assert_outcomes(passed=2, failed=1)
    outcome.stdout.fnmatch_lines(["*exited with code 3 while it ran test_crash.py::test_crash"])


@pytest.mark.usefixtures("suite")
def test_more_environments_than_jobs_collect_and_run(run):
    outcome = run("--in-env=all", "--in-env=lib==1.1", "--env-jobs=1")
    assert [len(env["tests"]) for env in outcome.report["environments"]] == [5, 5, 5]


# A marked file that the host cannot import

MARKED = """
    import lib
    import pytest

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.env("lib==2.0", id="new")
    class TestIt:
        @pytest.mark.parametrize("case", ["a"])
        def test_old(self, case): assert lib.__version__ == "1.0"

    @pytest.mark.env("lib==2.0", id="new")
    def test_new(): assert lib.__version__ == "2.0"
"""


def test_a_marked_file_that_the_host_cannot_import_is_collected_where_it_can_be(pytester, run):
    pytester.makepyfile(test_it=MARKED)
    outcome = run()
    assert outcome.tests == {
        "test_it.py::TestIt::test_old[old-a]": "passed",
        "test_it.py::TestIt::test_old[new-a]": "failed",
        "test_it.py::test_new": "passed",
    }


def test_its_tests_can_be_named_on_the_command_line(pytester, run):
    pytester.makepyfile(test_it=MARKED)
    assert run("test_it.py::TestIt::test_old[old-a]").tests == {
        "test_it.py::TestIt::test_old[old-a]": "passed"
    }


def test_its_unmarked_tests_fail_with_the_error_that_the_host_has(pytester, run):
    pytester.makepyfile(test_it=MARKED + "\n    def test_unmarked(): pass\n")
    outcome = run("-k", "unmarked or new")
    outcome.assert_outcomes(passed=1, failed=2)
    outcome.stdout.fnmatch_lines(["it names no environment*", "*No module named 'lib'"])


def test_a_file_with_an_error_of_its_own_stays_a_collection_error(pytester, run):
    pytester.makepyfile(test_it="import lib\nimport absent\n" + "def test_it(): pass")
    outcome = run()
    outcome.assert_outcomes(errors=1)
    assert outcome.ret == pytest.ExitCode.INTERRUPTED


def test_where_tests_run_by_default_the_host_need_not_import_them(pytester, run):
    pytester.makefile(".yaml", isoenv=f"{YAML}\n    default: old\n")
    pytester.makepyfile(test_it="import lib\ndef test_it(): assert lib.__version__ == '1.0'")
    run().assert_outcomes(passed=1)


MANY = "environments:\n" + "".join(
    f"  each-{number}: {{dependencies: [lib==1.0], env: {{NUMBER: '{number}'}}}}\n"
    for number in range(1, 5)
)
SESSIONS = """
import os

def say(what):
    with open(f"said-{os.environ['NUMBER']}.txt", "a") as file:
        print(what, file=file)

def pytest_sessionstart(): say("start")
def pytest_sessionfinish(session): say(f"finish {session.testscollected}")
def pytest_terminal_summary(terminalreporter): terminalreporter.write_line("words of a plugin")
"""


def test_few_workers_wait_while_others_collect(pytester, run):
    pytester.makefile(".yaml", isoenv=MANY)
    pytester.makeconftest(SESSIONS)
    pytester.makepyfile(test_it="def test_one(): pass\ndef test_two(): pass")
    outcome = run("--in-env", "all", "--env-jobs", "1", "-v")
    outcome.assert_outcomes(passed=8)
    said = [path.read_text().split("\n") for path in sorted(pytester.path.glob("said-*.txt"))]
    plain = ["start", "finish 2", ""]
    # Those beyond two for each job ended when they had collected, and others ran the tests.
    assert said == [plain, plain, ["start", "finish 0", *plain], ["start", "finish 0", *plain]]
    assert str(outcome.stdout).count("words of a plugin") == 4


def test_of_those_that_ended_nobody_returns_who_has_nothing_to_run(pytester, run):
    pytester.makefile(".yaml", isoenv=MANY)
    pytester.makeconftest(SESSIONS)
    pytester.makepyfile(test_it="def test_one(): pass\ndef test_two(): pass")
    outcome = run("--in-env", "all", "--env-jobs", "1", "-k", "each-1 or each-4 and two")
    outcome.assert_outcomes(passed=3, deselected=5)
    last = (pytester.path / "said-3.txt").read_text()
    assert last == "start\nfinish 0\n"
