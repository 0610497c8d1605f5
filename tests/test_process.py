"""One way to run a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_isoenv._process import (
    Cancelled,
    Processes,
    describe_ending,
    interrupt,
    kill_group,
    run_for_user,
    spawn,
)

# Starts a child that inherits its stdout, says the child's id, and never ends by itself.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def python():
    """Run some code in a process of its own."""

    def python(code, *args, processes=None, **options):
        options.setdefault("environ", dict(os.environ))
        return (processes or Processes()).run([sys.executable, "-c", code, *args], **options)

    return python


def test_a_command_gives_its_status_and_both_its_streams(python):
    ended = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (ended.status, ended.stdout, ended.stderr) == (3, "out\n", "err\n")
    assert ended.output == "err\nout"


def test_a_command_that_a_signal_ends_has_its_number_as_status(python):
    ended = python(f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})")
    assert ended.status == -signal.SIGTERM


def test_a_command_sees_only_the_variables_it_is_given(python, monkeypatch):
    monkeypatch.setenv("ISOENV_PROBE", "host")
    code = "import os; print(os.environ.get('ISOENV_PROBE'), os.environ.get('GIVEN'))"
    assert python(code, environ={"GIVEN": "yes"}).stdout == "None yes\n"


def test_a_command_runs_in_the_directory_it_is_given(python, tmp_path):
    assert python("import os; print(os.getcwd())", cwd=tmp_path).stdout.strip() == str(tmp_path)


def test_a_command_gets_no_shell_and_no_input(python):
    ended = python("import sys; print(sys.argv[1]); print(repr(sys.stdin.read()))", "$HOME; a *")
    assert ended.stdout == "$HOME; a *\n''\n"


def test_output_that_is_not_utf8_is_no_obstacle(python):
    assert "\ufffd" in python(r"import sys; sys.stdout.buffer.write(b'\xff')").stdout


def test_a_command_that_writes_much_to_both_streams_does_not_block(python):
    ended = python("import sys; sys.stdout.write('o' * 300000); sys.stderr.write('e' * 300000)")
    assert (len(ended.stdout), len(ended.stderr)) == (300000, 300000)


def test_a_program_that_is_not_there_is_an_error_of_the_operating_system(tmp_path):
    with pytest.raises(OSError):
        Processes().run([tmp_path / "nothing"], environ={})


def test_credentials_stand_neither_in_the_command_nor_in_the_output(python):
    url = "https://me:s3cret@example.org/simple"
    ended = python("import sys; print(sys.argv[1]); print(sys.argv[1], file=sys.stderr)", url)
    for text in (ended.command, ended.stdout, ended.stderr, ended.output):
        assert "s3cret" not in text
        assert "https://***@example.org/simple" in text


def test_a_command_can_be_repeated_as_it_is_printed(python):
    ended = python("import sys; print(sys.argv[1:])", "two words", "it's", "")
    again = subprocess.run(ended.command, shell=True, capture_output=True, text=True, check=True)
    assert again.stdout == ended.stdout


def test_stopping_kills_what_runs_with_its_children_and_refuses_what_comes(tmp_path):
    processes = Processes()
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    # Parent and child both have it open: it is at its end when both have gone.
    code = f"import os, sys; os.dup2(os.open(sys.argv[1], os.O_WRONLY), 1)\n{PARENT}"
    command = [sys.executable, "-c", code, fifo]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(processes.run, command, environ=os.environ)
        with fifo.open() as started:
            assert int(started.readline()) > 0
            processes.stop()
            assert started.read() == ""
        with pytest.raises(Cancelled):
            running.result()
    assert processes.stopped
    with pytest.raises(Cancelled):
        processes.run([sys.executable, "-c", ""], environ={})


def test_many_threads_can_run_commands_at_once(python):
    processes = Processes()
    together = threading.Barrier(4)

    def one(number):
        together.wait()
        return python(f"print({number})", processes=processes).stdout

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == ["0\n", "1\n", "2\n", "3\n"]


@pytest.fixture
def spawned(tmp_path):
    started = []

    def spawned(code, **options):
        options = {"environ": os.environ, "cwd": tmp_path, "stderr": subprocess.PIPE, **options}
        started.append(spawn([sys.executable, "-c", code], **options))
        return started[-1]

    yield spawned
    for popen in started:
        kill_group(popen)
        popen.communicate()


def test_a_spawned_process_is_talked_to_over_its_streams(spawned):
    popen = spawned("print(input())")
    assert popen.communicate(b"hello\n")[0] == b"hello\n"


def test_a_spawned_process_is_in_a_group_of_its_own(spawned):
    popen = spawned("import os; print(os.getpgrp() == os.getpid())")
    assert popen.communicate()[0] == b"True\n"


def test_killing_a_group_leaves_no_child_of_it(spawned):
    popen = spawned(PARENT)
    assert int(popen.stdout.readline()) != popen.pid
    kill_group(popen)
    # The child holds the other end of this pipe: it is at its end when the child has gone.
    assert popen.stdout.read() == b""
    assert popen.wait() == -signal.SIGKILL


def test_killing_what_has_gone_is_no_error(spawned):
    popen = spawned("")
    popen.communicate()
    kill_group(popen)
    interrupt(popen)
    assert popen.returncode == 0


def test_an_interrupted_process_meets_a_keyboard_interrupt(spawned):
    popen = spawned(
        """
import signal
try:
    print("ready", flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    assert popen.stdout.readline() == b"ready\n"
    interrupt(popen)
    assert popen.communicate()[0] == b"interrupted\n"


def test_a_users_command_takes_the_options_of_subprocess_run(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['A']); sys.exit(4)"
    ended = run_for_user(
        [sys.executable, "-c", code],
        {"A": "1"},
        {"cwd": tmp_path, "capture_output": True, "text": True},
    )
    assert (ended.returncode, ended.stdout) == (4, f"{tmp_path} 1\n")


def test_a_users_own_variables_replace_those_of_the_environment():
    code = "import os; print(os.environ.get('A'), os.environ.get('B'))"
    options = {"env": {"B": "2"}, "capture_output": True, "text": True}
    assert run_for_user([sys.executable, "-c", code], {"A": "1"}, options).stdout == "None 2\n"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (
            -signal.SIGKILL,
            "was killed by signal SIGKILL (the system's way when memory runs out)",
        ),
        (-999, "was killed by signal 999"),
        (None, "closed its connection and went on running"),
    ],
)
def test_how_a_process_ended_is_said_in_words(status, words):
    assert describe_ending(status) == words
