"""Several packages in one repository: neighbours by source, and what is seen of their edits."""

from __future__ import annotations

import json
import shutil

import pytest

from pytest_isoenv import EnvManager, _config, _settings
from pytest_isoenv._backends import uv
from pytest_isoenv._provision import Provisioner
from pytest_isoenv.errors import ConfigError
from tests.packages import make_project, make_wheel

SOURCES = "[tool.uv.sources]\ncore = {workspace = true}\n"
EDITABLE, WHEEL = {"project": "editable"}, {"project": "wheel"}


@pytest.fixture
def workspace(tmp_path, own_cache):
    """A workspace of uv: ``app`` needs ``core``, which lies beside it."""
    root = tmp_path / "root"
    make_core(root)
    code = "import core\nVALUE = core.VALUE\n"
    make_project(root / "packages" / "app", "app", code=code, requires=["core"], pyproject=SOURCES)
    (root / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    (root / "isoenv.yaml").write_text("include: ['packages/*/isoenv.yaml']\n")
    return root


def make_core(root, value=1, **more):
    make_project(root / "packages" / "core", "core", code=f"VALUE = {value}\n", **more)


@pytest.fixture
def environment(workspace):
    """Build an environment that the package ``app`` declares in a file of its own."""

    def environment(**fields):
        declared = json.dumps({"environments": {"it": fields}})
        (workspace / "packages" / "app" / "isoenv.yaml").write_text(declared)
        with EnvManager(workspace) as manager:
            return manager.environment("it")

    return environment


def value(environment):
    code = "import app; print(app.VALUE)"
    return environment.run(["python", "-c", code], capture_output=True, text=True).stdout.strip()


def test_a_member_of_a_workspace_finds_its_neighbour_whose_edits_are_seen(environment, workspace):
    first = environment(**EDITABLE)
    assert (value(first), "core" in first.packages) == ("1", True)
    make_core(workspace, value=22)
    again = environment(**EDITABLE)
    assert (value(again), again.provisioned) == ("22", "cached")


@pytest.mark.slow
def test_what_a_neighbour_asks_for_newly_is_installed(environment, workspace):
    assert "lib" not in environment(**WHEEL).packages
    make_core(workspace, requires=["lib<2"])
    again = environment(**WHEEL)
    assert (again.packages["lib"], again.provisioned) == ("1.1", "built")
    assert "lib 1.1" in again.why or "lib added" in again.why
    assert environment(**WHEEL).provisioned == "cached"


@pytest.mark.slow
def test_sources_that_the_workspace_names_are_seen_when_they_change(environment, workspace):
    make_wheel(workspace, "other", "7.0")
    make_core(workspace, requires=["other"])
    assert environment(**EDITABLE).packages["other"] == "1.0"
    with (workspace / "pyproject.toml").open("a") as file:
        file.write('[tool.uv.sources]\nother = {path = "other-7.0-py3-none-any.whl"}\n')
    assert environment(**EDITABLE).packages["other"] == "7.0"


@pytest.mark.slow
def test_a_neighbour_by_its_path_is_found_and_its_requirements_are_seen(environment, workspace):
    (workspace / "pyproject.toml").unlink()
    pyproject = workspace / "packages" / "app" / "pyproject.toml"
    text = pyproject.read_text().replace("workspace = true", 'path = "../core", editable = true')
    pyproject.write_text(text)
    assert value(environment(**EDITABLE)) == "1"
    # Of another length: Python takes bytecode for current whose source has its second and size.
    make_core(workspace, value=22, requires=["lib==1.0"])
    again = environment(**EDITABLE)
    assert (value(again), again.packages["lib"]) == ("22", "1.0")


@pytest.mark.slow
def test_a_neighbour_that_has_gone_is_noticed(environment, workspace):
    assert value(environment(**EDITABLE)) == "1"
    (workspace / "packages" / "core").rename(workspace / "packages" / "moved")
    again = environment(**EDITABLE)
    assert (value(again), again.provisioned) == ("1", "built")


def test_local_packages_come_without_their_dependencies_and_are_keyed_by_content(
    environment, workspace
):
    make_core(workspace, requires=["lib==1.0"])
    (workspace / "pyproject.toml").unlink()
    fields = {"project": "none", "local": [".", "../core"]}
    first = environment(**fields)
    assert (value(first), "lib" in first.packages) == ("1", False)
    make_core(workspace, value=2)
    second = environment(**fields)
    assert (value(second), second.provisioned) == ("2", "built")
    make_core(workspace, requires=["lib==1.0"])
    again = environment(**fields)
    assert (value(again), again.path) == ("1", first.path)


def test_each_package_of_a_repository_has_declarations_and_a_project_of_its_own(
    environment, workspace
):
    own = {"environments": {"core": {"project": "wheel", "dependencies": ["lib==2.0"]}}}
    (workspace / "packages" / "core" / "isoenv.yaml").write_text(json.dumps(own))
    app = environment(**EDITABLE)
    with EnvManager(workspace) as manager:
        core = manager.environment("core")
    assert {"app", "core"} <= set(app.packages)
    assert "lib" not in app.packages
    assert {"core": "1.0", "lib": "2.0"}.items() <= core.packages.items()
    assert "app" not in core.packages


@pytest.mark.slow
def test_a_requirements_file_may_name_others_whose_edits_are_seen(environment, workspace):
    app = workspace / "packages" / "app"
    (app / "more").mkdir()
    (app / "all.txt").write_text("-r more/one.txt\n")
    (app / "more" / "one.txt").write_text("lib\n--constraint=bounds.txt  # not too new\n")
    for bound, version in (("lib<2", "1.1"), ("lib<1.1", "1.0")):
        (app / "more" / "bounds.txt").write_text(f"{bound}\n")
        found = environment(project="none", requirements="all.txt")
        assert found.packages["lib"] == version
    shutil.copy(app / "more" / "bounds.txt", app / "more" / "copy.txt")
    assert environment(project="none", requirements="all.txt").provisioned == "cached"


def test_a_lock_no_longer_fits_when_a_neighbour_asks_for_more(workspace):
    (workspace / "packages" / "app" / "isoenv.yaml").write_text(
        json.dumps({"environments": {"it": EDITABLE}})
    )
    make_core(workspace, requires=["lib"])
    settings = _settings.gather(workspace)
    spec = _config.load(workspace).spec("it")
    provisioner = Provisioner(settings, [uv])
    (workspace / "pylock.it.toml").write_text(provisioner.lock(spec))
    provisioner.close()
    assert _config.load(workspace, locked=True).names == ["it"]
    make_core(workspace, value=2, requires=["lib"])  # its code does not matter
    _config.load(workspace, locked=True)
    make_core(workspace, requires=["lib", "other"])
    with pytest.raises(ConfigError) as caught:
        _config.load(workspace, locked=True)
    change = "packages/core: project's requirement other added"
    assert f"no longer fits 'it' ({change})" in str(caught.value)


@pytest.mark.parametrize("backend", ["uv", pytest.param("venv", marks=pytest.mark.slow)])
def test_paths_in_a_requirements_file_start_at_the_rootdir(environment, workspace, backend):
    (workspace / "packages" / "app" / "all.txt").write_text("./packages/core\n")
    found = environment(project="none", requirements="all.txt", backend=backend)
    assert "core" in found.packages
