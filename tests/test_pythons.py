"""Pythons that environments ask for: which are found, which are not, and what is said then."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parity.compare import pythons


@pytest.mark.parametrize(
    "python", [pytest.param(p, marks=pytest.mark.slow) for p in ("3.11", "3.12", "3.13")]
)
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

    Its standard library is the host's, but for the modules that say the version.
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
            if entry.stem not in ("platform", "sysconfig", "__pycache__", "site-packages"):
                (copied / entry.name).symlink_to(entry)
        # Who asks for the version has imported one of these.
        said = f"\nimport sys\nsys.version = ' '.join([{version!r}, *sys.version.split()[1:]])\n"
        for module in (platform, sysconfig):
            text = Path(module.__file__).read_text()
            (copied / f"{module.__name__}.py").write_text(text + said)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_interpreter_that_was_replaced_or_removed_is_noticed(pytester, run, own_cache, plant):
    pytester.makepyfile(test_it=ON_PLANTED)
    planted = plant(f"{MINOR}.90")
    run().assert_outcomes(passed=1)
    planted.write_bytes(planted.read_bytes() + b"built again")
    again = run()
    again.assert_outcomes(passed=1)
    assert again.environments["there"]["provisioned"] == "built"
    again.stdout.fnmatch_lines(["*rebuilding there: *its interpreter * was replaced*"])
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
