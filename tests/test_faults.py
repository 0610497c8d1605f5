"""Faults at every step of work in the cache, kills at any moment, and many processes at once."""

from __future__ import annotations

import signal
from typing import get_args

import pytest

from pytest_isoenv._steps import Step
from tests import soak
from tests.faults import kills, state, table
from tests.faults.child import STRIKES
from tests.faults.walk import Walk, is_walked, walk
from tests.faults.world import FEW, JOBS, USE_APP, World

pytestmark = pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="needs Linux")

STEPS = set(get_args(Step))


def wrong(outcomes):
    return [f"{outcome.point}: {what}" for outcome in outcomes for what in outcome.wrong]


@pytest.fixture(scope="module")
def killed_everywhere(tmp_path_factory):
    """A job killed at each step, as it is reached for the first time."""
    return walk(tmp_path_factory.mktemp("walk"), FEW, ["SIGKILL"], once=True)


@pytest.mark.slow
def test_whatever_step_a_run_is_killed_at_the_next_one_is_right_and_nothing_is_left(
    killed_everywhere,
):
    assert wrong(killed_everywhere) == []
    assert {outcome.ending for outcome in killed_everywhere} == {"killed"}


@pytest.mark.slow
def test_every_step_is_struck_and_each_has_a_name(killed_everywhere):
    assert {outcome.point.step for outcome in killed_everywhere} == STEPS


def test_the_page_has_every_step_and_every_fault():
    head, *rows = table.written()
    assert head == ["step", *STRIKES]
    assert [row[0] for row in rows] == list(get_args(Step))
    assert not [row for row in rows if not any(row[1:])]
    assert "WRONG" not in table.PAGE.read_text()


# That it can fail


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world") / "world")
    world.must(*USE_APP)
    world.must("prune")
    yield world
    world.close()


def test_an_environment_that_lacks_a_file_is_half(world):
    assert state.half(world.home) == []
    module = next(world.environment("app").glob("lib/python*/site-packages/lib.py"))
    data = module.read_bytes()
    module.unlink()
    assert len(state.half(world.home)) == 1
    module.write_bytes(data[:1])
    assert len(state.half(world.home)) == 1
    module.write_bytes(data)
    assert state.half(world.home) == []


@pytest.mark.parametrize(
    "path",
    [
        "environments/KEY/2/file",
        "environments/KEY/manifest.json.hidden",
        "environments/other/1/file",
        "leases/environment-KEY@run-1",
        "latest/x.json",
        "locks/environment-other.lock",
        "resolutions/intent/pylock.toml",
        "runs/run-1/env-1/file",
        "runs/run-1.lock",
        "trash/1-0/file",
        "wheels/digest/any/x/x.whl",
        ".interpreters.json.x",
        "unknown",
    ],
)
def test_what_is_no_use_to_anybody_is_rubbish(world, path):
    assert state.rubbish(world.home) == []
    key = world.environment("app").parent.name
    file = world.home / path.replace("KEY", key)
    made = [parent for parent in (file, *file.parents) if not parent.exists()]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    try:
        assert state.rubbish(world.home)
    finally:
        for one in made:
            one.unlink() if one == file else one.rmdir()


# All of it


@pytest.fixture(scope="module")
def walking(tmp_path_factory):
    """A walk through all jobs; each is prepared once."""
    walking = Walk(tmp_path_factory.mktemp("walking") / "world")
    yield walking
    walking.close()


WALKS = [(job, fault) for job in JOBS for fault in STRIKES if is_walked(fault, job)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "fault"), WALKS, ids=[f"{job.name}-{fault}" for job, fault in WALKS]
)
def test_any_fault_at_any_step_does_no_harm(walking, job, fault):
    outcomes = [walking.strike(point) for point in walking.points(fault, job)]
    assert outcomes
    assert wrong(outcomes) == []


@pytest.mark.slow
def test_all_jobs_together_reach_every_step(walking):
    assert {step for job in JOBS for step in walking.usual(job).steps} == STEPS


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(tmp_path):
    killed = kills.strike(tmp_path / "world", 60)
    assert killed.is_right, str(killed)
    assert killed.kills >= 60


@pytest.mark.slow
def test_many_processes_at_once_lose_nothing_and_build_nothing_twice(tmp_path):
    told = soak.soak(tmp_path / "world", seconds=10, processes=4)
    assert told.wrong == [], str(told)
    assert min(told.counts[what] for what in ("build", "kill")) > 0
