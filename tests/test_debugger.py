"""Debuggers in tests of environments, at the user's terminal."""

from __future__ import annotations

import pytest

from tests.terminal import Terminal, converse

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="needs pseudo-terminals")

PROMPT = "(Pdb) "


@pytest.fixture(autouse=True)
def project(pytester):
    pytester.makepyfile(
        test_it="""
        import lib, pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        def test_stops():
            here = "variable of " + lib.__version__
            breakpoint()
            print("went on")

        @pytest.mark.env("lib==1.0")
        def test_fails():
            wanted = 7
            print("printed before")
            assert wanted == 8

        @pytest.mark.env("lib==1.0")
        def test_after():
            pass
        """
    )


def test_a_breakpoint_stops_in_each_environment_one_after_the_other():
    steps = [(PROMPT, "p here\n"), ("variable of", ""), (PROMPT, "c\n")]
    ended = converse(steps * 2, "-k", "test_stops")
    assert ended.status == 0
    assert "'variable of 1.0'" in ended.screen
    assert "'variable of 2.0'" in ended.screen
    assert ended.screen.count("PDB set_trace (IO-capturing turned off)") == 2
    assert ended.screen.count("PDB continue (IO-capturing resumed)") == 2
    assert "2 passed" in ended.screen
    assert "\nwent on" not in ended.screen, "it is captured again"


def test_the_option_pdb_stops_where_a_test_fails():
    ended = converse([(PROMPT, "p wanted + 1\n"), ("\n8\n", ""), (PROMPT, "c\n")],
                     "--pdb", "-k", "fails or after")  # fmt: skip
    assert ended.status == 1
    assert "1 failed, 1 passed" in ended.screen
    for words in ("printed before", "assert 7 == 8", "entering PDB", "PDB post_mortem"):
        assert words in ended.screen
    # What has been shown above is not shown again.
    assert ended.screen.count("assert wanted == 8\n") == 2


def test_whoever_quits_ends_the_session_with_what_is_known():
    ended = converse([(PROMPT, "q\n")], "--pdb", "-k", "fails or after")
    assert ended.status == 2
    assert "1 failed" in ended.screen
    assert "passed" not in ended.screen
    assert "Exit: Quitting debugger" in ended.screen


def test_the_option_trace_stops_at_the_beginning_of_each_test():
    steps = [(PROMPT, "n\n"), (PROMPT, "p wanted * 6\n"), ("\n42\n", ""), (PROMPT, "c\n")]
    ended = converse(steps, "--trace", "-k", "fails")
    assert ended.status == 1
    assert "PDB runcall (IO-capturing turned off)" in ended.screen
    assert "1 failed" in ended.screen


def test_pdbcls_is_the_debugger_of_the_environment(pytester):
    pytester.makepyfile(
        own_debugger="""
        import lib, pdb

        class Own(pdb.Pdb):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.prompt = "own of " + lib.__version__ + "> "
        """
    )
    ended = converse([("own of 1.0> ", "c\n")], "--pdb", "--pdbcls=own_debugger:Own",
                     "-p", "no:cacheprovider", "-o", "pythonpath=.", "-k", "fails")  # fmt: skip
    assert ended.status == 1


def test_ctrl_c_at_the_prompt_is_for_the_debugger():
    terminal = Terminal("--pdb", "-k", "fails")
    terminal.wait_for(PROMPT)
    terminal.type_until("\x03", "--KeyboardInterrupt--")
    terminal.type("c\n")
    ended = terminal.end()
    assert ended.status == 1
    assert "1 failed" in ended.screen


@pytest.mark.slow
def test_the_debugger_has_as_long_as_its_user_wants():
    steps = [(PROMPT, "import time; time.sleep(3.5)\n"), (PROMPT, "c\n")]
    ended = converse(steps, "--env-timeout=3", "-k", "test_stops and old")
    assert ended.status == 0
    assert "1 passed" in ended.screen


def test_input_is_the_users_with_s(pytester):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_asks():
            assert input("your name? ") == "Ann"
        """
    )
    ended = converse([("your name? ", "Ann\n")], "-s")
    assert ended.status == 0


def test_what_is_printed_without_capture_is_seen(pytester, run):
    pytester.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.env("lib==1.0")
        def test_shows(capsys):
            with capsys.disabled():
                print("not captured")
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    outcome.stdout.fnmatch_lines(["*not captured"])


# Live logs

LOGGING = """
    import logging, pytest

    @pytest.fixture
    def thing():
        logging.info("made")
        yield
        logging.info("gone")

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.env("lib==2.0", id="new")
    def test_logs(thing):
        logging.getLogger("mine").warning("hello %s", "world")
"""


def test_live_logs_come_while_a_test_runs_under_its_name(pytester, run):
    pytester.makepyfile(test_it=LOGGING)
    outcome = run("-o", "log_cli=true", "--log-cli-level=INFO", "-k", "old")
    outcome.assert_outcomes(passed=1)
    outcome.stdout.fnmatch_lines(
        [
            "*- live log setup: test_it.py::test_logs?old? -*",
            "INFO *made",
            "*- live log call: test_it.py::test_logs?old? -*",
            "WARNING *mine:test_it.py:12 hello world",
            "*- live log teardown: test_it.py::test_logs?old? -*",
            "INFO *gone",
            "test_it.py::test_logs?old? PASSED *",
        ]
    )


def test_without_log_cli_there_are_none(pytester, run):
    pytester.makepyfile(test_it=LOGGING)
    assert "hello world" not in run().stdout.str()
