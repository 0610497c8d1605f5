"""Failures: each is said on exactly the tests concerned; everything else goes on."""

from __future__ import annotations

import socket

import pytest

from tests.packages import make_project

PASSES = """
    @pytest.mark.env("lib==1.0", id="good")
    def test_good():
        import lib
"""


def with_good(pytester, bad: str, **files: str) -> None:
    """A test file with one test in a working environment, one here, and what ``bad`` has."""
    pytester.makepyfile(test_it="import pytest\n\ndef test_here(): pass\n", **files)
    path = pytester.path / "test_it.py"
    path.write_text(path.read_text() + _dedent(PASSES) + _dedent(bad))


def _dedent(text: str) -> str:
    import textwrap

    return "\n" + textwrap.dedent(text)


def test_a_missing_interpreter_is_an_error_that_lists_what_is_there(pytester, run):
    with_good(
        pytester,
        """
        @pytest.mark.env("lib==1.0", python="3.99")
        def test_bad(): pass
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_bad*",
            "environment 'lib-1.0+py3.99': no Python interpreter for '3.99' was found "
            "(found: *3.*); install it, name one of these, or set missing-interpreter: skip",
        ]
    )
    assert outcome.environments["lib-1.0+py3.99"]["provisioned"] == "failed"
    assert outcome.environments["lib-1.0+py3.99"]["outcomes"] == {"error": 1}


@pytest.mark.parametrize("python", ["3.99", "bin/no-such-python", "pypy9.9"])
def test_a_missing_interpreter_is_a_skip_where_that_is_declared(pytester, run, python):
    with_good(
        pytester,
        f"""
        @pytest.mark.env("lib==1.0", python={python!r}, missing_interpreter="skip", id="x")
        def test_bad(): pass
        """,
    )
    outcome = run("-rs")
    outcome.assert_outcomes(passed=2, skipped=1)
    outcome.stdout.fnmatch_lines([f"SKIPPED*test_it.py:*no Python interpreter for '{python}'*"])
    assert outcome.ret == 0


def test_requirements_without_a_solution_are_an_error_in_the_installers_words(pytester, run):
    with_good(
        pytester,
        """
        @pytest.mark.env("broken-needs==1.0", id="bad")
        class TestBad:
            def test_one(self): pass
            def test_two(self): pass
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=2)
    text = " ".join(outcome.stdout.str().split())
    assert "No solution found" in text
    assert "lib>=99" in text
    assert "to repeat it: " in text
    assert "uv pip compile" in text
    assert "next step: loosen one of the requirements named above" in text
    assert outcome.environments["bad"]["tests"] == {
        "test_it.py::TestBad::test_one": "error",
        "test_it.py::TestBad::test_two": "error",
    }
    assert outcome.environments["good"]["tests"] == {"test_it.py::test_good": "passed"}


