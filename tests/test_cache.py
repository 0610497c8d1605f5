"""The cache: built once, found again, never half; and how to get round it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packages import Index, make_wheel

ONE = """
    import pytest

    @pytest.mark.env("lib==1.0", id="one")
    def test_it():
        import lib
        assert lib.__version__ == "1.0"
"""

# Where the environments of these tests have what they ask for.
LIB = "v1/environments/*/*/lib/*/site-packages/lib.py"

# A plugin of the host alone, that writes down each program that is started.
WATCHES = """
import json, os, sys

def watch(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        with open(os.environ["STARTED"], "a") as file:
            file.write(json.dumps(os.fsdecode(args[0])) + "\\n")

sys.addaudithook(watch)
"""


@pytest.fixture
def host_plugin(tmp_path_factory, monkeypatch) -> Callable[[str, str], None]:
    """Make a plugin that only the host can import: it lies outside of the project."""
    directory = tmp_path_factory.mktemp("plugins")
    monkeypatch.setenv("PYTHONPATH", str(directory))

    def make(name: str, code: str) -> None:
        (directory / f"{name}.py").write_text(code)

    return make


def test_a_second_run_starts_no_installer_only_the_worker(
    pytester, run, own_cache, host_plugin, tmp_path_factory, monkeypatch
):
    host_plugin("watches", WATCHES)
    started = tmp_path_factory.mktemp("started") / "started.txt"
    monkeypatch.setenv("STARTED", str(started))
    pytester.makepyfile(test_it=ONE)

    def programs() -> list[str]:
        run("-p", "watches").assert_outcomes(passed=1)
        lines = started.read_text().splitlines()
        started.unlink()
        return [Path(json.loads(line)).name for line in lines]

    assert "uv" in programs()
    assert programs() == ["python"]


def test_a_second_run_needs_no_index(pytester, run, own_cache, monkeypatch, wheels):
    index = Index(wheels)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    pytester.makepyfile(test_it=ONE)
    run().assert_outcomes(passed=1)
    assert index.requests
    index.close()
    again = run()
    again.assert_outcomes(passed=1)
    assert again.environments["one"]["provisioned"] == "cached"


def test_tests_with_the_same_content_share_a_directory_whatever_they_call_it(
    pytester, run, own_cache
):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="one")
        @pytest.mark.env("lib==1.0", id="another")
        @pytest.mark.env(deps=["lib<=1.0"], id="by-another-way")
        def test_it(): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=3)
    assert len({env["path"] for env in outcome.report["environments"]}) == 1
    assert len([*own_cache.glob(LIB)]) == 1


def test_another_projects_run_finds_the_same_environment(pytester, run, own_cache):
    pytester.makepyfile(test_it=ONE)
    first = run()
    pytester.mkdir("elsewhere")
    (pytester.path / "test_it.py").rename(pytester.path / "elsewhere" / "test_it.py")
    (pytester.path / "elsewhere" / "pytest.ini").touch()
    second = run("elsewhere")
    assert second.environments["one"]["path"] == first.environments["one"]["path"]
    assert second.environments["one"]["provisioned"] == "cached"


def test_the_cache_lies_in_xdg_cache_home_is_private_and_says_whose_it_is(pytester, run, own_cache):
    pytester.makepyfile(test_it=ONE)
    outcome = run()
    assert Path(outcome.environments["one"]["path"]).is_relative_to(own_cache)
    assert stat.S_IMODE(own_cache.stat().st_mode) == 0o700
    assert "pytest-isoenv" in (own_cache / "README.md").read_text()
    assert (own_cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d1")


def test_env_cache_dir_says_where_from_the_current_directory(pytester, run, own_cache):
    pytester.makepyfile(test_it=ONE)
    outcome = run("--env-cache-dir=here/cache")
    outcome.assert_outcomes(passed=1)
    path = Path(outcome.environments["one"]["path"])
    assert path.is_relative_to(pytester.path / "here" / "cache")
    assert not own_cache.exists()


def test_env_refresh_builds_anew_and_removes_it(pytester, run, own_cache):
    pytester.makepyfile(test_it=ONE)
    cached = run().environments["one"]
    fresh = run("--env-refresh")
    fresh.assert_outcomes(passed=1)
    assert fresh.environments["one"]["provisioned"] == "ephemeral"
    assert fresh.environments["one"]["path"] != cached["path"]
    assert not Path(fresh.environments["one"]["path"]).exists()
    assert [*own_cache.glob("v1/runs/*")] == []
    assert run().environments["one"]["provisioned"] == "cached"


@pytest.mark.slow
def test_env_refresh_removes_it_also_after_a_failure_and_an_exit(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.env("lib==1.0")
        def test_fails(): assert 0

        @pytest.mark.env("lib==1.0")
        def test_dies(): os._exit(1)

        @pytest.mark.env("lib==1.0")
        def test_exits(): pytest.exit("enough")
        """
    )
    outcome = run("--env-refresh")
    assert outcome.ret == pytest.ExitCode.INTERRUPTED
    assert [*own_cache.glob("v1/runs/*")] == []


