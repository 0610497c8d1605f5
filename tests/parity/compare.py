"""Running a suite both ways, by plain pytest and by the plugin, and comparing what they told."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests import kitchen_sink, recorder


@dataclasses.dataclass
class Told:
    """What a run of pytest told: the recorder's events, and what it printed."""

    events: dict[str, Any]
    output: str

    @property
    def by_test(self) -> dict[str, list[dict[str, Any]]]:
        tests: dict[str, list[dict[str, Any]]] = {}
        for report in self.events["reports"]:
            tests.setdefault(report["id"], []).append(report)
        return tests

    @property
    def lines(self) -> list[str]:
        """Everything that should be the same, for a difference that can be read."""
        told = [
            f"{event['id']} {event.get('when', kind)}: {field} {value!r}"
            for kind in ("items", "collection", "reports")
            for event in self.events[kind]
            for field, value in event.items()
            # pytest captures its own progress letters when it logs subtests of unittest.
            if not (field == "sections" and "::TestUnitSubtests::" in event["id"])
        ]
        told += [f"warning {warning}" for warning in self.events["warnings"]]
        told += [f"exit code {self.events['exit']}"]
        return told

    @property
    def printed(self) -> list[str]:
        """What the terminal says of the tests."""
        titles = ("ERRORS", "FAILURES", "warnings summary", "short test summary info")
        return [f"{title}: {line}" for title in titles for line in self.section(title)]

    def without(self, nodeid: str) -> Told:
        """The same without one failed test, whatever its parameters."""
        events = {
            kind: [event for event in told if not is_of(event.get("id"), nodeid)]
            for kind, told in self.events.items()
            if isinstance(told, list)
        }
        name = rf"{re.escape(nodeid.rpartition('::')[2])}(\[[^\n]*\])?"
        output = re.sub(rf"(?ms)^_+ {name} _+$.*?(?=^(_{{3,}}|={{3,}}) )", "", self.output)
        name = rf"{re.escape(nodeid)}(\[.*\])?"
        output = re.sub(rf"(?m)^(FAILED|ERROR) {name}( - .*)?\n", "", output)
        return Told({**self.events, **events}, output)

    def section(self, title: str) -> list[str]:
        """The lines below a banner of the terminal's output."""
        lines, wanted = [], False
        for line in self.output.splitlines():
            banner = re.fullmatch(r"=+ (.*?) =+", re.sub("\x1b\\[[0-9]*m", "", line))
            if banner:
                wanted = banner[1] == title
            elif wanted:
                lines.append(line)
        return lines


def is_of(nodeid: str | None, function: str) -> bool:
    """Whether it is the id of this test, with parameters or without."""
    return nodeid is not None and nodeid.partition("[")[0] == function


def make_environment(directory: Path, python: str, *options: str | Path) -> Path:
    """An environment such as one makes by hand: ``uv venv`` and ``uv pip install``."""
    from uv import find_uv_bin

    uv = [find_uv_bin()]
    subprocess.run([*uv, "venv", "-q", "--python", python, directory], check=True)
    install = [*uv, "pip", "install", "-q", "--compile-bytecode"]
    subprocess.run([*install, "--python", directory / "bin" / "python", *options], check=True)
    return directory


@cache
@cache
def pythons() -> dict[str, str]:
    """The CPythons of this machine, by their version's first two numbers."""
    from findpython.providers import ALL_PROVIDERS

    places = [place for kind in ALL_PROVIDERS.values() if (place := kind.create()) is not None]
    found = {}
    for python in (python for place in places for python in place.find_pythons()):
        real = Path(python.executable).resolve()
        with real.open("rb") as file:
            is_script = file.read(2) == b"#!"  # which would have to be run, to no other end
        if not is_script:
            found.setdefault(real, python)
    return {
        f"{python.major}.{python.minor}": str(python.executable)
        for python in found.values()
        if python.is_valid() and python.implementation.lower() == "cpython"
    }


