"""Suites of real projects, every module marked, against plain pytest in a made environment."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests import recorder

pytestmark = [pytest.mark.network, pytest.mark.slow]

INDEX = "https://pypi.org/simple"
# The host has other versions of these, so nothing but the environment can give the right outcome.
PROJECTS = [
    pytest.param("packaging", "24.2", "tests", r"test_(requirements|utils)\.py", id="packaging"),
    pytest.param("pluggy", "1.6.0", "testing", r"test_.*\.py", id="pluggy"),
]


def sdist(name: str, version: str, directory: Path) -> Path:
    """Download and unpack a project's source distribution (PEP 503), its hash checked."""
    page = f"{INDEX}/{name}/"
    with urllib.request.urlopen(page) as answer:
        links = answer.read().decode()
    filename = re.escape(f"{name}-{version}.tar.gz")
    link = re.search(rf'href="([^"#]*{filename})#sha256=([0-9a-f]{{64}})"', links)
    assert link is not None, links
    with urllib.request.urlopen(urllib.parse.urljoin(page, link[1])) as answer:
        data = answer.read()
    assert hashlib.sha256(data).hexdigest() == link[2]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(directory, filter="data")
    return directory / f"{name}-{version}"


def record(command: list[str], project: Path, out: Path) -> dict:
    """Run a suite and return what the recorder saw of it."""
    environ = {**os.environ, "RECORD": str(out)}
    arguments = ["-p", "recorder", "-p", "no:cacheprovider", "-o", "addopts="]
    shutil.copy(recorder.__file__, project / "recorder.py")
    run = subprocess.run(
        [*command, *arguments], cwd=project, env=environ, capture_output=True, text=True
    )
    assert out.exists(), run.stdout + run.stderr
    return json.loads(out.read_text())


def outcomes(recorded: dict) -> dict:
    """What a user sees of each test: the reports of its phases, without what differs by place."""
    seen: dict[str, list] = {}
    for report in recorded["reports"]:
        longrepr = report["longrepr"]
        text = longrepr if isinstance(longrepr, list) else recorder.comparable(longrepr)
        seen.setdefault(report["id"], []).append((report["when"], report["outcome"], text))
    return seen


@pytest.mark.parametrize(("name", "version", "tests", "modules"), PROJECTS)
def test_a_marked_suite_gives_what_plain_pytest_gives(tmp_path, name, version, tests, modules):
    original = sdist(name, version, tmp_path)
    for other in (original / tests).rglob("test_*.py"):
        if not re.fullmatch(modules, other.name):
            other.unlink()
    marked = Path(shutil.copytree(original, tmp_path / "marked" / original.name))
    for module in (marked / tests).rglob("test_*.py"):
        mark = f'pytestmark = __import__("pytest").mark.env("{name}=={version}", project="none")'
        module.write_text(f"{module.read_text()}\n{mark}\n")
    made = tmp_path / "made"
    pins = [f"{name}=={version}", f"pytest=={importlib.metadata.version('pytest')}"]
    subprocess.run([find_uv_bin(), "venv", "-q", "--python", sys.executable, str(made)], check=True)
    install = [find_uv_bin(), "pip", "install", "-q", "--python", str(made / "bin" / "python")]
    subprocess.run([*install, *pins], check=True)

    plain = record([str(made / "bin" / "python"), "-m", "pytest"], original, tmp_path / "plain")
    isolated = record([sys.executable, "-m", "pytest"], marked, tmp_path / "isolated")

    there, here = outcomes(plain), outcomes(isolated)
    assert len(there) > 20
    assert {k: re.sub(r"/marked/", "/", str(v)) for k, v in here.items()} == {
        k: str(v) for k, v in there.items()
    }
    assert isolated["exit"] == plain["exit"]
