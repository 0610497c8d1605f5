"""What of the host's command line a worker gets."""

from __future__ import annotations

import sys
import types

import pytest

from pytest_isoenv import _options


@pytest.fixture
def forwarded(pytester):
    """What a command line becomes: the arguments for a worker, in one list."""

    def forwarded(*args):
        config = pytester.parseconfigure(*args)
        return [text for _, texts in _options.forwarded(config) for text in texts]

    return forwarded


@pytest.fixture
def usual(forwarded):
    """What every worker gets."""
    return forwarded()


def test_every_worker_is_kept_from_deciding_for_itself(usual, pytester):
    assert "--override-ini=addopts=" in usual
    assert f"--rootdir={pytester.path}" in usual
    assert "--color=no" in usual


@pytest.mark.parametrize(
    ("args", "attribute"),
    [
        (["-v"], "verbose"),
        (["-vv", "-q"], "verbose"),
        (["-q"], "verbose"),
        (["--verbosity=3"], "verbose"),
        (["-x"], "maxfail"),
        (["--maxfail=3"], "maxfail"),
        (["--tb=short"], "tbstyle"),
        (["--tb", "line"], "tbstyle"),
        (["-W", "error", "-W", "ignore::UserWarning"], "pythonwarnings"),
        (["--log-level=INFO"], "log_level"),
        (["--log-cli-level", "10"], "log_cli_level"),
        (["--log-format=%(message)s two words"], "log_format"),
        (["-l"], "showlocals"),
        (["--runxfail"], "runxfail"),
        (["--import-mode=importlib"], "importmode"),
        (["--doctest-modules"], "doctestmodules"),
        (["--doctest-glob=*.rst", "--doctest-glob=*.md"], "doctestglob"),
        (["--ignore=a", "--ignore=b"], "ignore"),
        (["-s"], "capture"),
        (["--capture=fd"], "capture"),
        (["--setup-show"], "setupshow"),
        (["--full-trace"], "fulltrace"),
        (["--noconftest"], "noconftest"),
        (["--keep-duplicates"], "keepduplicates"),
        (["--pyargs"], "pyargs"),
        (["--confcutdir=."], "confcutdir"),
    ],
    ids=str,
)
def test_an_option_means_there_what_it_means_here(pytester, forwarded, args, attribute):
    here = getattr(pytester.parseconfig(*args).option, attribute)
    there = pytester.parseconfig(*forwarded(*args))
    assert getattr(there.option, attribute) == here


def test_an_ini_value_that_is_overridden_here_is_overridden_there(pytester, forwarded):
    there = pytester.parseconfig(*forwarded("-o", "xfail_strict=true", "-o", "norecursedirs=x y"))
    assert there.getini("xfail_strict") is True
    assert there.getini("norecursedirs") == ["x", "y"]


def test_strict_markers_are_strict_there(pytester, forwarded):
    there = pytester.parseconfig(*forwarded("--strict-markers"))
    assert there.option.strict_markers or there.getini("strict_markers")


def test_the_inis_addopts_are_forwarded_once_and_not_read_again(pytester, forwarded):
    pytester.makeini("[pytest]\naddopts = -v --tb=short\n")
    arguments = forwarded("-v")
    there = pytester.parseconfig(*arguments)
    assert there.option.verbose == 2
    assert there.option.tbstyle == "short"
    assert arguments.count("--tb=short") == 1