def test_the_command_that_a_failure_names_repeats_it(pytester, run):
    import shlex
    import subprocess

    with_good(
        pytester,
        """
        @pytest.mark.env("no-such-package==1.0")
        def test_bad(): pass
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=1)
    (line,) = [line for line in outcome.outlines if "to repeat it: " in line]
    command = shlex.split(line.partition("to repeat it: ")[2])
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "no-such-package was not found" in again.stderr


def test_a_build_that_fails_is_an_error_in_its_own_words(pytester, run):
    tree = make_project(pytester.path / "tree", "tree")
    (tree / "backend.py").write_text("raise SystemExit('this build says no')")
    with_good(
        pytester,
        """
        @pytest.mark.env("lib==1.0", local=["./tree"])
        def test_bad(): pass
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines(["*ERROR at setup of test_bad*", "*this build says no*"])
    assert "next step: see what the build says above" in outcome.stdout.str()


def test_without_a_network_cached_environments_run_and_others_say_so(
    pytester, run, monkeypatch, index
):
    with_good(pytester, "")
    run().assert_outcomes(passed=2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with_good(
        pytester,
        f"""
        @pytest.mark.env("some-thing @ http://127.0.0.1:{port}/some_thing-1.0-py3-none-any.whl")
        def test_bad(): pass
        """,
    )
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=1)
    assert "next step: check the network and the index" in outcome.stdout.str()
    assert outcome.environments["good"]["provisioned"] == "cached"


def test_an_index_that_refuses_connections_is_an_error_with_the_next_step(
    pytester, run, monkeypatch, own_cache, tmp_path
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://user:secret@127.0.0.1:{port}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with_good(pytester, "")
    outcome = run()
    outcome.assert_outcomes(passed=1, errors=1)
    assert "next step: check the network and the index" in outcome.stdout.str()
    assert "secret" not in outcome.stdout.str() + outcome.stderr.str()
    assert own_cache.exists()


# A worker that dies

DIES = """
    import os, pytest, signal

    pytestmark = pytest.mark.env("lib==1.0", id="one")

    @pytest.fixture(scope="module")
    def here():
        with open("pids.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")

    def test_before(here): pass

    def test_dies(here):
        os.write(2, b"the last words\\n")
        DIE

    def test_after(here): pass

    @pytest.mark.env("lib==2.0", id="two")
    def test_elsewhere(): pass
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was killed by signal SIGKILL (the system's way when memory runs out)",
        ),
        ("os._exit(0)", "exited with code 0"),
    ],
    ids=["SIGKILL", "exit-0"],
)
def test_a_worker_that_dies_fails_the_test_it_ran_and_the_rest_go_on(pytester, run, how, said):
    pytester.makepyfile(test_it=DIES.replace("DIE", how))
    outcome = run("-p", "no:faulthandler", "--capture=sys")
    outcome.assert_outcomes(passed=3, failed=1)
    assert outcome.environments["one"]["tests"] == {
        "test_it.py::test_before": "passed",
        "test_it.py::test_dies": "failed",
        "test_it.py::test_after": "passed",
    }
    outcome.stdout.fnmatch_lines(
        [f"*the worker of environment 'one' {said} while it ran test_it.py::test_dies"]
    )
    assert "the last words" in outcome.stdout.str()
    first, second = pytester.path.joinpath("pids.txt").read_text().split()
    assert first != second
    assert outcome.ret == 1


def test_every_crash_of_a_parametrized_variant_is_on_the_right_case(pytester, run):
    pytester.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        @pytest.mark.parametrize("case", range(4))
        def test_it(case):
            if case % 2:
                os._exit(7)
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=4, failed=4)
    assert outcome.tests == {
        f"test_it.py::test_it[{variant}-{case}]": "failed" if case % 2 else "passed"
        for variant in ("old", "new")
        for case in range(4)
    }


@pytest.mark.parametrize("phase", ["setup", "teardown"])
def test_a_worker_that_dies_in_a_fixture_fails_the_test_whose_fixture_it_is(pytester, run, phase):
    pytester.makepyfile(
        test_it=f"""
        import os, pytest
        pytestmark = pytest.mark.env("lib==1.0")

        @pytest.fixture
        def deadly():
            if "{phase}" == "setup":
                os._exit(1)
            yield
            os._exit(1)

        def test_before(): pass
        def test_dies(deadly): pass
        def test_after(): pass
        """
    )
    outcome = run()
    assert outcome.tests == {
        "test_it.py::test_before": "passed",
        "test_it.py::test_dies": "failed",
        "test_it.py::test_after": "passed",
    }


def test_a_worker_that_dies_after_its_last_test_is_not_passed_over(pytester, run):
    pytester.makepyfile(
        test_it="""
        import os, pytest
        pytestmark = pytest.mark.env("lib==1.0")

        @pytest.fixture(scope="session", autouse=True)
        def deadly():
            yield
            os._exit(9)

        def test_one(): pass
        def test_two(): pass
        """
    )
    outcome = run()
    assert outcome.ret == 1
    assert outcome.tests["test_it.py::test_one"] == "passed"
    assert "exited with code 9" in outcome.stdout.str()


# Collection there


def test_a_conftest_that_fails_there_is_an_error_on_that_environments_tests(pytester, run):
    pytester.makeconftest(
        """
        try:
            import lib
        except ImportError:
            pass
        else:
            if lib.__version__ == "2.0":
                raise RuntimeError("conftest does not like 2.0")
        """
    )
    with_good(
        pytester,
        """
        @pytest.mark.env("lib==2.0", id="bad")
        @pytest.mark.parametrize("x", [1, 2])
        def test_bad(x): pass
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=2)
    assert "RuntimeError: conftest does not like 2.0" in outcome.stdout.str()
    assert outcome.ret == 1


def test_a_module_that_fails_to_import_there_is_an_error_on_its_tests_alone(pytester, run):
    pytester.makepyfile(
        test_bad="""
        import pytest, sys
        pytestmark = pytest.mark.env("lib==1.0", id="good")
        if "pytest-isoenv" in sys.prefix:
            import absent_there

        def test_one(): pass
        def test_two(): pass
        """
    )
    with_good(pytester, "")
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=2)
    outcome.stdout.fnmatch_lines(["E *ModuleNotFoundError: No module named 'absent_there'"])
    assert outcome.environments["good"]["tests"] == {
        "test_bad.py::test_one": "error",
        "test_bad.py::test_two": "error",
        "test_it.py::test_good": "passed",
    }


