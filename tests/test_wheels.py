"""The project as a wheel: built once for each content, and never stale."""

from __future__ import annotations

import json

import pytest

from pytest_isoenv import EnvManager
from pytest_isoenv._store import Store
from pytest_isoenv._wheels import NotBuilt, wheel_of
from pytest_isoenv.errors import BuildError
from pytest_isoenv.pinned import Interpreter
from tests.packages import make_project, make_wheel

HERE = Interpreter("/p", "/p", "3.12.1", "cpython", "cpython-312", "linux-x86_64", "glibc 2", 0, 0)
OTHER = Interpreter("/q", "/q", "3.11.7", "cpython", "cpython-311", "linux-x86_64", "glibc 2", 0, 0)


@pytest.fixture
def environment(tmp_path, own_cache):
    """Build a declared environment of the test's own project."""

    def environment(name, **declared):
        (tmp_path / "app").mkdir(exist_ok=True)
        (tmp_path / "app" / "isoenv.yaml").write_text(json.dumps({"environments": declared}))
        with EnvManager(tmp_path / "app") as manager:
            return manager.environment(name)

    return environment


@pytest.fixture
def counted(tmp_path):
    """A project whose build backend counts how often it built a wheel."""
    tree = make_project(tmp_path / "app", "app", code="VALUE = 1\n")
    backend = tree / "backend.py"
    log = tmp_path / "builds.txt"
    counting = f"    open({str(log)!r}, 'a').write('built\\n')\n"
    definition = "def build_wheel(directory, config_settings=None, metadata_directory=None):\n"
    backend.write_text(backend.read_text().replace(definition, definition + counting))
    return lambda: log.read_text().count("built") if log.exists() else 0


def value(environment):
    code = "import app; print(app.VALUE)"
    return environment.run(["python", "-c", code], capture_output=True, text=True).stdout.strip()


WHEEL = {"project": "wheel"}


def test_one_wheel_serves_all_environments(environment, counted):
    declared = {"a": {**WHEEL, "dependencies": ["lib"]}, "b": {**WHEEL, "dependencies": ["other"]}}
    found = [environment(name, **declared) for name in declared]
    assert [value(one) for one in found] == ["1", "1"]
    assert counted() == 1


def test_an_edit_is_a_new_wheel_and_going_back_is_the_old_one(environment, counted, tmp_path):
    source = tmp_path / "app" / "src" / "app.py"
    first = environment("a", a=WHEEL)
    source.write_text("VALUE = 2\n")
    second = environment("a", a=WHEEL)
    assert (value(second), second.provisioned) == ("2", "built")
    assert "app" in second.why
    source.write_text("VALUE = 1\n")
    again = environment("a", a=WHEEL)
    assert (value(again), again.provisioned, again.path) == ("1", "cached", first.path)
    assert counted() == 2


def test_an_edit_of_what_is_not_in_the_wheel_builds_no_environment(environment, counted, tmp_path):
    first = environment("a", a=WHEEL)
    (tmp_path / "app" / "test_it.py").write_text("def test_it(): pass\n")
    second = environment("a", a=WHEEL)
    assert (second.provisioned, second.path) == ("cached", first.path)


def test_refreshed_environments_have_wheels_of_their_own(environment, counted):
    environment("a", a=WHEEL)
    environment("a", a={**WHEEL, "refresh": True})
    assert counted() == 2


def test_a_tree_that_does_not_build_says_so(environment, counted, tmp_path):
    (tmp_path / "app" / "backend.py").write_text("def build_wheel(*args): raise SystemExit('no')\n")
    with pytest.raises(BuildError) as caught:
        environment("a", a=WHEEL)
    assert "building" in str(caught.value)


SETUPTOOLS = """
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"
[project]
name = "app"
version = "1.0"
"""


@pytest.mark.network
def test_a_module_that_was_deleted_is_not_in_the_next_wheel_of_setuptools(environment, tmp_path):
    package = tmp_path / "app" / "src" / "app"
    package.mkdir(parents=True)
    (tmp_path / "app" / "pyproject.toml").write_text(SETUPTOOLS)
    for module in ("__init__.py", "old.py"):
        (package / module).write_text("VALUE = 1\n")
    find = ["python", "-c", "import importlib.util as u; print(bool(u.find_spec('app.old')))"]
    before = environment("a", a=WHEEL).run(find, capture_output=True, text=True).stdout
    (package / "old.py").unlink()
    after = environment("a", a=WHEEL).run(find, capture_output=True, text=True).stdout
    assert (before, after) == ("True\n", "False\n")
    assert not (tmp_path / "app" / "build").exists()


# The wheels that are kept


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def builder(name, built):
    def build(directory):
        built.append(name)
        make_wheel(directory, "app", "1.0").rename(directory / name)

    return build


def test_a_wheel_of_no_platform_is_for_every_interpreter(store):
    built = []
    build = builder("app-1.0-py3-none-any.whl", built)
    here, there = (wheel_of(store, "tree", python, build) for python in (HERE, OTHER))
    assert here == there
    assert len(built) == 1


def test_a_wheel_of_a_platform_is_for_its_own(store):
    built = []
    for python, name in (
        (HERE, "app-1.0-cp312-cp312-linux_x86_64.whl"),
        (OTHER, "app-1.0-cp311-cp311-linux_x86_64.whl"),
    ):
        for _ in range(2):
            found = wheel_of(store, "tree", python, builder(name, built))
            assert found.path.name == name
    assert len(built) == 2


def test_a_wheel_that_was_lost_is_built_again(store):
    built = []
    build = builder("app-1.0-py3-none-any.whl", built)
    wheel_of(store, "tree", HERE, build).path.unlink()
    assert wheel_of(store, "tree", HERE, build).path.exists()
    assert len(built) == 2


def test_who_only_looks_builds_nothing(store):
    with pytest.raises(NotBuilt):
        wheel_of(store, "tree", HERE, None)
    wheel_of(store, "tree", HERE, builder("app-1.0-py3-none-any.whl", []))
    assert wheel_of(store, "tree", HERE, None).path.exists()


def test_equal_content_has_one_digest_whenever_it_was_packed(store):
    first = wheel_of(store, "one", HERE, builder("app-1.0-py3-none-any.whl", []))
    second = wheel_of(store, "two", HERE, builder("app-1.0-py3-none-any.whl", []))
    assert first.digest == second.digest
    assert first.path != second.path


def test_a_build_that_makes_no_wheel_is_an_error(store):
    with pytest.raises(BuildError, match="it made nothing"):
        wheel_of(store, "tree", HERE, lambda directory: None)
