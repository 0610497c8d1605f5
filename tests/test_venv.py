"""The backend venv: what pip reports, what it is told, and what it cannot do."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_isoenv import _settings
from pytest_isoenv._backends import venv, venv_commands
from pytest_isoenv._backends.pip_report import document, lines_of
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv.errors import ResolutionError
from pytest_isoenv.pinned import parse_pylock, pylock_trees
from pytest_isoenv.spec import EnvSpec
from pytest_isoenv.spec import Index as Indexes
from tests.backend_contract import Bench, inside, installed, pins
from tests.packages import Index, make_project, make_wheel

SHA = "0" * 64


def item(url="https://x.org/lib-1.0-py3-none-any.whl", name="lib", version="1.0", **more):
    info = more or {"archive_info": {"hashes": {"sha256": SHA}}}
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": url, **info},
        "is_direct": False,
    }


def never(item):
    raise AssertionError("the report tells the hash")


def package_of(*items, hashed=never):
    text = document(items, hashed)
    (package,) = parse_pylock(text).packages
    return package


# What pip reports


def test_a_wheel_of_an_index_is_a_wheel_with_its_hash():
    package = package_of(item())
    (wheel,) = package.wheels
    assert (str(package.version), wheel.url) == ("1.0", "https://x.org/lib-1.0-py3-none-any.whl")
    assert wheel.hashes == {"sha256": SHA}


def test_an_archive_of_sources_is_one():
    assert package_of(item("https://x.org/lib-1.0.tar.gz")).sdist.hashes == {"sha256": SHA}


def test_what_was_asked_for_by_its_url_stays_that():
    package = package_of({**item("https://x.org/lib.zip#egg=lib"), "is_direct": True})
    assert package.archive.url == "https://x.org/lib.zip"


def test_a_file_of_this_machine_has_a_path():
    package = package_of(item("file:///a%20b/lib-1.0-py3-none-any.whl"))
    assert package.wheels[0].path == "/a b/lib-1.0-py3-none-any.whl"


def test_a_weak_hash_is_no_hash():
    weak = item(archive_info={"hashes": {"md5": "1" * 32}})
    assert package_of(weak, hashed=lambda _: {"sha256": "2" * 64}).wheels[0].hashes == {
        "sha256": "2" * 64
    }


def test_a_tree_is_one_and_may_be_editable():
    text = document([item("file:///src/app", "App", dir_info={"editable": True})], never)
    assert pylock_trees(text) == [("/src/app", True)]


def test_a_commit_is_pinned_as_one():
    info = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
    package = package_of(item("https://x.org/lib.git", vcs_info=info, subdirectory="sub"))
    assert (package.vcs.commit_id, package.vcs.subdirectory) == ("abc", "sub")
    assert lines_of([package]).commits == ["lib @ git+https://x.org/lib.git@abc#subdirectory=sub"]


def test_a_report_of_nothing_is_a_document_without_packages():
    assert parse_pylock(document([], never)).packages == []


# What pip is told


def test_pip_chooses_among_the_files_of_a_universal_lock_by_their_hashes(tmp_path):
    lock = f"""
        lock-version = "1.0"
        created-by = "by hand"
        [[packages]]
        name = "lib"
        version = "1.0"
        marker = "python_version >= '3.8'"
        index = "https://x.org/simple"
        sdist = {{ url = "https://x.org/lib-1.0.tar.gz", hashes = {{ sha256 = "{"1" * 64}" }} }}
        wheels = [
            {{ path = "{tmp_path}/lib-1.0-py3-none-any.whl", hashes = {{ sha256 = "{SHA}" }} }},
        ]
    """
    lines = lines_of(parse_pylock(lock).packages)
    hashes = f"--hash=sha256:{SHA} --hash=sha256:{'1' * 64}"
    assert lines.hashed == [f'lib==1.0 ; python_version >= "3.8" {hashes}']
    assert lines.options == [
        "--extra-index-url",
        "https://x.org/simple",
        "--find-links",
        str(tmp_path),
    ]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"resolution": "lowest"}, "resolution: lowest"),
        ({"overrides": ("lib==1.0",)}, "overrides"),
        ({"index": Indexes(exclude_newer="2026-01-01")}, "exclude-newer"),
        ({"prerelease": "disallow"}, "prerelease: disallow"),
    ],
)
def test_what_pip_has_no_option_for_is_refused(fields, what):
    assert venv.unsupported(EnvSpec(**fields)) == [what]


def test_a_refusal_comes_with_the_place_and_before_anything_is_built(pytester):
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments: {low: {backend: venv, resolution: lowest}, "
        "geo: {conda-dependencies: [gdal]}}\n"
    )
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.env("lib==1.0", backend="conda", python="pypy3.11")
        def test_it(): pass
        """
    )
    result = pytester.runpytest("-p", "no:xdist")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*isoenv.yaml.environments.low: the backend 'venv' cannot do this: resolution: lowest",
            "*isoenv.yaml.environments.geo: the backend 'uv' cannot do this: conda-dependencies",
        ]
    )
    pytester.path.joinpath("isoenv.yaml").unlink()
    result = pytester.runpytest("-p", "no:xdist")
    result.stderr.fnmatch_lines(["*the backend 'conda' cannot do this: python: pypy3.11"])


