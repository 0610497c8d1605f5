"""Indexes that are down, slow, closed or wrong: each is said in one line, and nothing is lost.

What is said is in a table of the documentation, which ``python -m tests.bad_index --write`` makes.
"""

from __future__ import annotations

import itertools

import pytest

from pytest_isoenv._process import Processes
from tests.bad_index import BACKENDS, FAULTS, PASSWORD, Bench, rows, rows_of_page

FAULT = {fault.name: fault for fault in FAULTS}
# Of what an installer has in its hands it might keep something.
LEAVES_SOMETHING = ("hash", "truncated", "503")
# pip starts slowly; what else it says is tried with -m slow.
OF_EACH_KIND = ("down", "401")


def trials(*quick):
    """Every fault with every backend; those that are not ``quick`` are slow."""
    wanted = {(name, backend) for backend, names in quick for name in names}
    return [
        pytest.param(*one, marks=[] if one in wanted else pytest.mark.slow)
        for one in itertools.product(FAULT, BACKENDS)
    ]


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    made = {}

    def bench(backend):
        if backend not in made:
            made[backend] = Bench(tmp_path_factory.mktemp(backend), backend)
        return made[backend]

    return bench


@pytest.mark.parametrize(("name", "backend"), trials(("uv", FAULT), ("venv", OF_EACH_KIND)))
def test_the_page_says_what_is_said(name, backend, benches):
    with benches(backend).trial(FAULT[name]) as trial:
        said = trial.build()
    assert said.status == 1
    assert PASSWORD not in said.output
    assert said.next_step
    (row,) = rows(FAULT[name], {backend: said})
    shared = row.replace(f"| {backend} |", f"| {' and '.join(BACKENDS)} |")
    assert {row, shared} & set(rows_of_page())


def test_the_page_has_every_fault_and_no_other():
    words = [row.split(" | ")[0].removeprefix("| ") for row in rows_of_page()]
    assert list(dict.fromkeys(words)) == [fault.words for fault in FAULTS]


@pytest.mark.parametrize(("name", "backend"), trials(("uv", LEAVES_SOMETHING)))
def test_the_next_run_with_the_index_well_succeeds(name, backend, benches):
    with benches(backend).trial(FAULT[name]) as trial:
        assert trial.build().status == 1
        trial.mend()
        said = trial.build()
        assert (said.status, "ERROR" in said.output) == (0, False), said.output
        # What is kept then, nobody asks it for again.
        trial.index.fault = FAULT[name]
        trial.index.requests.clear()
        assert "; cached" in trial.build("--env-offline").output
        assert "; cached" in trial.build().output
        assert trial.index.requests == []


def test_what_passes_is_tried_again(benches):
    """An index that has no time for the first question, and then answers."""
    with benches("uv").trial(FAULT["500"]) as trial:
        refused = []

        def once(handler):
            if refused:
                return False
            refused.append(handler.path)
            handler.send_error(503)
            return True

        trial.index.fault = None
        answer = trial.index.answer
        trial.index.answer = lambda handler: once(handler) or answer(handler)
        said = trial.build(patient=True)
    assert refused
    assert said.status == 0, said.output


@pytest.mark.parametrize("name", ["down", "no-such-host", "no-tls", "401", "404", "garbage"])
def test_what_does_not_pass_is_said_at_once(name, benches, monkeypatch):
    """No installer tries by itself again, and none is started again."""
    commands = []
    run = Processes.run

    def counted(self, args, *, environ, cwd=None):
        if "compile" in args:
            commands.append(environ.get("UV_HTTP_RETRIES"))
        return run(self, args, environ=environ, cwd=cwd)

    monkeypatch.setattr(Processes, "run", counted)
    with benches("uv").trial(FAULT[name]) as trial:
        assert trial.build(patient=True).status == 1
    assert set(commands) == {"0"}
