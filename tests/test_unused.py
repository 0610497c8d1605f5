"""Nothing for those who do not use it: a run without environments loads and leaves nothing."""

from __future__ import annotations

import pytest

# In the test itself, so after everything that a run does before its first test.
LOOK = """
    import sys

    def test_it():
        print("loaded", sorted(
            name for name in sys.modules
            if name.partition(".")[0] in (
                "pytest_isoenv", "execnet", "filelock", "yaml", "uv", "findpython", "platformdirs"
            )
        ))
"""
ONLY_OURS = "loaded ['pytest_isoenv', 'pytest_isoenv.plugin']"


@pytest.fixture
def plain(pytester, monkeypatch):
    """Run pytest with our plugin and no other that is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def plain(*args: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "pytest_isoenv.plugin", *args)

    return plain


@pytest.mark.parametrize(
    "file",
    [None, ("pyproject.toml", "[project]\nname = 'x'\n"), ("setup.cfg", ""), ("tox.ini", "")],
    ids=["no-config", "pyproject", "setup.cfg", "tox.ini"],
)
def test_a_run_without_environments_imports_only_the_entry_module(pytester, plain, file):
    if file:
        pytester.path.joinpath(file[0]).write_text(file[1])
    pytester.makepyfile(LOOK)
    result = plain("-rP")
    result.assert_outcomes(passed=1)
    assert ONLY_OURS in result.outlines


def test_a_run_without_environments_imports_no_module_that_pytest_does_not(pytester, plain):
    """Of Python's own neither: modules are counted, for time cannot be held by a test."""
    pytester.makepyfile(
        """
        import sys

        def test_it():
            with open("modules.txt", "w") as file:
                file.write("\\n".join(sys.modules))
        """
    )
    modules = []
    for run in (plain, pytester.runpytest_subprocess):  # nor does the latter load any plugin
        run().assert_outcomes(passed=1)
        modules.append(set(pytester.path.joinpath("modules.txt").read_text().splitlines()))
    ours, pytests_own = modules
    assert len(pytests_own) > 200
    assert ours - pytests_own == {"pytest_isoenv", "pytest_isoenv.plugin"}


@pytest.mark.parametrize("option", ["--help", "--markers", "--fixtures", "--version", "--co"])
def test_options_that_run_nothing_import_only_the_entry_module(pytester, plain, option):
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            ours = sorted(name for name in sys.modules if name.startswith("pytest_isoenv"))
            open("loaded.txt", "w").write(f"loaded {ours}")
        """
    )
    assert plain(option).ret in (0, 5)
    if option != "--version":  # pytest loads no conftest.py for it
        assert pytester.path.joinpath("loaded.txt").read_text() == ONLY_OURS


def test_modules_of_ours_are_imported_without_a_look_at_their_assertions(pytester, plain):
    """pytest rewrites those of a plugin's modules, which it finds unless the plugin is editable."""
    pytester.makepyfile(
        installed="import pytest; pytest.register_assert_rewrite('pytest_isoenv')",
        test_it="""
            from pytest_isoenv import _config

            def test_it():
                print("loaded by", type(_config.__spec__.loader).__name__)
        """,
    )
    result = pytester.runpytest_subprocess("-p", "installed", "-rP")
    result.stdout.fnmatch_lines("loaded by AssertionRewritingHook")
    result = pytester.runpytest_subprocess("-p", "installed", "-p", "pytest_isoenv.plugin", "-rP")
    result.stdout.fnmatch_lines("loaded by SourceFileLoader")


def test_an_environment_that_is_used_loads_what_it_needs(pytester, plain):
    """The same look finds more where there is more: it is no blind one."""
    pytester.makepyfile(
        LOOK
        + """
    import pytest

    @pytest.mark.env("lib==1.0")
    def test_there(): pass
    """
    )
    result = plain("-rP", "-k", "test_it")
    result.assert_outcomes(passed=1, deselected=1)
    (line,) = [line for line in result.outlines if line.startswith("loaded")]
    assert "pytest_isoenv._select" in line


def test_a_run_without_environments_touches_no_cache(pytester, plain, own_cache):
    pytester.makepyfile(LOOK)
    plain().assert_outcomes(passed=1)
    assert not own_cache.exists()


def test_without_an_environment_the_exit_code_and_output_are_pytests_own(pytester, monkeypatch):
    import re

    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("def test_a(): assert 0\ndef test_b(): pass")
    texts = []
    for extra in ([], ["-p", "pytest_isoenv.plugin"]):
        result = pytester.runpytest_subprocess(*extra, "-v", "-p", "no:cacheprovider")
        assert result.ret == 1
        texts.append(re.sub(r"in \d+\.\d+s", "in N s", result.stdout.str()))
    assert texts[0] == texts[1]
