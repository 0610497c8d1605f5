"""``--in-env`` collects what plain pytest in the environment collects, and shows it alike."""

from __future__ import annotations

import os

import pytest

from tests.alike import Pair, add_plugin

CONFTEST = """
    import lib
    import pytest

    collect_ignore = ["ignored"]
    collect_ignore_glob = ["*_skip.py"]

    def pytest_addoption(parser):
        parser.addoption("--runslow", action="store_true")

    def pytest_configure(config):
        config.addinivalue_line("markers", "dynamic: set while collecting")

    def pytest_collect_file(parent, file_path):
        if file_path.suffix == ".yml":
            return Lines.from_parent(parent, path=file_path)

    class Lines(pytest.File):
        def collect(self):
            for line in self.path.read_text().splitlines():
                yield Line.from_parent(self, name=line)

    class Line(pytest.Item):
        def runtest(self):
            assert "bad" not in self.name

        def repr_failure(self, excinfo):
            return f"the line {self.name!r} is bad"

        def reportinfo(self):
            return self.path, 0, f"line: {self.name}"

    def pytest_generate_tests(metafunc):
        if "generated" in metafunc.fixturenames:
            metafunc.parametrize("generated", [1, "two", None, 2.5, b"x", "é/::[]", "a-b"])

    def pytest_collection_modifyitems(config, items):
        items.reverse()
        gone = [item for item in items if "gone" in item.name]
        items[:] = [item for item in items if "gone" not in item.name]
        config.hook.pytest_deselected(items=gone)
        for item in items:
            if "slow" in item.keywords and not config.getoption("--runslow"):
                item.add_marker(pytest.mark.skip(reason="slow"))
            if "later" in item.name:
                item.add_marker("dynamic")

    @pytest.fixture(scope="package")
    def pack():
        print("set up for the package")
        yield
        print("torn down")
"""
SUITE = {
    "pytest.ini": """
        [pytest]
        testpaths = tests more
        pythonpath = src
        norecursedirs = away
        python_files = check_*.py test_*.py
        python_classes = Check Test
        python_functions = check test
        addopts = --strict-markers --strict-config
        markers =
            slow
        there_level = high
    """,
    "src/mine.py": "import lib\n",
    "tests/conftest.py": CONFTEST,
    "tests/lines.yml": "first line\nbad line\na::b [c]\nfirst line\n",
    "tests/doc.rst": ">>> 1 + 1\n2\n",
    "tests/ignored/test_it.py": "1 / 0",
    "tests/test_it_skip.py": "1 / 0",
    "tests/away/test_it.py": "1 / 0",
    "tests/pkg/__init__.py": "",
    "tests/pkg/test_pack.py": "def test_1(pack): pass\ndef test_2(pack): assert 0\n",
    "tests/pkg/below/__init__.py": "",
    "tests/pkg/below/test_pack.py": "def test_3(pack): assert 0\n",
    "tests/namespace/deep/test_ns.py": "def test_ns(): pass\n",
    "tests/check_it.py": '''
        """A module.

        >>> 1 + 1
        3
        """
        import unittest

        import mine
        import pytest

        @pytest.mark.parametrize("x", ["a b", "ü", "x::y", "[", "]", "\\n", "\\0", "", "a/b", "-k"])
        def check_odd(x): pass

        def check_generated(generated): "With a docstring."

        @pytest.mark.parametrize("x", [1, 1])
        def test_same(x): pass

        def test_later(): pass
        def test_gone(): pass

        class CheckGroup:
            "A class."
            @pytest.mark.slow
            def check_slow(self): pass
            class TestInner:
                def test_inner(self): assert 0

        class Unit(unittest.TestCase):
            "A case."
            def test_unit(self): pass
            @unittest.expectedFailure
            def test_fails(self): assert 0
    ''',
    "more/test_more.py": "def test_more(): pass\n",
}


@pytest.fixture
def suite(pytester, wheels, starter):
    add_plugin(wheels)
    return Pair(pytester.path, SUITE, starter)


