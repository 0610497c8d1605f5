"""``--in-env``: options and settings mean in the environment what they mean to plain pytest there.

And what only the environments have, or only the host, stops neither.
"""

from __future__ import annotations

import textwrap

import pytest

from tests.alike import Pair, add_plugin, comparable

SUITE = {
    "pytest.ini": "[pytest]\n",
    "conftest.py": """
        import logging

        import lib
        import pytest

        @pytest.fixture(scope="session")
        def whole():
            logging.getLogger().warning("from a fixture")
            yield

        @pytest.fixture
        def part(whole, tmp_path): return tmp_path
    """,
    "test_it.py": """
        import logging
        import sys
        import warnings

        import lib
        import pytest

        log = logging.getLogger("it")

        def test_passes(part):
            log.info("an info")
            log.error("an error")
            print("to stdout")
            print("to stderr", file=sys.stderr)

        def test_fails(part):
            values = {"k": list(range(30))}
            log.debug("a detail")
            print("before it fails")
            assert values == {"k": list(range(29))}

        @pytest.mark.parametrize("x", [1, 2])
        def test_warns(x):
            warnings.warn("old", DeprecationWarning)
            warnings.warn("user's")

        def deep(n):
            assert n
            deep(n - 1)

        def test_deep(): deep(3)
        def test_error(absent): pass

        @pytest.mark.xfail(reason="known")
        def test_xfails(): assert 0

        @pytest.mark.skip(reason="not now")
        def test_skipped(): pass

        @pytest.mark.unheard_of
        def test_mark(): pass
    """,
}


@pytest.fixture
def suite(pytester, wheels, starter):
    add_plugin(wheels)
    return Pair(pytester.path, SUITE, starter)


@pytest.mark.parametrize(
    "args",
    [
        ["--tb=long", "-l", "-v", "--log-level=DEBUG", "--log-format=%(message)s!"],
        pytest.param(["--tb=short", "--showlocals", "-rA", "-W", "error"], marks=pytest.mark.slow),
        ["--tb=line", "-rN", "-W", "ignore::DeprecationWarning", "-vv", "--no-header"],
        pytest.param(
            ["--tb=native", "-q", "--maxfail=2", "--disable-warnings", "-o", "log_level=INFO"],
            marks=pytest.mark.slow,
        ),
        ["--tb=no", "-qq", "-x", "--pythonwarnings=error::DeprecationWarning:test_it"],
        ["--tb=auto", "--runxfail", "--assert=plain", "--show-capture=stderr", "--color=yes"],
        ["--strict-markers", "--strict-config"],
        ["--no-summary", "-p", "no:logging", "-p", "no:warnings", "--capture=sys", "-W", "error"],
        ["-W", "error::absent.Category", "-k", "warns"],
        ["--setup-show", "-k", "passes or fails"],
        ["--setup-plan", "-v"],
        ["--durations=0", "-vv", "-k", "passes", "--import-mode=importlib", "--full-trace"],
    ],
    ids=" ".join,
)
def test_an_option_has_the_effect_it_has_in_plain_pytest(suite, args):
    assert suite.difference(args) == ""


def test_a_filter_that_nobody_can_apply_is_a_usage_error_in_pytests_words(suite):
    def said(told):
        return comparable(told[told.index("ERROR: ") :])

    args = ["-W", "error::lib.Absent"]
    isolated = said(suite.isolated(args))
    assert isolated == said(suite.plain(args))
    assert "exit code 4" in isolated


def test_settings_of_the_ini_file_and_options_of_the_shell_hold_once(suite, monkeypatch):
    ini = """
        [pytest]
        addopts = -v --there=ini --log-level=DEBUG
        there_level = high
        required_plugins = pytest-there>=1
        filterwarnings =
            ignore:old
            error::pytest_there.ThereWarning
            ignore::absent.Category
        log_format = %(levelname)s %(message)s
        strict_config = true
    """
    test = """
        import warnings
        import pytest_there

        def test_there(there, request):
            assert (there, request.config.getini("there_level")) == ("shell", "high")
            assert request.config.option.verbose == 2

        def test_category():
            warnings.warn("raised", pytest_there.ThereWarning)
    """
    suite.write({"pytest.ini": ini, "test_there.py": test})
    monkeypatch.setenv("PYTEST_ADDOPTS", "--there shell -v")
    isolated = suite.isolated(["test_there.py"])
    assert "Failed to import filter module 'pytest_there'" not in isolated
    assert "1 failed, 1 passed" in isolated
    assert suite.difference([]) == ""