@pytest.mark.slow
def test_env_upgrade_takes_what_is_newest_now_and_later_runs_keep_it(
    pytester, run, own_cache, growing
):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(deps=["lib"])
        def test_it(): pass
        """
    )
    assert run().environments["lib"]["packages"]["lib"] == "1.0"
    make_wheel(growing, "lib", "1.1")
    assert run().environments["lib"]["packages"]["lib"] == "1.0"
    upgraded = run("--env-upgrade")
    assert upgraded.environments["lib"]["packages"]["lib"] == "1.1"
    upgraded.stdout.fnmatch_lines(["*rebuilding lib: lib 1.0 -> 1.1"])
    later = run()
    assert later.environments["lib"]["packages"]["lib"] == "1.1"
    assert later.environments["lib"]["provisioned"] == "cached"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "bin" / "python").unlink(), "its interpreter * is gone"),
        pytest.param(lambda path: shutil.rmtree(path), "is gone", marks=pytest.mark.slow),
        (
            lambda path: next(path.glob("lib/*/site-packages/lib.py")).unlink(),
            "missing from it: lib.py",
        ),
    ],
    ids=["the-interpreter", "the-directory", "a-package"],
)
def test_a_damaged_environment_is_built_again_and_says_why(pytester, run, own_cache, damage, said):
    pytester.makepyfile(test_it=ONE)
    path = Path(run().environments["one"]["path"])
    damage(path)
    healed = run()
    healed.assert_outcomes(passed=1)
    assert healed.environments["one"]["provisioned"] == "built"
    healed.stdout.fnmatch_lines([f"  rebuilding one: it was broken: *{said}*"])
    assert run().environments["one"]["provisioned"] == "cached"


@pytest.mark.slow
def test_a_manifest_that_makes_no_sense_is_a_miss(pytester, run, own_cache):
    pytester.makepyfile(test_it=ONE)
    run()
    for text in ("", "[]", '{"schema": "0"}', '{"schema": "1"}'):
        for manifest in own_cache.glob("v1/environments/*/manifest.json"):
            manifest.write_text(text)
        outcome = run()
        outcome.assert_outcomes(passed=1)
        assert outcome.environments["one"]["provisioned"] == "built", text


class LockedIndex(Index):
    """An index that answers only those who give the user and the password."""

    def answer(self, handler) -> None:
        expected = "Basic " + base64.b64encode(b"user:secret").decode()
        if handler.headers.get("Authorization") == expected:
            super().answer(handler)
            return
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="locked"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()


def test_credentials_in_an_indexs_address_are_used(
    pytester, run, own_cache, monkeypatch, wheels, tmp_path
):
    index = LockedIndex(wheels)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("://", "://user:secret@"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    pytester.makepyfile(test_it=ONE)
    outcome = run()
    index.close()
    outcome.assert_outcomes(passed=1)


def test_credentials_in_a_requirement_are_refused_and_other_ways_named(pytester, run, own_cache):
    address = "http://user:secret@127.0.0.1/lib-1.0-py3-none-any.whl"
    pytester.makepyfile(test_it=ONE.replace("lib==1.0", f"lib @ {address}"))
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*has credentials in its URL, which would be kept; *netrc*"])
    assert "secret" not in outcome.stdout.str() + outcome.stderr.str()
    assert not own_cache.exists()


@pytest.mark.slow
def test_a_cached_environment_is_the_same_whoever_fetched_it(
    pytester, run, own_cache, monkeypatch, wheels
):
    index = LockedIndex(wheels)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("://", "://user:secret@"))
    pytester.makepyfile(test_it=ONE)
    run().assert_outcomes(passed=1)
    index.close()
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("://", "://somebody:else@"))
    again = run()
    again.assert_outcomes(passed=1)
    assert again.environments["one"]["provisioned"] == "cached"


# Kills its own process at one moment of its work in the cache; a count of 0 kills nobody.
KILLS = """
import os, signal, sys

