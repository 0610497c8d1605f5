"""The projects of the benchmarks have the tests that they say, and a script runs what it names."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys

import pytest

from tests.benchmarks.suites import Suite, at_once, in_sequence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Suite(120, ("1.0", "2.0"), pytest="8.0.2", python="3.12.1").write(
        tmp_path_factory.mktemp("suite")
    )


def test_a_project_has_so_many_tests(project):
    trees = [ast.parse(path.read_text()) for path in (project / "tests").glob("test_*.py")]
    names = [node.name for tree in trees for node in tree.body]
    assert len(trees) == 3
    assert sorted(names) == sorted(f"test_{number}" for number in range(120))


def test_every_tool_is_told_the_same_environments(project):
    declared = tomllib.loads((project / "pyproject.toml").read_text())["tool"]
    ours = declared["isoenv"]["environments"]
    del ours["base"]
    tox = configparser.ConfigParser()
    tox.read(project / "tox.ini")
    hatch = declared["hatch"]["envs"]
    nox = (project / "noxfile.py").read_text()
    wanted = [["pytest==8.0.2", f"part=={number}"] for number in ("1.0", "2.0")]
    assert [environment["dependencies"] for environment in ours.values()] == wanted
    assert [tox[f"testenv:part{n}"]["deps"].split() for n in ("1.0", "2.0")] == wanted
    assert hatch["bench"]["dependencies"] == ["pytest==8.0.2", "part=={matrix:part}"]
    assert hatch["bench"]["matrix"] == [{"part": ["1.0", "2.0"]}]
    assert "@nox.parametrize(\"version\", ['1.0', '2.0'])" in nox
    assert 'session.install("pytest==8.0.2", f"part=={version}")' in nox


@pytest.mark.parametrize("script", [at_once, in_sequence])
def test_a_script_fails_if_one_of_its_commands_does(script):
    def status(*commands):
        return subprocess.run(["sh", "-c", script(commands)], check=False).returncode

    assert status("true", "true") == 0
    assert status("true && false", "true") != 0
    assert status("true", "false") != 0
