"""What lies in the store, what it takes up, and what of it goes."""

from __future__ import annotations

import os
import time

import pytest

from pytest_isoenv._store import Store
from pytest_isoenv._upkeep import Limits, contents, prune, total
from pytest_isoenv.pinned import EnvKey

EVERYTHING = Limits(age=-1)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "cache")
    yield store
    store.close()


@pytest.fixture
def make(store):
    """Put an environment into the store, used so many seconds ago."""

    def make(key, *, size=100, used=0.0, inputs=None, files=None):
        def build(directory):
            for name in files or ["file"]:
                (directory / name).write_bytes(b"x" * size)
            return {"python": "3.12.1"}

        entry = store.ensure(EnvKey(key), inputs or {}, f"/p\0{key}", build, lambda entry: None)
        moment = time.time() - used
        os.utime(entry.directory.parent / "manifest.json", (moment, moment))
        return entry.directory

    return make


def names(pruned):
    return [one.kept.name for one in pruned if not one.busy]


def test_things_come_in_the_order_of_their_last_use(store, make):
    make("middle", used=100)
    make("old", used=1000)
    make("new")
    assert [kept.name for kept in contents(store)] == ["new", "middle", "old"]


def test_using_an_environment_makes_it_the_most_recent(store, make):
    make("old", used=1000)
    make("new", used=100)
    store.ensure(EnvKey("old"), {}, "/p\0old", lambda directory: {}, lambda entry: None)
    assert [kept.name for kept in contents(store)] == ["old", "new"]


def test_a_file_with_two_names_is_counted_once_and_frees_nothing(store, make):
    one, two = make("one"), make("two", used=10)
    (two / "again").hardlink_to(one / "file")
    kept = {kept.name: kept for kept in contents(store)}
    assert (kept["one"].size, kept["one"].own_size) == (100, 0)
    assert (kept["two"].size, kept["two"].own_size) == (200, 100)
    assert total(kept.values()) == 200


def test_without_limits_only_what_nobody_can_use_goes(store, make):
    there = make("there", used=1e9)
    dead = there.parent / "7"
    half = store.home / "environments" / "half" / "1"
    unresolved = store.home / "resolutions" / "unresolved"
    for directory in (dead, half, unresolved):
        directory.mkdir(parents=True)
        (directory / "file").write_text("")
    assert {one.why for one in prune(store, Limits())} == {"left by a build"}
    assert there.is_dir()
    assert not dead.exists()
    assert not half.parent.exists()
    assert not unresolved.exists()
    assert prune(store, Limits()) == []


def test_what_is_in_the_midst_of_being_built_stays(store, make, tmp_path):
    seen = []

    def build(directory):
        (directory / "file").write_text("")
        seen.extend(prune(Store(store.root), EVERYTHING))
        assert (directory / "file").exists()
        return {}

    entry = store.ensure(EnvKey("key"), {}, "/p\0key", build, lambda entry: None)
    assert entry.directory.is_dir()
    assert [(one.kept.kind, one.busy) for one in seen] == [("remains", True)]


def test_what_is_being_resolved_stays(store):
    with store.resolution("intent") as directory:
        directory.mkdir(parents=True)
        assert [one.busy for one in prune(Store(store.root), EVERYTHING)] == [True]
        assert directory.is_dir()
    assert [one.busy for one in prune(store, EVERYTHING)] == [False]


def test_what_was_used_while_pruning_stays(store, make, monkeypatch):
    directory = make("key", used=100)
    found = contents(store)
    store.ensure(EnvKey("key"), {}, "/p\0key", lambda directory: {}, lambda entry: None)
    monkeypatch.setattr("pytest_isoenv._upkeep.contents", lambda store: found)
    assert [one.busy for one in prune(store, Limits(age=50))] == [True]
    assert directory.is_dir()


def test_age_counts_from_the_last_use(store, make):
    make("old", used=1000)
    make("new", used=10)
    assert names(prune(store, Limits(age=100))) == ["old"]
    assert [kept.name for kept in contents(store)] == ["new"]


def test_resolutions_age_too(store):
    with store.resolution("intent") as directory:
        directory.mkdir(parents=True)
        (directory / "pin.json").write_text("{}")
    os.utime(directory, (0, 0))
    assert prune(store, Limits(size=0)) == []
    assert names(prune(store, Limits(age=100))) == ["intent"]
    assert not directory.exists()


def test_built_wheels_age_too_and_stay_while_they_are_built(store):
    with store.wheels("tree") as directory:
        (directory / "any").mkdir(parents=True)
        assert [one.busy for one in prune(Store(store.root), EVERYTHING)] == [True]
    os.utime(directory, (0, 0))
    assert prune(store, Limits()) == []
    assert names(prune(store, Limits(age=100))) == ["tree"]
    assert not directory.exists()


def test_those_used_the_longest_ago_go_until_the_rest_is_small_enough(store, make):
    for number in range(4):
        make(f"e{number}", used=number * 10, size=100)
    assert names(prune(store, Limits(size=250))) == ["e2", "e3"]
    assert prune(store, Limits(size=250)) == []


def test_files_that_environments_share_count_once_for_the_size(store, make):
    one = make("one")
    two = make("two", used=10)
    (two / "file").unlink()
    (two / "file").hardlink_to(one / "file")
    assert prune(store, Limits(size=100)) == []


def test_what_lies_beneath_another_is_used_with_it(store, make):
    layer = make("layer", used=1000)
    make("other", used=500)
    make("thin", used=10, inputs={"layer heavy": f"layer {layer}"})
    assert [kept.name for kept in contents(store)] == ["layer", "thin", "other"]
    assert names(prune(store, Limits(age=100))) == ["other"]
    assert names(prune(store, Limits(size=100))) == ["thin"]


def test_a_dry_run_says_the_same_and_changes_nothing(store, make):
    directory = make("old", used=1000)
    dry = prune(store, Limits(age=100), dry_run=True)
    assert directory.is_dir()
    assert names(dry) == names(prune(store, Limits(age=100))) == ["old"]
    assert not directory.parent.exists()


def test_throw_away_environments_of_runs_that_were_killed_go(store, tmp_path):
    left = store.home / "ephemeral" / "run-dead" / "env-1"
    left.mkdir(parents=True)
    prune(store, Limits(), dry_run=True)
    assert left.exists()
    prune(store, Limits())
    assert not left.exists()