@pytest.mark.parametrize(
    "args",
    [
        ["--there", "test_it.py", "test_there.py"],
        ["--there-twice", "test_it.py", "absent", "test_there.py"],
        ["test_there.py", "--there=a b", "--there", "sub/nothing", "-k", "there"],
    ],
    ids=" ".join,
)
def test_only_the_environment_knows_what_is_the_value_of_its_plugins_option(suite, args):
    suite.write({"test_there.py": "def test_there(there): print(there)"})
    assert suite.difference([*args, "-rP"]) == ""


def test_required_plugins_are_the_environments(suite):
    suite.write({"pytest.ini": "[pytest]\nrequired_plugins = pytest-there>1 pytest-isoenv\n"})
    told = suite.isolated([])
    assert "ERROR: Missing required plugins: pytest-there>1\n" in told
    assert "exit code 4" in told


@pytest.fixture
def host_only(tmp_path_factory, monkeypatch):
    """A plugin that the host has and no environment has; nor is it a file of the project."""
    plugin = """
        def pytest_addoption(parser):
            parser.addoption("--only-here", action="store_true")
    """
    directory = tmp_path_factory.mktemp("elsewhere")
    (directory / "host_only.py").write_text(textwrap.dedent(plugin))
    monkeypatch.setenv("PYTHONPATH", str(directory))


@pytest.mark.usefixtures("host_only")
@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_plugin_that_only_the_host_has_is_left_out_and_named(suite, monkeypatch, way):
    args = ["-p", "host_only"] if way == "option" else []
    if way == "variable":
        monkeypatch.setenv("PYTEST_PLUGINS", "host_only")
    told = suite.isolated([*args, "--only-here", "-k", "passes"])
    assert "1 passed" in told
    assert told.count("-p host_only was not passed on: no plugin there knows it") == 1
    assert told.count("--only-here was not passed on: no plugin there knows it") == 1


@pytest.mark.parametrize("way", ["isoenv first", "isoenv first in addopts", "module", "variable"])
def test_a_plugin_that_only_the_environment_has_can_be_named(suite, monkeypatch, way):
    suite.write({"test_named.py": "def test_named(named): assert named == 'named'"})
    args = ["-p", "named_there"]
    if way == "isoenv first":
        args = ["-p", "isoenv", *args]
    elif way == "isoenv first in addopts":
        suite.write({"pytest.ini": "[pytest]\naddopts = -p isoenv -p named_there"})
        args = []
    elif way == "module":
        suite.start = ["-m", "pytest", "-p", "isoenv"]
    else:
        monkeypatch.setenv("PYTEST_PLUGINS", "named_there")
        args = []
    told = suite.isolated(["test_named.py", *args])
    assert "1 passed in" in told  # and no warning
    assert "was not passed on" not in told


def test_a_plugin_that_nobody_has_is_a_usage_error_in_pytests_words(suite):
    told = suite.isolated(["-p", "isoenv", "-p", "nobodys"])
    assert 'ERROR: Error importing plugin "nobodys": No module named' in told
    assert "exit code 4" in told


def test_without_autoloading_the_plugin_is_named(suite, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_isoenv.plugin")
    told = suite.isolated(["-k", "passes"])
    assert "1 passed" in told
    assert "was not passed on" not in told


def test_what_lists_fixtures_and_markers_lists_those_of_each_environment(suite):
    isolated = suite.isolated(
        ["--fixtures-per-test", "-k", "passes", "--in-env=other"], ["--markers"], ["--fixtures"]
    )
    isolated, _, fixtures = isolated.rpartition("= environment here =")
    assert isolated.count("fixtures used by test_passes") == 2
    assert "@pytest.mark.there: of the plugin" in isolated
    assert "What --there says." in fixtures
    assert "pytest_isoenv" not in fixtures


def test_workers_write_into_one_log_file_as_plain_pytest_does(suite):
    log = suite.directory / "all.log"
    options = [
        "-q",
        f"--log-file={log}",
        "-o",
        "log_file_level=INFO",
        "--log-file-format=%(message)s",
    ]
    suite.isolated(options)
    isolated = log.read_text()
    suite.plain(options)
    assert isolated == log.read_text()
    suite.isolated(["--in-env=other", *options])
    assert sorted(log.read_text().splitlines()) == sorted(isolated.splitlines() * 2)


def test_a_keyboard_interrupt_in_a_test_ends_the_run_with_exit_code_2(suite):
    suite.write({"test_it.py": "import lib\ndef test_it(): raise KeyboardInterrupt\n"})
    assert "exit code 2" in suite.isolated([])


def test_temporary_directories_are_below_the_basetemp_that_was_asked_for(suite):
    place = suite.directory / "place"
    suite.write({"test_it.py": "def test_it(tmp_path): (tmp_path / 'made').touch()"})
    suite.isolated([f"--basetemp={place}"])
    assert len(list(place.rglob("made"))) == 1
