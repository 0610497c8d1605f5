"""Every example does what its README promises, with real packages from PyPI."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conda_channel import make_package, make_python, write_index

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(ini.parent.name for ini in EXAMPLES.glob("*/pytest.ini"))

pytestmark = pytest.mark.network


class Ran:
    """One run of pytest in an example: its exit code, its output, its report."""

    def __init__(self, directory: Path, *options: str) -> None:
        report = directory / "report.json"
        command = [sys.executable, "-m", "pytest", f"--env-report={report}", *options]
        ended = subprocess.run(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.output = ended.stdout
        assert ended.returncode == 0, self.output
        environments = json.loads(report.read_text())["environments"]
        self.environments: dict[str, dict[str, Any]] = {env["name"]: env for env in environments}

    @property
    def summary(self) -> str:
        """pytest's last line, without the time."""
        match = re.search(r"^=+ (.+) in [\d.]+s", self.output.splitlines()[-1])
        assert match, self.output
        return match[1]

    @property
    def outcomes(self) -> dict[str, dict[str, int]]:
        return {name: env["outcomes"] for name, env in self.environments.items()}

    def packages(self, name: str) -> dict[str, str]:
        packages: dict[str, str] = self.environments[name]["packages"]
        return packages


@pytest.fixture
def copy_of(tmp_path: Path) -> Any:
    """Copies an example, so that the run leaves nothing in the repository."""

    def copy(name: str) -> Path:
        ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored))

    return copy


def test_one_module_runs_with_two_major_versions(copy_of: Any) -> None:
    ran = Ran(copy_of("two_major_versions"))
    assert ran.summary == "5 passed"
    assert ran.outcomes == {
        "pydantic1": {"passed": 2},
        "pydantic2": {"passed": 2},
        "older-parts": {"passed": 1},
    }
    assert ran.packages("pydantic1")["pydantic"].startswith("1.10.")
    assert ran.packages("pydantic2")["pydantic"].startswith("2.")
    assert ran.packages("older-parts")["annotated-types"] == "0.6.0"


def test_a_variant_that_is_selected_is_the_only_one_provided(copy_of: Any) -> None:
    ran = Ran(copy_of("two_major_versions"), "-k", "pydantic1")
    assert ran.outcomes == {"pydantic1": {"passed": 2}}


def test_named_environments_share_their_base(copy_of: Any) -> None:
    ran = Ran(copy_of("named_environments"))
    assert ran.summary == "9 passed"
    assert "isoenv: declared mistune-old, mistune-new, no-markdown" in ran.output
    assert ran.outcomes == {
        "mistune-old": {"passed": 3},
        "mistune-new": {"passed": 3},
        "no-markdown": {"passed": 2},
    }
    assert ran.packages("mistune-old")["mistune"] == "0.8.4"
    assert "beautifulsoup4" in ran.packages("mistune-new")
    assert "beautifulsoup4" not in ran.packages("no-markdown")


def test_every_python_that_is_there_runs_its_tests_and_missing_ones_say_why(copy_of: Any) -> None:
    ran = Ran(copy_of("python_versions"))
    assert len(ran.environments) == 6
    for name, environment in ran.environments.items():
        version = name.removeprefix("py")
        if environment["provisioned"] == "failed":
            assert environment["outcomes"] == {"skipped": 2}
            assert f"no Python interpreter for '{version}' was found" in ran.output
        else:
            assert environment["outcomes"] == {"passed": 2}
            assert environment["python"].startswith(f"{version}.")
    own = ran.environments.get(f"py3.{sys.version_info.minor}")
    assert own is None or own["outcomes"] == {"passed": 2}


def test_one_version_writes_and_another_reads(copy_of: Any) -> None:
    ran = Ran(copy_of("upgrade"))
    assert ran.summary == "3 passed"
    assert ran.packages("werkzeug-2.2.3")["werkzeug"] == "2.2.3"
    assert ran.packages("werkzeug>=3")["werkzeug"] >= "3"


