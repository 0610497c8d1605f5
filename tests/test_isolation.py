"""``isolation: test``: each test has a process of its own, forked from a worker that has it all."""

from __future__ import annotations

import collections
import re

import pytest

from tests.terminal import converse

pytestmark = pytest.mark.skipif("not hasattr(os, 'fork')", reason="needs os.fork")

YAML = """
environments:
  shared: {project: none, dependencies: [lib==1.0]}
  each: {extends: shared, isolation: test}
"""
# What everybody tells of itself, each line with the process that has written it.
TELLS = """
import os

def tell(what):
    with open("told.txt", "a") as file:
        file.write(f"{os.getpid()} {what}\\n")
"""


@pytest.fixture(autouse=True)
def declared(pytester):
    (pytester.path / "isoenv.yaml").write_text(YAML)
    pytester.makepyfile(tells=TELLS)


@pytest.fixture
def told(pytester):
    """Who has told what: (process, words) in order."""

    def told():
        lines = (pytester.path / "told.txt").read_text().splitlines()
        return [tuple(line.split(" ", 1)) for line in lines]

    return told


CONFTEST = """
    import atexit, pytest
    from tells import tell

    atexit.register(tell, "exit of the session")

    def pytest_runtest_logreport(report):
        tell(f"report {report.nodeid} {report.when}")

    def pytest_sessionfinish(session):
        tell(f"finish {session.testsfailed}")

    @pytest.fixture(scope="session")
    def place(tmp_path_factory, record_testsuite_property):
        record_testsuite_property("place", "here")
        tell("session up")
        yield tmp_path_factory.mktemp("place", numbered=False)
        tell("session down")
"""
SUITE = """
    import atexit, random, tempfile, pytest
    from tells import tell

    STATE = []
    KEPT = []

    @pytest.fixture(scope="module")
    def module(place):
        tell("module up")
        yield place
        tell("module down")

    @pytest.mark.parametrize("case", range(3))
    def test_it(module, tmp_path, case, request):
        tell(f"runs {case}")
        atexit.register(tell, "exit of the test")
        KEPT.append(tempfile.TemporaryDirectory(dir="."))
        assert not STATE
        assert not list(module.iterdir())
        STATE.append(case)
        (module / "file").touch()
        print("seen", case)
        assert case != 1
"""


def test_each_test_has_its_own_process_fixtures_and_directories(pytester, run, told):
    pytester.makepyfile(conftest=CONFTEST, test_suite=SUITE)
    outcome = run("--in-env=each", "--junitxml=junit.xml", "-v")
    outcome.assert_outcomes(passed=2, failed=1)
    assert list(outcome.tests.values()) == ["passed", "failed", "passed"]
    by_process = collections.defaultdict(list)
    for process, what in told():
        by_process[process].append(what)
    worker = next(pid for pid, words in by_process.items() if "exit of the session" in words)
    own = ["session up", "module up", "runs {}", "module down", "session down", "exit of the test"]
    children = [words for process, words in by_process.items() if process != worker]
    # The host has the same conftest.py: it gets the same reports, and finishes, too.
    children = [words for words in children if "session up" in words]
    assert children == [[word.format(case) for word in own] for case in range(3)]
    reports = [
        f"report test_suite.py::test_it[{case}] {when}"
        for case in range(3)
        for when in ("setup", "call", "teardown")
    ]
    assert by_process[worker] == [*reports, "finish 1", "exit of the session"]
    outcome.stdout.fnmatch_lines(["seen 1"])
    junit = (pytester.path / "junit.xml").read_text()
    assert junit.count('<property name="place" value="here"') == 1
    assert not list(pytester.path.glob("tmp*")), "what is removed at exit is removed"


def test_without_it_tests_share_one_process(pytester, run):
    pytester.makepyfile(conftest=CONFTEST, test_suite=SUITE)
    run("--in-env=shared").assert_outcomes(passed=1, failed=2)


