"""Locks: made for a declaration, used when they are there, refused when they do not fit."""

from __future__ import annotations

import dataclasses

import pytest
import tomllib

from pytest_isoenv import _config, _locks, _settings
from pytest_isoenv._backends import builtin
from pytest_isoenv._provision import Provisioner
from pytest_isoenv.errors import ConfigError, LockError, ResolutionError
from pytest_isoenv.pinned import Interpreter, parse_pylock
from pytest_isoenv.spec import EnvSpec, Index
from tests.packages import make_project, make_wheel

YAML = """
environments:
  old: {project: none, dependencies: ['lib<2', needs-lib]}
  new.er: {project: none, dependencies: [lib]}
"""
HERE = Interpreter(
    executable="/python",
    real_path="/python",
    version="3.12.1",
    implementation="cpython",
    abi="",
    platform="",
    libc="",
    size=0,
    mtime_ns=0,
    markers=(("python_version", "3.12"), ("python_full_version", "3.12.1"), ("os_name", "posix")),
)


@pytest.fixture
def provisioner(tmp_path):
    settings = _settings.gather(tmp_path, cache=tmp_path / "cache")
    provisioner = Provisioner(settings, builtin())
    yield provisioner
    provisioner.close()


@pytest.fixture
def lock(tmp_path, provisioner):
    """Lock declared environments, as the command does; gives what is pinned."""

    def lock(name, yaml=YAML, upgrade=(), keep=True):
        (tmp_path / "isoenv.yaml").write_text(yaml)
        spec = _config.load(tmp_path).unlocked(name)
        file = tmp_path / _locks.file_of(name)
        old = file.read_text() if keep and file.exists() else ""
        file.write_text(provisioner.lock(spec, old, upgrade))
        return {p["name"]: p["version"] for p in tomllib.loads(file.read_text())["packages"]}

    return lock


def test_a_name_with_dots_gives_a_file_that_pep_751_allows():
    assert _locks.file_of("pydantic-1.10-py3.10") == "pylock.pydantic-1_10-py3_10.toml"


def test_a_lock_has_hashes_the_index_and_what_it_was_made_for(lock, tmp_path, index):
    assert lock("old")["lib"] == "1.1"
    text = (tmp_path / "pylock.old.toml").read_text()
    (lib,) = (package for package in parse_pylock(text).packages if package.name == "lib")
    assert lib.wheels[0].hashes["sha256"]
    assert lib.index == index.url
    assert tomllib.loads(text)["tool"]["isoenv"]["declaration"] == {
        "requirement lib<2": "asked for",
        "requirement needs-lib": "asked for",
        "resolution": "highest",
    }


def test_a_lock_that_is_there_is_used(lock, tmp_path, provisioner, wheels):
    lock("new.er")
    spec = _config.load(tmp_path).spec("new.er")
    assert spec.lock == "pylock.new_er.toml"
    assert provisioner.environment("new.er", spec).packages["lib"] == "2.0"


def test_a_lock_holds_where_a_mark_asks_for_nothing_else(lock, tmp_path):
    lock("old")
    declared = _config.load(tmp_path)
    layer = declared.base
    same = dataclasses.replace(
        layer, variables=(("A", "1"),), prepend_paths=("bin",), pass_env=("B",)
    )
    other = dataclasses.replace(layer, requirements=("lib==1.0",))
    assert declared.spec("old", same).lock == "pylock.old.toml"
    assert declared.spec("old", other).lock is None
    assert declared.spec(None).lock is None


def test_versions_of_the_lock_stay_until_they_are_upgraded(lock, tmp_path, monkeypatch):
    links = tmp_path / "links"
    make_wheel(links, "more", "1.0")
    make_wheel(links, "most", "1.0")
    yaml = f"environments: {{x: {{dependencies: [more, most], find-links: ['{links}']}}}}"
    assert lock("x", yaml)["more"] == "1.0"
    make_wheel(links, "more", "2.0")
    make_wheel(links, "most", "2.0")
    assert (lock("x", yaml)["more"], lock("x", yaml)["most"]) == ("1.0", "1.0")
    found = lock("x", yaml, upgrade=["more"])
    assert (found["more"], found["most"]) == ("2.0", "1.0")
    assert lock("x", yaml, keep=False)["most"] == "2.0"


