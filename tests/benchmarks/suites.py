"""The projects that the jobs run: the same tests for all, and each tool's own configuration.

The environments of a project differ by the version of a small package. What a run has done is not
taken from anybody's words: the session of every environment leaves a line, in a file that is not
looked at while time is measured.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

#: The variable that names the file of these lines.
TALLY = "BENCHMARK_TALLY"
#: The package that is another in each environment.
PART = "part"
TESTS_PER_MODULE = 50

_CONFTEST = f"""
import os
import platform

import pytest


def pytest_sessionfinish(session, exitstatus):
    try:
        from {PART} import __version__
    except ImportError:  # no environment, but the process that started it
        return
    if not session.testscollected:  # it was only to say what there is
        return
    passed = session.testscollected - session.testsfailed if exitstatus == 0 else 0
    line = [__version__, passed, platform.python_version(), pytest.__version__]
    with open(os.environ["{TALLY}"], "a") as file:
        print(*line, file=file)
"""


@dataclasses.dataclass(frozen=True)
class Suite:
    """So many trivial tests, in environments that have these versions of the package."""

    tests: int
    versions: tuple[str, ...]
    pytest: str
    python: str

    def requirements(self, number: str) -> list[str]:
        """What the environment of a version needs."""
        return [f"pytest=={self.pytest}", f"{PART}=={number}"]

    def write(self, directory: Path) -> Path:
        """Make the project, with the configuration of every tool that may run it."""
        files = {
            "conftest.py": _CONFTEST,
            "tox.ini": self._tox(),
            "noxfile.py": self._nox(),
            "pyproject.toml": self._hatch()
            + '\n[tool.pytest.ini_options]\ntestpaths = ["tests"]\n\n'
            + self._isoenv(),
            **dict(self._modules()),
        }
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.lstrip("\n"))
        return directory

    def _modules(self) -> Iterable[tuple[str, str]]:
        for number, first in enumerate(range(0, self.tests, TESTS_PER_MODULE)):
            indices = range(first, min(first + TESTS_PER_MODULE, self.tests))
            functions = [f"def test_{index}():\n    pass\n" for index in indices]
            yield f"tests/test_{number}.py", "\n\n".join(functions)

    def _isoenv(self) -> str:
        lines = ["[tool.isoenv.environments]", 'base = {project = "none"}']
        # The host's pytest comes by itself.
        pins = [] if self.pytest == version("pytest") else [f"pytest=={self.pytest}"]
        for number in self.versions:
            lines += [f'"part-{number}" = {{dependencies = {[*pins, f"{PART}=={number}"]}}}']
        return "\n".join(lines) + "\n"

    def _tox(self) -> str:
        names = ", ".join(f"part{number}" for number in self.versions)
        lines = ["[tox]", f"env_list = {names}", "no_package = true", "[testenv]"]
        lines += [f"deps = pytest=={self.pytest}", f"pass_env = {TALLY}", "commands = pytest"]
        for number in self.versions:
            lines += [f"[testenv:part{number}]", "deps ="]
            lines += [f"    {requirement}" for requirement in self.requirements(number)]
        return "\n".join(lines) + "\n"

    def _nox(self) -> str:
        return textwrap.dedent(
            f"""
            import nox

            nox.options.default_venv_backend = "uv"


            @nox.session(allow_parallel=True)
            @nox.parametrize("version", {list(self.versions)!r})
            def tests(session, version):
                session.install("pytest=={self.pytest}", f"{PART}=={{version}}")
                session.run("pytest")
            """
        )

    def _hatch(self) -> str:
        return textwrap.dedent(
            f"""
            [tool.hatch.envs.bench]
            detached = true
            installer = "uv"
            dependencies = ["pytest=={self.pytest}", "{PART}=={{matrix:part}}"]

            [[tool.hatch.envs.bench.matrix]]
            part = {list(self.versions)!r}
            """
        )


class IncompleteError(Exception):
    """A run has not run what it was to run."""


def check(suite: Suite, tally: Path) -> None:
    """Raise IncompleteError unless every environment has run all of its tests."""
    text = tally.read_text() if tally.is_file() else ""
    wanted = {(number, suite.tests) for number in suite.versions}
    surroundings = {(suite.python, suite.pytest)}
    lines = [line.split() for line in text.splitlines()]
    most: dict[str, int] = {}
    for number, passed, *_ in lines:
        most[number] = max(most.get(number, 0), int(passed))
    found = {(line[2], line[3]) for line in lines}
    if set(most.items()) != wanted or found != surroundings:
        expected = f"{sorted(wanted)} with {sorted(surroundings)}"
        raise IncompleteError(
            f"it has run {sorted(most.items())} with {sorted(found)}, not {expected}"
        )


def at_once(commands: Sequence[str]) -> str:
    """A shell script that runs commands side by side, and fails if one of them does."""
    lines = ["status=0", 'processes=""']
    for command in commands:
        lines += [f"( {command} ) &", 'processes="$processes $!"']
    lines += ["for process in $processes; do wait $process || status=1; done", "exit $status"]
    return "\n".join(lines) + "\n"


def in_sequence(commands: Sequence[str]) -> str:
    """A shell script that runs one command after the other, and fails if one of them does."""
    return "".join(f"{{ {command}; }} || exit 1\n" for command in commands)
