"""Running a suite both ways, by plain pytest in a hand-made environment and by the plugin."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import kitchen_sink, recorder

COMMON = ("-p", "no:randomly", "-p", "isoenv_recorder")


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
            f"{report['id']} {report['when']}: {field} {value!r}"
            for report in self.events["reports"]
            for field, value in report.items()
            # pytest captures its own progress letters when it logs subtests of unittest.
            if not (field == "sections" and "::TestUnitSubtests::" in report["id"])
        ]
        told += [f"warning {warning}" for warning in self.events["warnings"]]
        told += [f"exit code {self.events['exit']}"]
        return told

    @property
    def printed(self) -> list[str]:
        """What the terminal says of the tests."""
        titles = ("ERRORS", "FAILURES", "warnings summary", "short test summary info")
        return [f"{title}: {line}" for title in titles for line in self.section(title)]

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


def make_environment(directory: Path, python: str, *options: str | Path) -> Path:
    """An environment such as one makes by hand: ``uv venv`` and ``uv pip install``."""
    from uv import find_uv_bin

    uv = [find_uv_bin()]
    subprocess.run([*uv, "venv", "-q", "--python", python, directory], check=True)
    install = [*uv, "pip", "install", "-q", "--compile-bytecode"]
    subprocess.run([*install, "--python", directory / "bin" / "python", *options], check=True)
    return directory


def difference(plain: list[str], isolated: list[str]) -> str:
    """Where the plugin's account departs from plain pytest's; empty if nowhere."""
    lines = list(difflib.unified_diff(plain, isolated, n=0, lineterm=""))
    return "\n".join(["plain (-) and isolated (+):", *lines[:100]]) if lines else ""


class Kitchen:
    """A directory with a suite, in which both ways of running it can be tried."""

    def __init__(self, place: Path, handmade: Path, declaration: str) -> None:
        self.directory = place / "suite"
        plugins = place / "plugins"
        plugins.mkdir()
        self.module = True
        self._handmade = handmade
        self._plugins = plugins
        shutil.copy(recorder.__file__, plugins / "isoenv_recorder.py")
        self.write("isoenv.yaml", f"environments: {{here: {declaration}}}\ndefault: here")
        self.write("pytest.ini", "[pytest]\ncolour = green\n")

    def write(self, name: str, text: str) -> None:
        kitchen_sink.write(self.directory, {name: text})

    def plain(self, *args: str) -> Told:
        return self._run(self._handmade / "bin", args)

    def isolated(self, *args: str) -> Told:
        return self._run(Path(sys.executable).parent, ("-p", "no:xdist", *args))

    def _run(self, directory: Path, args: tuple[str, ...]) -> Told:
        record = self._plugins / "record.json"
        record.unlink(missing_ok=True)
        shutil.rmtree(self.directory / ".pytest_cache", ignore_errors=True)
        environ = {**os.environ, "PYTHONPATH": str(self._plugins), "RECORD": str(record)}
        environ["PYTEST_DEBUG_TEMPROOT"] = str(self._plugins)
        environ["PYTHONHASHSEED"] = "0"  # pytest lists some differences in the order of a set
        environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"
        start = ["python", "-m", "pytest"] if self.module else ["pytest"]
        done = subprocess.run(
            [directory / start[0], *start[1:], *COMMON, *args],
            cwd=self.directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        output = done.stdout.decode()
        assert record.exists(), output
        events = json.loads(self._comparable(record.read_text()))
        assert events["exit"] == done.returncode, output
        return Told(events, self._comparable(output))

    def _comparable(self, text: str) -> str:
        text = re.sub(r"/[^\s'\"]*/pytest-\d+(/isoenv-[^/\s'\"]*)?", "<basetemp>", text)
        return recorder.comparable(text)
