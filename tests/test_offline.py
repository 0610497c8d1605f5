"""Without a network, because there is none or because it is to be left alone."""

from __future__ import annotations

import argparse
import functools
import http.server
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from uv import find_uv_bin

from pytest_isoenv import EnvManager, _settings
from pytest_isoenv._process import Processes
from pytest_isoenv.cli.main import main as isoenv
from pytest_isoenv.cli.parser import parse
from pytest_isoenv.cli.project import settings_of
from pytest_isoenv.errors import BuildError, ConfigError, InterpreterNotFound, ResolutionError
from tests.bad_index import BadIndex
from tests.conda_channel import make_package, make_python, write_index
from tests.packages import make_project, make_wheel, repack_runner

# Each builds environments of its own; CI runs them in its second step.
pytestmark = pytest.mark.slow

BACKENDS = ("uv", "venv")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The wheels of an index whose files may be kept."""
    directory = tmp_path_factory.mktemp("served")
    repack_runner(directory)
    for version in ("1.0", "2.0"):
        make_wheel(directory, "lib", version)
    make_wheel(directory, "needs-lib", "1.0", requires=["lib<2"])
    make_wheel(directory, "tool", "1.0")
    return directory


@pytest.fixture
def own_index(served):
    index = BadIndex(served)
    yield index
    index.close()


class Host:
    """A user with an index, who can lose parts of what they have."""

    def __init__(self, directory, index, monkeypatch):
        self.directory = directory
        self.index = index
        self.caches = [directory / "uv", directory / "pip"]
        for what in ("environments", "resolutions", "wheels"):
            self.lose(what)
        self.lose_downloads()
        monkeypatch.setenv("UV_CACHE_DIR", str(self.caches[0]))
        monkeypatch.setenv("PIP_CACHE_DIR", str(self.caches[1]))
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        # Of an index without HTTPS pip keeps nothing that nobody trusts.
        monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")

    def environment(self, *requirements, offline=False, backend="uv", **fields):
        """What an EnvManager gives, in a run of its own."""
        cache = self.directory / "cache"
        with EnvManager(self.directory, cache_dir=cache, offline=offline) as manager:
            return manager.environment(*requirements, backend=backend, project="none", **fields)

    def lose(self, what):
        """``environments`` or ``resolutions`` of the cache."""
        for directory in self.directory.glob(f"cache/v*/{what}"):
            shutil.rmtree(directory)

    def lose_downloads(self):
        for cache in self.caches:
            shutil.rmtree(cache, ignore_errors=True)

    def lose_the_network(self):
        self.index.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Kept between tests for what is known of this machine's Pythons."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def host(home, own_index, monkeypatch):
    return Host(home, own_index, monkeypatch)


@pytest.fixture
def commands(monkeypatch):
    """The commands that installers were started with."""
    started = []
    run = Processes.run

    def noted(self, args, **options):
        started.append([str(arg) for arg in args])
        return run(self, args, **options)

    monkeypatch.setattr(Processes, "run", noted)
    return started


# What is there


@pytest.mark.parametrize("backend", ["uv", pytest.param("venv", marks=pytest.mark.slow)])
def test_what_was_resolved_is_built_from_what_was_downloaded(backend, host):
    """With the option, and then without it where nobody answers."""
    there = host.environment("needs-lib==1.0", backend=backend)
    asked = list(host.index.requests)
    for offline in (True, False):
        host.lose("environments")
        if not offline:
            host.lose_the_network()
        again = host.environment("needs-lib==1.0", backend=backend, offline=offline)
        assert (again.provisioned, again.packages) == ("built", there.packages)
        assert host.index.requests == asked
    again = host.environment("needs-lib==1.0", backend=backend, offline=True)
    assert again.provisioned == "cached"


def test_what_uv_has_downloaded_is_installed_without_a_question_to_the_index(host, commands):
    host.environment("lib==1.0")
    host.lose("environments")
    commands.clear()
    host.index.requests.clear()
    assert host.environment("lib==1.0").provisioned == "built"
    assert [c for c in commands if "install" in c and "--offline" not in c] == []
    assert host.index.requests == []


def test_a_session_offline_needs_no_index(pytester, run, monkeypatch, own_cache):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """
    )
    run().assert_outcomes(passed=1)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    outcome = run("--env-offline")
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["lib-1.0"]["provisioned"] == "cached"