def test_everything_can_be_in_one_declaration(copy_of: Any) -> None:
    ran = Ran(copy_of("all_at_once"), "test_declared.py")
    assert re.sub(r", \d+ warnings?", "", ran.summary) == "13 passed"
    assert ran.outcomes == {
        "current": {"passed": 3},
        "old-attrs": {"passed": 1},
        "frozen": {"passed": 1},
        "house": {"passed": 2},
        "thin": {"passed": 1},
        "dates-old-utc": {"passed": 1},
        "dates-new-utc": {"passed": 2},
        "dates-new-berlin": {"passed": 2},
    }
    assert ran.packages("old-attrs")["attrs"] == "22.2.0"
    assert ran.packages("frozen")["six"] == "1.16.0"
    assert "house-style" in ran.packages("house")
    assert "pydantic" not in ran.packages("house")
    assert {"attrs", "pydantic"} <= set(ran.packages("thin"))


CONDA_FORGE = "https://conda.anaconda.org/conda-forge"


def test_a_conda_environment_of_one_declaration_with_all(copy_of: Any, tmp_path: Path) -> None:
    pytest.importorskip("rattler", reason="py-rattler is not installed")
    channel = tmp_path / "channel"
    make_python(channel)
    make_package(channel, "jq", "1.7", files={"bin/jq": "#!/bin/sh\necho jq-1.7\n"})
    url = write_index(channel)
    directory = copy_of("all_at_once")
    for name in ("isoenv.yaml", "test_conda.py"):
        text = (directory / name).read_text()
        assert CONDA_FORGE in text
        (directory / name).write_text(text.replace(CONDA_FORGE, url))
    assert Ran(directory, "test_conda.py").summary == "1 passed"


def test_without_a_conda_its_environment_is_skipped_with_the_reason(copy_of: Any) -> None:
    directory = copy_of("all_at_once")
    # As where neither is installed.
    hidden = "import importlib.util, shutil\nfound = importlib.util.find_spec\n"
    hidden += "importlib.util.find_spec = lambda name: None if name == 'rattler' else found(name)\n"
    hidden += "shutil.which = lambda name: None\n"
    (directory / "conftest.py").write_text(hidden)
    ran = Ran(directory, "test_conda.py")
    assert ran.summary == "1 skipped"
    assert "neither py-rattler (pytest-isoenv[conda]) nor a conda is there" in ran.output


def test_a_plugin_adds_environments_and_a_backend_and_says_what_that_cannot_do(
    copy_of: Any,
) -> None:
    directory = copy_of("own_backend")
    ran = Ran(directory)
    assert ran.summary == "3 passed"
    assert ran.outcomes == {"dateutil-2.7.0": {"passed": 2}, "dateutil-2.9.0.post0": {"passed": 1}}
    assert ran.packages("dateutil-2.7.0")["python-dateutil"] == "2.7.0"
    house = directory / "house.py"
    declared = house.read_text()
    house.write_text(
        declared.replace('"backend": "system",', '"backend": "system", "local": ["."],')
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=directory, capture_output=True, text=True
    )
    assert ended.returncode == 4
    assert "the backend 'system' cannot do this: local" in ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_is_cached_and_needs_no_network(
    name: str, copy_of: Any, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = copy_of(name)
    first = Ran(directory)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    second = Ran(directory)
    assert second.environments
    assert {env["provisioned"] for env in second.environments.values()} <= {"cached", "failed"}
    assert second.outcomes == first.outcomes


def test_the_script_runs_every_example(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    examples = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=ignored)
    ended = subprocess.run(
        [sys.executable, str(examples / "run.py"), "-q"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in NAMES:
        assert f"$ cd examples/{name} && pytest -q" in ended.stdout
    assert ended.stdout.endswith("\nall examples passed\n")


def test_the_script_fails_when_an_example_does(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "run.py", tmp_path)
    for name, passes in {"bad": False, "good": True}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / name / "test_it.py").write_text(f"def test_it():\n    assert {passes}\n")
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "run.py")], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stdout.endswith("\nfailed: bad\n")


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_what_one_should_see(name: str) -> None:
    assert "You should see" in (EXAMPLES / name / "README.md").read_text()
    assert f"[{name}]" in (EXAMPLES / "README.md").read_text()
