"""The runner layer: pytest, installed once beneath many environments."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_isoenv import EnvManager, _runner
from pytest_isoenv.pinned import PinnedEnv
from pytest_isoenv.spec import EnvSpec
from tests.packages import make_project, make_wheel
from tests.test_pinned import PYTHON

PROGRAM = """
import collections, importlib.metadata as m, json, pytest, sys, sysconfig
names = [dist.metadata["Name"].lower() for dist in m.distributions()]
print(json.dumps({
    "pytest": pytest.__file__,
    "purelib": sysconfig.get_path("purelib"),
    "path": sys.path,
    "twice": [name for name, count in collections.Counter(names).items() if count > 1],
    "version": m.version("pytest"),
}))
"""


@pytest.fixture
def managed(tmp_path):
    """Build a declared environment of the test's own project."""
    managers = []

    def managed(ephemeral=False, **declared):
        text = json.dumps({"environments": {"base": {"project": "none"}, "it": declared}})
        (tmp_path / "isoenv.yaml").write_text(text)
        managers.append(EnvManager(tmp_path, ephemeral=ephemeral))
        return managers[-1].environment("it")

    yield managed
    for manager in managers:
        manager.close()


def asked(environment, program=PROGRAM):
    done = environment.run(["python", "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def layer_of(environment):
    """The directory in which its pytest lies; None if that is its own."""
    found = Path(asked(environment)["pytest"])
    prefix = found.parents[4]
    return None if prefix == environment.path else prefix


def own(environment):
    return sorted(p.name for p in environment.path.glob("lib/python*/site-packages/*.dist-info"))


@pytest.mark.parametrize("backend", ["uv", pytest.param("venv", marks=pytest.mark.slow)])
def test_pytest_lies_beneath_and_all_that_is_asked_of_it_is_as_if_it_did_not(
    managed, backend, tmp_path
):
    environment = managed(dependencies=["lib==1.0"], backend=backend)
    assert own(environment) == ["lib-1.0.dist-info"]
    assert {"pytest", "pluggy", "iniconfig", "packaging", "lib"} <= set(environment.packages)
    seen = asked(environment)
    assert not Path(seen["pytest"]).is_relative_to(environment.path)
    assert seen["twice"] == []
    assert seen["version"] == environment.packages["pytest"] == importlib.metadata.version("pytest")
    (tmp_path / "test_it.py").write_text("import sys\ndef test_it(): print(sys.prefix); assert 0")
    for command in (["pytest"], ["py.test"], ["python", "-m", "pytest"]):
        ended = environment.run([*command, "test_it.py"], cwd=tmp_path, capture_output=True)
        assert ended.returncode == 1
        assert f"{environment.path}\n".encode() in ended.stdout, ended.stdout
    scripts = [environment.path / "bin" / name for name in ("pytest", "py.test", "pygmentize")]
    assert all(script.stat().st_mode & 0o111 for script in scripts)


def test_it_comes_right_after_the_environments_own_packages(managed, tmp_path):
    make_project(tmp_path, "app")
    environment = managed(project="editable", dependencies=["lib==1.0"])
    seen = asked(environment)
    after = seen["path"][seen["path"].index(seen["purelib"]) + 1 :]
    assert after == [str(Path(seen["pytest"]).parents[1]), str(tmp_path / "src")]


def test_environments_with_the_same_pins_of_it_share_one(managed, tmp_path):
    one, two = managed(dependencies=["lib==1.0"]), managed(dependencies=["lib==2.0"])
    assert layer_of(one) == layer_of(two) is not None
    assert one.path != two.path
    module = importlib.metadata.distribution("iniconfig").locate_file("iniconfig")
    files = {f"iniconfig/{p.name}": p.read_text() for p in Path(str(module)).glob("*.py")}
    make_wheel(tmp_path, "iniconfig", "99", modules=files)
    other = managed(dependencies=["lib==1.0", "iniconfig==99"], **{"find-links": ["."]})
    assert layer_of(other) not in (None, layer_of(one))
    assert own(other) == ["lib-1.0.dist-info"]
    assert other.packages["iniconfig"] == "99"


def test_a_declaration_can_have_pytest_installed_like_anything_else(managed):
    environment = managed(dependencies=["lib==1.0"], **{"runner-layer": False})
    assert layer_of(environment) is None
    assert {name.partition("-")[0] for name in own(environment)} >= {"pytest", "pluggy", "lib"}
    assert environment.key != managed(dependencies=["lib==1.0"]).key


def test_a_project_that_is_one_of_its_packages_is_there_once(managed, tmp_path):
    module = importlib.metadata.distribution("iniconfig").locate_file("iniconfig")
    make_project(tmp_path, "iniconfig", "99")
    (tmp_path / "src" / "iniconfig.py").unlink()
    shutil.copytree(Path(str(module)), tmp_path / "src" / "iniconfig")
    environment = managed(project="editable")
    assert asked(environment)["twice"] == []
    assert environment.packages["iniconfig"] == "99"
    where = "import iniconfig, json; print(json.dumps(iniconfig.__file__))"
    assert asked(environment, where).startswith(str(tmp_path / "src"))


def test_a_local_wheel_of_the_same_name_takes_its_place(managed, tmp_path):
    module = importlib.metadata.distribution("iniconfig").locate_file("iniconfig")
    files = {f"iniconfig/{p.name}": p.read_text() for p in Path(str(module)).glob("*.py")}
    wheel = make_wheel(tmp_path, "iniconfig", "99", modules=files)
    environment = managed(local=[wheel.name])
    assert asked(environment)["twice"] == []
    assert environment.packages["iniconfig"] == "99"
    assert layer_of(environment) is None


def test_what_is_built_from_scratch_has_a_layer_built_from_scratch(managed, own_cache):
    kept = layer_of(managed(dependencies=["lib==1.0"]))
    one = managed(ephemeral=True, dependencies=["lib==1.0"])
    found = layer_of(one)
    assert found not in (None, kept)
    assert found.is_relative_to(own_cache / "v1" / "runs")


def test_one_run_needs_but_one_layer_from_scratch(pytester, run):
    pytester.makepyfile(
        """
        import pathlib, pytest

        pytestmark = [pytest.mark.env("lib==1.0"), pytest.mark.env("lib==2.0")]

        def test_it():
            with open("where.txt", "a") as file:
                file.write(f"{pytest.__file__}\\n")
        """
    )
    outcome = run("--env-refresh")
    outcome.assert_outcomes(passed=2)
    first, second = (pytester.path / "where.txt").read_text().split()
    assert first == second
    assert not Path(first).exists()


def test_a_layer_that_is_broken_is_built_again_and_so_is_what_lies_on_it(managed, own_cache):
    before = managed(dependencies=["lib==1.0"])
    shutil.rmtree(Path(asked(before)["pytest"]).parents[1] / "_pytest")
    after = managed(dependencies=["lib==1.0"])
    assert (before.provisioned, after.provisioned) == ("built", "built")
    assert after.why == (
        "layer of pytest was built again (it was broken: missing from it: _pytest)"
    )
    assert asked(after)["version"]


def test_looking_builds_none(managed, own_cache, tmp_path):
    environment = managed(dependencies=["lib==1.0"])
    states = []
    for gone in ((), (layer_of(environment).parent,)):
        for directory in gone:
            shutil.rmtree(directory)
        listed = subprocess.run(
            [sys.executable, "-m", "pytest_isoenv", "list", "--json"],
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        states += [one["state"] for one in json.loads(listed.stdout)["environments"]]
    assert states == ["cached", "not built"]


def test_environments_with_layers_of_their_own_have_pytest_from_these(pytester, run):
    declared = {
        "heavy": {"dependencies": ["lib==1.0"]},
        "thin": {"layers": ["heavy"], "dependencies": ["other"]},
    }
    pytester.makefile(".yaml", isoenv=json.dumps({"environments": declared}))
    pytester.makepyfile(
        """
        import importlib.metadata, pytest

        @pytest.mark.env("thin")
        def test_it():
            import lib, other
            names = [dist.metadata["Name"] for dist in importlib.metadata.distributions()]
            assert names.count("pytest") == 1
        """
    )
    run().assert_outcomes(passed=1)


WHEEL = '{{ url = "https://example.org/{0}.whl", hashes = {{ sha256 = "{1}" }} }}'


def pylock(**how):
    text = 'lock-version = "1.0"\ncreated-by = "tests"\n'
    for name, files in how.items():
        text += f'\n[[packages]]\nname = "{name}"\nversion = "1.0"\n{files}\n'
    return text


def wheels(name):
    return f"wheels = [{WHEEL.format(name, '00' * 32)}]"


BARE = 'wheels = [{ url = "https://example.org/x.whl" }]'
SDIST = 'sdist = { url = "https://example.org/x.tar.gz", hashes = { sha256 = "aa" } }'
VCS = 'vcs = { type = "git", url = "https://example.org/x", commit-id = "c0ffee" }'


def pinned(text, python=PYTHON):
    return PinnedEnv(EnvSpec(), python, (text,), ())


def test_a_layer_holds_what_its_environment_pins_and_the_environment_the_rest():
    whole = pinned(pylock(lib=wheels("lib"), pluggy=wheels("pluggy"), pytest=wheels("pytest")))
    layer = _runner.layer_of(whole)
    assert [artefact.name for artefact in layer.artefacts] == ["pluggy", "pytest"]
    above = _runner.on_top_of(whole, layer, Path("/layer"))
    assert [a.name for a in _runner.without_runner(above).artefacts] == ["lib"]
    assert above.key_inputs()["layer of pytest"] == f"{layer.key()} layer"
    assert above.key_inputs().items() > whole.key_inputs().items()


@pytest.mark.parametrize("files", [BARE, SDIST, VCS])
def test_what_is_not_known_by_its_content_lies_in_none(files):
    assert _runner.layer_of(pinned(pylock(pytest=files))) is None
    assert _runner.layer_of(pinned(pylock(pytest=wheels("pytest"), pluggy=files))) is None
    assert _runner.layer_of(pinned(pylock(pytest=wheels("pytest"), lib=files))) is not None


def test_what_only_old_pythons_need_varies_no_layer_of_a_new_one():
    text = pylock(pytest=wheels("pytest"), tomli=wheels("tomli"))
    old = dataclasses.replace(PYTHON, version="3.10.1")
    assert [a.name for a in _runner.layer_of(pinned(text)).artefacts] == ["pytest"]
    assert [a.name for a in _runner.layer_of(pinned(text, old)).artefacts] == ["pytest", "tomli"]


def test_without_pytest_or_an_interpreter_there_is_none():
    assert _runner.layer_of(pinned(pylock(pluggy=wheels("pluggy")))) is None
    assert _runner.layer_of(pinned(pylock(pytest=wheels("pytest")), None)) is None


def test_all_is_compiled_but_lexers_of_pygments_that_pytest_does_not_use(managed, tmp_path):
    lexers = [f"many/pygments/lexers/{name}.py" for name in ("__init__", "python", "ada")]
    names = [f"many/part{number}.py" for number in range(50)] + lexers
    make_wheel(tmp_path, "many", "1", modules=dict.fromkeys(["many/__init__.py", *names], ""))
    environment = managed(dependencies=["many==1"], **{"find-links": ["."]})
    (package,) = environment.path.glob("lib/python*/site-packages/many")

    def compiled(directory):
        return {path.name.split(".")[0] for path in (directory / "__pycache__").iterdir()}

    assert compiled(package) == {"__init__", *(f"part{number}" for number in range(50))}
    assert compiled(package / "pygments/lexers") == {"__init__", "python"}
