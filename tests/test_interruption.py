"""Ctrl-C: the summary is printed, fixtures are torn down, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_isoenv._process import MARK
from tests.packages import make_project
from tests.terminal import Terminal

INTERRUPTED = pytest.ExitCode.INTERRUPTED


class Session:
    """A run of pytest in the background, and a named pipe over which its parts tell how far it is.

    A process that has the pipe open for writing keeps it open: reading to its end is waiting for
    all of them to be gone.
    """

    def __init__(self, directory: Path, pipe: Path, *args: str) -> None:
        self._pipe = pipe
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:xdist", *args],
            cwd=directory,
            env={**os.environ, "PIPE": str(pipe)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._told = pipe.open()  # returns when the first of its writers has opened it

    def wait_for(self, word: str) -> None:
        for line in self._told:
            if line.strip() == word:
                return
        pytest.fail(f"nobody said {word!r}: {self.process.communicate()[0]}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, list[str]]:
        """The exit code, the output, and what the parts said since; returns when all are gone."""
        output = self.process.communicate(timeout=60)[0]
        said = [line.strip() for line in self._told]
        self._told.close()
        return self.process.returncode, output, said


@pytest.fixture
def start(pytester, tmp_path) -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def start(*args: str) -> Session:
        pipe = tmp_path / f"pipe-{len(sessions)}"
        os.mkfifo(pipe)
        # In the host's own process, so that the pipe has a writer from the start.
        plugin = "import os\npipe = open(os.environ['PIPE'], 'w')\n"
        (pytester.path / "holds_the_pipe.py").write_text(plugin)
        sessions.append(Session(pytester.path, pipe, *args))
        return sessions[-1]

    yield start
    for session in sessions:
        if session.process.poll() is None:
            os.killpg(session.process.pid, signal.SIGKILL)
            session.process.wait()


# The tests tell over the pipe how far they are, and hold it open as long as they live.
SLOW = """
    import os, pytest, threading

    pipe = open(os.environ["PIPE"], "w", buffering=1)

    pytestmark = pytest.mark.env("lib==1.0", id="one")

    @pytest.fixture(scope="session")
    def session():
        yield
        print("session is torn down", file=pipe)

    @pytest.fixture
    def function(session):
        yield
        print("function is torn down", file=pipe)

    def test_quick(session): pass

    def test_slow(function):
        print("running", file=pipe)
        threading.Event().wait()

    def test_never(): pass
"""
UNMARKED = SLOW.replace('pytestmark = pytest.mark.env("lib==1.0", id="one")', "")


@pytest.mark.parametrize(
    ("way", "signal_name"),
    [([], "SIGINT"), ([], "SIGHUP"), (["--in-env=one"], "SIGTERM"), (["--in-env=each"], "SIGINT")],
    ids=["marked-SIGINT", "marked-SIGHUP", "in-env-SIGTERM", "processes-of-tests-SIGINT"],
)
def test_a_signal_while_tests_run_tears_fixtures_down_and_prints_the_summary(
    pytester, start, way, signal_name
):
    pytester.makepyfile(test_it=SLOW if not way else UNMARKED)
    session = start("-v", *way)
    session.wait_for("running")
    session.process.send_signal(getattr(signal, signal_name))
    code, output, said = session.end()
    assert code == INTERRUPTED
    assert said == ["function is torn down", "session is torn down"]
    assert "KeyboardInterrupt" in output
    assert "= environments =" in output
    assert ("each: Python" if "each" in str(way) else "one: Python") in output
    assert "1 passed" in output
    assert "INTERNALERROR" not in output


@pytest.fixture(autouse=True)
def declared(pytester):
    declaration = "environments:\n  one: {project: none, dependencies: [lib==1.0]}\n"
    declaration += "  each: {extends: one, isolation: test}\n"
    (pytester.path / "isoenv.yaml").write_text(declaration)


def test_ctrl_c_reaches_the_processes_that_a_test_started(pytester, start):
    pytester.makepyfile(
        test_it=SLOW.replace(
            "threading.Event().wait()",
            'import subprocess; subprocess.run(["sh", "-c", "echo child > $PIPE; read x < fifo"])',
        )
    )
    os.mkfifo(pytester.path / "fifo")
    session = start()
    session.wait_for("child")
    session.interrupt()
    code, output, _ = session.end()  # returns only when the child, which holds the pipe, is gone
    assert code == INTERRUPTED, output


@pytest.mark.slow
def test_ctrl_c_leaves_no_ephemeral_directory(pytester, start, own_cache):
    pytester.makepyfile(test_it=SLOW)
    session = start("--env-refresh")
    session.wait_for("running")
    assert [*own_cache.glob("v1/runs/run-*/")]
    session.interrupt()
    code, output, said = session.end()
    assert code == INTERRUPTED, output
    assert "session is torn down" in said
    assert [*own_cache.glob("v1/runs/*")] == []


# Waits for ever where the file "hold" lies; in the tree of both runs, so their key is the same.
HOLDS = """
import threading

