"""Where the cache can be: full disks, read-only ones, no home, odd names, a network's disk."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pytest_isoenv import _settings
from pytest_isoenv._disk import remarks
from pytest_isoenv._limits import Limits
from pytest_isoenv._store import Store
from pytest_isoenv._upkeep import prune
from pytest_isoenv.cli.main import main
from pytest_isoenv.errors import StoreError
from pytest_isoenv.pinned import EnvKey
from tests.packages import make_wheel

# Each builds environments of its own; CI runs them in its second step.
pytestmark = pytest.mark.slow

ONE = """
import pytest

@pytest.mark.env("lib==1.0", id="old")
def test_it():
    import lib
    assert lib.__version__ == "1.0"
"""


def _can_mount() -> bool:
    try:
        command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="this user cannot mount file systems")
RUN = '"$PYTHON" -m pytest -p no:cacheprovider -p no:xdist --env-cache-dir "$DISK/cache"'


@pytest.fixture
def on_a_disk(pytester, tmp_path):
    """Run lines of a shell that sees a small disk of its own at ``$DISK``; ``RUN`` runs pytest."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def on_a_disk(size: str, script: str) -> list[str]:
        lines = [f'mount -t tmpfs -o size={size} none "$DISK"', textwrap.dedent(script)]
        command = ["unshare", "-rm", "sh", "-c", "\n".join(lines)]
        environ = {**os.environ, "DISK": str(disk), "PYTHON": sys.executable}
        ended = subprocess.run(command, env=environ, capture_output=True, text=True)
        print(ended.stdout, ended.stderr)
        return ended.stdout.splitlines()

    return on_a_disk


def lines_with(word: str, lines: list[str]) -> list[str]:
    return [line for line in lines if word in line]


@needs_mounts
@pytest.mark.parametrize(
    "size", ["200k", *(pytest.param(size, marks=pytest.mark.slow) for size in ("16k", "1m", "2m"))]
)
def test_on_a_full_disk_it_is_said_that_there_is_no_room_and_nothing_is_left(
    pytester, on_a_disk, size
):
    pytester.makepyfile(test_it=ONE)
    lines = on_a_disk(
        size,
        f"""
        {RUN}
        find "$DISK"/cache/v1/runs/* "$DISK"/cache/v1/leases/* "$DISK"/cache/v1/trash/* \\
            "$DISK"/cache/v1/environments/*/* -maxdepth 0 2>/dev/null | sed 's/^/LEFT /'
        mount -o remount,size=60m none "$DISK"
        {RUN}
        """,
    )
    assert lines_with("No space left on device", lines)
    assert lines_with("make room", lines)
    assert lines_with("Traceback", lines) == []
    assert lines_with("LEFT", lines) == []
    assert lines_with("1 error in", lines)
    assert lines_with("1 passed in", lines)


@needs_mounts
def test_on_a_full_disk_what_is_there_serves(pytester, on_a_disk):
    pytester.makepyfile(test_it=ONE)
    lines = on_a_disk("60m", f'{RUN}; cat /dev/zero >"$DISK/full"; {RUN}')
    first, second = lines_with("; 1 passed", lines)
    assert "built in" in first
    assert "cached" in second


