"""Parity: what the plugin reports is what plain pytest reports in the same environment."""

from __future__ import annotations

import sys
import types
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import kitchen_sink
from tests.packages import Served
from tests.parity.compare import Kitchen, difference, make_environment


@pytest.fixture(scope="session")
def handmade(tmp_path_factory: pytest.TempPathFactory, index: Served) -> Path:
    directory = tmp_path_factory.mktemp("handmade") / "venv"
    python = getattr(sys, "_base_executable", sys.executable)
    what = (f"pytest=={pytest.__version__}", "lib==1.0")
    cache = ("--cache-dir", directory.parent / "cache")
    return make_environment(directory, python, *cache, "--default-index", index.url, *what)


@pytest.fixture
def kitchen(tmp_path: Path, handmade: Path) -> Kitchen:
    return Kitchen(tmp_path, handmade, "{dependencies: [lib==1.0]}")


@pytest.fixture
def same(kitchen: Kitchen) -> Callable[..., types.SimpleNamespace]:
    """Run the suite both ways, and compare everything."""

    def same(*args: str) -> types.SimpleNamespace:
        plain, isolated = kitchen.plain(*args), kitchen.isolated(*args)
        assert plain.by_test, plain.output
        assert list(isolated.by_test) == list(plain.by_test), isolated.output
        told = (plain.lines + plain.printed, isolated.lines + isolated.printed)
        assert not difference(*told), difference(*told)
        return types.SimpleNamespace(plain=plain, isolated=isolated)

    return same


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-vv", "-ra"),
        pytest.param(("--tb=short", "-q", "-rA"), marks=pytest.mark.slow),
        ("--tb=long", "-l", "--flavour=bitter", "--many", "a b", "--many=c"),
        pytest.param(("--tb=line", "--show-capture=no"), marks=pytest.mark.slow),
        pytest.param(("--tb=native", "-o", "console_output_style=count"), marks=pytest.mark.slow),
        pytest.param(("--tb=no", "-W", "error::DeprecationWarning"), marks=pytest.mark.slow),
        ("--log-level=DEBUG", "--show-capture=log", "-o", "log_format=%(message)s %(lineno)d"),
        pytest.param(("--capture=sys", "--assert=plain"), marks=pytest.mark.slow),
        pytest.param(("--capture=tee-sys", "-p", "no:logging"), marks=pytest.mark.slow),
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


def test_the_garbage_collector_sees_there_what_it_sees_in_plain_pytest(kitchen):
    lines = [
        "import gc",
        "kept = type('Kept', (), {})()",
        "def test_it():",
        "    assert any(found is kept for found in gc.get_objects())  # none that is frozen",
    ]
    kitchen.write("test_it.py", "\n".join(lines))
    assert kitchen.plain().events["exit"] == kitchen.isolated().events["exit"] == 0


def test_the_terminals_plugin_counts_there_what_it_counts_in_plain_pytest(kitchen):
    lines = [
        "import pytest",
        "def test_one(): pass",
        "def test_two(): pass",
        "@pytest.mark.xfail",
        "def test_unexpected(): pass",
        "def test_stats(pytestconfig):",
        "    stats = pytestconfig.pluginmanager.getplugin('terminalreporter').stats",
        "    assert [len(stats[name]) for name in ('', 'passed', 'xpassed')] == [7, 2, 1]",
    ]
    kitchen.write("test_it.py", "\n".join(lines))
    assert kitchen.plain().events["exit"] == kitchen.isolated().events["exit"] == 0


def test_a_plugin_that_the_environment_lacks_is_left_out_and_named(kitchen):
    """The host has a plugin with an option; the environment's pytest must not stumble over it."""
    kitchen.write("test_it.py", "def test_it(): pass")
    told = kitchen.isolated("-p", "xdist", "--dist=no")
    assert told.events["exit"] == 0, told.output


def test_junit_xml_has_what_plain_pytest_writes_and_the_environment(kitchen, same):
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


def test_a_suite_whose_tests_have_processes_of_their_own_is_reported_the_same(tmp_path, handmade):
    kitchen = Kitchen(tmp_path, handmade, "{dependencies: [lib==1.0], isolation: test}")
    kitchen_sink.write(kitchen.directory)
    # The others tell what has been set up for tests before them.
    options = ("-rA", "--doctest-modules", "-k", "not test_scopes and not TestUnit and not uses")
    plain, isolated = kitchen.plain(*options), kitchen.isolated(*options)
    assert len(plain.by_test) > 10
    told = (plain.lines + plain.printed, isolated.lines + isolated.printed)
    assert not difference(*told), difference(*told)