def test_what_was_never_resolved_is_resolved_from_what_was_downloaded_but_not_kept(host):
    """An index may know better, and is asked when it can be."""
    host.environment("lib==1.0")
    assert host.environment(deps=["lib"], offline=True).packages["lib"] == "1.0"
    with pytest.raises(ResolutionError, match=r"not in the installer's cache: lib==2\.0"):
        host.environment("lib==2.0", offline=True)
    assert host.environment(deps=["lib"]).packages["lib"] == "2.0"
    assert host.environment(deps=["lib"], offline=True).packages["lib"] == "2.0"


def test_what_is_older_than_its_max_age_is_used_and_that_is_said(host):
    host.environment("lib==1.0", max_age="1d")
    for pin in host.directory.glob("cache/v*/resolutions/*/pin.json"):
        pin.write_text(json.dumps({**json.loads(pin.read_text()), "resolved": 1e9}))
    asked = list(host.index.requests)
    again = host.environment("lib==1.0", max_age="1d", offline=True)
    assert again.provisioned == "cached"
    assert "longer than its max-age (1d): no index could be asked" in again.note
    assert host.index.requests == asked


@pytest.mark.parametrize("editable", [True, False])
def test_a_local_tree_is_built_with_what_was_downloaded(editable, host, tmp_path):
    tree = make_project(tmp_path / "tree", "mine")
    toml = (tree / "pyproject.toml").read_text()
    (tree / "pyproject.toml").write_text(toml.replace("requires = []", 'requires = ["tool"]'))
    fields = {"local": [str(tree)]}
    if editable:
        (host.directory / "requirements.txt").write_text(f"-e {tree}\n")
        fields = {"requirements": ["requirements.txt"]}
    host.environment("lib==1.0", **fields)
    host.lose("environments")
    host.lose("wheels")
    host.lose_the_network()
    assert "mine" in host.environment("lib==1.0", **fields).packages
    host.lose("environments")
    assert "mine" in host.environment("lib==1.0", offline=True, **fields).packages


# What is not there


@pytest.mark.parametrize("backend", ["uv", pytest.param("venv", marks=pytest.mark.slow)])
def test_what_was_never_downloaded_is_named(backend, host):
    host.environment("needs-lib==1.0", backend=backend)
    host.lose("environments")
    host.lose_downloads()
    asked = list(host.index.requests)
    with pytest.raises(BuildError) as error:
        host.environment("needs-lib==1.0", backend=backend, offline=True)
    said, *_ = str(error.value).splitlines()
    assert said.startswith("installing the pinned packages: offline, and not in the installer's")
    assert "pytest==" in said
    assert "pluggy==" in said
    assert "next step: run it once with a network" in str(error.value)
    assert host.index.requests == asked


def test_what_is_missing_among_many_is_named_alone(host):
    host.environment("needs-lib==1.0")
    host.lose("environments")
    subprocess.run([find_uv_bin(), "cache", "clean", "-q", "lib", "needs-lib"], check=True)
    with pytest.raises(BuildError) as error:
        host.environment("needs-lib==1.0", offline=True)
    said, *_ = str(error.value).splitlines()
    assert sorted(said.rpartition(": ")[2].split(", ")) == ["lib==1.0", "needs-lib==1.0"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_never_resolved_is_said_at_once(backend, host, commands):
    with pytest.raises(ResolutionError) as error:
        host.environment("lib==1.0", backend=backend, offline=True)
    said, *_ = str(error.value).splitlines()
    wanted = "resolving the requirements: offline, and nothing was resolved for them before; "
    assert said.startswith(f"{wanted}not in the installer's cache: lib")
    assert "next step: run it once with a network" in str(error.value)
    assert host.index.requests == []
    assert len([c for c in commands if "compile" in c or "--dry-run" in c]) <= 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_nobody_answers_one_line_says_so_at_once(backend, host, commands):
    host.lose_the_network()
    with pytest.raises(ResolutionError) as error:
        host.environment("lib==1.0", backend=backend)
    said, *_ = str(error.value).splitlines()
    assert "the index http://127.0.0.1:" in said
    assert said.endswith("/simple refuses connections")
    assert len([c for c in commands if "compile" in c or "--dry-run" in c]) == 1


def test_no_python_is_downloaded_offline(host, monkeypatch, commands):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "automatic")
    with pytest.raises(InterpreterNotFound) as error:
        host.environment("lib==1.0", offline=True, python="3.41")
    assert "run without --env-offline" in str(error.value)
    assert [command for command in commands if "python" in command[1:2]] == []


# Conda's packages