def test_a_module_that_skips_itself_there_skips_its_tests(pytester, run):
    pytester.makepyfile(
        test_skips="""
        import pytest, sys
        pytestmark = pytest.mark.env("lib==1.0", id="good")
        if "pytest-isoenv" in sys.prefix:
            pytest.importorskip("absent_there")

        def test_one(): pass
        """
    )
    with_good(pytester, "")
    outcome = run("-rs")
    outcome.assert_outcomes(passed=2, skipped=1)
    outcome.stdout.fnmatch_lines(["SKIPPED*could not import 'absent_there'*"])


def test_a_test_that_its_environment_does_not_collect_is_an_error_that_says_so(pytester, run):
    pytester.makepyfile(
        test_bad="""
        import pytest, sys
        pytestmark = pytest.mark.env("lib==1.0", id="good")

        if "pytest-isoenv" not in sys.prefix:
            def test_only_here(): pass

        @pytest.mark.parametrize("x", [1] if "pytest-isoenv" in sys.prefix else [1, 2])
        def test_parameters(x): pass
        """
    )
    with_good(pytester, "")
    outcome = run()
    outcome.assert_outcomes(passed=3, errors=2)
    for nodeid in ("test_only_here", "test_parameters[2]"):
        said = f"environment 'good' does not collect test_bad.py::{nodeid}"
        assert said in outcome.stdout.str()


def test_an_option_that_no_plugin_there_knows_is_named_and_the_tests_run(pytester, run):
    pytester.path.joinpath("host_only.py").write_text("")
    pytester.makeconftest(
        """
        import sys

        def pytest_addoption(parser):
            if "pytest-isoenv" not in sys.prefix:
                parser.addoption("--only-here", default="no")
        """
    )
    with_good(pytester, "")
    outcome = run("--only-here=yes")
    outcome.assert_outcomes(passed=2)
    outcome.stdout.fnmatch_lines(["*--only-here was not passed on*"])


# Ends before the end


