"""Tests that treat their process roughly: each has its own result, and nothing stays behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="does what POSIX allows")

DECLARED = "environments:\n  one: {project: none, dependencies: [lib==1.0]}\n"
MARK = 'pytestmark = pytest.mark.env("lib==1.0", id="one")\n'


@pytest.fixture(params=["marked", "in-env"])
def both_ways(request, pytester, run):
    """Runs a file of tests in one environment, as its marks say or as the command line says."""
    (pytester.path / "isoenv.yaml").write_text(DECLARED)

    def run_file(text: str, *args: str):
        marked = request.param == "marked"
        pytester.makepyfile(test_it=f"import pytest\n{MARK if marked else ''}{text}")
        return run(*args, *([] if marked else ["--in-env=one"]))

    return run_file


class Left:
    """A named pipe: it is at its end when every process that has opened it for writing is gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._descriptor, True)

    def wait(self) -> None:
        while os.read(self._descriptor, 4096):
            continue

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def left(tmp_path, monkeypatch) -> Iterator[Left]:
    left = Left(tmp_path / "left")
    monkeypatch.setenv("LEFT", str(tmp_path / "left"))
    yield left
    left.close()


def those(outcome, said: str) -> set[str]:
    return {
        nodeid.partition("::test_")[2] for nodeid, what in outcome.tests.items() if what == said
    }


DEADLY = """
import ctypes, os, resource, signal, sys

def no_memory_left():
    resource.setrlimit(resource.RLIMIT_AS, (2**28, resource.RLIM_INFINITY))
    kept = []
    for size in (2**24, 2**16, 2**10, 2**8, 2**6):
        try:
            while True:
                kept.append(bytearray(size))
        except MemoryError:
            pass
    raise MemoryError

@pytest.mark.parametrize(
    "how",
    [
        lambda: ctypes.string_at(0),
        lambda: os._exit(3),
        lambda: os.kill(os.getpid(), signal.SIGTERM),
        lambda: os.killpg(0, signal.SIGHUP),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        no_memory_left,
        lambda: os.closerange(3, 256),
    ],
    ids=["segfault", "exit", "terminated", "group", "killed", "memory", "closed"],
)
def test_dies(how):
    how()

@pytest.fixture
def exits():
    sys.exit(5)

def test_exits(exits): pass
def test_exits_itself(): sys.exit(4)

def test_memory():
    usual = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**30, usual[1]))
    try:
        bytearray(2**31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)

def test_survives():
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 2**28
"""
CAUSES = {
    "segfault": "was killed by signal SIGSEGV",
    "exit": "exited with code 3",
    "terminated": "was killed by signal SIGTERM",
    "group": "was killed by signal SIGHUP",
    "killed": "was killed by signal SIGKILL \\(the system's way when memory runs out\\)",
    "memory": r"exited with code \d",
    "closed": "exited with code 1",
}


def test_what_ends_the_process_fails_its_own_test_and_the_rest_run(both_ways):
    outcome = both_ways(DEADLY, "--env-refresh")
    deaths = {f"dies[{how}]" for how in CAUSES}
    assert those(outcome, "failed") == {*deaths, "exits_itself", "memory"}
    assert those(outcome, "error") == {"exits"}
    assert those(outcome, "passed") == {"survives"}
    for how, cause in CAUSES.items():
        test = re.escape(f"test_it.py::test_dies[{how}]")
        said = f"the worker of environment 'one' {cause} while it ran {test}"
        assert any(re.fullmatch(said, line) for line in outcome.outlines)
    outcome.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_exits*",
            "E*SystemExit: 5",
            "*test_dies?segfault?*",
            "Fatal Python error: Segmentation fault",
            "*test_it.py*, line * in test_dies",
            "E*SystemExit: 4",
            "E*MemoryError",
        ]
    )
    assert not Path(outcome.environments["one"]["path"]).exists()


# What it does stays done: the tests after it run in the same process.
ROUGH = """
import json, marshal, multiprocessing, os, pickle, signal, select, struct, subprocess, sys
import threading, time

left = open(os.environ["LEFT"], "w")
parent = os.getppid()

def test_closes_the_standard_streams():
    for descriptor in range(3):
        os.close(descriptor)

def test_is_captured_all_the_same(capfd):
    print("hello")
    os.write(2, b"there")
    assert capfd.readouterr() == ("hello\\n", "there")

@pytest.mark.parametrize("end", [lambda: None, lambda: 1 / 0, sys.exit, lambda: os._exit(7)])
def test_forks(end):
    if os.fork() == 0:
        end()

def test_leaves_threads():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Thread(target=threading.Event().wait).start()

def test_leaves_processes():
    multiprocessing.get_context("fork").Process(target=threading.Event().wait).start()
    for own_session in (False, True):
        args = ["sh", "-c", "exec 9> $LEFT; read never < never"]
        subprocess.Popen(args, start_new_session=own_session)

def test_prints_much():
    for _ in range(300):
        print("x" * 99_999)
    os.write(2, b"y" * 9_999_999)

def test_prints_what_is_no_text():
    os.write(1, b"bad \\xff\\xfe out\\n")
    print("worse \\udcff")
    assert "\\ud800" == "\\ud801"

def test_stands_nowhere(tmp_path):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

def test_clears():
    sys.path.clear()
    sys.argv.clear()
    os.environ.clear()

@pytest.mark.parametrize("module", [json, marshal, pickle, select, struct, threading, time])
def test_replaces_all_functions(module):
    for name, value in list(vars(module).items()):
        if callable(value) and not isinstance(value, type):
            setattr(module, name, None)

def test_replaces_functions_of_os():
    for name in ("_exit", "fork", "getpid", "kill", "killpg", "pipe", "read", "write"):
        setattr(os, name, None)

def test_ignores_signals():
    for number in {*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)

def test_fails_after_all():
    assert os.getppid() == parent
    assert [1] == [2]
"""


