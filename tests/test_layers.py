"""Environments on top of others."""

from __future__ import annotations

import json
import sys

import pytest

from pytest_isoenv import EnvManager
from pytest_isoenv.errors import InterpreterNotFound, LayerError
from tests.packages import make_project, make_wheel

HEAVY = {"project": "none", "dependencies": ["lib==1.1"]}


@pytest.fixture
def environment(tmp_path):
    """Build a declared environment of the test's own project."""
    managers = []

    def environment(name, _env=None, **declared):
        (tmp_path / "isoenv.yaml").write_text(json.dumps({"environments": declared}))
        managers.append(EnvManager(tmp_path))
        return managers[-1].environment(name)

    yield environment
    for manager in managers:
        manager.close()


def listed(environment):
    return sorted(p.name for p in environment.path.glob("lib/python*/site-packages/*.dist-info"))


def test_what_lies_beneath_is_there_without_being_installed_again(environment):
    thin = {"dependencies": ["needs-lib"], "layers": ["heavy"]}
    found = environment("thin", heavy=HEAVY, thin=thin)
    assert listed(found) == ["needs_lib-1.0.dist-info"]
    assert {"lib", "needs-lib", "pytest"} <= set(found.packages)
    code = "import lib, needs_lib, pytest, importlib.metadata as m; "
    code += "print(lib.__version__, m.version('lib'))"
    assert found.run(["python", "-c", code], capture_output=True, text=True).stdout == "1.1 1.1\n"


def test_its_pins_bound_what_lies_above(environment):
    found = environment("thin", heavy=HEAVY, thin={"layers": ["heavy"], "dependencies": ["lib<2"]})
    assert found.packages["lib"] == "1.1"
    assert listed(found) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"dependencies": ["lib==2.0"]}, "lib==2.0 is asked for, and it has version 1.1"),
        ({"local": ["lib-7-py3-none-any.whl"]}, "both have lib"),
        ({"python": "3.8"}, "it has Python"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(environment, tmp_path, asked, words):
    make_wheel(tmp_path, "lib", "7").rename(tmp_path / "lib-7-py3-none-any.whl")
    heavy = HEAVY
    if "python" in asked:
        heavy = {**HEAVY, "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    with pytest.raises((LayerError, InterpreterNotFound)) as caught:
        environment("thin", heavy=heavy, thin={"layers": ["heavy"], **asked})
    if caught.type is InterpreterNotFound:
        pytest.skip(str(caught.value))
    assert words in str(caught.value)
    assert "'heavy'" in str(caught.value)


def test_the_project_goes_into_one_of_the_two(environment, tmp_path):
    make_project(tmp_path, "app", requires=["lib"])
    thin = {"layers": ["heavy"], "project": "editable"}
    found = environment("thin", heavy={**HEAVY, "base": False}, thin=thin)
    assert listed(found) == ["app-1.0.dist-info"]
    assert found.run(["python", "-c", "import app, lib"]).returncode == 0
    with pytest.raises(LayerError, match="both have app"):
        environment("thin", heavy={"project": "editable"}, thin=thin)


def test_several_layers_must_agree(environment):
    thin = {"layers": ["heavy", "more"]}
    more = {"project": "none", "dependencies": ["other"]}
    found = environment("thin", heavy=HEAVY, more=more, thin=thin)
    assert {"lib", "other"} <= set(found.packages)
    with pytest.raises(LayerError, match=r"it has lib 1\.0, and 'heavy' has lib 1\.1"):
        environment("thin", heavy=HEAVY, more={**more, "dependencies": ["lib==1.0"]}, thin=thin)


def test_another_environment_beneath_is_another_environment(environment):
    # Of its own: what another test has built would be no news.
    thin = {"layers": ["heavy"], "dependencies": ["other"], "env": {"OF": "this test"}}
    before = environment("thin", heavy=HEAVY, thin=thin)
    again = environment("thin", heavy=HEAVY, thin=thin)
    after = environment("thin", heavy={**HEAVY, "dependencies": ["lib==1.0"]}, thin=thin)
    assert (before.key, again.provisioned) == (again.key, "cached")
    assert after.key != before.key
    assert "layer heavy" in after.why


def test_tests_run_on_top(pytester, run):
    declared = {"heavy": HEAVY, "thin": {"layers": ["heavy"], "dependencies": ["needs-lib"]}}
    pytester.makefile(".yaml", isoenv=json.dumps({"environments": declared}))
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.env("thin")
        def test_it():
            import lib, needs_lib
            assert lib.__version__ == "1.1"
            assert not lib.__file__.startswith(sys.prefix)
            assert needs_lib.__file__.startswith(sys.prefix)
        """
    )
    for args in ((), ("--in-env", "thin"), ("--env-refresh",)):
        run(*args).assert_outcomes(passed=1)


def test_a_mark_may_name_layers_and_unknown_ones_are_refused(pytester, run):
    pytester.makefile(".yaml", isoenv=json.dumps({"environments": {"heavy": HEAVY}}))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.env("needs-lib==1.0", layers=["heavy"])
        def test_known(): import lib
        """
    )
    run().assert_outcomes(passed=1)
    pytester.makepyfile("""import pytest\n@pytest.mark.env(layers=["heavier"])\ndef test(): pass""")
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "'heavier' is not a declared environment; there are: heavy" in outcome.stderr.str()