def test_pytest_exit_in_an_environment_ends_the_session_with_its_code(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest
        pytestmark = pytest.mark.env("lib==1.0")

        @pytest.fixture(scope="session", autouse=True)
        def session():
            yield
            open("torn-down.txt", "w").close()

        def test_one(): pass
        def test_two(): pytest.exit("enough", returncode=42)
        def test_three(): pass
        """
    )
    outcome = run()
    assert outcome.ret == 42
    outcome.stdout.fnmatch_lines(["!*_pytest.outcomes.Exit: enough*!"])
    outcome.assert_outcomes(passed=1)
    assert pytester.path.joinpath("torn-down.txt").exists()


STOPS = """
    import pytest
    pytestmark = pytest.mark.env("lib==1.0")

    @pytest.fixture(scope="session", autouse=True)
    def session():
        yield
        open("torn-down.txt", "w").close()

    @pytest.mark.parametrize("number", range(6))
    def test_it(number):
        assert number % 2 == 0
"""


@pytest.mark.parametrize(
    ("option", "failures"), [("-x", 1), ("--maxfail=2", 2)], ids=["-x", "--maxfail"]
)
def test_a_run_stops_after_as_many_failures_as_are_allowed(pytester, run, option, failures):
    pytester.makepyfile(test_it=STOPS)
    outcome = run(option)
    outcome.assert_outcomes(failed=failures, passed=failures)
    outcome.stdout.fnmatch_lines([f"!*stopping after {failures} failures*!"])
    assert outcome.ret == 1
    assert pytester.path.joinpath("torn-down.txt").exists()


def test_a_failure_here_stops_the_environments_too(pytester, run):
    pytester.makepyfile(
        test_a="def test_fails(): assert 0",
        test_b="""
        import pytest
        pytestmark = pytest.mark.env("lib==1.0")

        def test_there():
            open("ran.txt", "w").close()
            # Would wait for ever if nobody stopped it.
            import threading
            threading.Event().wait()
        """,
    )
    outcome = run("-x")
    assert outcome.ret == 1
    outcome.stdout.fnmatch_lines(["*stopping after 1 failures*"])


def test_stepwise_and_failed_first_select_on_the_host(pytester, run):
    pytester.makepyfile(test_it=STOPS)
    first = run("--sw")
    first.assert_outcomes(passed=1, failed=1)
    again = run("--sw")
    again.assert_outcomes(failed=1, deselected=1)
    assert again.tests == {"test_it.py::test_it[1]": "failed"}


def test_an_internal_error_there_is_an_error_on_its_tests_with_the_traceback(pytester, run):
    pytester.makeconftest(
        """
        import sys

        def pytest_collection_modifyitems(items):
            if "pytest-isoenv" in sys.prefix:
                raise LookupError("a hook that breaks")
        """
    )
    with_good(pytester, "")
    outcome = run()
    outcome.assert_outcomes(passed=1, errors=1)
    assert "LookupError: a hook that breaks" in outcome.stdout.str()


def test_a_session_fixture_that_fails_its_teardown_is_an_error_on_the_last_test(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest
        pytestmark = pytest.mark.env("lib==1.0")

        @pytest.fixture(scope="session", autouse=True)
        def session():
            yield
            raise RuntimeError("teardown of the session")

        def test_one(): pass
        def test_two(): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines(["*ERROR at teardown of test_two*", "E *teardown of the session"])


def test_env_jobs_that_is_no_number_is_a_usage_error(pytester, run):
    pytester.makepyfile("def test_it(): pass")
    outcome = run("--env-jobs=none")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*--env-jobs: 'none' is not a whole number from 1"])


def test_a_cache_that_cannot_be_used_is_an_error_with_the_next_step(pytester, run):
    pytester.path.joinpath("file").write_text("in the way")
    with_good(pytester, "")
    outcome = run("--env-cache-dir=file/cache")
    assert outcome.ret != 0
    text = outcome.stdout.str() + outcome.stderr.str()
    assert "cannot be used" in text
    assert "name another with --env-cache-dir" in text
    assert "INTERNALERROR" not in text


@pytest.mark.parametrize(
    ("hook", "what", "code"),
    [("sessionfinish", "os._exit(7)", 7), ("unconfigure", "raise RuntimeError('too late')", 1)],
)
def test_what_goes_wrong_after_the_tests_is_said_and_has_its_exit_code(
    pytester, run, hook, what, code
):
    pytester.makeconftest(
        f"""
        import os

        def pytest_{hook}():
            if "PYTEST_ISOENV_RUN" in os.environ:
                {what}
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """
    )
    result = run("-q")
    result.assert_outcomes(passed=1)
    assert result.ret == code
    said = {7: "*exited with code 7 after its tests*", 1: "*RuntimeError: too late*"}[code]
    result.stdout.fnmatch_lines(["*= plugins in lib-1.0 =*", said])


def test_plugins_end_a_session_there_as_they_do_where_no_junit_report_is_written(pytester, run):
    pytester.makeconftest(
        """
        import os

        def pytest_sessionfinish(session):
            if "PYTEST_ISOENV_RUN" in os.environ:
                session.exitstatus = 6
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """
    )
    assert run("--junitxml=report.xml").ret == 6


def test_a_syrupy_that_could_not_be_kept_from_deleting_snapshots_is_refused(pytester, run):
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            parser.addoption("--snapshot-update", action="store_true", dest="update_snapshots")
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """
    )
    result = run("--snapshot-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the syrupy installed beside pytest-isoenv is too old*"])