def test_a_lock_holds_for_every_python_that_the_project_does(lock, tmp_path):
    for name, version in (("exceptiongroup", "1.3"), ("tomli", "2.0"), ("typing-extensions", "4")):
        make_wheel(tmp_path / "links", name, version)
    old, new = "lib<1.1; python_version < '3.11'", "lib>=1.1; python_version >= '3.11'"
    make_project(tmp_path, "app", requires=["needs-lib", old, new])
    pyproject = tmp_path / "pyproject.toml"
    bounded = pyproject.read_text().replace("[project]", "[project]\nrequires-python = '>=3.10'")
    pyproject.write_text(bounded)
    lock("all", "environments: {all: {project: editable, find-links: [links]}}")
    text = (tmp_path / "pylock.all.toml").read_text()
    versions = [str(p.version) for p in parse_pylock(text).packages if p.name == "lib"]
    assert sorted(versions) == ["1.0", "1.1"]
    assert '"app"' not in text
    assert tomllib.loads(text)["requires-python"] == ">=3.10"


def test_paths_in_a_lock_start_where_it_lies(lock, tmp_path, provisioner):
    make_wheel(tmp_path / "links", "more", "1.0")
    yaml = "environments: {x: {dependencies: [more], find-links: [links]}}"
    lock("x", yaml)
    text = (tmp_path / "pylock.x.toml").read_text()
    assert str(tmp_path) not in text
    spec = _config.load(tmp_path).spec("x")
    assert provisioner.environment("x", spec).packages["more"] == "1.0"


@pytest.mark.parametrize(
    ("yaml", "change"),
    [
        (YAML.replace("lib<2", "lib<1.1"), "requirement lib<1.1 added, requirement lib<2 removed"),
        (YAML.replace("needs-lib]", "needs-lib], python: '3.9'"), "python added"),
        (YAML.replace("needs-lib]", "needs-lib], constraints: [a<2]"), "constraint a<2 added"),
        (YAML.replace("needs-lib]", "needs-lib], resolution: lowest"), "highest -> lowest"),
    ],
)
def test_locked_says_what_has_changed_since(lock, tmp_path, yaml, change):
    lock("old")
    lock("new.er")
    _config.load(tmp_path, locked=True)
    (tmp_path / "isoenv.yaml").write_text(yaml)
    _config.load(tmp_path)
    with pytest.raises(ConfigError) as caught:
        _config.load(tmp_path, locked=True)
    (problem,) = caught.value.problems
    assert problem.where == "pylock.old.toml"
    assert change in problem.what
    assert "isoenv lock old" in problem.what


def test_locked_says_which_lock_is_missing(tmp_path, lock):
    lock("old")
    with pytest.raises(ConfigError) as caught:
        _config.load(tmp_path, locked=True)
    (problem,) = caught.value.problems
    assert problem.where == "isoenv.yaml.environments.new.er"
    assert "no lock pylock.new_er.toml; make one with: isoenv lock new.er" in problem.what


def test_what_conda_installs_needs_no_lock(tmp_path):
    (tmp_path / "isoenv.yaml").write_text(
        "environments: {geo: {backend: conda, conda-dependencies: [gdal]}}"
    )
    _config.load(tmp_path, ("uv", "conda"), locked=True)


def test_the_projects_requirements_are_part_of_what_a_lock_is_made_for(tmp_path):
    make_project(tmp_path, "app", requires=["lib"], extras={"fast": ["other"]})
    inputs = _locks.inputs_of(EnvSpec(project="editable", extras=("fast",)), tmp_path)
    assert {"project's requirement lib", "project's requirement other"} <= set(inputs)
    assert "project's requirement other" not in _locks.inputs_of(
        EnvSpec(project="editable"), tmp_path
    )
    (tmp_path / "pyproject.toml").write_text("[build-system]\nrequires = []\n")
    before = _locks.inputs_of(EnvSpec(project="wheel"), tmp_path)["project"]
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires = lib\n")
    assert _locks.inputs_of(EnvSpec(project="wheel"), tmp_path)["project"] != before


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Missing required value in 'lock-version'"),
        ("packages = [", "pylock.old.toml"),
        ("lock-version = '9.0'\ncreated-by = 'x'\npackages = []\n", "version 9.0 is not"),
        ("# https://u:secret@x.test\nlock-version = '1.0'\ncreated-by='x'\npackages=[]\n", "cred"),
    ],
)
def test_a_lock_that_cannot_be_read_is_an_error_without_being_asked_for(tmp_path, text, what):
    (tmp_path / "isoenv.yaml").write_text(YAML)
    (tmp_path / "pylock.old.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        _config.load(tmp_path)
    assert what in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["zzz", "ab", "g" * 64])