COUNTED = {
    "open": 0, "os.mkdir": 0, "os.rename": 0, "os.remove": 0, "os.listdir": 0,
    "subprocess.Popen": None, "tempfile.mkdtemp": 0, "tempfile.mkstemp": 0,
}
moment, seen = int(os.environ["MOMENT"]), 0

def count(event, args):
    global seen
    if event not in COUNTED:
        return
    position = COUNTED[event]
    if position is not None and os.environ["CACHE"] not in str(args[position]):
        return
    seen += 1
    if seen == moment:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)

def pytest_unconfigure():
    with open(os.environ["SEEN"], "w") as file:
        file.write(str(seen))
"""


@pytest.fixture
def killed(pytester, own_cache, host_plugin, tmp_path_factory, monkeypatch):
    """Run pytest, and kill it at one of the moments at which it works in the cache."""
    host_plugin("kills", KILLS)
    seen = tmp_path_factory.mktemp("seen") / "seen.txt"
    monkeypatch.setenv("CACHE", str(own_cache))
    monkeypatch.setenv("SEEN", str(seen))

    def killed(moment: int, *args: str) -> int:
        monkeypatch.setenv("MOMENT", str(moment))
        result = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "kills", *args)
        assert result.ret == (-signal.SIGKILL if moment else 0)
        return int(seen.read_text())

    return killed


@pytest.mark.slow
@pytest.mark.parametrize("option", [(), ("--env-refresh",)], ids=["cached", "ephemeral"])
def test_after_a_kill_at_any_of_ten_moments_of_a_build_the_next_run_succeeds(
    pytester, run, own_cache, killed, option
):
    pytester.makepyfile(test_it=ONE)
    moments = killed(0, *option)
    assert moments > 20
    for number in range(10):
        shutil.rmtree(own_cache)
        killed(1 + number * moments // 12, *option)  # how many there are varies a little
        outcome = run(*option)
        outcome.assert_outcomes(passed=1)
        assert outcome.environments["one"]["packages"]["lib"] == "1.0"
        assert [*own_cache.glob("v1/runs/*")] == []


@pytest.mark.slow
def test_sixteen_processes_at_once_on_an_empty_cache_build_each_environment_once(
    pytester, own_cache
):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        def test_it():
            import lib
        """
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider",
             f"--env-report=report-{number}.json", f"--basetemp=temp-{number}"],
            cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in range(16)
    ]  # fmt: skip
    for process in processes:
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
    environments = [
        environment
        for number in range(16)
        for environment in json.loads((pytester.path / f"report-{number}.json").read_text())[
            "environments"
        ]
    ]
    for name in ("old", "new"):
        mine = [environment for environment in environments if environment["name"] == name]
        assert sorted(environment["provisioned"] for environment in mine) == (
            ["built"] + ["cached"] * 15
        )
        assert len({environment["path"] for environment in mine}) == 1
        assert all([*environment["tests"].values()] == ["passed"] for environment in mine)


@pytest.mark.slow
def test_under_xdist_the_workers_share_one_build(pytester, own_cache):
    pytest.importorskip("xdist")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        @pytest.mark.parametrize("number", range(4))
        def test_it(number):
            import lib
        """
    )
    result = pytester.runpytest_subprocess("-n2")
    result.assert_outcomes(passed=4)
    assert len([*own_cache.glob(LIB)]) == 1
    assert [*own_cache.glob("v1/environments/*/2")] == []


def test_a_cache_that_others_may_write_to_is_refused(pytester, run, own_cache):
    own_cache.mkdir(parents=True)
    own_cache.chmod(0o777)
    pytester.makepyfile(test_it=ONE)
    outcome = run()
    text = outcome.stdout.str() + outcome.stderr.str()
    assert outcome.ret != 0
    assert "others may write to it (mode 0700 is what it should have)" in text
    assert "INTERNALERROR" not in text


def test_python_is_compiled_even_where_the_host_writes_no_bytecode(
    pytester, run, own_cache, monkeypatch
):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    pytester.makepyfile(test_it=ONE)
    path = Path(run().environments["one"]["path"])
    assert [*path.glob("lib/*/site-packages/__pycache__/lib.*.pyc")]
    assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"