@needs_mounts
def test_a_cache_that_can_only_be_read_serves_and_what_is_missing_is_built_for_the_run(
    pytester, on_a_disk, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    pytester.makepyfile(test_it=ONE)
    pytester.makeini("[pytest]\naddopts = -p no:randomly\n")
    other = ONE.replace("1.0", "2.0").replace('"old"', '"new"')
    (pytester.path / "other.txt").write_text(other)
    lines = on_a_disk(
        "60m",
        f"""
        {RUN}
        mount -o remount,ro none "$DISK"
        {RUN}
        cat other.txt >>test_it.py
        {RUN}
        {RUN} --env-refresh
        """,
    )
    told = lines_with("Python 3", lines)
    built, cached, new, refreshed = (line for line in told if "; 1 passed" in line)
    assert "built in" in built
    assert "cached" in cached
    assert "ephemeral in" in new
    assert "ephemeral in" in refreshed
    assert lines_with("it can only be read", lines)
    (place,) = tmp_path.glob("pytest-isoenv-*")
    assert [*place.glob("v1/runs/*")] == []


def test_without_a_home_the_cache_is_among_temporary_files(pytester, tmp_path, monkeypatch, run):
    """What a service runs as may have a home directory that is not there, and cannot be made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/dev/null/home")
    pytester.makepyfile(test_it=ONE)
    outcome = run()
    outcome.assert_outcomes(passed=1)
    (place,) = tmp_path.glob("pytest-isoenv-*")
    assert outcome.environments["old"]["path"].startswith(str(place))
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert run().environments["old"]["provisioned"] == "cached"


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_cache_never_lies_below_the_current_directory_by_accident(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.setenv("HOME", home)
    cache = _settings.gather(tmp_path).cache
    assert cache.is_absolute()
    assert not cache.is_relative_to(tmp_path)


@pytest.mark.parametrize("name", ["a space, Ümläut-漢字, $and'quote\"", "very" + "-long" * 45])
def test_the_cache_can_have_any_name(pytester, run, tmp_path, name):
    pytester.makepyfile(
        test_it=ONE
        + """
    import shutil, subprocess, sys
    script = shutil.which("pytest")  # its first line cannot hold every path
    assert script.startswith(sys.prefix)
    assert "pytest" in subprocess.run([script, "--version"], capture_output=True, text=True).stdout
"""
    )
    outcome = run(f"--env-cache-dir={tmp_path / name}")
    outcome.assert_outcomes(passed=1)
    assert run(f"--env-cache-dir={tmp_path / name}").environments["old"]["provisioned"] == "cached"


def test_the_project_can_have_any_name(pytester, run):
    place = pytester.path / "a project's Ümläut"
    place.mkdir()
    (place / "test_it.py").write_text(ONE)
    wheels = place / "my wheels"
    make_wheel(wheels, "local-thing", "3.0")
    (place / "isoenv.yaml").write_text(
        "environments: {base: {local: [my wheels/local_thing-3.0-py3-none-any.whl]}}"
    )
    os.chdir(place)
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["old"]["packages"]["local-thing"] == "3.0"


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:25 / /mnt/nfs rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
31 22 0:26 / /mnt/with\\040space rw - cifs //server/share rw
32 30 0:27 / /mnt/nfs/local rw - tmpfs none rw
33 22 0:28 / /mnt/hidden rw - nfs server:/x rw
34 33 0:29 / /mnt/hidden rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/mnt/nfs/me/cache", "nfs4"),
        ("/mnt/with space/cache", "cifs"),
        ("/mnt/nfs/local/cache", None),
        ("/mnt/nfs-not/cache", None),
        ("/mnt/hidden/cache", None),
        ("/home/me", None),
    ],
)
def test_a_cache_on_a_network_file_system_is_told(tmp_path, place, kind):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    told = list(remarks(Path(place), mounts))
    assert [f"network file system ({kind})" in line for line in told] == [True] * bool(kind)


def test_where_nobody_knows_what_is_mounted_nothing_is_told(tmp_path):
    assert list(remarks(tmp_path, tmp_path / "missing")) == []


needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a file away"
)


@needs_root
def test_a_cache_of_another_user_is_refused(tmp_path):
    Store(tmp_path / "cache")
    os.chown(tmp_path / "cache", 12345, 12345)
    with pytest.raises(StoreError, match="it belongs to the user with id 12345"):
        Store(tmp_path / "cache")


@needs_root
def test_a_link_of_another_user_is_refused_and_ones_own_is_not(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert Store(link).writable
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(StoreError, match="a link of the user with id 12345"):
        Store(link)


def test_a_store_of_another_version_is_left_alone(pytester, run, own_cache, capsys):
    pytester.makepyfile(test_it=ONE)
    for version in ("v0", "v2"):
        (own_cache / version).mkdir(parents=True)
        (own_cache / version / "manifest.json").write_text("of another form")
    own_cache.chmod(0o700)
    run().assert_outcomes(passed=1)
    assert main(["cache"]) == 0
    said = capsys.readouterr().out
    for version in ("v0", "v2"):
        assert (own_cache / version / "manifest.json").read_text() == "of another form"
        assert f"{version}/ is of another version of pytest-isoenv" in said


def test_two_versions_of_the_store_share_a_root(tmp_path, monkeypatch):
    """Neither prunes, sweeps or waits for what is of the other."""
    ours = Store(tmp_path / "cache")
    for module in ("_layout", "_store"):
        monkeypatch.setattr(f"pytest_isoenv.{module}.SCHEMA", "2")
    theirs = Store(tmp_path / "cache")
    found = {}
    for store in (ours, theirs):
        store.ephemeral()
        entry = store.ensure(EnvKey("key"), {}, "/p\0key", lambda _: {}, lambda _: None)
        found[store] = entry.directory
    theirs.close()
    assert found[ours] != found[theirs]
    assert [one.kept.path for one in prune(theirs, Limits(age=-1))] == [found[theirs]]
    assert found[ours].is_dir()
    assert [*ours.runs.in_use()] == ["environment-key"]
    ours.close()


def test_a_directory_that_tests_made_unreadable_goes_with_the_run(pytester, run, own_cache):
    pytester.makepyfile(
        test_it=ONE
        + """
    import os, sys
    os.makedirs(sys.prefix + "/locked/inner")
    os.symlink("/etc", sys.prefix + "/locked/inner/link")
    os.chmod(sys.prefix + "/locked/inner", 0)
    os.chmod(sys.prefix + "/locked", 0o500)
"""
    )
    before = Path("/etc").stat().st_mode
    run("--env-refresh").assert_outcomes(passed=1)
    assert [*own_cache.glob("v1/runs/*")] == [*own_cache.glob("v1/trash/*")] == []
    assert Path("/etc").stat().st_mode == before


@pytest.mark.slow
def test_an_environment_that_was_deleted_by_hand_is_built_again(pytester, run, own_cache):
    pytester.makepyfile(test_it=ONE)
    run().assert_outcomes(passed=1)
    shutil.rmtree(own_cache)
    run().assert_outcomes(passed=1)
