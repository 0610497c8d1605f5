"""``pytest --in-env here`` beside plain pytest in the same environment: what both print."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.packages import make_wheel
from tests.starter import Starter

#: The declaration of all these tests, so that they share its environments.
YAML = """
environments:
  here: {project: none, dependencies: [lib==1.0, pytest-there]}
  other: {project: none, dependencies: [lib==2.0, pytest-there]}
"""

# A plugin that the environments have and the host has not.
_THERE = """
import pytest

class ThereWarning(UserWarning):
    pass

def pytest_addoption(parser):
    parser.addoption("--there", default="nowhere")
    parser.addoption("--there-twice", nargs=2)
    parser.addini("there_level", "a setting", default="low")

def pytest_configure(config):
    config.addinivalue_line("markers", "there: of the plugin")

@pytest.fixture
def there(request):
    "What --there says."
    return request.config.getoption("--there")
"""
_NAMED = "import pytest\n\n@pytest.fixture\ndef named():\n    return 'named'\n"

# What is different in any two runs, and what only one of the two has to say.
_UNEQUAL = {
    r"0x[0-9a-f]{6,}": "0x...",
    r"\b\d+\.\d\ds\b( \([\d:]+\))?": "N.NNs",
    r"/[^\s'\"]*/pytest-\d+(/isoenv-[^/\s'\"]*)?": "<basetemp>",
    r"[^\s'\"]*/site-packages/": "<site-packages>/",
    r"(?m)^(platform|plugins:|isoenv:|here: Python|  key |  packages |  resolved ).*\n": "",
    r"(?m)^collecting \.\.\. (isoenv: building .*\n)?": "",
    r"(?m)^=+ environments =+\n": "",
    # Where pytest 9.2 says this depends on what was recorded then, also outside of any report.
    r"(?m)^.*PytestConfigWarning: Failed to import filter module .*\n +warnings\.warn\(.*\n": "",
    r"(?m)^[^\s]*/_pytest/config/__init__\.py:\d+(: \d+ warnings)?\n": "",
    r"(?m)^=+ warnings summary \(final\) =+\n+-- Docs: .*\n": "",
    r"(?m)^(=+) (.*?) (=+)$": r"== \2 ==",
}


def add_plugin(wheels: Path) -> None:
    """Put the plugin into the index; its second module is one to be named by ``-p``."""
    make_wheel(
        wheels,
        "pytest-there",
        "1.0",
        modules={"pytest_there.py": _THERE, "named_there.py": _NAMED},
        entry_points="[pytest11]\nthere = pytest_there\n",
    )


class Pair:
    """A directory with a suite, and both ways of running it."""

    def __init__(
        self, directory: Path, files: Mapping[str, str], starter: Starter | None = None
    ) -> None:
        self.directory = directory
        self.start = ["-m", "pytest"]
        self._starter = starter
        self.write({"isoenv.yaml": YAML, **files})

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")

    def isolated(self, *runs: Sequence[str], below: str = ".") -> str:
        """What the runs print, one after the other with one cache."""
        report = f"--env-report={self.directory / 'report.json'}"
        options = ["-p", "no:xdist", report, "--in-env=here"]
        if self._starter is not None and self.start == ["-m", "pytest"]:
            return self._run(options, runs, below, self._starter)
        return self._run([sys.executable, *self.start, *options], runs, below)

    def plain(self, *runs: Sequence[str], below: str = ".") -> str:
        return self._run([self.python, "-m", "pytest"], runs, below)

    @property
    def python(self) -> Path:
        """The environment's interpreter, once something has run in it."""
        report = json.loads((self.directory / "report.json").read_text())
        return Path(report["environments"][0]["path"]) / "bin" / "python"

    def difference(self, *runs: Sequence[str], below: str = ".") -> str:
        """Where the two ways of running differ; empty if nowhere."""
        isolated = comparable(self.isolated(*runs, below=below))
        plain = comparable(self.plain(*runs, below=below))
        found = "\n".join(difflib.unified_diff(plain, isolated, "plain", "isolated", n=1))
        print(found)  # whole, which an assertion would not be
        return found

    def _run(
        self,
        start: Sequence[str | Path],
        runs: Sequence[Sequence[str]],
        below: str,
        starter: Starter | None = None,
    ) -> str:
        for cache in self.directory.rglob(".pytest_cache"):
            shutil.rmtree(cache)
        told = ""
        how: dict[str, Any] = {"environ": {**os.environ, "PYTHONHASHSEED": "0"}}
        how["directory"] = (self.directory / below).resolve()
        for args in runs:
            with tempfile.TemporaryFile() as out:
                popen = starter.pytest if starter is not None else _popen
                process = popen([*start, *args], **how, stdout=out, stderr=out)
                try:
                    status = process.wait(120)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise
                out.seek(0)
                told += f"{out.read().decode()}\nexit code {status}\n"
        return told


def _popen(
    command: Sequence[str | Path], *, directory: Path, environ: Mapping[str, str], **streams: Any
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, cwd=directory, env=environ, stdin=subprocess.DEVNULL, **streams
    )


def comparable(text: str) -> list[str]:
    """The lines of a run's output that both ways of running should have."""
    for pattern, replacement in _UNEQUAL.items():
        text = re.sub(pattern, replacement, text)
    # The longest come first, which on a busy machine may be any.
    text = re.sub(r"(?m)(?:^N\.NNs \w.*\n)+", lambda found: _sorted(found[0]), text)
    return [line for line in text.splitlines() if line]


def _sorted(lines: str) -> str:
    return "".join(sorted(lines.splitlines(keepends=True)))