def test_a_mark_may_ask_for_it_and_both_ways_share_the_environment(pytester, run):
    pytester.makepyfile(
        """
        import pytest

        STATE = []

        @pytest.mark.env("shared", isolation="test", id="apart")
        @pytest.mark.env("shared")
        @pytest.mark.parametrize("case", range(2))
        def test_it(case):
            STATE.append(case)
            assert len(STATE) == 1
        """
    )
    outcome = run("-q")
    assert outcome.tests == {
        "test_a_mark_may_ask_for_it_and_both_ways_share_the_environment.py::"
        f"test_it[{variant}-{case}]": "failed" if (variant, case) == ("shared", 1) else "passed"
        for variant in ("apart", "shared")
        for case in range(2)
    }
    assert len({env["path"] for env in outcome.environments.values()}) == 1


LOSSES = """
    import ctypes, os, signal, sys, pytest, warnings
    from tells import tell

    def test_before(): pass

    def test_signal():
        print("printed before it")
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_exit():
        sys.__stderr__.write("last words\\n")
        os._exit(0)

    def test_child_stays():
        # It holds all that its parent had open, but has nothing to say.
        libc = ctypes.CDLL(None)
        if libc.fork() == 0:
            libc.pause()
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.fixture
    def ends_late():
        yield
        os._exit(7)

    def test_teardown(ends_late): pass

    def test_after():
        tell(f"worker {os.getppid()}")
        warnings.warn("after it all")

    def test_after_that():
        tell(f"worker {os.getppid()}")
"""


def test_only_the_test_whose_process_is_lost_fails(pytester, run, told):
    pytester.makepyfile(test_it=LOSSES)
    outcome = run("--in-env=each")
    outcome.assert_outcomes(passed=3, failed=4, warnings=1)
    text = outcome.stdout.str()
    for ending in (
        "was killed by signal SIGSEGV while it ran test_it.py::test_signal",
        "exited with code 0 while it ran test_it.py::test_exit\n",
        "was killed by signal SIGKILL (the system's way when memory runs out) while it ran "
        "test_it.py::test_child_stays",
        "exited with code 7 while it ran test_it.py::test_teardown",
    ):
        assert ending in text
    assert re.search(r"- Captured stdout call -+\nprinted before it\n", text)
    assert re.search(r"- Captured stderr call -+\nlast words\n", text)
    assert text.count("- Captured ") == 2
    assert text.count("Fatal Python error") == 1, "each is told its own last words"
    assert "in test_signal\n" in text, "faulthandler has written where it was"
    assert len({what for _, what in told()}) == 1, "the worker has gone on"


def test_maxfail_counts_lost_processes(pytester, run):
    pytester.makepyfile(test_it=LOSSES)
    outcome = run("--in-env=each", "--maxfail=2")
    outcome.assert_outcomes(passed=1, failed=2)
    outcome.stdout.fnmatch_lines(["*stopping after 2 failures*"])


def test_a_test_that_hangs_is_ended_alone(pytester, run, told):
    pytester.makepyfile(
        """
        import os, threading
        from tells import tell

        def test_before(): tell(os.getppid())

        def test_hangs(): threading.Event().wait()

        def test_after(): tell(os.getppid())
        """
    )
    outcome = run("--in-env=each", "--env-timeout=2")
    outcome.assert_outcomes(passed=2, failed=1)
    outcome.stdout.fnmatch_lines(
        [
            "the worker of environment 'each' gave no sign of life for 2 s (--env-timeout) and was "
            "ended while it ran *::test_hangs",
            "*in test_hangs",
        ]
    )
    assert len({what for _, what in told()}) == 1, "the worker has gone on"


ENDS = {
    "exit": ('pytest.exit("enough", returncode=9)', 9, "*! _pytest.outcomes.Exit: enough !*"),
    "interrupt": ("raise KeyboardInterrupt", 2, "*! Interrupted: KeyboardInterrupt !*"),
    "stop": ('request.session.shouldstop = "enough"', 2, "*! Interrupted: enough !*"),
}


@pytest.mark.parametrize("way", ENDS)
def test_a_test_may_end_the_session(pytester, run, told, way):
    what, code, words = ENDS[way]
    pytester.makepyfile(
        f"""
        import pytest
        from tells import tell

        @pytest.fixture(scope="session", autouse=True)
        def session():
            yield
            tell("down")

        def test_first(): pass

        def test_ends(request):
            {what}

        def test_never(): pass
        """
    )
    outcome = run("--in-env=each")
    assert outcome.ret == code
    outcome.stdout.fnmatch_lines([words])
    outcome.assert_outcomes(passed=2 if way == "stop" else 1)
    assert [what for _, what in told()] == ["down", "down"]


