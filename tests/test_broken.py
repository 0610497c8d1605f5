"""Environments that were broken after they were built: found, said why, and healed once."""

from __future__ import annotations

import json
import os
import shutil
import sys
import types
from pathlib import Path

import pytest

from pytest_isoenv import EnvManager
from pytest_isoenv._backends import builtin, uv, uv_commands
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._settings import gather
from pytest_isoenv.cli import main as cli_main
from pytest_isoenv.errors import BrokenEnvironment
from pytest_isoenv.spec import EnvName, EnvSpec
from tests.packages import make_project
from tests.parity.compare import pythons
from tests.test_damage import as_root, replace

# Each builds environments of its own; CI runs them in its second step.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One for all tests here, which leave it as sound as they found it."""
    return tmp_path_factory.mktemp("broken") / "cache"


@pytest.fixture(autouse=True)
def own_installer_cache(cache, monkeypatch):
    """What is damaged below may be hard links to what the installer keeps."""
    monkeypatch.setenv("UV_CACHE_DIR", str(cache.with_name("uv")))


@pytest.fixture
def provide(tmp_path, cache):
    """An environment as a new process would get it."""
    managers = []
    (tmp_path / "project").mkdir()

    def provide(*args, cache=cache, **fields):
        managers.append(EnvManager(tmp_path / "project", cache_dir=cache))
        return managers[-1].environment(*(args or ("lib==1.0",)), **fields)

    yield provide
    for manager in managers:
        manager.close()


@pytest.fixture
def doctor(tmp_path, cache, capsys, monkeypatch):
    """``isoenv doctor``: its exit code, and what it says of the cache."""
    monkeypatch.setattr(uv_commands, "_ask_index", lambda *args: None)

    def doctor(*options, cache=cache):
        place = ["--rootdir", str(tmp_path / "project"), "--env-cache-dir", str(cache)]
        status = cli_main.main(["doctor", "--json", *options, *place])
        findings = json.loads(capsys.readouterr().out)["findings"]
        return status, [one for one in findings if one["what"] == "cache" and not one["well"]]

    return doctor


def module(environment, name="lib.py"):
    return next(environment.path.glob(f"lib/*/site-packages/{name}"))


def value(environment):
    code = "import lib; print(lib.__version__)"
    return environment.run(["python", "-c", code], capture_output=True, text=True).stdout.strip()


# On use


def test_without_its_pyvenv_cfg_it_would_be_the_python_it_was_made_of_so_it_is_healed(provide):
    broken = provide()
    (broken.path / "pyvenv.cfg").unlink()
    healed = provide()
    assert healed.why == f"it was broken: {broken.path}/pyvenv.cfg is gone"
    assert healed.path != broken.path
    assert value(healed) == "1.0"
    assert provide().provisioned == "cached"


def test_what_lies_elsewhere_now_is_built_anew_there(provide, cache, tmp_path):
    before, on_layer = provide(runner_layer=False), provide()
    shutil.copytree(cache, tmp_path / "moved", symlinks=True)
    after = provide(runner_layer=False, cache=tmp_path / "moved")
    there = tmp_path / "moved" / before.path.relative_to(cache)
    assert after.why == f"it was broken: it was built at {before.path} and is now at {there}"
    assert value(after) == "1.0"
    moved = {"runner_layer": False, "cache": tmp_path / "moved"}
    assert provide(**moved).provisioned == "cached"
    assert place_of_pytest(on_layer).is_relative_to(cache)
    moved_too = provide(cache=tmp_path / "moved")
    assert place_of_pytest(moved_too).is_relative_to(tmp_path / "moved")


def place_of_pytest(environment):
    command = ["python", "-c", "import pytest; print(pytest.__file__)"]
    return Path(environment.run(command, capture_output=True, text=True).stdout)


def test_a_cache_that_moved_behind_a_link_is_as_good_as_before(provide, cache, tmp_path):
    provide()
    cache.rename(tmp_path / "bigger-disk")
    cache.symlink_to(tmp_path / "bigger-disk")
    assert provide().provisioned == "cached"
    cache.unlink()
    (tmp_path / "bigger-disk").rename(cache)