really_build_wheel = build_wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    if os.path.exists({hold!r}):
        pipe = open({pipe!r}, "w")
        print("building", file=pipe, flush=True)
        threading.Event().wait()
    return really_build_wheel(directory)
"""


@pytest.mark.parametrize(
    ("option", "signal_name"), [("--verbose", "SIGINT"), ("--env-refresh", "SIGTERM")]
)
def test_a_signal_while_an_environment_is_built_ends_the_build(
    pytester, start, run, own_cache, tmp_path_factory, option, signal_name
):
    outside = tmp_path_factory.mktemp("outside")
    tree = make_project(pytester.path / "tree", "tree")
    with (tree / "backend.py").open("a") as file:
        file.write(HOLDS.format(hold=str(outside / "hold"), pipe=str(outside / "pipe")))
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", local=["./tree"])
        def test_there():
            import tree
        """
    )
    (outside / "hold").touch()
    os.mkfifo(outside / "pipe")
    session = start(option, "-p", "holds_the_pipe")
    with (outside / "pipe").open() as building:
        assert building.readline() == "building\n"
        session.process.send_signal(getattr(signal, signal_name))
        assert building.read() == ""  # its only writer, the build, is gone
    code, output, _ = session.end()
    assert code == INTERRUPTED, output
    assert "INTERNALERROR" not in output
    assert "no tests ran" in output
    assert [*own_cache.glob("v1/runs/*")] == []
    (outside / "hold").unlink()
    run().assert_outcomes(passed=1)


def test_a_second_ctrl_c_ends_a_teardown_that_hangs(pytester, start):
    pytester.makepyfile(
        test_it=SLOW.replace(
            'print("session is torn down", file=pipe)',
            'print("tearing down", file=pipe); threading.Event().wait()',
        )
    )
    session = start()
    session.wait_for("running")
    session.interrupt()
    session.wait_for("tearing down")
    session.interrupt()
    code, output, _ = session.end()
    assert code == INTERRUPTED, output


def test_ctrl_c_while_an_environment_collects_ends_the_run(pytester, start):
    pytester.makepyfile(
        test_it="""
        import os, threading
        pipe = open(os.environ["PIPE"], "w", buffering=1)
        print("importing", file=pipe)
        threading.Event().wait()
        """
    )
    session = start("--in-env=one")
    session.wait_for("importing")
    session.interrupt()
    code, output, _ = session.end()
    assert code == INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert "no tests ran" in output
    assert "INTERNALERROR" not in output


# What is raised while an object is deleted is lost, as the first news of the host's end is here.
ENDLESS = """
    import os, pytest, subprocess, time

    class Deleted:
        def __del__(self):
            host = os.getppid()
            while os.getppid() == host:
                pass
            time.sleep(0.2)

    pipe = open(os.environ["PIPE"], "w", buffering=1)

    pytestmark = pytest.mark.env("lib==1.0", id="one")

    @pytest.fixture
    def function():
        yield
        print("function is torn down", file=pipe)

    def test_loops(function):
        for own_session in (False, True):
            args = ["sh", "-c", "echo child > $PIPE; exec 9> $PIPE; read x < fifo"]
            subprocess.Popen(args, start_new_session=own_session)
        print("running", file=pipe)
        Deleted()
        while True:
            pass
"""