def test_an_internal_error_ends_the_session_with_its_traceback(pytester, run):
    pytester.makepyfile(
        conftest="""
            def pytest_runtest_protocol(item):
                if item.name == "test_wrong":
                    raise LookupError("in a hook")
        """,
        test_it="def test_first(): pass\ndef test_wrong(): pass\ndef test_never(): pass",
    )
    outcome = run("--in-env=each")
    outcome.stdout.fnmatch_lines(["*pytest_runtest_protocol", "*LookupError: in a hook"])
    assert outcome.stdout.str().count("LookupError: in a hook") == 1
    assert outcome.ret == pytest.ExitCode.INTERNAL_ERROR
    outcome.assert_outcomes(passed=1)


def test_the_debugger_has_the_terminal(pytester):
    pytester.makepyfile(
        """
        def test_stops():
            here = "variable of it"
            breakpoint()
            assert here == "changed"

        def test_after(): pass
        """
    )
    steps = [("(Pdb) ", "here = 'changed'\n"), ("(Pdb) ", "c\n")]
    ended = converse(steps, "--in-env=each", "--env-timeout=5")
    assert ended.status == 0, ended.screen
    assert "2 passed" in ended.screen


def test_whoever_quits_the_debugger_ends_the_session(pytester):
    pytester.makepyfile("def test_stops():\n    breakpoint()\n\ndef test_never(): pass")
    ended = converse([("(Pdb) ", "q\n")], "--in-env=each")
    assert ended.status == 2
    assert "Quitting debugger" in ended.screen


def test_output_without_capture_and_live_logs_come_in_order(pytester, run):
    pytester.makepyfile(
        """
        import logging, os

        def test_one():
            print("of one")
            logging.warning("log of one")

        def test_two():
            print("of two")
        """
    )
    outcome = run("--in-env=each", "-s", "-o", "log_cli=1")
    lines = outcome.stdout.str()
    assert lines.count("of two") == 1
    assert lines.index("of one") < lines.index("of two")
    outcome.stdout.fnmatch_lines(["*live log call*", "WARNING *log of one"])


THREADED = """
    import os, threading, pytest
    from tells import tell

    stop = threading.Event()
    threading.Thread(target=stop.wait, name="helper", daemon=True).start()
    tell("imported")
    STATE = []

    @pytest.fixture(scope="module", autouse=True)
    def module():
        yield
        tell("down")

    @pytest.mark.parametrize("case", range(3))
    def test_it(case):
        STATE.append(case)
        assert len(STATE) == 1
        assert [thread.name for thread in threading.enumerate()].count("helper") == 1
        if case == 1:
            os._exit(1)
"""


@pytest.mark.parametrize("options", [(), ("-n1", "-p", "xdist")], ids=["alone", "xdist"])
def test_where_a_fork_would_lose_threads_each_test_has_a_fresh_worker(pytester, run, told, options):
    pytester.makepyfile(test_it=THREADED)
    outcome = run("--in-env=each", *options)
    outcome.assert_outcomes(passed=2, failed=1)
    outcome.stdout.fnmatch_lines(
        ["*each test has a fresh worker: a fork would lose threads *: helper"]
    )
    assert len({process for process, what in told() if what == "down"}) == 2


def test_pytest_xdist_decides_what_is_next(pytester, run, told):
    pytester.makepyfile(
        """
        import pytest
        from tells import tell

        STATE = []

        @pytest.mark.parametrize("case", range(6))
        def test_it(case):
            STATE.append(case)
            tell("runs")
            assert len(STATE) == 1
        """
    )
    outcome = run("--in-env=each", "-p", "xdist", "-n2")
    outcome.assert_outcomes(passed=6)
    assert len({process for process, _ in told()}) == 6


def test_another_value_is_an_error_that_names_the_choices(pytester, run):
    (pytester.path / "isoenv.yaml").write_text(YAML.replace("isolation: test", "isolation: tests"))
    outcome = run("--in-env=each")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*each.isolation: 'tests' is not one of: environment, test"])
