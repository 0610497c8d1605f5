"""The environment as an object: the ``isoenv`` fixture and ``EnvManager``."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

import pytest

from pytest_isoenv import Environment, EnvManager
from pytest_isoenv.errors import ConfigError, InterpreterNotFound, ResolutionError


@pytest.fixture
def manager(tmp_path):
    with EnvManager(tmp_path) as manager:
        yield manager


def test_the_fixture_gives_an_environment_that_runs_commands(pytester, run):
    pytester.makepyfile(
        test_it="""
        import subprocess, sys

        def test_it(isoenv):
            old = isoenv("lib==1.0", id="old", env={"COLOUR": "green"})
            new = isoenv("lib==2.0")
            code = "import lib, os; print(lib.__version__, os.environ.get('COLOUR'))"
            for environment, expected in [(old, "1.0 green"), (new, "2.0 None")]:
                done = environment.run(
                    ["python", "-c", code], capture_output=True, text=True, check=True
                )
                assert isinstance(done, subprocess.CompletedProcess)
                assert done.stdout.strip() == expected
            assert old.packages["lib"] == "1.0"
            assert old.python.is_relative_to(old.path)
            assert "pytest-isoenv" not in sys.prefix

        def test_the_same_request_is_the_same_environment(isoenv):
            assert isoenv("lib==1.0", id="old", env={"COLOUR": "green"}).path == isoenv(
                "lib==1.0", env={"COLOUR": "green"}
            ).path
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=2)
    assert outcome.environments["old"]["packages"]["lib"] == "1.0"
    assert outcome.environments["old"]["tests"] == {}


def test_the_fixture_knows_declared_names(pytester, run):
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments: {old: {dependencies: [lib==1.0]}}"
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        def test_named(isoenv):
            assert isoenv("old").packages["lib"] == "1.0"

        def test_unknown(isoenv):
            isoenv("odl")
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines(["E *'odl' is not a declared environment; declared are: old*"])


def test_the_fixture_skips_where_a_missing_interpreter_is_declared_a_skip(pytester, run):
    pytester.makepyfile(
        test_it="""
        def test_skip(isoenv):
            isoenv("lib==1.0", python="3.99", missing_interpreter="skip")

        def test_error(isoenv):
            isoenv("lib==1.0", python="3.99")
        """
    )
    outcome = run("-rs")
    outcome.assert_outcomes(skipped=1, failed=1)
    outcome.stdout.fnmatch_lines(["SKIPPED*no Python interpreter for '3.99'*"])


def test_an_upgrade_test_writes_with_one_version_and_reads_with_another(pytester, run):
    pytester.makepyfile(
        test_it="""
        def test_upgrade(isoenv, tmp_path):
            file = tmp_path / "data"
            write = "import lib, sys; open(sys.argv[1], 'w').write(lib.__version__)"
            read = "import lib, sys; print(open(sys.argv[1]).read(), '->', lib.__version__)"
            isoenv("lib==1.0").run(["python", "-c", write, file], check=True)
            new = isoenv("lib==2.0")
            done = new.run(["python", "-c", read, file], capture_output=True, text=True)
            assert done.stdout == "1.0 -> 2.0\\n"
        """
    )
    run().assert_outcomes(passed=1)


def test_the_fixture_obeys_env_refresh_and_leaves_nothing(pytester, run):
    pytester.makepyfile(
        test_it="""
        from pathlib import Path

        def test_it(isoenv):
            path = isoenv("lib==1.0").path
            assert path.is_dir()
            Path("path.txt").write_text(str(path))
        """
    )
    outcome = run("--env-refresh")
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["lib-1.0"]["provisioned"] == "ephemeral"
    assert not Path(pytester.path.joinpath("path.txt").read_text()).exists()