@pytest.fixture
def channel(tmp_path):
    """A channel on the loopback interface, of which everything may be kept."""
    directory = tmp_path / "channel"
    make_python(directory)
    make_package(directory, "thing", "3.0", files={"bin/thing": "#!/bin/sh\n"})
    write_index(directory)
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    serve = functools.partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("rattler") is None, reason="needs py-rattler")
def test_packages_of_conda_come_from_what_was_downloaded(channel, host, tmp_path, monkeypatch):
    url, asked = channel
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    fields = {"backend": "conda", "channels": [url]}
    there = host.environment(conda_dependencies=["thing"], **fields)
    host.lose("environments")
    asked.clear()
    host.index.requests.clear()
    again = host.environment(conda_dependencies=["thing"], **fields, offline=True)
    assert (again.provisioned, again.packages) == ("built", there.packages)
    shutil.rmtree(tmp_path / "rattler")
    host.lose("environments")
    with pytest.raises(BuildError, match=r"offline, and not in the installer's cache: \w+-[\d.]+"):
        host.environment(conda_dependencies=["thing"], **fields, offline=True)
    fields["channels"] = [f"{url}/other"]
    with pytest.raises(
        ResolutionError, match=f"nothing was resolved for them .* cache: {url}/other"
    ):
        host.environment(conda_dependencies=["thing"], **fields, offline=True)
    assert asked == host.index.requests == []


# On a machine that has no network at all

WITHOUT_A_NETWORK = ("unshare", "--map-root-user", "--net")


def can_be_without():
    if shutil.which(WITHOUT_A_NETWORK[0]) is None:
        return False
    return subprocess.run([*WITHOUT_A_NETWORK, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_be_without(), reason="no way here to take the network from a process")
def test_on_a_machine_without_a_network(host, tmp_path):
    """The index has a name, which nobody can look up there."""
    host.environment("lib==1.0")
    (host.directory / "isoenv.yaml").write_text(
        "environments:\n"
        "  base: {project: none}\n"
        "  known: {dependencies: [lib==1.0]}\n"
        "  unknown: {dependencies: [needs-lib==1.0], index: https://i.example.com/simple}\n"
    )

    def build(name):
        command = [sys.executable, "-m", "pytest_isoenv", "build", name]
        command += ["--env-cache-dir", str(host.directory / "cache")]
        return subprocess.run(
            [*WITHOUT_A_NETWORK, *command], cwd=host.directory, capture_output=True, text=True
        )

    try:
        assert "cached" in build("known").stdout
        host.lose("environments")
        assert "built" in build("known").stdout
        ended = build("unknown")
    finally:
        (host.directory / "isoenv.yaml").unlink()
    assert ended.returncode == 1
    said = "the index https://i.example.com/simple cannot be found: its host name has no address"
    assert said in ended.stderr
    assert "next step: check the network and the index" in ended.stderr


# The option


@pytest.mark.parametrize("command", ["build", "run", "path", "python"])
def test_commands_that_build_have_the_option(command):
    _, args = parse([command, "known", "--env-offline"])
    assert settings_of(argparse.Namespace(**{**vars(args), "rootdir": Path.cwd()})).offline


def test_an_installer_is_told_by_its_own_variable_and_only_then(tmp_path):
    online, offline = (_settings.gather(tmp_path, offline=value) for value in (False, True))
    assert online.network_environ == {}
    assert offline.network_environ.keys() >= {"UV_OFFLINE", "PIP_NO_INDEX", "CONDA_OFFLINE"}


@pytest.mark.parametrize("name", ["UV_HTTP_RETRIES", "PIP_RETRIES"])
def test_who_says_how_often_installers_try_is_obeyed(name, tmp_path, monkeypatch):
    assert set(_settings.gather(tmp_path).first_try.values()) == {"0"}
    monkeypatch.setenv(name, "5")
    assert _settings.gather(tmp_path).first_try == {}


def test_resolving_anew_without_a_network_is_refused(host, pytester, run):
    with pytest.raises(ConfigError) as error:
        EnvManager(host.directory, offline=True, upgrade=True)
    assert "--env-upgrade resolves anew, which needs the network" in str(error.value)
    pytester.makepyfile("import pytest\n@pytest.mark.env('lib==1.0')\ndef test_it(): pass\n")
    outcome = run("--env-offline", "--env-upgrade")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    assert "give one of the two" in outcome.stderr.str()
    assert isoenv(["build", "lib==1.0", "--env-offline", "--env-upgrade"]) == 2
