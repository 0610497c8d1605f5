"""What workers are forked from is started before it is known that they will be."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pytest_isoenv import _ahead, _layout
from pytest_isoenv._backends import builtin
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._settings import gather
from pytest_isoenv.spec import EnvName, EnvSpec
from tests.test_damage import as_root

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="nobody tells who started"),
    pytest.mark.skipif(sys.version_info >= (3, 14), reason="nothing is forked from this Python"),
]

TEST = """
import os, pathlib

def test_it():
    command = pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\\0")
    print("a fork" if b"isoenv" in command[2] else "a child of the host")
"""


@pytest.fixture
def started(pytester, run):
    """Run one test in an environment; how its process was started."""
    pytester.makepyfile(test_it=TEST)

    def started(*args):
        outcome = run("-rP", *(args or ("--in-env", "lib==1.0")))
        outcome.assert_outcomes(passed=1)
        (line,) = {"a fork", "a child of the host"} & set(outcome.outlines)
        return line

    return started


@pytest.fixture
def note(shared_caches, pytester):
    """Where what was begun is known for this test's own project."""
    return _layout.ahead(shared_caches / "pytest-isoenv", str(pytester.path))


def test_the_next_run_forks_its_only_worker_from_what_was_begun_at_once(started, note):
    assert started() == "a child of the host"
    written = note.stat().st_mtime_ns
    assert started() == "a fork"
    assert note.stat().st_mtime_ns == written


def test_with_a_default_environment_it_is_begun_while_the_host_collects(
    pytester, started, own_cache
):
    pytester.makefile(
        ".yaml", isoenv="default: old\nenvironments: {old: {dependencies: [lib==1.0]}}"
    )
    assert started("-v") == "a child of the host"
    assert started("-v") == "a fork"


def test_with_marks_it_is_begun_at_the_first_of_them(pytester, started):
    marked = TEST.replace("def test", "import pytest\n\n@pytest.mark.env('lib==1.0')\ndef test")
    pytester.makepyfile(test_it=marked)
    assert started("-v") == "a child of the host"
    assert started("-v") == "a fork"


def test_each_project_has_its_own(pytester, started):
    started()
    (elsewhere := pytester.mkdir("elsewhere")).joinpath("there.py").write_text(TEST)
    elsewhere.joinpath("pytest.ini").write_text("[pytest]\n")
    assert started("--in-env", "lib==1.0", str(elsewhere / "there.py")) == "a child of the host"
    assert started() == "a fork"


def test_a_new_project_forks_from_what_others_have_with_such_a_host(pytester, started, own_cache):
    (pytester.path / "pytest.ini").touch()
    (elsewhere := pytester.mkdir("elsewhere")).joinpath("there.py").write_text(TEST)
    elsewhere.joinpath("pytest.ini").write_text("[pytest]\n")
    there = str(elsewhere / "there.py")
    never = "{dependencies: [lib==1.0], fork-worker: false}"
    elsewhere.joinpath("isoenv.yaml").write_text(f"environments: {{never: {never}}}")
    assert started() == "a child of the host"
    assert started("--in-env", "lib==1.0", there) == "a fork"
    assert started("--in-env", "never", there) == "a child of the host"
    assert started("--in-env", "lib==1.0", there) == "a child of the host"  # it has a note now
    assert started("--in-env", "lib==1.0", there) == "a fork"
    known = _layout.ahead(own_cache, _ahead.HOST)
    layer = Path(json.loads(known.read_text())["layer"])
    known.write_text('{"layer": "/nowhere"}')
    started()
    assert json.loads(known.read_text()) == {"layer": str(layer)}


def test_what_forks_is_for_the_variables_that_python_had_when_it_started(
    pytester, started, own_cache
):
    declared = "{dependencies: [lib==1.0], env: {PYTHONHASHSEED: '1'}}"
    pytester.makefile(".yaml", isoenv=f"environments: {{old: {declared}}}")
    for _ in range(2):
        assert started("--in-env", "old") == "a child of the host"


def test_what_is_not_wanted_after_all_is_in_nobodys_way(pytester, started, note):
    declared = "{dependencies: [lib==1.0], fork-worker: false}"
    pytester.makefile(".yaml", isoenv=f"environments: {{old: {declared}}}")
    started()
    assert note.exists()
    assert started("--in-env", "old") == "a child of the host"
    assert json.loads(note.read_text()) == {"layer": None}  # nor will the next want it


@pytest.mark.slow
def test_a_throw_away_run_neither_begins_nor_forgets_it(started):
    started()
    assert started("--in-env", "lib==1.0", "--env-refresh") == "a child of the host"
    assert started() == "a fork"


def test_a_note_that_says_nothing_is_written_anew(started, note):
    started()
    told = note.read_text()
    for text in ("", '{"layer": 1}', '{"layer": "/nowhere"}'):
        note.write_text(text)
        assert started() == "a child of the host"
        assert note.read_text() == told


@pytest.mark.slow
def test_a_layer_that_cannot_start_is_built_again_where_it_is_wanted(pytester, started, own_cache):
    started()
    note = _layout.ahead(own_cache, str(pytester.path))
    layer = Path(json.loads(note.read_text())["layer"])
    (layer / "bin" / "python").unlink()
    assert started() == "a child of the host"  # it was built again
    assert started() == "a fork"


@pytest.mark.slow
@as_root
def test_nothing_is_begun_from_what_others_could_have_put_there(pytester, started, own_cache):
    started()
    note = _layout.ahead(own_cache, str(pytester.path))
    layer = Path(json.loads(note.read_text())["layer"])
    os.chown(layer, 1234, -1)
    trap = layer / "bin" / "python"
    trap.unlink()
    trap.write_text(f"#!/bin/sh\ntouch {own_cache.parent}/started\n")
    trap.chmod(0o755)
    started()
    assert not (own_cache.parent / "started").exists()


def test_while_an_environment_is_built_one_hears_what_its_worker_will_be_forked_from(
    tmp_path, own_cache
):
    heard = []
    settings = gather(tmp_path, cache=own_cache)
    provisioner = Provisioner(settings, builtin(), foresee=lambda *what: heard.append(what))
    spec = EnvSpec(requirements=("lib==1.0",), variables=(("TZ", "UTC"),))
    environment = provisioner.environment(EnvName("it"), spec)
    assert heard == [(environment.forks_from, environment.environ)]
    assert environment.environ["TZ"] == "UTC"
    for other in (
        EnvSpec(requirements=("lib==1.0",)),
        EnvSpec(requirements=("lib==2.0",), fork_worker=False),
    ):
        provisioner.environment(EnvName("it"), other)
    provisioner.close()
    assert len(heard) == 2
