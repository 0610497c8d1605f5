"""The cache: ``ensure(key, build) -> directory``, whoever else wants it, however it ends."""

from __future__ import annotations

import dataclasses
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_isoenv._file_locks import release
from pytest_isoenv._process import MARK
from pytest_isoenv._store import Store
from pytest_isoenv.errors import BrokenEnvironment, StoreError
from pytest_isoenv.pinned import EnvKey

# Another process: says "ready", waits for a line, then does what its arguments say.
OTHER = """
import sys
from pathlib import Path
from pytest_isoenv._store import Store

root, counter, what = sys.argv[1:]
store = Store(Path(root))

def build(directory):
    with open(counter, "a") as file:
        file.write("built\\n")
    (directory / "half").write_text("")
    if what == "hang":
        print("building", flush=True)
        sys.stdin.read()
    (directory / "whole").write_text("")
    return {"by": "another process"}

print("ready", flush=True)
sys.stdin.readline()
if what == "ephemeral":
    print(store.ephemeral(), flush=True)
    sys.stdin.read()
    store.close()
else:
    print(store.ensure("key", {"a": "1"}, "label", build, lambda entry: None).directory)
"""


@dataclasses.dataclass
class Builder:
    """A build and a check that count, and can be told to fail."""

    builds: list = dataclasses.field(default_factory=list)
    reasons: dict = dataclasses.field(default_factory=dict)
    error: BaseException | None = None

    def build(self, directory):
        self.builds.append(directory)
        assert list(directory.iterdir()) == []
        (directory / "half").write_text("")
        if self.error is not None:
            raise self.error
        (directory / "whole").write_text("")
        return {"number": len(self.builds)}

    def check(self, entry):
        return self.reasons.get(entry.directory)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def store(root):
    store = Store(root)
    yield store
    store.close()


@pytest.fixture
def builder():
    return Builder()


@pytest.fixture
def ensure(store, builder):
    def ensure(key="key", inputs=None, label="label"):
        return store.ensure(EnvKey(key), inputs or {"a": "1"}, label, builder.build, builder.check)

    return ensure


