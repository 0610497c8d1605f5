"""Parity: what the plugin reports is what plain pytest reports in the same environment."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import kitchen_sink, recorder
from tests.packages import Index

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
        for title in ("ERRORS", "FAILURES", "warnings summary", "short test summary info"):
            told += [f"{title}: {line}" for line in self.section(title)]
        return told

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


@pytest.fixture(scope="session")
def handmade(tmp_path_factory: pytest.TempPathFactory, index: Index) -> Path:
    """An environment such as one makes by hand: the host's pytest, and lib 1.0."""
    from uv import find_uv_bin

    directory = tmp_path_factory.mktemp("handmade") / "venv"
    environ = {**os.environ, "UV_CACHE_DIR": str(directory.parent / "cache")}
    python = getattr(sys, "_base_executable", sys.executable)
    uv = [find_uv_bin()]
    subprocess.run([*uv, "venv", "-q", "--python", python, directory], check=True, env=environ)
    install = [*uv, "pip", "install", "-q", "--compile-bytecode", "--default-index", index.url]
    what = ["--python", directory / "bin" / "python", f"pytest=={pytest.__version__}", "lib==1.0"]
    subprocess.run([*install, *what], check=True, env=environ)
    return directory


class Kitchen:
    """A directory with a suite, in which both ways of running it can be tried."""

    def __init__(self, directory: Path, handmade: Path, plugins: Path) -> None:
        self.directory = directory
        self.module = True
        self._handmade = handmade
        self._plugins = plugins
        shutil.copy(recorder.__file__, plugins / "isoenv_recorder.py")
        self.write("isoenv.yaml", "environments: {here: {dependencies: [lib==1.0]}}\ndefault: here")
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


@pytest.fixture
def kitchen(tmp_path: Path, handmade: Path) -> Kitchen:
    directory, plugins = tmp_path / "suite", tmp_path / "plugins"
    directory.mkdir()
    plugins.mkdir()
    return Kitchen(directory, handmade, plugins)


@pytest.fixture
def same(kitchen: Kitchen) -> Callable[..., types.SimpleNamespace]:
    """Run the suite both ways, and compare everything."""

    def same(*args: str) -> types.SimpleNamespace:
        plain, isolated = kitchen.plain(*args), kitchen.isolated(*args)
        assert plain.by_test, plain.output
        assert list(isolated.by_test) == list(plain.by_test), isolated.output
        difference = list(difflib.unified_diff(plain.lines, isolated.lines, n=0, lineterm=""))
        assert not difference, "plain (-) and isolated (+):\n" + "\n".join(difference[:100])
        return types.SimpleNamespace(plain=plain, isolated=isolated)

    return same


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-vv", "-ra"),
        ("--tb=short", "-q", "-rA"),
        ("--tb=long", "-l", "--flavour=bitter", "--many", "a b", "--many=c"),
        ("--tb=line", "--show-capture=no"),
        ("--tb=native", "-o", "console_output_style=count"),
        ("--tb=no", "-W", "error::DeprecationWarning"),
        ("--log-level=DEBUG", "--show-capture=log", "-o", "log_format=%(message)s %(lineno)d"),
        ("--capture=sys", "--assert=plain"),
        ("--capture=tee-sys", "-p", "no:logging"),
        ("-o", "colour=red", "-p", "no:warnings", "--runxfail"),
        ("-k", "fail or skip", "--strict-markers", "--color=yes"),
        ("suite/test_outcomes.py::TestUnit", "suite/test_scopes.py", "--import-mode=importlib"),
        ("--doctest-modules", "--doctest-continue-on-failure", "-v"),
        ("--setup-show", "suite/test_scopes.py"),
    ],
    ids=" ".join,
)
def test_a_suite_with_everything_is_reported_as_plain_pytest_reports_it(kitchen, same, options):
    kitchen_sink.write(kitchen.directory)
    told = same(*options)
    assert len(told.plain.events["reports"]) > 10


def test_the_script_pytest_behaves_as_the_script_does_there(kitchen, same):
    kitchen.module = False
    kitchen.write("lonely.py", "VALUE = 1")
    kitchen.write("sub/test_it.py", "def test_it():\n    import lonely")
    told = same()
    assert told.plain.by_test["sub/test_it.py::test_it"][1]["outcome"] == "failed"


def test_python_m_pytest_puts_the_current_directory_on_the_path_there_too(kitchen, same):
    kitchen.write("lonely.py", "VALUE = 1")
    kitchen.write("sub/test_it.py", "def test_it():\n    import lonely")
    told = same()
    assert told.plain.by_test["sub/test_it.py::test_it"][1]["outcome"] == "passed"


@pytest.mark.parametrize(
    "ini", ["addopts = --tb=line -l -rA", "log_cli = true", "xfail_strict = 1"]
)
def test_what_the_ini_file_says_holds_there_too(kitchen, same, ini):
    kitchen_sink.write(kitchen.directory)
    kitchen.write("pytest.ini", f"[pytest]\ncolour = blue\n{ini}\n")
    told = same("suite/test_outcomes.py", "suite/test_fixtures.py")
    assert told.plain.events["exit"] == 1


def test_pytest_addopts_in_the_environment_variables_acts_once(kitchen, same, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--many=x -v")
    kitchen_sink.write(kitchen.directory)
    told = same("suite/test_fixtures.py::test_options", "-rP")
    assert "('plain', ['x']) green" in told.isolated.output


@pytest.mark.parametrize("code", [0, 1, 5], ids=["passes", "fails", "is-skipped-whole"])
def test_the_exit_code_is_that_of_plain_pytest(kitchen, code):
    body = {0: "pass", 1: "assert 0", 5: ""}[code]
    kitchen.write("test_it.py", f"def test_it():\n    {body}" if body else "")
    assert kitchen.plain().events["exit"] == kitchen.isolated().events["exit"] == code


def test_a_plugin_that_the_environment_lacks_is_left_out_and_named(kitchen):
    """The host has a plugin with an option; the environment's pytest must not stumble over it."""
    kitchen.write("test_it.py", "def test_it(): pass")
    told = kitchen.isolated("-p", "xdist", "--dist=no")
    assert told.events["exit"] == 0, told.output


def test_junit_xml_has_what_plain_pytest_writes_and_the_environment(kitchen, same):
    import xml.etree.ElementTree as ElementTree

    kitchen_sink.write(kitchen.directory)
    found = []
    for way in (kitchen.plain, kitchen.isolated):
        way("suite/test_fixtures.py", "--junitxml=junit.xml", "-o", "junit_family=xunit1")
        found.append(ElementTree.parse(kitchen.directory / "junit.xml").getroot())
    plain, isolated = found
    for case in isolated.iter("testcase"):
        properties = case.find("properties")
        assert properties is not None
        ours = properties.find("property[@name='environment']")
        assert ours is not None
        assert ours.get("value") == "here"
        properties.remove(ours)
        if not len(properties):
            case.remove(properties)
    assert [_case(case) for case in isolated.iter("testcase")] == [
        _case(case) for case in plain.iter("testcase")
    ]
    suites = [root.find("testsuite/properties/property") for root in (plain, isolated)]
    assert [suite is not None and suite.attrib for suite in suites] == [
        {"name": "suite", "value": "kitchen"}
    ] * 2


def _case(case: Any) -> list[Any]:
    return [
        (element.tag, {k: v for k, v in element.attrib.items() if k not in ("time", "message")})
        for element in case.iter()
    ]
