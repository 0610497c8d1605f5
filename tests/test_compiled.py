"""A project with a compiled extension: every Python has its own, and stale code never runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pytest_isoenv import EnvManager, _compiled
from tests.packages import make_project

pytestmark = pytest.mark.slow

HEADERS = "import os, sysconfig; print(os.path.join(sysconfig.get_path('include'), 'Python.h'))"

# What the build backend of a source tree does before it packs: compile for the Python it runs on.
COMPILING = """
import subprocess, sys, sysconfig

def _compiled(directory):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    include = "-I" + sysconfig.get_path("include")
    target = os.path.join(directory, "native" + suffix)
    subprocess.check_call(["cc", "-shared", "-fPIC", include, "src/native.c", "-o", target])
    return target

def _tagged(directory, wheel):
    minor = "cp%d%d" % sys.version_info[:2]
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = "%s-%s-%s" % (minor, minor, platform)
    module = _compiled(directory)
    with zipfile.ZipFile(os.path.join(directory, wheel), "a") as archive:
        archive.write(module, os.path.basename(module))
    os.remove(module)
    renamed = wheel.replace("py3-none-any", tag)
    os.rename(os.path.join(directory, wheel), os.path.join(directory, renamed))
    return renamed

_pure_wheel, _pure_editable = build_wheel, build_editable

def build_wheel(directory, config_settings=None, metadata_directory=None):
    return _tagged(directory, _pure_wheel(directory))

def build_editable(directory, config_settings=None, metadata_directory=None):
    _compiled("src")
    return _pure_editable(directory)
"""

SOURCE = """
#include <Python.h>
#include "value.h"
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "native", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_native(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module) PyModule_AddIntConstant(module, "VALUE", VALUE);
    return module;
}
"""


def can_be_compiled_for(python):
    answer = subprocess.run([python, "-c", HEADERS], capture_output=True, text=True)
    return answer.returncode == 0 and Path(answer.stdout.strip()).is_file()


@pytest.fixture
def tree(tmp_path, own_cache):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (cc)")
    if not can_be_compiled_for(sys.executable):
        pytest.skip("the headers of this Python are not installed")
    tree = make_project(tmp_path / "app", "app")
    with (tree / "backend.py").open("a") as file:
        file.write(COMPILING)
    (tree / "src" / "native.c").write_text(SOURCE)
    edit(tree, 1)
    return tree


def edit(tree, value):
    (tree / "src" / "value.h").write_text(f"#define VALUE {value}\n")


@pytest.fixture
def environment(tree):
    def environment(**fields):
        with EnvManager(tree) as manager:
            return manager.environment(**fields)

    return environment


def value(environment):
    code = "import native; print(native.VALUE)"
    return environment.run(["python", "-c", code], capture_output=True, text=True).stdout.strip()


def wheels(own_cache):
    return sorted(path.name.split("-")[2] for path in own_cache.glob("v1/wheels/*/*/*/*.whl"))


@pytest.fixture
def another():
    """Another Python of this machine, for which something can be compiled."""
    from tests.parity.compare import pythons

    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for version, python in pythons().items():
        if version != own and int(version[2:]) >= 8 and can_be_compiled_for(python):
            return version
    pytest.skip("there is no other Python with its headers")


def test_two_pythons_have_two_wheels_each_built_once(environment, own_cache, another):
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for extra in ({}, {"deps": ["lib"]}):
        for python in (own, another):
            assert value(environment(project="wheel", python=python, **extra)) == "1"
    assert wheels(own_cache) == sorted(f"cp{v.replace('.', '')}" for v in (own, another))


@pytest.mark.parametrize("project", ["wheel", "editable"])
def test_an_edit_of_what_is_compiled_is_seen_and_so_is_its_undoing(environment, tree, project):
    for expected in (1, 2, 1):
        edit(tree, expected)
        found = environment(project=project)
        assert (expected, value(found)) == (expected, str(expected))
    again = environment(project=project)
    assert (value(again), again.provisioned) == ("1", "cached")


def test_a_compiled_module_that_is_gone_is_made_again(environment, tree):
    environment(project="editable")
    module = tree / "src" / f"native{sysconfig.get_config_var('EXT_SUFFIX')}"
    module.unlink()
    again = environment(project="editable")
    assert (value(again), again.provisioned) == ("1", "built")
    assert f"the compiled module {module} is gone" in again.why


# What counts


def test_sources_of_compilers_count_and_others_do_not(tmp_path):
    (tmp_path / "module.py").touch()
    assert _compiled.sources_digest(tmp_path) == ""
    digests = set()
    for name in ("a.c", "a.h", "lib.rs", "fast.pyx", "CMakeLists.txt"):
        (tmp_path / name).touch()
        digests.add(_compiled.sources_digest(tmp_path))
    assert len(digests) == 5
    (tmp_path / "fast.c").touch()  # Cython makes it of fast.pyx
    assert _compiled.sources_digest(tmp_path) in digests


def test_modules_of_other_pythons_do_not_count(tmp_path):
    names = ["a.cpython-312-x.so", "b.cpython-311-x.so", "c.abi3.so", "d.so", "e.py"]
    for name in names:
        (tmp_path / name).write_text(name)
    suffixes = [".cpython-312-x.so", ".abi3.so", ".so"]
    found = _compiled.modules([str(tmp_path)], suffixes)
    assert sorted(path.rpartition("/")[2] for path in found) == [names[0], *names[2:4]]
    assert _compiled.changed({"compiled": found}) is None
    (tmp_path / "d.so").touch()
    assert _compiled.changed({"compiled": found}) is None  # another time, the same content
    (tmp_path / "d.so").write_text("other")
    assert "d.so was replaced" in (_compiled.changed({"compiled": found}) or "")