def environment_of(report: Path) -> Path:
    """Where the only environment is that a run with ``--env-report`` has used."""
    environments = json.loads(report.read_text())["environments"]
    assert environments, "nothing ran in an environment"
    assert environments[0]["path"], environments[0]["error"]
    return Path(environments[0]["path"])


def difference(plain: list[str], isolated: list[str]) -> str:
    """Where the plugin's account departs from plain pytest's; empty if nowhere."""
    if plain == isolated:  # difflib takes long to find out
        return ""
    lines = list(difflib.unified_diff(plain, isolated, n=0, lineterm=""))
    return "\n".join(["plain (-) and isolated (+):", *lines[:100]])


@dataclasses.dataclass(frozen=True)
class Runner:
    """Runs pytest somewhere and records it; ``place`` is for what that needs besides the suite."""

    directory: Path
    place: Path
    timeout: float = 120

    def run(self, bin_directory: Path, args: Sequence[str], *, module: bool = True) -> Told:
        """Run ``python -m pytest``, or the script, of the environment that has this directory."""
        self.place.mkdir(exist_ok=True)
        shutil.copy(recorder.__file__, self.place / "isoenv_recorder.py")
        record = self.place / "record.json"
        record.unlink(missing_ok=True)
        shutil.rmtree(self.directory / ".pytest_cache", ignore_errors=True)
        start = ["python", "-m", "pytest"] if module else ["pytest"]
        done = subprocess.run(
            [bin_directory / start[0], *start[1:], "-p", "isoenv_recorder", *args],
            cwd=self.directory,
            env=self._environ(bin_directory, record),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self.timeout,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        assert record.exists(), output
        events = json.loads(_comparable(record.read_text()))
        assert events["exit"] == done.returncode, output
        return Told(events, _comparable(output))

    def _environ(self, bin_directory: Path, record: Path) -> dict[str, str]:
        """What an activated environment has, and nothing of the pytest that runs this."""
        ours = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environ["VIRTUAL_ENV"] = str(bin_directory.parent)
        environ["PYTHONPATH"] = str(self.place)
        environ["RECORD"] = str(record)
        environ["PYTEST_DEBUG_TEMPROOT"] = str(self.place)
        environ["PYTHONHASHSEED"] = "0"  # pytest lists some differences in the order of a set
        environ["COLUMNS"] = "200"  # so that lines of the summary are compared, not cut
        # Nothing that this machine has besides: some suites do more where there is, say, mypy.
        environ["PATH"] = os.pathsep.join([str(bin_directory), os.defpath])
        return environ


def _comparable(text: str) -> str:
    text = re.sub(r"/[^\s'\"]*/pytest-\d+(/isoenv-[^/\s'\"]*)?", "<basetemp>", text)
    text = re.sub(r"\[gw\d+\]", "[gwN]", text)  # which of pytest-xdist's processes is chance
    return recorder.comparable(text)


class Kitchen:
    """A directory with a suite, in which both ways of running it can be tried.

    Plain pytest is that of an environment made by hand, or else of the one that the plugin made.
    """

    def __init__(self, place: Path, handmade: Path | None, declaration: str) -> None:
        self.directory = place / "suite"
        self.module = True
        self._handmade = handmade
        self._report = place / "report.json"
        self._runner = Runner(self.directory, place / "plugins")
        self.write("isoenv.yaml", f"environments: {{here: {declaration}}}\ndefault: here")
        self.write("pytest.ini", "[pytest]\ncolour = green\n")

    def write(self, name: str, text: str) -> None:
        kitchen_sink.write(self.directory, {name: text})

    def plain(self, *args: str) -> Told:
        environment = self._handmade or environment_of(self._report)
        return self._run(environment / "bin", args)

    def isolated(self, *args: str) -> Told:
        options = ("-p", "no:xdist", f"--env-report={self._report}", *args)
        return self._run(Path(sys.executable).parent, options)

    def _run(self, directory: Path, args: tuple[str, ...]) -> Told:
        return self._runner.run(directory, ["-p", "no:randomly", *args], module=self.module)
