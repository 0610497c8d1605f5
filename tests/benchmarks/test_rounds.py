"""Contenders take turns, and only those count that have done all of the job."""

from __future__ import annotations

import os
import sys

import pytest

from tests.benchmarks.measuring import Usage
from tests.benchmarks.rounds import Contender, FailedError, run, samples
from tests.benchmarks.suites import TALLY, Suite

SUITE = Suite(2, ("1.0", "2.0"), pytest="9.0", python="3.12.1")


def contender(tmp_path, name="it", code="", **fields):
    command = [sys.executable, "-I", "-c", f"import os, sys\n{code}"]
    made = {"title": name, "command": command, "cwd": tmp_path, "environ": dict(os.environ)}
    return Contender(name, **{**made, "suite": None, **fields})


def leaving(*lines):
    return f"open(os.environ[{TALLY!r}], 'w').write({chr(10).join(lines)!r})"


def test_every_round_has_everybody_and_every_other_is_the_other_way_round(tmp_path):
    turns = []

    def runner(one):
        turns.append(one.name)
        return Usage(float(len(turns)), 1.0, 0)

    found = samples([contender(tmp_path, n) for n in "abc"], 3, runner, lambda text: None)
    assert "".join(turns) == "abc" + "abc" + "cba" + "abc"
    assert found[0].wall == [4.0, 9.0, 10.0]


def test_the_warm_up_does_not_count(tmp_path):
    (found,) = samples([contender(tmp_path)], 2, lambda one: Usage(1.0, 1.0, 0), lambda text: None)
    assert len(found.wall) == 2


def test_who_fails_once_is_out_and_has_no_numbers(tmp_path):
    turns = []

    def runner(one):
        turns.append(one.name)
        if len(turns) == 2:
            raise FailedError("no")
        return Usage(1.0, 1.0, 0)

    (found,) = samples([contender(tmp_path)], 5, runner, lambda text: None)
    assert (found.error, found.numbers("wall"), len(turns)) == ("no", [], 2)


def test_a_feature_that_does_not_exist_yet_is_no_error(tmp_path):
    def runner(one):
        raise FailedError("ended with 4: unknown key 'isolation'")

    known = contender(tmp_path, absent="unknown key 'isolation'")
    other = contender(tmp_path, name="other")
    found, failed = samples([known, other], 1, runner, lambda text: None)
    assert (found.absent, found.error) == ("not there yet", "")
    assert failed.error


def test_a_run_that_did_everything_counts(tmp_path):
    code = leaving("1.0 2 3.12.1 9.0", "2.0 2 3.12.1 9.0")
    usage = run(contender(tmp_path, code=code, suite=SUITE), tmp_path)
    assert usage.status == 0
    assert usage.wall >= 0


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "it has run"),
        (leaving("1.0 2 3.12.1 9.0"), "it has run"),
        (leaving("1.0 2 3.12.1 9.0", "2.0 1 3.12.1 9.0"), "it has run"),
        (leaving("1.0 2 3.12.1 9.0", "2.0 2 3.13.0 9.0"), "3.13.0"),
        (leaving("1.0 2 3.12.1 9.0", "2.0 2 3.12.1 8.4"), "8.4"),
        ("sys.exit('broken')", "ended with 1:\nbroken"),
    ],
    ids=["nothing", "one-environment", "fewer-tests", "other-python", "other-pytest", "failed"],
)
def test_a_run_that_did_less_is_an_error_however_fast_it_was(tmp_path, code, why):
    with pytest.raises(FailedError, match=why):
        run(contender(tmp_path, code=code, suite=SUITE), tmp_path)


def test_what_an_earlier_run_has_left_does_not_count(tmp_path):
    code = leaving("1.0 2 3.12.1 9.0", "2.0 2 3.12.1 9.0")
    run(contender(tmp_path, code=code, suite=SUITE), tmp_path)
    with pytest.raises(FailedError, match="it has run"):
        run(contender(tmp_path, suite=SUITE), tmp_path)


def test_the_report_must_be_there_not_only_the_work(tmp_path):
    good = contender(tmp_path, code="print('4 passed')", says="4 passed")
    run(good, tmp_path)
    with pytest.raises(FailedError, match="did not say '4 passed'"):
        run(contender(tmp_path, code="print('3 passed')", says="4 passed"), tmp_path)


def test_what_is_prepared_is_prepared_before_each_run(tmp_path):
    done = []
    one = contender(tmp_path, prepare=lambda: done.append(1))
    run(one, tmp_path)
    run(one, tmp_path)
    assert len(done) == 2