def test_a_hash_that_is_none_is_an_error_before_anything_is_built(tmp_path, value):
    package = f"{{name = 'lib', archive = {{url = 'http://x.test/lib.zip', {HASH % value}}}}}"
    text = f"lock-version = '1.0'\ncreated-by = 'x'\npackages = [{package}]\n"
    (tmp_path / "pylock.own.toml").write_text(text)
    (tmp_path / "isoenv.yaml").write_text("environments: {a: {lock: pylock.own.toml}}")
    with pytest.raises(ConfigError) as caught:
        _config.load(tmp_path)
    assert (
        f"a.lock: 'pylock.own.toml' is no lock file (PEP 751): {value!r} of lib is no sha256"
        in (str(caught.value))
    )


HASH = "hashes = {sha256 = '%s'}"
HEAD = "lock-version = '1.0'\ncreated-by = 'x'\npackages = []\n"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("requires-python = '>=3.13'\n", "it is for Python >=3.13"),
        ("environments = [\"os_name == 'nt'\"]\n", 'it is for environments with os_name == "nt"'),
    ],
)
def test_a_lock_for_another_python_or_platform_is_refused(more, reason):
    with pytest.raises(LockError) as caught:
        _locks.check_python("pylock.toml", more + HEAD, HERE)
    assert reason in str(caught.value)
    assert "3.12.1" in str(caught.value)
    _locks.check_python("pylock.toml", "requires-python = '>=3.8'\n" + HEAD, HERE)


@pytest.mark.parametrize(
    ("spec", "lowest"),
    [
        (EnvSpec(), "3.12"),
        (EnvSpec(python="3.12.1"), "3.12"),
        (EnvSpec(python=">=3.9,<3.13"), "3.9"),
        (EnvSpec(python="~=3.10"), "3.10"),
        (EnvSpec(python="<3.13"), "3.12"),
        (EnvSpec(project="editable"), "3.11"),
        (EnvSpec(project="editable", python="3.12"), "3.12"),
    ],
)
def test_the_oldest_python_of_a_lock(tmp_path, spec, lowest):
    text = "[project]\nname = 'app'\nversion = '1'\nrequires-python = '>=3.11,<4'\n"
    (tmp_path / "pyproject.toml").write_text(text)
    assert _locks.lowest_python(spec, tmp_path, HERE) == lowest


def test_another_index_is_another_declaration(tmp_path):
    plain = _locks.inputs_of(EnvSpec(), tmp_path)
    assert _locks.inputs_of(EnvSpec(index=Index(default="https://x.test")), tmp_path) != plain


def test_the_option_stops_a_run_before_anything_is_built(pytester, run):
    pytester.makefile(".yaml", isoenv=YAML)
    pytester.makepyfile("def test_it(): pass")
    outcome = run("--env-locked")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    message = outcome.stderr.str()
    assert "has no lock pylock.old.toml" in message
    assert "has no lock pylock.new_er.toml" in message


def test_what_contradicts_its_lock_says_so(lock, tmp_path, provisioner):
    lock("old")
    (tmp_path / "isoenv.yaml").write_text(YAML.replace("lib<2", "lib<1.1"))
    spec = _config.load(tmp_path).spec("old")
    with pytest.raises(ResolutionError) as caught:
        provisioner.environment("old", spec)
    assert "it must fit what pylock.old.toml has locked: lock that anew, or" in str(caught.value)


LAYERED = """
environments:
  thin: {project: none, layers: [heavy], dependencies: [lib]}
  heavy: {project: none, dependencies: ['lib==1.0']}
"""


def test_a_lock_is_bound_by_what_lies_beneath(lock, tmp_path, provisioner):
    assert lock("thin", LAYERED)["lib"] == "1.0"
    environment = provisioner.environment("thin", _config.load(tmp_path).spec("thin"))
    assert environment.packages["lib"] == "1.0"
    (tmp_path / "isoenv.yaml").write_text(LAYERED.replace("lib==1.0", "lib==1.1"))
    spec = _config.load(tmp_path).unlocked("thin")
    assert _locks.changes((tmp_path / "pylock.thin.toml").read_text(), spec, tmp_path) == [
        "layer heavy, requirement lib==1.0 removed",
        "layer heavy, requirement lib==1.1 added",
    ]
