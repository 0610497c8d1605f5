"""Targets: every Python from 3.8 to 3.13, every pytest from 7.0 to the newest."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests import kitchen_sink
from tests.parity.compare import Kitchen, difference

NEWEST = "newest"


@cache
def pythons() -> dict[str, str]:
    """The CPythons of this machine, by their version's first two numbers."""
    import findpython

    return {
        f"{python.major}.{python.minor}": str(python.executable)
        for python in findpython.find_all()
        if python.implementation.lower() == "cpython"
    }


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("python", "version"),
    [
        ("3.8", "7.0.1"),
        ("3.8", "8.3.5"),
        ("3.9", "7.4.4"),
        ("3.9", NEWEST),
        ("3.10", "8.0.2"),
        ("3.10", "7.0.1"),
        ("3.11", "8.4.2"),
        ("3.12", "7.4.4"),
        ("3.12", NEWEST),
        ("3.13", "8.4.2"),
        ("3.13", NEWEST),
    ],
)
def test_reports_are_those_of_plain_pytest_there(tmp_path, python, version):
    if python not in pythons():
        pytest.skip(f"no Python {python} on this machine")
    wanted = "pytest" if version == NEWEST else f"pytest=={version}"
    kitchen = Kitchen(tmp_path, None, f"{{python: '{python}', dependencies: [{wanted}]}}")
    kitchen_sink.write(kitchen.directory)
    options = ("--flavour=bitter", "-vv", "--doctest-modules")
    collected_here = kitchen.isolated(*options)
    collected_there = kitchen.isolated(*options, "--in-env=here")
    plain = kitchen.plain(*options)
    assert f"Python {python}." in plain.output
    assert len(plain.by_test) > 60
    for isolated in (collected_here, collected_there):
        assert f"here: Python {python}." in isolated.output
        assert list(isolated.by_test) == list(plain.by_test), isolated.output
    found = difference(plain.lines, collected_there.lines)
    assert not found, found
    # Where the host collects, what -k looks at is what its own pytest says.
    there, here = (
        [line for line in told.lines if " items: names " not in line]
        for told in (plain, collected_here)
    )
    found = difference(there, here)
    assert not found, found


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_an_interpreter_is_found_by_its_version(pytester, run, python):
    if python not in pythons():
        pytest.skip(f"no Python {python} on this machine")
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.env("lib==1.0", python={python!r}, id="there")
        def test_it():
            import lib, sys
            assert "%d.%d" % sys.version_info[:2] == {python!r}
            assert "pytest-isoenv" in sys.prefix
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["there"]["python"].startswith(f"{python}.")


def test_one_test_on_several_pythons_skips_those_that_are_missing(pytester, run):
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pytester.makepyfile(
        test_it=f"""
        import pytest

        def on(python):
            return pytest.mark.env(
                "lib==1.0", python=python, missing_interpreter="skip", id="py" + python
            )

        @on("{here}")
        @on("3.99")
        def test_it():
            import lib
        """
    )
    outcome = run("-rs")
    outcome.assert_outcomes(passed=1, skipped=1)
    outcome.stdout.fnmatch_lines(["SKIPPED*no Python interpreter for '3.99' was found (found: *"])
    assert outcome.environments[f"py{here}"]["outcomes"] == {"passed": 1}
    assert outcome.environments["py3.99"]["outcomes"] == {"skipped": 1}


def test_a_skip_says_what_is_missing_and_gives_no_advice(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        def on(python):
            return pytest.mark.env(
                "lib==1.0", python=python, missing_interpreter="skip", id=python
            )

        @on(">=3.8")
        @on(">=3.50,<3.52")
        @on("pypy3.50")
        @on("3.50t")
        def test_it():
            import lib
        """
    )
    outcome = run("-rs")
    outcome.assert_outcomes(passed=1, skipped=3)
    for request in (">=3.50,<3.52", "pypy3.50", "3.50t"):
        outcome.stdout.fnmatch_lines([f"SKIPPED*no Python interpreter for '{request}' was found*)"])
    outcome.stdout.no_fnmatch_line("*install it*")


@pytest.fixture
def plant(tmp_path_factory, monkeypatch) -> Callable[[str], Path]:
    """Puts a Python with a version of one's choice on PATH, as ``planted``; returns its file.

    Its standard library is the host's, but for the module that says the version.
    """
    directory = tmp_path_factory.mktemp("planted")
    library = Path(sysconfig.get_path("stdlib"))
    planted = directory / "bin" / "planted"
    monkeypatch.setenv("PATH", f"{planted.parent}{os.pathsep}{os.environ['PATH']}")

    def plant(version: str) -> Path:
        shutil.rmtree(directory, ignore_errors=True)
        copied = directory / "lib" / library.name
        copied.mkdir(parents=True)
        for entry in library.iterdir():
            if entry.name not in ("platform.py", "__pycache__", "site-packages"):
                (copied / entry.name).symlink_to(entry)
        text = (library / "platform.py").read_text()
        said = f"\ndef python_version():\n    return {version!r}\n"
        (copied / "platform.py").write_text(text + said)
        planted.parent.mkdir()
        own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        planted.write_bytes(own.read_bytes() + version.encode())  # another file for each version
        planted.chmod(0o755)
        return planted

    return plant


MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
ON_PLANTED = """
    import pytest

    @pytest.mark.env("lib==1.0", python="planted", id="there")
    def test_it():
        import lib, platform
        print("on", platform.python_version())
"""


def test_after_a_patch_upgrade_of_the_interpreter_it_is_a_new_environment_and_says_why(
    pytester, run, own_cache, plant
):
    pytester.makepyfile(test_it=ON_PLANTED)
    plant(f"{MINOR}.90")
    first = run("-rP")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines([f"on {MINOR}.90"])
    plant(f"{MINOR}.91")
    second = run("-rP")
    second.assert_outcomes(passed=1)
    second.stdout.fnmatch_lines([f"on {MINOR}.91"])
    there = second.environments["there"]
    assert (there["provisioned"], there["why"]) == ("built", f"python {MINOR}.90 -> {MINOR}.91")


def test_an_interpreter_that_was_replaced_or_removed_is_noticed(pytester, run, own_cache, plant):
    pytester.makepyfile(test_it=ON_PLANTED)
    planted = plant(f"{MINOR}.90")
    run().assert_outcomes(passed=1)
    planted.write_bytes(planted.read_bytes() + b"built again")
    again = run()
    again.assert_outcomes(passed=1)
    assert again.environments["there"]["provisioned"] == "built"
    again.stdout.fnmatch_lines(["*rebuilding there: it was broken: its interpreter * was replaced"])
    assert run().environments["there"]["provisioned"] == "cached"
    planted.unlink()
    gone = run()
    gone.assert_outcomes(errors=1)
    gone.stdout.fnmatch_lines(["*no Python interpreter for 'planted' was found*"])


@pytest.mark.network
@pytest.mark.slow
def test_a_python_that_the_hosts_pytest_does_not_support_gets_the_newest_that_does(pytester, run):
    if "3.8" not in pythons():
        pytest.skip("no Python 3.8 on this machine")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(python="3.8", id="old")
        def test_it():
            import pytest, sys
            assert sys.version_info[:2] == (3, 8)
            assert pytest.__version__.startswith("8.3.")
        """
    )
    run().assert_outcomes(passed=1)


@pytest.mark.parametrize("python", ["3.7", "2.7"])
def test_a_python_older_than_any_that_a_worker_runs_on_is_no_answer(pytester, run, python):
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.env("lib==1.0", python={python!r})
        def test_it(): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines([f"*no Python interpreter for '{python}' was found*"])