def test_nothing_outlives_a_host_that_is_killed(pytester, start):
    pytester.makepyfile(test_it=ENDLESS)
    os.mkfifo(pytester.path / "fifo")
    session = start()
    for _ in range(2):
        session.wait_for("child")
    session.process.kill()
    _, output, said = session.end()  # returns when all are gone
    assert "function is torn down" in said, output


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["all", pytest.param("controller", marks=pytest.mark.slow)])
def test_under_xdist_nothing_is_left_either(pytester, start, whom, own_cache):
    pytester.makepyfile(test_it=SLOW)
    session = start("-p", "xdist", "-n2", "--env-refresh")
    session.wait_for("running")
    if whom == "all":  # a Ctrl-C in the terminal reaches them all
        os.killpg(session.process.pid, signal.SIGINT)
    else:
        session.process.send_signal(signal.SIGTERM)
    code, output, said = session.end()
    print(output)
    assert code == INTERRUPTED, output
    assert "function is torn down" in said
    assert [*own_cache.glob("v1/runs/*")] == []
    assert "INTERNALERROR" not in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "how"), [("test", "closed"), ("debugger", "closed"), ("debugger", "SIGTERM")]
)
def test_fixtures_are_torn_down_when_a_terminal_is_closed_or_a_debugger_is_left_alone(
    pytester, tmp_path, monkeypatch, own_cache, where, how
):
    does = "breakpoint()" if where == "debugger" else "threading.Event().wait()"
    pytester.makepyfile(test_it=SLOW.replace("threading.Event().wait()", does))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv("PIPE", str(pipe))
    terminal = Terminal("--env-refresh")
    with pipe.open() as told:
        assert told.readline() == "running\n"
        if where == "debugger":
            terminal.wait_for("(Pdb) ")
        if how == "closed":
            terminal.hang_up()
        else:
            terminal.process.terminate()
            ended = terminal.end()
            assert ended.status == INTERRUPTED
            assert "1 passed" in ended.screen
        # To the end: all who have it open are gone.
        assert told.read().splitlines() == ["function is torn down", "session is torn down"]
    assert [*own_cache.glob("v1/runs/*")] == []


INTERRUPTING = """
import os, signal, sys

class OfTheHost:
    __module__ = "of_the_host"

    def pytest_report_collectionfinish(self):
        open("pipe").close()  # waits until the first test has ended, and the second has begun
        os.kill(os.getpid(), signal.SIGINT)

def pytest_configure(config):
    if "pytest_isoenv" in sys.modules:
        config.pluginmanager.register(OfTheHost())
"""
GOING_ON = """
import time

def test_first(): pass

def test_second():
    open("pipe", "w").close()
    time.sleep(60)
"""


def test_what_ran_while_the_host_took_in_what_there_is_has_its_result(pytester, run):
    os.mkfifo(pytester.path / "pipe")
    pytester.makepyfile(test_it=GOING_ON, interrupting=INTERRUPTING)
    outcome = run("--in-env", "lib==1.0", "-p", "interrupting")
    assert outcome.ret == INTERRUPTED
    assert "1 passed" in str(outcome.stdout)
    assert "KeyboardInterrupt" in str(outcome.stdout)


# Only the host can import the crew; its two workers begin at the same moment.
MEETING = """
import threading
try:
    from pytest_isoenv import _crew
except ImportError:
    pass
else:
    both = threading.Barrier(2, timeout=60)
    class Worker(_crew.Worker):
        def __init__(self, *args, **named):
            both.wait()
            super().__init__(*args, **named)
    _crew.Worker = Worker
"""


def test_what_one_worker_leaves_cannot_be_taken_for_what_another_does(pytester, run):
    pytester.makefile(
        ".yaml",
        isoenv="environments: {old: {dependencies: [lib==1.0]}, new: {dependencies: [lib==2.0]}}",
    )
    pytester.makepyfile(
        meeting=MEETING,
        test_it=f"""
        import lib, os, pathlib

        def test_it():
            pathlib.Path(lib.__version__).write_text(os.environ[{MARK!r}])
        """,
    )
    run("--in-env=all", "--env-jobs=2", "-p", "meeting").assert_outcomes(passed=2)
    marks = [pytester.path.joinpath(version).read_text() for version in ("1.0", "2.0")]
    assert len(set(marks)) == 2
    # That of the run is the beginning of both.
    assert len({mark.rpartition("-")[0] for mark in marks}) == 1