@pytest.fixture
def other(root, tmp_path):
    """Start another process that uses the same cache."""
    started = []

    def other(what):
        popen = subprocess.Popen(
            [sys.executable, "-c", OTHER, root, tmp_path / "builds", what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(popen)
        assert popen.stdout.readline() == "ready\n"
        return popen

    yield other
    for popen in started:
        popen.kill()
        popen.communicate()


def tell(popen):
    popen.stdin.write("go\n")
    popen.stdin.flush()


def left_in(store):
    """What a run that is over has left."""
    return [path for name in ("runs", "leases", "trash") for path in (store.home / name).glob("*")]


def files(root):
    return {
        path.relative_to(root): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


# Hits and misses


def test_the_first_time_it_is_built_and_then_it_is_there(ensure, builder):
    first, second = ensure(), ensure()
    assert (first.provisioned, second.provisioned) == ("built", "cached")
    assert first.directory == second.directory
    assert dict(first.facts) == dict(second.facts) == {"number": 1}
    assert len(builder.builds) == 1


def test_it_is_built_at_its_final_path(ensure, builder):
    entry = ensure()
    assert builder.builds == [entry.directory]
    assert (entry.directory / "whole").is_file()


def test_a_hit_has_taken_no_time_to_build(ensure):
    ensure()
    assert ensure().seconds == 0


def test_another_store_on_the_same_root_finds_what_this_one_built(ensure, root, builder):
    built = ensure()
    found = Store(root).ensure(EnvKey("key"), {}, "other", builder.build, builder.check)
    assert (found.provisioned, found.directory) == ("cached", built.directory)


def test_keys_do_not_share_a_directory(ensure, builder):
    assert ensure("one").directory != ensure("two").directory
    assert len(builder.builds) == 2


def test_a_hit_writes_nothing_but_notes_that_it_was_used(ensure, root):
    ensure()
    manifest = root / "v1" / "environments" / "key" / "manifest.json"
    before, text = files(root), manifest.read_text()
    os.utime(manifest, (0, 0))
    assert ensure().provisioned == "cached"
    assert manifest.stat().st_mtime > 0
    assert manifest.read_text() == text
    after = files(root)
    assert {path for path in before if after.get(path) != before[path]} <= {
        manifest.relative_to(root)
    }
    assert after.keys() == before.keys()


def test_whether_somebody_is_at_work_on_an_environment_is_known_without_waiting(store, root):
    with (
        store.alone_with("environment-key") as first,
        Store(root).alone_with("environment-key") as second,
    ):
        assert (first, second) == (True, False)
    with store.alone_with("environment-key") as again:
        assert again


# Failed, broken and killed builds


def test_a_failed_build_leaves_no_manifest_and_is_a_miss_the_next_time(ensure, builder, root):
    builder.error = OSError(28, "No space left on device")
    with pytest.raises(StoreError, match="No space left on device; make room"):
        ensure()
    assert list(root.rglob("manifest.json")) == []
    builder.error = None
    assert ensure().provisioned == "built"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupted_build_is_a_miss_the_next_time(ensure, builder, error):
    builder.error = error
    with pytest.raises(type(error)):
        ensure()
    builder.error = None
    assert ensure().provisioned == "built"


def test_what_a_failed_build_left_is_never_built_upon_and_goes(ensure, builder):
    builder.error = OSError("no")
    with pytest.raises(OSError):
        ensure()
    assert not builder.builds[0].exists()
    builder.error = None
    assert ensure().directory == builder.builds[1]


def test_a_broken_entry_is_rebuilt_as_a_new_generation_and_says_why(ensure, builder):
    old = ensure()
    builder.reasons[old.directory] = "missing from it: lib"
    new = ensure()
    assert new.provisioned == "built"
    assert new.why == "it was broken: missing from it: lib"
    assert new.directory != old.directory
    assert ensure().directory == new.directory
    assert len(builder.builds) == 2


def test_repair_never_touches_the_directory_that_others_may_be_running_in(ensure, builder):
    old = ensure()
    before = files(old.directory)
    builder.reasons[old.directory] = "broken"
    ensure()
    assert files(old.directory) == before


def test_what_is_broken_as_soon_as_it_is_built_is_an_error(store, builder):
    with pytest.raises(BrokenEnvironment, match="only just built, and it never is well"):
        store.ensure(EnvKey("key"), {}, "label", builder.build, lambda entry: "it never is well")
    assert len(builder.builds) == 1
    assert not builder.builds[0].exists()


def test_a_repair_that_fails_leaves_the_old_entry_to_be_repaired_again(ensure, builder):
    old = ensure()
    builder.reasons[old.directory] = "broken"
    builder.error = OSError("no")
    with pytest.raises(OSError):
        ensure()
    builder.error = None
    assert ensure().why == "it was broken: broken"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "0"}', '{"schema": "1"}'])
def test_a_manifest_that_cannot_be_used_is_a_miss(ensure, builder, root, text):
    ensure()
    (manifest,) = root.rglob("manifest.json")
    manifest.write_text(text)
    assert ensure().provisioned == "built"
    assert len(builder.builds) == 2


def test_a_directory_without_a_manifest_does_not_exist_for_anybody(ensure, builder, root):
    ensure()
    (manifest,) = root.rglob("manifest.json")
    manifest.unlink()
    assert ensure().provisioned == "built"
    first, second = builder.builds
    assert first != second


def test_a_killed_build_is_a_miss_and_its_directory_is_never_built_upon(ensure, builder, other):
    popen = other("hang")
    tell(popen)
    assert popen.stdout.readline() == "building\n"
    popen.kill()
    popen.wait()
    entry = ensure()
    assert entry.provisioned == "built"
    assert len(builder.builds) == 1
    assert {path.name for path in entry.directory.iterdir()} == {"half", "whole"}
    assert [child for child in entry.directory.parent.iterdir() if child.is_dir()] == [
        entry.directory
    ]


# Races


def test_of_many_threads_that_want_one_key_one_builds(ensure, builder):
    together = threading.Barrier(8)

    def one(_):
        together.wait()
        return ensure()

    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(one, range(8)))
    assert len({entry.directory for entry in entries}) == 1
    assert sorted(entry.provisioned for entry in entries) == ["built"] + ["cached"] * 7
    assert len(builder.builds) == 1


def test_of_many_processes_that_want_one_key_one_builds(other, tmp_path):
    processes = [other("build") for _ in range(4)]
    for popen in processes:
        tell(popen)
    directories = {popen.communicate()[0] for popen in processes}
    assert [popen.returncode for popen in processes] == [0, 0, 0, 0]
    assert len(directories) == 1
    assert (tmp_path / "builds").read_text() == "built\n"


def test_whoever_waits_takes_over_from_a_builder_that_was_killed(ensure, other, builder):
    popen = other("hang")
    tell(popen)
    assert popen.stdout.readline() == "building\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ensure)
        assert builder.builds == []
        popen.kill()
        assert waiting.result().provisioned == "built"


def test_two_keys_are_built_at_the_same_time(store, builder):
    together = threading.Barrier(2)

    def build(directory):
        together.wait(30)
        return {}

    def one(key):
        return store.ensure(EnvKey(key), {}, key, build, builder.check)

    with ThreadPoolExecutor(2) as pool:
        assert [entry.provisioned for entry in pool.map(one, "ab")] == ["built", "built"]


def test_a_hit_does_not_wait_for_somebody_who_builds_anew(store, ensure, builder):
    old = ensure()

    def build(directory):
        return {"found meanwhile": str(ensure().directory)}

    def check(entry):
        return "broken, says this one" if entry.directory == old.directory else None

    entry = store.ensure(EnvKey("key"), {}, "x", build, check)
    assert entry.facts == {"found meanwhile": str(old.directory)}


def test_an_interrupted_run_waits_for_nobody(ensure, store, other):
    popen = other("hang")
    tell(popen)
    assert popen.stdout.readline() == "building\n"
    store.stop()
    with pytest.raises(StoreError, match="interrupted"):
        ensure()


# Why


def test_nothing_has_to_be_explained_the_first_time(ensure):
    assert ensure().why == ""


def test_a_change_of_key_is_explained_by_what_changed(ensure):
    ensure("one", {"python": "3.12.4", "package lib": "1.0 x"})
    entry = ensure("two", {"python": "3.12.5", "package lib": "1.0 x"})
    assert entry.why == "python 3.12.4 -> 3.12.5"


def test_a_change_is_explained_against_the_environment_that_was_used_last(ensure):
    ensure("one", {"python": "3.10.1"})
    ensure("two", {"python": "3.11.1"})
    assert ensure("one", {"python": "3.10.1"}).provisioned == "cached"
    assert ensure("three", {"python": "3.12.1"}).why == "python 3.10.1 -> 3.12.1"


def test_another_projects_environments_explain_nothing(ensure):
    ensure("one", {"python": "3.12.4"}, label="theirs")
    assert ensure("two", {"python": "3.12.5"}, label="ours").why == ""


def test_many_changes_are_counted_instead_of_listed(ensure):
    ensure("one", {f"package p{number}": "1" for number in range(9)})
    why = ensure("two", {f"package p{number}": "2" for number in range(9)}).why
    assert why.startswith("p0 1 -> 2; p1 1 -> 2")
    assert why.endswith("and 5 more changes")


def test_what_cannot_be_explained_any_more_is_no_obstacle(ensure, root):
    ensure("one", {"python": "3.12.4"})
    (manifest,) = root.rglob("manifest.json")
    manifest.unlink()
    assert ensure("two", {"python": "3.12.5"}).why == ""


# Resolutions


def test_a_resolution_is_made_by_one_at_a_time(store):
    def one(_):
        with store.resolution("intent") as directory:
            directory.mkdir(parents=True, exist_ok=True)
            made = directory / "made"
            if made.exists():
                return 0
            made.touch()
            return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, range(8))) == 1