def test_what_the_shell_adds_is_forwarded(pytester, forwarded, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--tb=line")
    arguments = forwarded()
    monkeypatch.delenv("PYTEST_ADDOPTS")
    assert pytester.parseconfig(*arguments).option.tbstyle == "line"


def test_options_of_a_conftest_are_forwarded_with_their_name_for_messages(pytester):
    pytester.makeconftest(
        """
        def pytest_addoption(parser):
            parser.addoption("--server", default="none")
            parser.addoption("--case", action="append", default=[])
            parser.addoption("--pair", nargs=2)
            parser.addoption("--fast", action="store_true")
            parser.addoption("--slow", action="store_false", default=True)
            parser.addoption("--count", action="count", default=0)
            parser.addoption("--kind", type=int)
        """
    )
    args = ["--server=x y", "--case=a", "--case=b", "--pair", "1", "2", "--fast", "--slow"]
    config = pytester.parseconfigure(*args, "--count", "--count", "--kind=5")
    options = _options.forwarded(config)
    there = pytester.parseconfig(*(text for _, texts in options for text in texts)).option
    assert (there.server, there.case, there.pair) == ("x y", ["a", "b"], ["1", "2"])
    assert (there.fast, there.slow, there.count, there.kind) == (True, False, 2, 5)
    assert {"--server", "--case", "--pair"} <= {name for name, _ in options}


def test_values_travel_in_one_argument_with_their_option(forwarded):
    # A parser that does not know the option must not take its value for a path.
    assert "--tb=short" in forwarded("--tb", "short")
    assert "-Werror" in forwarded("-W", "error") or "--pythonwarnings=error" in forwarded(
        "-W", "error"
    )


@pytest.mark.parametrize(
    "args",
    [
        ["-k", "old"],
        ["-m", "slow"],
        ["--deselect=a.py::b"],
        ["--lf"],
        ["--ff"],
        ["--nf"],
        ["--collect-only"],
        ["-ra"],
        ["--durations=3"],
        ["--junitxml=x.xml"],
        ["--junit-prefix=x"],
        ["--no-header"],
        ["--env-refresh"],
        ["--env-jobs=2"],
        ["--env-report=x.json"],
        ["--env-cache-dir=x"],
        ["some/path.py"],
        ["-n2"],
        ["--dist=load"],
    ],
    ids=str,
)
def test_what_the_host_does_itself_is_not_forwarded(forwarded, usual, args):
    assert forwarded(*args) == usual


def test_a_requirement_on_this_plugin_is_not_made_of_the_environment(pytester, forwarded):
    pytester.makeini("[pytest]\nrequired_plugins = pytest-isoenv pytest-xdist>=1\n")
    config = pytester.parseconfig(*forwarded())
    assert config.getini("required_plugins") == ["pytest-xdist>=1"]


def test_required_plugins_are_left_alone_where_they_do_not_name_this_one(pytester, forwarded):
    pytester.makeini("[pytest]\nrequired_plugins = pytest-xdist>=1\n")
    assert not [text for text in forwarded() if "=required_plugins" in text]


def test_plugins_that_are_files_of_the_project_exist_in_every_environment(pytester):
    pytester.syspathinsert()
    pytester.makepyfile(isoenv_local_plugin="")
    config = pytester.parseconfig("-p", "isoenv_local_plugin", "-p", "no:doctest")
    assert _options.wanted_plugins(config) == ["isoenv_local_plugin"]


def main_module(name):
    module = types.ModuleType("__main__")
    module.__spec__ = types.SimpleNamespace(name=name) if name else None
    return module


@pytest.mark.parametrize(
    ("name", "as_module"),
    [("pytest.__main__", True), ("pytest", True), (None, False), ("other.__main__", False)],
)
def test_python_m_pytest_is_told_from_the_script(monkeypatch, name, as_module):
    monkeypatch.setitem(sys.modules, "__main__", main_module(name))
    assert _options.runs_as_module() is as_module


@pytest.mark.parametrize(("args", "failures"), [(["--sw"], 1), (["--sw", "--sw-skip"], 2)])
def test_a_worker_stops_where_stepwise_would_stop_the_host(pytester, args, failures):
    assert _options.failures_to_stop_at(pytester.parseconfig(*args)) == failures
    assert _options.failures_to_stop_at(pytester.parseconfig()) == 0


def test_the_processes_of_pytest_xdist_have_one_seed_for_pytest_randomly(pytester):
    config = pytester.parseconfig()
    seeds = []
    for run in ("one", "one", "other"):
        config.workerinput = {"testrunuid": run}
        seeds += _options.seed(config)
    assert seeds[0] == seeds[1] != seeds[2]
    name, (argument,) = seeds[0]
    assert argument.startswith("--randomly-seed=")
    assert not name, "nobody has asked for it, so nobody misses it"


def test_a_seed_that_the_host_has_is_not_chosen_again(pytester):
    config = pytester.parseconfig()
    config.option.randomly_seed = 5
    assert list(_options.seed(config)) == []


def test_what_an_environment_declares_for_the_shell_to_add_acts_there_once(
    pytester, run, monkeypatch
):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--many=shell")
    pytester.makefile(
        ".yaml",
        isoenv="""
        environments:
          own: {dependencies: [lib==1.0], env: {PYTEST_ADDOPTS: "--many own -p no:doctest"}}
          same: {dependencies: [lib==1.0], env: {PYTEST_ADDOPTS: "--many=shell"}}
          shells: {dependencies: [lib==1.0]}
        """,
    )
    pytester.makeconftest(
        "def pytest_addoption(parser): parser.addoption('--many', action='append')"
    )
    pytester.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.env("own")
        def test_own(pytestconfig):
            assert pytestconfig.getoption("many") == ["own", "shell", "line"]
            assert not pytestconfig.pluginmanager.hasplugin("doctest")
            assert os.environ["PYTEST_ADDOPTS"] == "--many own -p no:doctest"

        @pytest.mark.env("same")
        @pytest.mark.env("shells")
        def test_shells(pytestconfig):
            assert pytestconfig.getoption("many") == ["shell", "line"]
            assert os.environ["PYTEST_ADDOPTS"] == "--many=shell"
        """
    )
    run("--many=line").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "args",
    [
        ["test_it.py", "--maxfail", "2", "--times", "2"],
        ["--times", "2", "--maxfail", "2", "test_it.py"],
        ["--maxfail", "2", "--times", "2"],
    ],
    ids=" ".join,
)
def test_two_options_may_have_the_same_value_of_which_one_is_unknown_here(pytester, run, args):
    pytester.makefile(".yaml", isoenv="environments: {here: {dependencies: [lib==1.0]}}")
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--times')")
    pytester.makepyfile(
        test_it="""
        def test_it(pytestconfig):
            assert pytestconfig.getoption("times") == "2"
            assert pytestconfig.getoption("maxfail") == 2
        """
    )
    run("--in-env=here", *args).assert_outcomes(passed=1)