def test_a_manager_gives_what_a_marker_asks_for(manager):
    environment = manager.environment("lib==1.0", id="old")
    assert isinstance(environment, Environment)
    assert environment.name == "old"
    assert environment.packages["lib"] == "1.0"
    assert environment.python.parent == environment.path / "bin"
    done = environment.run(["python", "-c", "import sys; print(sys.prefix)"], capture_output=True)
    assert Path(os.fsdecode(done.stdout.strip())) == environment.path


def test_run_is_subprocess_run_with_the_environments_variables(manager, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    environment = manager.environment("lib==1.0", env={"COLOUR": "green"})
    code = "import os; print(os.environ['COLOUR'], os.environ.get('PYTHONPATH'), os.getcwd())"
    done = environment.run(
        ["python", "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == ["green", "None", str(tmp_path)]
    with pytest.raises(subprocess.CalledProcessError):
        environment.run(["python", "-c", "raise SystemExit(3)"], check=True)
    with pytest.raises(FileNotFoundError):
        environment.run(["no-such-command-anywhere"])
    replaced = environment.run(
        ["python", "-c", "import os; print('COLOUR' in os.environ)"],
        env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert replaced.stdout.strip() == "False"


def test_scripts_of_installed_packages_are_found_first(manager):
    environment = manager.environment("lib==1.0")
    done = environment.run(["pytest", "--version"], capture_output=True, text=True, check=True)
    assert f"pytest {environment.packages['pytest']}" in done.stdout + done.stderr
    code = "import shutil; print(shutil.which('pytest'))"
    found = environment.run(["python", "-c", code], capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == environment.path / "bin" / "pytest"


def test_a_persistent_manager_leaves_a_cache_that_the_next_one_uses(tmp_path, own_cache):
    with EnvManager(tmp_path) as manager:
        first = manager.environment("lib==1.0")
    with EnvManager(tmp_path) as manager:
        second = manager.environment("lib==1.0")
    assert (first.provisioned, second.provisioned) == ("built", "cached")
    assert first.path == second.path
    assert first.path.is_relative_to(own_cache)
    assert second.path.is_dir()


def test_a_manager_uses_the_cache_it_is_given(tmp_path, own_cache):
    with EnvManager(tmp_path, cache_dir=tmp_path / "mine") as manager:
        environment = manager.environment("lib==1.0")
    assert environment.path.is_relative_to(tmp_path / "mine")
    assert not own_cache.exists()


def test_an_ephemeral_manager_removes_its_environments(tmp_path):
    with EnvManager(tmp_path, ephemeral=True) as manager:
        environment = manager.environment("lib==1.0")
        assert environment.provisioned == "ephemeral"
        assert environment.python.exists()
    assert not environment.path.exists()


def test_a_manager_reads_the_declarations_of_its_root(tmp_path):
    tmp_path.joinpath("isoenv.yaml").write_text(
        "environments: {old: {dependencies: [lib==1.0], env: {A: b}}}"
    )
    with EnvManager(tmp_path) as manager:
        environment = manager.environment("old")
    assert environment.packages["lib"] == "1.0"
    assert environment.environ["A"] == "b"


def test_wrong_declarations_are_an_error_when_the_manager_is_made(tmp_path):
    tmp_path.joinpath("isoenv.yaml").write_text("environments: {old: {colour: green}, host: {}}")
    with pytest.raises(ConfigError) as caught:
        EnvManager(tmp_path)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("arguments", "fields", "error", "words"),
    [
        (["oldest"], {}, ConfigError, "'oldest' is not a declared environment"),
        (["host"], {}, ConfigError, "host"),
        ([], {"colour": "green"}, ConfigError, "unknown key 'colour'"),
        (["lib==1.0"], {"python": "3.99"}, InterpreterNotFound, "'3.99'"),
        (["broken-needs==1.0"], {}, ResolutionError, "No solution found"),
    ],
    ids=["unknown-name", "host", "unknown-field", "missing-interpreter", "unsolvable"],
)
def test_what_cannot_be_provided_is_an_error_that_survives_pickling(
    manager, arguments, fields, error, words
):
    with pytest.raises(error) as caught:
        manager.environment(*arguments, **fields)
    assert words in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