@pytest.mark.slow
def test_a_python_that_became_another_version_makes_another_environment(provide, doctor, tmp_path):
    others = [p for p in ("3.13", "3.12", "3.11", "3.10") if p in pythons()]
    others = [p for p in others if p != "{}.{}".format(*sys.version_info)]
    if not others:
        pytest.skip("there is one Python on this machine")
    base = tmp_path / "base" / "python3"
    base.parent.mkdir()
    base.symlink_to(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    # What other tests made of this interpreter by its own path would be found here, and not break.
    own = {"cache": tmp_path / "own"}
    broken = provide(python=str(base), id="one", **own)
    before = base.resolve()
    base.unlink()
    base.symlink_to(Path(pythons()[others[0]]).resolve())
    healed = provide(python=str(base), id="one", **own)
    assert f"python {broken.version} -> {healed.version}" in healed.why
    assert value(healed) == "1.0"
    status, findings = doctor(**own)
    assert status == 1
    said = f"its interpreter was {before} and is now {base.resolve()}"
    assert len(findings) == 2  # it, and its layer of pytest
    assert all(said in found["said"] for found in findings)


@as_root
def test_what_belongs_to_another_user_now_is_not_used(provide):
    theirs = provide()
    os.chown(theirs.path, 1234, -1)
    ours = provide()
    assert ours.why == "it was broken: it belongs to the user with id 1234"
    assert ours.path != theirs.path
    assert module(theirs).read_text() == module(ours).read_text()
    os.chown(ours.path.parent, 1234, -1)
    for _ in range(2):
        with pytest.raises(BrokenEnvironment, match="neither used nor built again there"):
            provide()
        (ours.path.parent / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(ours.path.parent)


def test_an_environment_that_fails_its_check_at_once_is_an_error_and_built_only_once(
    tmp_path, cache
):
    created = []

    def create(*args):
        created.append(args)
        uv.create(*args)

    hopeless = types.SimpleNamespace(**{name: getattr(uv, name) for name in uv.__all__})
    hopeless.create, hopeless.check = create, lambda *args: "it never works"
    provisioner = Provisioner(gather(tmp_path, cache=cache), [hopeless])
    for number in (1, 2):  # not again and again in one run
        with pytest.raises(BrokenEnvironment, match="only just built, and it never works"):
            provisioner.environment(EnvName("x"), EnvSpec(requirements=("other==1.0",)))
        assert len(created) == number
    provisioner.close()


def test_whoever_doubts_an_environment_hears_what_others_have_found(tmp_path, cache):
    provisioner = Provisioner(gather(tmp_path, cache=cache), [uv])
    spec = EnvSpec(requirements=("lib==1.0",))
    sound = provisioner.environment(EnvName("x"), spec)
    assert provisioner.doubt(sound) == ""
    assert provisioner.environment(EnvName("x"), spec) is sound
    layer = Path((module(sound, "00-isoenv-runner.pth")).read_text().splitlines()[0])
    replace(layer / "pytest" / "__init__.py", "")
    assert "pytest/__init__.py of pytest is empty" in provisioner.doubt(sound)
    assert provisioner.doubt(sound) == "others have found that"
    healed = provisioner.environment(EnvName("x"), spec)
    assert healed.path != sound.path
    assert provisioner.doubt(healed) == ""
    provisioner.close()


# What the installer keeps


def test_a_file_that_is_damaged_in_the_installers_cache_too_is_fetched_anew(provide, monkeypatch):
    broken = provide()
    module(broken).write_text("")  # as after a power loss: the file itself, whatever its names
    is_linked = module(broken).stat().st_nlink > 1
    shutil.rmtree(broken.path.parent)
    healed = provide()
    assert value(healed) == "1.0"
    if not is_linked:
        return  # uv makes no hard links here
    forget = uv.forget
    monkeypatch.setattr(uv, "forget", lambda *args: None)
    module(healed).write_text("")
    shutil.rmtree(healed.path.parent)
    with pytest.raises(BrokenEnvironment, match=r"only just built, and .*lib\.py of lib is empty"):
        provide()
    monkeypatch.setattr(uv, "forget", forget)
    assert value(provide()) == "1.0"


# isoenv doctor --deep


def test_doctor_finds_what_was_edited_and_has_it_built_again(provide, doctor):
    edited = provide()
    module(edited).write_text("__version__ = '9.9'\n")
    os.utime(module(edited), (1, 1))  # else its bytecode could pass for new
    assert provide().provisioned == "cached"
    assert doctor() == (0, [])
    status, findings = doctor("--deep")
    assert status == 1
    # Those of other tests here are linked to the same file.
    (found,) = [one for one in findings if edited.key in one["said"]]
    assert f"environment {edited.key} (lib-1.0 in " in found["said"]
    where = module(edited).relative_to(edited.path)
    assert f"{where} of lib has another content than was installed" in found["said"]
    assert found["mend"].startswith("isoenv doctor --deep --mend")
    assert provide().provisioned == "cached"  # nothing was done
    assert doctor("--deep", "--mend")[0] == 1
    healed = provide()
    assert (healed.provisioned, value(healed)) == ("built", "1.0")
    assert value(edited) == "9.9"  # whoever runs in it goes on
    assert doctor("--deep") == (0, [])


@pytest.mark.parametrize("backend", [backend.name for backend in builtin() if backend is not uv])
def test_every_backend_can_be_examined(backend):
    (found,) = (one for one in builtin() if one.name == backend)
    assert callable(found.examine)


def test_doctor_gives_no_alarm_for_layers_editables_and_what_tests_leave(provide, doctor, tmp_path):
    project = make_project(tmp_path / "project", "app", requires=["lib"])
    declared = {
        "heavy": {"project": "none", "dependencies": ["lib==1.1"]},
        "thin": {"layers": ["heavy"], "dependencies": ["needs-lib"], "project": "editable"},
    }
    (project / "isoenv.yaml").write_text(json.dumps({"environments": declared}))
    thin = provide("thin")
    code = "import app, lib, pathlib; pathlib.Path(lib.__file__).with_name('made.txt').touch()"
    assert thin.run(["python", "-O", "-c", code]).returncode == 0
    assert thin.run(["pytest", "--version"], capture_output=True).returncode == 0
    assert doctor("--deep") == (0, [])


def test_a_wheel_that_was_cut_short_is_built_anew(provide, cache, tmp_path, doctor):
    project = make_project(tmp_path / "project", "app")
    declared = {"it": {"project": "wheel"}}
    (project / "isoenv.yaml").write_text(json.dumps({"environments": declared}))
    provide("it")
    (wheel,) = cache.glob("v1/wheels/*/*/*/*.whl")
    whole = wheel.read_bytes()
    wheel.write_bytes(b"x" * len(whole))
    status, (found,) = doctor("--deep")
    assert (status, found["said"]) == (1, f"the wheel {wheel} is not the one that was built")
    wheel.write_bytes(whole[:100])
    for manifest in cache.glob("v1/environments/*/manifest.json"):
        manifest.unlink()
    assert provide("it").run(["python", "-c", "import app"]).returncode == 0
    assert doctor("--deep") == (0, [])


# In a run


def test_where_no_worker_can_run_the_environment_is_looked_at_and_healed(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="one")
        def test_it():
            import lib

        @pytest.mark.env("lib==1.0", id="one")
        def test_other():
            import lib
        """
    )
    run().assert_outcomes(passed=2)
    for init in own_cache.glob("v1/environments/*/*/lib/*/site-packages/pytest/__init__.py"):
        init.write_text("")
    healed = run()
    healed.assert_outcomes(passed=2)
    healed.stdout.fnmatch_lines(
        ["  it was damaged, and is built again: *pytest/__init__.py of pytest is empty, and had *"]
    )