@pytest.mark.parametrize(
    "args",
    [
        ["-v", "--doctest-modules", "--doctest-glob=*.rst", "--runslow"],
        ["--collect-only", "-v", "--doctest-modules"],
        ["--co", "-qq", "-m", "not dynamic", "-k", "not gone and (unit or a or 1)"],
        pytest.param(["-m", "dynamic or slow", "-rs"], marks=pytest.mark.slow),
        ["-k", "not '"],
        ["tests/lines.yml", "tests/pkg/below", "tests/check_it.py::check_odd[x::y]", "-v"],
        ["--deselect=tests/pkg", "--deselect=tests/check_it.py::CheckGroup", "--ignore=more"],
        ["--import-mode=importlib", "tests/namespace", "tests/pkg", "tests/pkg"],
        pytest.param(
            ["--confcutdir=tests/pkg", "tests/pkg", "tests/pkg", "--keep-duplicates"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--noconftest", "-p", "no:unittest", "tests/check_it.py", "--co"],
            marks=pytest.mark.slow,
        ),
        ["more/test_more.py::test_absent"],
    ],
    ids=" ".join,
)
def test_a_suite_is_collected_and_shown_as_in_plain_pytest(suite, args):
    assert suite.difference(args) == ""


@pytest.mark.parametrize(
    ("below", "args"),
    [("tests/pkg", []), ("src", ["../tests/pkg/test_pack.py::test_1", "../more"])],
)
def test_it_can_be_run_from_a_subdirectory(suite, below, args):
    assert suite.difference(args, below=below) == ""


def test_another_ini_file_and_root_hold_there_too(suite):
    suite.write({"other.ini": "[pytest]\npython_functions = test_later\n"})
    assert suite.difference(["-c", "other.ini", "--rootdir=.", "tests", "--pyargs"]) == ""


@pytest.mark.parametrize(
    "runs",
    [
        [["tests/pkg"], ["tests/pkg", "--ff", "-v"], ["tests/pkg", "--nf", "-v"]],
        [["--noconftest", "--sw"], ["--noconftest", "--sw-skip", "-v"]],
        pytest.param([["more"], ["more", "--lf", "--lfnf=none"]], marks=pytest.mark.slow),
    ],
    ids=["failed and new first", "stepwise", "last failed without failures"],
)
def test_what_pytest_remembers_between_runs_is_the_same(suite, runs):
    assert suite.difference(*runs) == ""


def test_last_failed_runs_the_same_tests(suite):
    # pytest leaves out whole files, of which the host knows nothing before they are collected.
    def tests(output):
        return [line.split("[", 1)[0] for line in output.splitlines() if "::" in line]

    runs = [["--tb=no", "-v"], ["--lf", "-v", "--tb=no"]]
    assert tests(suite.isolated(*runs)) == tests(suite.plain(*runs))


# Several environments


def test_an_id_that_no_environment_has_is_a_usage_error(suite):
    told = suite.isolated(["--in-env=other", "more/test_more.py::test_absent"])
    assert "ERROR: not found: " in told
    assert "exit code 4" in told


def test_with_several_environments_ids_and_parameters_carry_theirs(suite):
    told = suite.isolated(
        ["--in-env=other", "--co", "-q", "tests/check_it.py::test_same", "tests/lines.yml"],
        [
            "--in-env=other",
            "-q",
            "tests/lines.yml::bad line[other]",
            "more/test_more.py::test_more",
        ],
        ["--in-env=other", "--tb=no", "-q", "tests/lines.yml"],
    )
    ids = [line for line in told.splitlines() if "::" in line and " " not in line.split("::")[0]]
    assert ids[:4] == [
        "tests/lines.yml::first line[here]",
        "tests/lines.yml::a::b [here-c]",
        "tests/lines.yml::bad line[here]",
        "tests/lines.yml::first line[here]",
    ]
    assert "tests/check_it.py::test_same[other-1_1]" in ids
    assert "1 failed, 2 passed" in told
    assert "2 failed, 6 passed" in told


# What ends collecting

ENDINGS = {
    "conftest.py": "import lib",
    "test_bad.py": "import absent",
    "test_it.py": "def test_it(): pass",
    "test_out.py": "import pytest; pytest.skip('not now', allow_module_level=True)",
    "test_syntax.py": "def test_(:",
    "test_warn.py": "class TestIt:\n    def __init__(self): pass\n",
}


def test_errors_skips_and_warnings_of_collecting_are_those_of_plain_pytest(
    pytester, wheels, starter
):
    add_plugin(wheels)
    pair = Pair(pytester.path, ENDINGS, starter)
    assert pair.difference(["-rs"], ["--co", "-q"]) == ""
    (pytester.path / "test_syntax.py").write_text("import pytest; pytest.exit('enough', 7)")
    assert pair.difference([]) == ""


@pytest.mark.parametrize(
    ("text", "args", "code"),
    [
        ("raise KeyboardInterrupt", [], 2),
        ("raise SystemExit(3)", [], 3),
        ("def pytest_collection_modifyitems(): 1 / 0", [], 3),
        ("import absent", ["--maxfail=1"], 1),
    ],
)
def test_what_stops_collecting_has_pytests_exit_code(pytester, wheels, starter, text, args, code):
    add_plugin(wheels)
    name = "conftest.py" if text.startswith("def") else "test_it.py"
    pair = Pair(pytester.path, {name: text, "test_lib.py": "def test_it(): pass"}, starter)
    told = pair.isolated(args)
    assert f"exit code {code}" in told


# Files that the host cannot import, without --in-env


def test_doctests_and_tests_of_a_marked_file_are_collected_once_each(pytester, wheels, run):
    add_plugin(wheels)
    Pair(
        pytester.path,
        {
            "pkg/__init__.py": "",
            "pkg/test_it.py": '''
                """
                >>> lib.__version__
                '1.0'
                """
                import unittest

                import lib
                import pytest

                pytestmark = [pytest.mark.env("here"), pytest.mark.env("other")]

                class TestUnit(unittest.TestCase):
                    def test_unit(self): pass

                @pytest.mark.env("here")
                @pytest.mark.parametrize("x", ["a b", "ü"])
                def test_one(x): pass
            ''',
        },
    )
    assert run("--doctest-modules", "--import-mode=importlib").tests == {
        "pkg/test_it.py::pkg.test_it[here]": "passed",
        "pkg/test_it.py::pkg.test_it[other]": "failed",
        "pkg/test_it.py::TestUnit::test_unit[here]": "passed",
        "pkg/test_it.py::TestUnit::test_unit[other]": "passed",
        "pkg/test_it.py::test_one[a b]": "passed",
        "pkg/test_it.py::test_one[\\xfc]": "passed",
    }


RECORDED = """
import os, pathlib, pytest

@pytest.fixture(autouse=True)
def ran(request):
    with open("ran.txt", "a") as file:
        print(request.node.name, file=file)

def test_one(): pass

@pytest.mark.skipif("False", reason="a mark")
def test_two(): pass
"""
# Loaded there as well, but there it is none.
OF_THE_HOST = """
import sys

class OfTheHost:
    __module__ = "of_the_host"

    def {}

def pytest_configure(config):
    if "pytest_isoenv" in sys.modules:
        config.pluginmanager.register(OfTheHost())
"""
HOST_ONLY = OF_THE_HOST.format("pytest_collection_modifyitems(self, items): del items[0]")
IN_THE_END = OF_THE_HOST.format("pytest_collection_finish(self, session): del session.items[0]")
SLOW = OF_THE_HOST.format("pytest_report_collectionfinish(self): open('pipe').close()")


@pytest.mark.parametrize(
    "args",
    [
        ("-k", "two"),
        ("-m", "skipif"),
        ("--deselect", "test_it.py::test_one"),
        ("-p", "host_only"),
        ("-p", "in_the_end"),
    ],
    ids=" ".join,
)
def test_what_the_host_leaves_out_does_not_even_begin(pytester, run, args):
    pytester.makepyfile(test_it=RECORDED, host_only=HOST_ONLY, in_the_end=IN_THE_END)
    outcome = run("--in-env", "lib==1.0", *args)
    outcome.assert_outcomes(passed=1, deselected=0 if args[0] == "-p" else 1)
    assert (pytester.path / "ran.txt").read_text() == "test_two\n"


def test_only_collected_nothing_begins(pytester, run):
    pytester.makepyfile(test_it=RECORDED)
    outcome = run("--in-env", "lib==1.0", "--collect-only")
    outcome.stdout.fnmatch_lines(["*2 tests collected*"])
    assert not (pytester.path / "ran.txt").exists()


def test_after_an_error_of_collecting_nothing_begins(pytester, run):
    pytester.makepyfile(test_it=RECORDED, test_wrong="import nothing_such")
    outcome = run("--in-env", "lib==1.0")
    outcome.assert_outcomes(errors=1)
    assert not (pytester.path / "ran.txt").exists()


def test_where_all_will_run_the_environment_does_not_wait_for_the_host(pytester, run):
    os.mkfifo(pytester.path / "pipe")
    # On the host it waits until the test has begun.
    pytester.makepyfile(test_it="def test_it():\n    open('pipe', 'w').close()", slow_host=SLOW)
    run("--in-env", "lib==1.0", "-p", "slow_host", timeout=30).assert_outcomes(passed=1)
