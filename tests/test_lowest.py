"""Lowest versions of real projects: what uv gives for the project and its tests together."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tarfile

import pytest

from pytest_isoenv import _config, _settings
from pytest_isoenv._backends import uv
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv._wanted import wanted_of
from pytest_isoenv.backend import OLDEST_PYTEST
from pytest_isoenv.pinned import read_pylock
from tests.parity.suites import Suite, sdist

pytestmark = pytest.mark.network


@dataclasses.dataclass(frozen=True)
class Project:
    """A released project: its sdist, what is declared for its tests, and the same for uv."""

    name: str
    version: str
    sha256: str
    fields: dict[str, list[str]]
    options: tuple[str, ...]

    def __str__(self):
        return f"{self.name}-{self.version}"


PROJECTS = [
    Project(
        "h2",
        "4.4.1",
        "4e866ffb1a869ae14dd9b5e6beb5c24a13da0495ad72b65925ded182521c1516",
        {"groups": ["testing"]},
        ("--group", "testing"),
    ),
    Project(
        "flask",
        "3.1.3",
        "0ef0e52b8a9cd932855379197dd8f94047b359ca0a78695144304cb45f87c9eb",
        {"extras": ["async"], "dependencies": ["pytest>=8", "werkzeug>=3.1.2"]},
        ("--extra", "async"),
    ),
]


@pytest.fixture(params=PROJECTS, ids=str)
def project(request, tmp_path, shared_caches):
    """The project, unpacked, and where."""
    found = request.param
    suite = Suite(found.name, found.version, found.sha256, python="", pytest="")
    with tarfile.open(sdist(suite, shared_caches / "sdists")) as archive:
        archive.extractall(tmp_path, filter="data")
    return found, tmp_path / f"{found.name}-{found.version}"


def ours(root, fields, directory):
    """What an environment of this declaration has, but for the project itself."""
    directory.mkdir()
    declared = {"environments": {"it": {"base": False, "project": "editable", **fields}}}
    (root / "isoenv.yaml").write_text(json.dumps(declared))
    settings = _settings.gather(root, cache=directory / "cache")
    interpreters = Interpreters(settings, Processes(), directory / "interpreters.json")
    wanted = wanted_of(_config.load(root).spec("it"), interpreters.find(None), settings)

    def run(args, *, purpose, failure, cwd=None):
        ended = Processes().run(args, environ=settings.installer_environ, cwd=cwd)
        if ended.status != 0:
            raise failure(purpose, ended.command, ended.status, ended.output)
        return ended.stdout

    pins = [pin for text in uv.resolve(wanted, directory, run).pylocks for pin in read_pylock(text)]
    return wanted.base.executable, {f"{pin.name}=={pin.version}" for pin in pins}


def uvs(root, python, mode, found, directory):
    """What uv says to the same question, asked without us."""
    (directory / "tests.in").write_text("\n".join(found.fields.get("dependencies", [])))
    (directory / "bounds.txt").write_text(f"pytest>={OLDEST_PYTEST}\n")
    command = [uv.program(), "pip", "compile", "--no-header", "--no-annotate", "--quiet"]
    command += ["--resolution", mode, "--python", python, "-c", str(directory / "bounds.txt")]
    command += [*found.options, "pyproject.toml", str(directory / "tests.in")]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


@pytest.mark.parametrize("mode", ["lowest-direct", "lowest"])
def test_lowest_versions_are_those_that_uv_gives_for_project_and_tests_together(
    project, tmp_path, mode
):
    found, root = project
    fields = {**found.fields, "resolution": mode}
    python, pins = ours(root, fields, tmp_path / "resolution")
    assert pins == uvs(root, python, mode, found, tmp_path)
    _, highest = ours(root, found.fields, tmp_path / "highest")
    assert pins != highest