def test_looking_for_a_kept_resolution_needs_no_lock(store):
    with store.resolution("intent") as directory, ThreadPoolExecutor(1) as pool:
        assert pool.submit(store.kept_resolution, "intent").result() == directory


# Throw-away environments


def test_an_ephemeral_environment_is_built_each_time(store, builder):
    first, second = store.throw_away(builder.build), store.throw_away(builder.build)
    assert first.provisioned == second.provisioned == "ephemeral"
    assert first.directory != second.directory
    assert len(builder.builds) == 2


def test_closing_removes_every_ephemeral_directory_and_nothing_else(store, builder, ensure):
    kept = ensure().directory
    gone = [store.throw_away(builder.build).directory, store.ephemeral()]
    store.close()
    assert not any(path.exists() for path in gone)
    assert left_in(store) == []
    assert kept.is_dir()


def test_closing_removes_what_a_failed_build_left(store, builder):
    builder.error = OSError("no")
    with pytest.raises(OSError):
        store.throw_away(builder.build)
    store.close()
    assert not builder.builds[0].exists()


def test_closing_twice_or_without_use_is_no_error(store):
    store.close()
    store.ephemeral()
    store.close()
    store.close()


def test_what_a_killed_run_left_is_swept_by_the_next(store, other):
    popen = other("ephemeral")
    tell(popen)
    left = Path(popen.stdout.readline().strip())
    popen.kill()
    popen.wait()
    assert left.is_dir()
    mine = store.ephemeral()
    assert not left.exists()
    assert mine.is_dir()
    store.close()
    assert left_in(store) == []


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="this system does not show processes' variables"
)