def test_what_a_test_does_to_its_process_is_no_obstacle(both_ways, pytester, left):
    os.mkfifo(pytester.path / "never")
    # Threads and processes hold up the end of the process: this is how long one waits for it.
    (pytester.path / "in_a_hurry.py").write_text(
        """
try:
    from pytest_isoenv import _crew
    _crew._GRACE = 0.2
except ImportError:
    pass  # this is not the host
"""
    )
    outcome = both_ways(ROUGH, "-p", "in_a_hurry")
    left.wait()  # every process that the tests have started is gone
    assert those(outcome, "failed") == {"prints_what_is_no_text", "fails_after_all"}
    assert len(those(outcome, "passed")) == 20
    outcome.stdout.fnmatch_lines(
        ["E *assert '?ud800' == '?ud801'", "bad \N{REPLACEMENT CHARACTER}*out"]
    )
    outcome.stdout.no_fnmatch_line("*while it ran*")


# What hangs

HANGS = """
import pytest, re, sys, time

def env(name):
    return pytest.mark.env("lib==1.0", id=name)

@env("loop")
def test_loops():
    while True:
        pass

@env("sleep")
def test_sleeps():
    time.sleep(1000)

@env("c")
def test_keeps_other_threads_out():
    re.match("(a+)+$", "a" * 60 + "b")

@env("loop")
@env("sleep")
@env("c")
def test_after():
    pass
"""
HANGS_WHEN_IMPORTED = """
import pytest, sys, time
pytestmark = pytest.mark.env("lib==1.0", id="import")
if "pytest-isoenv" in sys.prefix:
    time.sleep(1000)
def test_never(): pass
"""


def test_what_hangs_is_ended_and_shows_where_it_stood(pytester, run):
    pytester.makepyfile(test_it=HANGS, test_imports=HANGS_WHEN_IMPORTED)
    outcome = run("--env-timeout=3", "--env-jobs=4")
    assert outcome.tests == {
        "test_it.py::test_loops": "failed",
        "test_it.py::test_sleeps": "failed",
        "test_it.py::test_keeps_other_threads_out": "failed",
        "test_it.py::test_after[loop]": "passed",
        "test_it.py::test_after[sleep]": "passed",
        "test_it.py::test_after[c]": "passed",
        "test_imports.py::test_never": "error",
    }
    ended = "gave no sign of life for 3 s (--env-timeout) and was ended"
    for name, test in {
        "loop": "test_loops",
        "sleep": "test_sleeps",
        "c": "test_keeps_other_threads_out",
    }.items():
        said = f"the worker of environment '{name}' {ended} while it ran test_it.py::{test}"
        assert said in outcome.outlines
        assert re.search(rf'File ".*test_it\.py", line \d+ in {test}\n', outcome.stdout.str())
    said = f"the worker of environment 'import' {ended} before it ran a test"
    assert said in outcome.outlines
    assert re.search(r'File ".*test_imports\.py", line 4 in <module>\n', outcome.stdout.str())


@pytest.mark.slow
def test_a_collection_that_hangs_is_an_error_of_its_environment_alone(pytester, run):
    (pytester.path / "isoenv.yaml").write_text(
        "environments:\n"
        "  one: {project: none, dependencies: [lib==1.0]}\n"
        "  two: {project: none, dependencies: [lib==2.0]}\n"
    )
    pytester.makepyfile(
        test_it="""
        import lib, time
        if lib.__version__ == "2.0":
            time.sleep(1000)
        def test_hangs(): time.sleep(1000)
        def test_after(): pass
        """
    )
    outcome = run("--env-timeout=3", "--in-env=all")
    assert outcome.tests == {
        "test_it.py::test_hangs[one]": "failed",
        "test_it.py::test_after[one]": "passed",
        "environment[two]": "error",
    }
    outcome.stdout.fnmatch_lines(["*test_it.py*, line 3 in <module>", "*line 4 in test_hangs"])
