"""pytest-xdist on the host: the same outcomes as without it, environments built once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.parity.compare import make_environment

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


ALMOST_ALIKE = [
    pytest.param(dist, marks=pytest.mark.slow)
    for dist in ("loadfile", "loadscope", "loadgroup", "worksteal")
]


@pytest.mark.parametrize("dist", ["load", *ALMOST_ALIKE])
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


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_an_environment_is_built_once_for_all_processes(pytester):
    pytester.makepyfile(test_it=SUITE)
    report(pytester, "-n3", "--dist", "each")
    _, environments = report(pytester, "-n3", "--dist", "each")
    assert {env["provisioned"] for env in environments.values()} == {"cached"}


@pytest.mark.parametrize(
    ("declared", "args"),
    [("", ["--env-refresh"]), pytest.param(", refresh: true", [], marks=pytest.mark.slow)],
    ids=["option", "declared"],
)
def test_a_throw_away_environment_is_built_once_for_all_processes(
    pytester, own_cache, declared, args
):
    pytester.makefile(
        ".yaml", isoenv=f"environments: {{old: {{dependencies: [lib==1.0]{declared}}}}}"
    )
    pytester.makepyfile(
        test_it="""
        import pytest, sys

        @pytest.mark.env("old")
        @pytest.mark.parametrize("case", range(2))
        def test_it(case):
            import lib
            with open("prefixes.txt", "a") as file:
                file.write(sys.prefix + "\\n")
        """
    )
    result, environments = report(pytester, "-n2", "--dist=each", *args)
    result.assert_outcomes(passed=4)
    assert environments["old"]["provisioned"] == "ephemeral"
    prefixes = (pytester.path / "prefixes.txt").read_text().split()
    assert prefixes == [environments["old"]["path"]] * 4
    assert [*own_cache.glob("v1/runs/*")] == []
    assert not (own_cache / "v1" / "environments").exists()


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


def test_an_option_that_no_environment_knows_is_an_error(pytester):
    pytester.makefile(".yaml", isoenv="environments: {old: {dependencies: [lib==1.0]}}")
    pytester.makepyfile(test_it="def test_it(): pass")
    result, _ = report(pytester, "-n2", "--in-env=old", "--nonsense")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unrecognized arguments: --nonsense*"])


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def asyncssh(tmp_path_factory):
    """An interpreter that has asyncssh."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh client")
    python = getattr(sys, "_base_executable", sys.executable)
    directory = tmp_path_factory.mktemp("asyncssh")
    options = ("--cache-dir", directory / "cache", "asyncssh==2.24.1")
    return make_environment(directory / "environment", python, *options) / "bin" / "python"


@pytest.fixture
def loopback(asyncssh, tmp_path, monkeypatch, index):
    """The configuration with which ssh reaches a server of this test's, as ``loopback``."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    with subprocess.Popen(
        [asyncssh, Path(__file__).parent / "sshd.py", tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield tmp_path / "ssh_config"
        process.stdin.close()


@pytest.mark.network
@pytest.mark.parametrize("args", [[], ["--in-env=all"]], ids=["marks", "in-env"])
def test_over_ssh_outcomes_are_the_same(pytester, tmp_path, loopback, args):
    text = textwrap.dedent(SUITE)
    suite = pytester.mkdir("suite")
    (suite / "pytest.ini").write_text("[pytest]\n")
    (suite / "isoenv.yaml").write_text(
        "environments: {old: {dependencies: [lib==1.0]}, new: {dependencies: [lib==2.0]}}"
    )
    (suite / "test_it.py").write_text(re.sub("@pytest.mark.env.*\n", "", text) if args else text)
    _, here = report(pytester, *args, suite)
    there = tmp_path / "there"
    remote = f"ssh=loopback//ssh_config={loopback}//python={sys.executable}//chdir={there}"
    result, environments = report(
        pytester, *args, "--dist=load", f"--tx=2*{remote}", f"--rsyncdir={suite}", suite
    )
    assert (there / "suite" / "test_it.py").exists()
    tests = {name: environment["tests"] for name, environment in environments.items()}
    assert tests == {name: environment["tests"] for name, environment in here.items()}
    assert len(tests) > 1
    assert result.ret == 1
    assert {environment["provisioned"] for environment in environments.values()} == {"cached"}