@needs_proc
def installer_of(run):
    """A process that lives until it is told not to."""
    installer = subprocess.Popen(
        [sys.executable, "-c", "print('here', flush=True); input()"],
        env={**os.environ, MARK: run.run},
        start_new_session=True,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert installer.stdout.readline() == "here\n"
    return installer


def test_where_a_killed_run_was_resolving_nobody_writes_any_more(store, root):
    dead = Store(root)
    with dead.resolution("intent"):
        installer = installer_of(dead)
    release(dead._run._alive)
    with store.resolution("intent"), installer:
        installer.communicate()  # it would end by itself now
        assert installer.returncode == -signal.SIGKILL


def test_the_processes_of_a_killed_run_end_with_the_next_sweep(store, root):
    dead, living = Store(root), Store(root)
    installers = {}
    for run in (dead, living):
        run.ephemeral()
        installers[run.run] = installer_of(run)
    release(dead._run._alive)  # as the system does it for a process that is killed
    store.sweep()
    with installers[dead.run] as left:
        assert left.wait() == -signal.SIGKILL
    with installers[living.run] as left:
        left.communicate("\n")
        assert left.returncode == 0
    living.close()


def test_what_a_living_run_uses_is_never_swept(store, other):
    popen = other("ephemeral")
    tell(popen)
    theirs = Path(popen.stdout.readline().strip())
    store.ephemeral()
    assert theirs.is_dir()
    popen.communicate()
    assert not theirs.exists()


def test_two_runs_of_one_process_do_not_sweep_each_other(store, root):
    second = Store(root)
    one, two = store.ephemeral(), second.ephemeral()
    assert one.is_dir()
    second.close()
    assert one.is_dir()
    assert not two.exists()


# The root

needs_owners = pytest.mark.skipif(
    not hasattr(os, "getuid"), reason="this platform has no owners and modes"
)


@needs_owners
def test_the_root_is_for_this_user_alone(store, root):
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@needs_owners
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o1777])
def test_a_root_that_others_may_write_to_is_refused_before_anything_is_written(root, mode):
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(StoreError, match="others may write"):
        Store(root)
    assert list(root.iterdir()) == []


@needs_owners
def test_a_root_that_belongs_to_somebody_else_is_refused(root, monkeypatch):
    root.mkdir(mode=0o700)
    me = os.getuid() + 1
    status = os.stat_result([stat.S_IFDIR | 0o700, 0, 0, 1, me, *[0] * 5])
    monkeypatch.setattr(Path, "lstat", lambda path: status)
    with pytest.raises(StoreError, match=f"user with id {me}"):
        Store(root)


def test_a_root_that_cannot_be_made_is_an_error_with_its_path(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(StoreError) as caught:
            Store(path)
        assert caught.value.path == str(path)


def test_a_root_that_stops_being_usable_is_an_error_of_the_store(ensure, root):
    (root / "v1").write_text("in the way")
    with pytest.raises(StoreError) as caught:
        ensure()
    assert caught.value.path == str(root)


def test_whoever_finds_the_root_knows_who_owns_it(store, root):
    assert "pytest-isoenv" in (root / "README.md").read_text()
    assert (root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f068")


def test_everything_lies_below_a_version_of_the_schema(ensure, root, store):
    assert ensure().directory.is_relative_to(store.home)
    assert store.interpreters.is_relative_to(store.home)
    assert {path.name for path in root.iterdir()} == {"README.md", "CACHEDIR.TAG", "v1"}