# With a pip


@pytest.fixture(scope="module")
def bench(index, shared_caches, tmp_path_factory):
    place = tmp_path_factory.mktemp("python")
    settings = _settings.gather(place, cache=place)
    interpreter = Interpreters(settings, Processes(), place / "interpreters.json").find(None)
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {"XDG_CACHE_HOME": str(shared_caches), "PIP_INDEX_URL": index.url}
    return Bench(venv, interpreter, environ, tmp_path_factory.mktemp("bench"), {})


@pytest.mark.slow
def test_bounds_prereleases_and_links_are_those_that_are_declared(bench, tmp_path):
    for version in ("1.0", "1.5a1", "2.0"):
        make_wheel(tmp_path / "links", "deep", version)
    found = bench.resolve(
        "deep",
        root=tmp_path,
        constraints=("deep<2",),
        prerelease="allow",
        index=Indexes(find_links=("./links",)),
    )
    assert pins(found)["deep"] == "1.5a1"
    assert installed(bench.create(found))["deep"] == "1.5a1"


class WeakIndex(Index):
    """An index of another place and time: its hashes are weak ones."""

    def answer(self, handler):
        wheel = self.wheels / "lib-1.0-py3-none-any.whl"
        if handler.path.endswith(".whl"):
            super().answer(handler)
            return
        link = f'<a href="/files/{wheel.name}#md5={"0" * 32}">{wheel.name}</a>'
        if "/lib/" not in handler.path:
            handler.send_error(404)
            return
        digest = hashlib.md5(wheel.read_bytes()).hexdigest()
        self._send(handler, link.replace("0" * 32, digest).encode(), "text/html")


@pytest.mark.slow
def test_where_an_index_tells_no_strong_hash_the_file_itself_does(bench, wheels):
    weak = WeakIndex(wheels)
    try:
        elsewhere = Indexes(default=f"named={weak.url}")
        found = bench.resolve(runner=("lib==1.0",), index=elsewhere)
    finally:
        weak.close()
    data = (wheels / "lib-1.0-py3-none-any.whl").read_bytes()
    assert hashlib.sha256(data).hexdigest() in found.pylocks[0]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_commit_of_a_repository_is_installed(bench, tmp_path):
    repository = make_project(tmp_path / "repository", "app", code="VALUE = 'committed'\n")
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    # Older pips want a host in it.
    found = bench.resolve(f"app @ git+file://localhost{repository}")
    (repository / "src" / "app.py").write_text("VALUE = 'edited'\n")
    directory = bench.create(found)
    assert inside(directory, "import app; print(app.VALUE)") == "committed"


def test_pip_is_not_left_in_the_environment(bench):
    directory = bench.create(None)
    assert not {"pip", "setuptools"} & installed(directory).keys()


@pytest.mark.slow
def test_a_pip_that_was_unpacked_and_is_gone_can_be_started_again(bench):
    directory = bench.create(None)
    start = directory / "start_pip.py"
    unpacked = start.read_text().rpartition("main('")[2].partition("'")[0]
    assert Path(unpacked).is_dir()
    start.write_text(start.read_text().replace(unpacked, "/nowhere"))
    ended = subprocess.run(
        [sys.executable, "-I", start, "--version"], capture_output=True, text=True, check=True
    )
    assert ".whl" in ended.stdout


def test_a_pip_that_is_too_old_is_refused_with_what_to_do():
    code = "import sys, types; old = types.ModuleType('ensurepip')\n"
    code += "old.version = lambda: '21.2.4'; sys.modules['ensurepip'] = old\n"
    code += venv_commands._FIND_PIP
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "brings pip 21.2.4" in ended.stderr


def test_a_python_that_brings_no_pip_says_what_to_install(bench, tmp_path):
    python = tmp_path / "python"
    lines = ["#!/bin/sh", f'exec "{bench.interpreter.executable}" -S -c "']
    lines += ["import sys; sys.modules['ensurepip'] = None", "exec(sys.argv[1])", '" "$3"']
    python.write_text("\n".join(lines) + "\n")
    python.chmod(0o755)
    bare = dataclasses.replace(bench.interpreter, executable=str(python))
    with pytest.raises(ResolutionError, match="python3-venv") as caught:
        dataclasses.replace(bench, interpreter=bare).resolve()
    assert caught.value.purpose == "finding pip"
