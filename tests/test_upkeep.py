"""What lies in the store, what it takes up, and what of it goes."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from pytest_isoenv._limits import Limits
from pytest_isoenv._steps import EVENT
from pytest_isoenv._store import Store
from pytest_isoenv._tidy import Upkeep, keep, tidy, upkeep_of
from pytest_isoenv._trash import delete
from pytest_isoenv._upkeep import contents, prune, total
from pytest_isoenv.pinned import EnvKey

EVERYTHING = Limits(age=-1)
DAY = 24 * 3600


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

        run = Store(store.root)
        entry = run.ensure(EnvKey(key), inputs or {}, f"/p\0{key}", build, lambda entry: None)
        run.close()
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
    run = Store(store.root)
    run.ensure(EnvKey("key"), {}, "/p\0key", lambda directory: {}, lambda entry: None)
    run.close()
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
    run = Store(store.root)
    with run.wheels("tree") as directory:
        (directory / "any").mkdir(parents=True)
        (directory / "any" / "wheel.json").write_text("{}")
        assert [one.busy for one in prune(Store(store.root), EVERYTHING)] == [True]
    run.close()
    os.utime(directory, (0, 0))
    assert prune(store, Limits()) == []
    assert names(prune(store, Limits(age=100))) == ["tree"]
    assert not directory.exists()


def test_wheels_that_a_run_uses_stay(store):
    run = Store(store.root)
    note = run.kept_wheels("tree") / "any" / "wheel.json"
    note.parent.mkdir(parents=True)
    note.write_text("{}")
    assert [one.busy for one in prune(store, EVERYTHING)] == [True]
    assert note.exists()
    run.close()
    assert [one.busy for one in prune(store, EVERYTHING)] == [False]


def test_what_a_run_uses_stays_until_the_run_is_over(store, make):
    directory = make("key", used=1e6)
    run = Store(store.root)
    run.ensure(EnvKey("key"), {}, "/p\0key", lambda directory: {}, lambda entry: None)
    os.utime(directory.parent / "manifest.json", (0, 0))
    assert [one.busy for one in prune(store, EVERYTHING)] == [True]
    assert [kept.in_use for kept in contents(store)] == [True]
    assert directory.is_dir()
    run.close()
    assert [kept.in_use for kept in contents(store)] == [False]
    assert [one.busy for one in prune(store, EVERYTHING)] == [False]
    assert not directory.exists()


def test_an_old_generation_stays_while_somebody_runs_in_it(store, make):
    old = make("key")
    run = Store(store.root)
    run.ensure(EnvKey("key"), {}, "/p\0key", lambda directory: {}, lambda entry: None)

    def check(entry):
        return "broken" if entry.directory == old else None

    healer = Store(store.root)
    new = healer.ensure(EnvKey("key"), {}, "/p\0key", lambda directory: {}, check).directory
    healer.close()
    assert new != old
    assert [(one.kept.path, one.busy) for one in prune(store, Limits())] == [(old, True)]
    assert old.is_dir()
    run.close()
    assert [(one.kept.path, one.busy) for one in prune(store, Limits())] == [(old, False)]
    assert new.is_dir()


def test_whoever_leases_while_something_is_hidden_gets_it_back(store, make):
    directory = make("key", used=1e6)
    run = Store(store.root)
    runs = [run]

    def lease(event, args):
        if runs and event == EVENT and args[0] == "hidden":
            runs.pop()._lease("environment-key")

    sys.addaudithook(lease)
    assert [one.busy for one in prune(store, EVERYTHING)] == [True]
    assert runs == []
    assert store.look(EnvKey("key"), lambda entry: None)[0].directory == directory


def test_what_somebody_else_prunes_meanwhile_is_no_error(store, make):
    make("one", used=1e6)
    make("two", used=1e6)
    others = []

    def prune_too(event, args):
        if event == EVENT and args[0] == "hide" and not others:
            others.append(None)
            others[:] = prune(Store(store.root), EVERYTHING)

    sys.addaudithook(prune_too)
    mine = prune(store, EVERYTHING)
    assert len(names(mine)) == len(names(others)) == 1
    assert {*names(mine), *names(others)} == {"one", "two"}
    assert contents(store) == []


def test_what_somebody_else_deletes_meanwhile_is_no_error(tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # they were the faster

    def delete_too(event, args):
        if event == "os.chmod" and tree in (Path(args[0]), *Path(args[0]).parents):
            rmtree(args[0])

    sys.addaudithook(delete_too)
    delete(tree)
    tree.joinpath("below").mkdir(parents=True)
    delete(tree)
    assert not tree.exists()


@pytest.mark.parametrize(
    ("thing", "note"),
    [("resolution-x", "resolutions/x/pin.json"), ("wheels-x", "wheels/x/any/wheel.json")],
)
def test_what_was_hidden_by_a_prune_that_was_killed_goes_also_if_it_was_made_again(
    store, thing, note
):
    run, file = Store(store.root), store.home / note
    run._lease(thing)
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    hidden = file.with_name(f"{file.name}.hidden")
    hidden.write_text("{}")
    prune(store, Limits())
    assert hidden.exists()  # somebody is at work on it
    run.close()
    prune(store, Limits())
    assert not hidden.exists()
    assert file.exists()


def test_wheels_that_no_note_names_go(store):
    any_ = store.home / "wheels" / "x" / "any"
    for name in ("named", "other"):
        (any_ / name).mkdir(parents=True)
    (any_ / "wheel.json").write_text('{"digest": "named"}')
    prune(store, Limits())
    assert sorted(path.name for path in any_.iterdir()) == ["named", "wheel.json"]


def test_locks_and_memories_of_what_is_gone_go_too(store, make):
    make("key", used=1e6)
    assert [*(store.home / "locks").iterdir()]
    assert [*(store.home / "latest").iterdir()]
    prune(store, EVERYTHING)
    assert [*(store.home / "locks").iterdir()] == []
    assert [*(store.home / "latest").iterdir()] == []


def test_what_only_links_to_itself_is_its_own(store, make):
    directory = make("key")
    (directory / "again").hardlink_to(directory / "file")
    (kept,) = contents(store)
    assert (kept.size, kept.own_size) == (100, 100)
    (store.root / "elsewhere").hardlink_to(directory / "file")
    (kept,) = contents(store)
    assert (kept.size, kept.own_size) == (100, 0)


def test_pruning_ends_when_its_time_is_over(store, make):
    make("key", used=1e6)
    assert prune(store, EVERYTHING, until=time.monotonic() - 1) == []
    assert names(prune(store, EVERYTHING, until=time.monotonic() + 60)) == ["key"]


# By itself


def test_a_cache_cleans_itself_once_a_day(store, make):
    make("new")
    old = make("old", used=31 * DAY)
    tidy(store)
    assert not old.exists()
    older = make("older", used=31 * DAY)
    tidy(store)
    assert older.exists()
    keep(store, dataclasses.replace(upkeep_of(store), last=time.time() - DAY))
    tidy(store)
    assert not older.exists()
    assert [kept.name for kept in contents(store)] == ["new"]


def test_a_cache_that_is_told_not_to_does_not_clean_itself(store, make):
    old = make("old", used=31 * DAY)
    keep(store, Upkeep(automatic=False))
    tidy(store)
    assert old.exists()


def test_a_cache_cleans_itself_to_the_limits_that_it_was_given(store, make):
    make("big", size=1000)
    small = make("small", used=60 * DAY)
    keep(store, Upkeep(limits=Limits(age=None, size=1500)))
    tidy(store)
    assert small.exists()
    keep(store, Upkeep(limits=Limits(age=None, size=1050)))
    tidy(store)
    assert not small.exists()


def test_while_somebody_else_cleans_nobody_waits(store, make):
    old = make("old", used=31 * DAY)
    with Store(store.root).alone_with("upkeep"):
        tidy(store)
    assert old.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"age": "x", "size": [], "last": null}', "{"])
def test_limits_that_cannot_be_read_are_the_usual_ones(store, text):
    store.home.mkdir(exist_ok=True)
    (store.home / "upkeep.json").write_text(text)
    assert upkeep_of(store) == Upkeep()


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
    left = store.home / "runs" / "run-dead" / "env-1"
    left.mkdir(parents=True)
    prune(store, Limits(), dry_run=True)
    assert left.exists()
    prune(store, Limits())
    assert not left.exists()
