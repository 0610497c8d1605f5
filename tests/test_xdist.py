"""pytest-xdist on the host: the same outcomes as without it, environments built once."""

from __future__ import annotations

import json

import pytest

SUITE = """
    import pytest

    @pytest.fixture(scope="module", autouse=True)
    def module():
        with open("log.txt", "a") as log:
            log.write("setup\\n")
        yield
        with open("log.txt", "a") as log:
            log.write("teardown\\n")

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.env("lib==2.0", id="new")
    @pytest.mark.parametrize("case", range(4))
    def test_it(case):
        import lib
        assert lib.__version__ == "1.0" or case != 3

    @pytest.mark.env("lib==1.0")
    @pytest.mark.skip(reason="not today")
    def test_skipped(): pass

    @pytest.mark.parametrize("case", range(3))
    def test_on_the_host(case): pass
"""


def report(pytester, *args):
    path = pytester.path / "report.json"
    result = pytester.runpytest_subprocess(f"--env-report={path}", *args)
    return result, {env["name"]: env for env in json.loads(path.read_text())["environments"]}


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
def test_every_way_to_distribute_gives_the_same_outcomes(pytester, dist):
    pytester.makepyfile(test_it=SUITE)
    result, environments = report(pytester, "-n2", "--dist", dist)
    result.assert_outcomes(passed=10, failed=1, skipped=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["new: Python *; lib==2.0; *; 3 passed, 1 failed"])
    assert environments["new"]["tests"]["test_it.py::test_it[new-3]"] == "failed"
    assert environments["old"]["outcomes"] == {"passed": 4}
    log = (pytester.path / "log.txt").read_text().split()
    # At most once for each of two processes in each place: the host and three environments.
    assert log.count("setup") == log.count("teardown")
    assert log.count("setup") <= 8 or dist in ("load", "worksteal", "loadgroup")


@pytest.mark.usefixtures("own_cache")
def test_an_environment_is_built_once_for_all_processes(pytester):
    pytester.makepyfile(test_it=SUITE)
    report(pytester, "-n3", "--dist", "each")
    _, environments = report(pytester, "-n3", "--dist", "each")
    assert {env["provisioned"] for env in environments.values()} == {"cached"}


def test_a_whole_suite_in_two_environments_is_distributed(pytester):
    pytester.makefile(
        ".yaml",
        isoenv="environments: {old: {dependencies: [lib==1.0]}, new: {dependencies: [lib==2.0]}}",
    )
    pytester.makepyfile(
        test_it="""
        import lib, os, pytest

        @pytest.mark.parametrize("case", range(6))
        def test_it(case):
            assert lib.__version__ == "1.0" or case != 5
        """
    )
    result, environments = report(pytester, "-n2", "--in-env=all")
    result.assert_outcomes(passed=11, failed=1)
    assert environments["new"]["outcomes"] == {"passed": 5, "failed": 1}


def test_a_process_that_gets_no_test_lets_its_environments_session_end(pytester):
    pytester.makefile(".yaml", isoenv="environments: {old: {dependencies: [lib==1.0]}}")
    pytester.makeconftest(
        """
        def pytest_sessionfinish(session):
            with open("log.txt", "a") as log:
                log.write("over\\n")
        """
    )
    pytester.makepyfile(test_it="def test_it(): pass")
    result, _ = report(pytester, "-n2", "--in-env=old")
    result.assert_outcomes(passed=1)
    assert (pytester.path / "log.txt").read_text().split() == ["over", "over"]


def test_fixtures_torn_down_late_are_not_lost(pytester):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture(scope="module")
        def broken():
            yield
            raise RuntimeError("cannot let go")

        @pytest.mark.env("lib==1.0")
        def test_it(broken): pass

        def test_on_the_host(): pass
        """
    )
    result, _ = report(pytester, "-n1")
    result.stdout.fnmatch_lines(["*RuntimeError: cannot let go*"])
    assert result.ret == 1


def test_a_crash_of_an_environments_process_fails_its_test_alone(pytester):
    pytester.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.env("lib==1.0")
        @pytest.mark.parametrize("case", range(4))
        def test_it(case):
            if case == 1:
                os._exit(7)
        """
    )
    result, environments = report(pytester, "-n1")
    result.assert_outcomes(passed=3, failed=1)
    assert environments["lib-1.0"]["tests"]["test_it.py::test_it[1]"] == "failed"


@pytest.mark.skipif("sys.platform == 'win32'", reason="needs the signals of POSIX")
def test_signals_are_the_tests_own_from_step_to_step(pytester):
    pytester.makepyfile(
        test_it="""
        import pytest, signal

        pytestmark = pytest.mark.env("lib==1.0")

        def test_resets_all():
            for number in {*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)

        @pytest.mark.parametrize("number", range(5))
        def test_goes_on(number): pass
        """
    )
    result, _ = report(pytester, "-n1")
    result.assert_outcomes(passed=6)


def test_the_hosts_pytest_timeout_sets_no_timer_for_tests_of_environments(pytester):
    pytester.makeconftest(
        """
        # What pytest-timeout does, but for the timers.
        import pytest, sys

        class Hooks:
            @pytest.hookspec(firstresult=True)
            def pytest_timeout_set_timer(item, settings): pass

            @pytest.hookspec(firstresult=True)
            def pytest_timeout_cancel_timer(item): pass

        def pytest_addhooks(pluginmanager):
            pluginmanager.add_hookspecs(Hooks)

        def tell(what, item):
            if "pytest-isoenv" not in sys.prefix:
                with open("timers.txt", "a") as file:
                    file.write(f"{what} {item.name}\\n")

        def pytest_timeout_set_timer(item, settings): tell("set", item)
        def pytest_timeout_cancel_timer(item): tell("cancel", item)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(item):
            hook = item.config.hook
            hook.pytest_timeout_set_timer(item=item, settings=None)
            yield
            hook.pytest_timeout_cancel_timer(item=item)
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_there(): pass
        def test_here(): pass
        """
    )
    result, _ = report(pytester, "-n1", "-p", "no:timeout")  # should it be installed
    result.assert_outcomes(passed=2)
    timers = (pytester.path / "timers.txt").read_text()
    assert timers == "set test_here\ncancel test_here\n"
