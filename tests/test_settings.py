"""What this machine and this invocation say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_isoenv import _settings


@pytest.fixture
def settings(tmp_path):
    def settings(environ):
        return _settings.Settings(tmp_path, tmp_path / "cache", 1, False, False, environ)

    return settings


def test_the_cache_lies_where_xdg_cache_home_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _settings.gather(tmp_path).cache == tmp_path / "xdg" / "pytest-isoenv"


def test_a_cache_that_was_named_is_used_and_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _settings.gather(tmp_path, cache=Path("here")).cache == tmp_path / "here"


def test_jobs_default_to_the_cpus_that_this_process_may_use(tmp_path):
    assert _settings.gather(tmp_path).jobs == _settings.usable_cpus()
    assert _settings.gather(tmp_path, jobs=7).jobs == 7


def test_a_process_that_may_use_one_cpu_has_one_job(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert _settings.usable_cpus() == 1


def test_where_nobody_knows_which_cpus_may_be_used_all_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert _settings.usable_cpus() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert _settings.usable_cpus() == 1


def test_later_changes_of_the_process_variables_do_not_reach_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOENV_PROBE", "before")
    settings = _settings.gather(tmp_path)
    monkeypatch.setenv("ISOENV_PROBE", "after")
    assert settings.environ["ISOENV_PROBE"] == "before"


@pytest.mark.parametrize(
    "name",
    ["PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "CONDA_PREFIX"]
    + ["PYTEST_CURRENT_TEST", "PYTEST_VERSION"],
)
def test_what_speaks_of_the_host_never_reaches_a_worker(settings, name):
    assert settings({name: "/host", "KEPT": "1"}).worker_environ.keys() - {"PATH"} == {"KEPT"}


def test_a_worker_sees_what_tests_may_depend_on(settings):
    environ = {"HOME": "/home/me", "DATABASE_URL": "x", "LANG": "C.UTF-8"}
    assert environ.items() <= settings(environ).worker_environ.items()


def test_the_hosts_own_virtual_environment_leaves_path_as_if_deactivated(settings, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(Path(os.sep, "host", "venv")))
    monkeypatch.setattr(sys, "base_prefix", str(Path(os.sep, "usr")))
    own, other = str(Path(sys.prefix, "bin")), str(Path(os.sep, "usr", "bin"))
    path = os.pathsep.join([own, other, own])
    assert settings({"PATH": path}).worker_environ["PATH"] == other


def test_path_stays_as_it_is_where_the_host_is_no_virtual_environment(settings, monkeypatch):
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    path = os.pathsep.join([str(Path(sys.base_prefix, "bin")), "elsewhere"])
    assert settings({"PATH": path}).worker_environ["PATH"] == path


@pytest.mark.parametrize(
    "name", ["UV_DEFAULT_INDEX", "UV_INDEX_PRIVATE_PASSWORD", "https_proxy", "HOME", "PATH"]
)
def test_an_installer_learns_where_packages_come_from(settings, name):
    assert settings({name: "x"}).installer_environ == {name: "x"}


@pytest.mark.parametrize(
    "name",
    ["UV_RESOLUTION", "UV_PRERELEASE", "UV_CONSTRAINT", "UV_EXCLUDE_NEWER", "UV_PYTHON", "PIP_PRE"]
    + ["PYTHONPATH", "VIRTUAL_ENV", "UV_SYSTEM_PYTHON", "UV_NO_BINARY", "SECRET"],
)
def test_nothing_else_of_one_shell_changes_what_an_environment_is(settings, name):
    assert settings({name: "x"}).installer_environ == {}


ESSENTIAL = {"PATH": "/usr/bin", "HOME": "/home/me", "LC_TIME": "C", "PYTEST_XDIST_WORKER": "gw1"}
HOST = {
    **ESSENTIAL,
    "PYTHONPATH": "/host",
    "SERVICE_TOKEN": "x",
    "AWS_REGION": "y",
    "aws_other": "z",
}


@pytest.mark.parametrize(
    ("patterns", "passed"),
    [
        ([], set()),
        (["SERVICE_TOKEN"], {"SERVICE_TOKEN"}),
        (["AWS_*", "NOT_THERE"], {"AWS_REGION"}),
        (["SERVICE_?OKEN", "[a-z]*"], {"SERVICE_TOKEN", "aws_other"}),
        (["*"], {"SERVICE_TOKEN", "AWS_REGION", "aws_other"}),
        (["PYTHON*"], set()),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the case of names does not count there")
def test_only_what_is_named_is_passed_and_what_no_process_can_do_without(
    settings, patterns, passed
):
    seen = settings(HOST).passed(patterns)
    assert seen.keys() - ESSENTIAL.keys() == passed
    assert seen.keys() >= ESSENTIAL.keys()


def test_where_nothing_is_named_all_is_passed_that_is_not_the_hosts_own(settings):
    assert settings(HOST).passed(None).keys() == HOST.keys() - {"PYTHONPATH"}
