"""The backend conda: what it asks for, what uv puts on top, and other people's files."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from pytest_isoenv._backends import conda, conda_commands
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import PinnedEnv
from pytest_isoenv.spec import Conda, EnvSpec, Index
from tests.backend_contract import Bench, inside, installed, pins
from tests.conda_channel import (
    VERSION,
    make_distribution,
    make_package,
    make_python,
    subdir,
    write_index,
)

needs_rattler = pytest.mark.skipif(
    importlib.util.find_spec("rattler") is None,
    reason="py-rattler is not installed: pip install 'pytest-isoenv[conda]'",
)
MINOR = "{}.{}".format(*sys.version_info)


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    """A channel with a Python, distributions that are on no index, and a tool."""
    directory = tmp_path_factory.mktemp("channel")
    make_python(directory)
    make_distribution(directory, "geo", "1.0", requires=["lib>=1.1"])
    make_distribution(directory, "lib", "1.1")
    make_distribution(directory, "lib", "9.0")
    make_package(directory, "tool", "3.0", files={"bin/tool": "#!/bin/sh\necho a tool\n"})
    write_index(directory)
    return directory


@pytest.fixture(scope="module")
def bench(channel, index, shared_caches, tmp_path_factory):
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {"XDG_CACHE_HOME": str(shared_caches), "UV_CACHE_DIR": str(shared_caches / "uv")}
    environ |= {"UV_PYTHON_DOWNLOADS": "never", "UV_DEFAULT_INDEX": index.url}
    fields = {"conda": Conda((channel.as_uri(),), ("geo", "lib<2", "tool"))}
    return Bench(conda, None, environ, tmp_path_factory.mktemp("bench"), fields)


@pytest.fixture(scope="module")
def resolution(bench):
    return bench.resolve("needs-lib")


def versions(resolution):
    return {package.name: package.version for package in resolution.foreign}


@needs_rattler
def test_everything_that_conda_brings_is_pinned_by_its_hash(resolution):
    assert versions(resolution) == {"geo": "1.0", "lib": "1.1", "python": VERSION, "tool": "3.0"}
    assert all(len(package.digest.partition(":")[2]) == 64 for package in resolution.foreign)


@needs_rattler
def test_what_conda_brings_satisfies_requirements_and_is_not_installed_again(bench, resolution):
    assert pins(resolution) == {"needs-lib": "1.0", "other": "1.0"}
    directory = bench.create(resolution)
    expected = {"geo": "1.0", "lib": "1.1", "needs-lib": "1.0", "other": "1.0"}
    assert installed(directory).items() >= expected.items()
    assert inside(directory, "import lib; print(lib.ORIGIN)") == "conda"
    assert (directory / "bin" / "tool").is_file()


@needs_rattler
def test_what_conda_brings_bounds_what_is_asked_of_uv(bench):
    with pytest.raises(ResolutionError, match=r"lib.*1\.1"):
        bench.resolve("lib==1.0")


@needs_rattler
def test_every_conda_package_is_an_input_of_the_key(resolution):
    def inputs(foreign):
        return PinnedEnv(EnvSpec(backend="conda"), None, (), (), foreign=foreign).key_inputs()

    before = inputs(resolution.foreign)
    assert before["package conda:tool"].startswith("3.0 ")
    newer = dataclasses.replace(resolution.foreign[-1], digest="another")
    assert inputs((*resolution.foreign[:-1], newer)) != before


@needs_rattler
def test_a_package_that_was_replaced_in_its_channel_is_not_installed(
    bench, resolution, tmp_path, channel
):
    make_package(tmp_path, "tool", "3.0", files={"bin/tool": "something else"})
    elsewhere = json.loads(json.dumps([package.text for package in resolution.foreign]))
    replaced = tuple(
        dataclasses.replace(package, text=text.replace(channel.as_uri(), tmp_path.as_uri()))
        if package.name == "tool"
        else package
        for package, text in zip(resolution.foreign, elsewhere, strict=True)
    )
    with pytest.raises(BuildError, match="is pinned"):
        bench.create(dataclasses.replace(resolution, foreign=replaced))


@needs_rattler
def test_every_file_of_conda_is_compared_and_what_was_damaged_is_unpacked_anew(
    bench, resolution, tmp_path
):
    own = {"RATTLER_CACHE_DIR": str(tmp_path / "rattler"), "UV_CACHE_DIR": str(tmp_path / "uv")}
    apart = dataclasses.replace(bench, environ={**bench.environ, **own})
    directory = apart.create(resolution)
    facts = {"installed": {}}
    assert list(conda.examine(directory, facts)) == []
    tool = directory / "bin" / "tool"
    whole = tool.read_text()
    tool.write_text("")
    (damage,) = conda.examine(directory, facts, thoroughly=False)
    assert str(damage) == f"bin/tool of tool is empty, and had {len(whole)}"
    tool.write_text(whole.upper())
    (damage,) = conda.examine(directory, facts)
    assert str(damage) == "bin/tool of tool has another content than was installed"
    conda.forget(directory, ["tool"], apart.run)
    assert (apart.create(resolution) / "bin" / "tool").read_text() == whole


@needs_rattler
def test_specs_without_a_solution_say_so(bench):
    with pytest.raises(ResolutionError, match="nowhere"):
        bench.resolve(conda=dataclasses.replace(bench.fields["conda"], dependencies=("nowhere",)))


@needs_rattler
def test_a_declaration_of_every_kind_runs_its_tests(pytester, run, channel):
    """The conda file's packages and its pip section, and the declaration's own of both kinds."""
    files = {
        "geo/environment.yml": f"""
            name: geo
            channels: [{channel.as_uri()}, nodefaults]
            dependencies: [python={MINOR}, geo, "lib<2", pip: [needs-lib]]
        """,
        "isoenv.yaml": """
            environments:
              geo:
                backend: conda
                conda-environment: geo/environment.yml
                conda-dependencies: [tool]
                dependencies: [other]
        """,
    }
    for name, text in files.items():
        pytester.path.joinpath(name).parent.mkdir(exist_ok=True)
        pytester.path.joinpath(name).write_text(text)
    pytester.makepyfile(
        """
        import os, subprocess, sys
        import pytest

        @pytest.mark.env("geo")
        def test_it():
            import geo, lib, needs_lib, other
            assert lib.ORIGIN == "conda"
            assert os.environ["CONDA_PREFIX"] == sys.prefix
            assert subprocess.check_output("tool", text=True) == "a tool\\n"
        """
    )
    first = run()
    first.assert_outcomes(passed=1)
    assert first.environments["geo"]["packages"]["geo"] == "1.0"
    assert run().environments["geo"]["provisioned"] == "cached"


@pytest.mark.parametrize(
    ("asked", "spec"),
    [
        (None, f"python {MINOR}.*"),
        ("3.12", "python 3.12.*"),
        ("3", "python 3.*"),
        ("3.12.4", "python 3.12.4"),
        ("python3.12", "python 3.12.*"),
        (">=3.10, <3.13", "python >=3.10,<3.13"),
    ],
)
def test_a_python_is_one_more_conda_package(asked, spec):
    assert conda_commands._python_spec(asked) == spec


@pytest.mark.parametrize("python", ["pypy3.11", "./bin/python", "3.13t"])
def test_a_python_that_is_no_version_is_refused(python):
    assert conda.unsupported(EnvSpec(python=python)) == [f"python: {python}"]


# Without py-rattler

CONDA = """\
#!{python}
import hashlib, json, os, sys, tarfile
options = sys.argv[1:]
assert options[0] == "create" and "--yes" in options
prefix = options[options.index("--prefix") + 1]
if "--file" in options:
    lines = open(options[options.index("--file") + 1]).read().split()[1:]
    urls = [line.partition("#")[0] for line in lines]
else:
    assert "--override-channels" in options
    channel = options[options.index("--channel") + 1]
    urls = [f"{{channel}}/{subdir}/{{name}}" for name in {names!r}]
os.makedirs(os.path.join(prefix, "conda-meta"))
for url in urls:
    path = url.removeprefix("file://")
    with tarfile.open(path) as archive:
        archive.extractall(prefix)
    record = json.load(open(os.path.join(prefix, "info", "index.json")))
    sha256 = hashlib.sha256(open(path, "rb").read()).hexdigest()
    record.update(url=url, fn=os.path.basename(url), sha256=sha256, md5="0", channel="it")
    with open(os.path.join(prefix, "conda-meta", record["name"] + ".json"), "w") as file:
        json.dump(record, file)
"""


@pytest.fixture
def without_rattler(monkeypatch, tmp_path):
    monkeypatch.setattr(conda_commands, "_has_rattler", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_conda_on_the_path_does_it_without_py_rattler(bench, channel, without_rattler):
    names = [f"python-{VERSION}-0.tar.bz2", "lib-1.1-0.tar.bz2"]
    text = CONDA.format(python=sys.executable, subdir=subdir(), names=names)
    (without_rattler / "micromamba").write_text(text)
    (without_rattler / "micromamba").chmod(0o755)
    resolution = bench.resolve("needs-lib")
    assert versions(resolution) == {"lib": "1.1", "python": VERSION}
    assert pins(resolution) == {"needs-lib": "1.0", "other": "1.0"}
    assert installed(bench.create(resolution)).keys() >= {"lib", "needs-lib"}
    changed = [dataclasses.replace(package, digest="x") for package in resolution.foreign]
    with pytest.raises(BuildError, match="others than the pinned files of: lib, python"):
        bench.create(dataclasses.replace(resolution, foreign=tuple(changed)))


def test_where_nothing_can_do_it_the_error_says_what_to_install(bench, without_rattler):
    with pytest.raises(ResolutionError, match=r"pytest-isoenv\[conda\].*micromamba"):
        bench.resolve()


def test_the_moment_and_the_channels_of_this_machine_are_asked_for(bench, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(conda_commands, "_has_rattler", lambda: True)
    monkeypatch.setattr(
        conda_commands,
        "write_json",
        lambda file, request: asked.append(request) or sys.exit("enough"),
    )
    (tmp_path / "channel").mkdir()
    wanted = Conda(("./channel", "conda-forge"), ("python",))
    with pytest.raises(SystemExit):
        bench.resolve(conda=wanted, root=tmp_path, index=Index())
    (request,) = asked
    assert request["channels"] == [(tmp_path / "channel").as_uri(), "conda-forge"]
    assert request["specs"] == ["python"]
    assert Path(request["prefix"]).name == "prefix"


# A package may list what it likes; links of py-rattler's are named by it.
OUT = {
    "above": {"files": {"info/paths.json": json.dumps({"paths": [{"_path": "../two/x"}]})}},
    "command": {
        "files": {"info/link.json": json.dumps({"noarch": {"entry_points": ["../../x = a:b"]}})}
    },
    "link": {"links": {"link": "/"}},
}


@needs_rattler
@pytest.mark.parametrize("name", OUT)
def test_a_package_that_would_write_outside_the_environment_is_refused(
    bench, channel, tmp_path, name
):
    ours = tmp_path / "channel"
    make_package(ours, name, "1.0", **OUT[name])
    fields = {"conda": Conda((write_index(ours), channel.as_uri()), (name, "python"))}
    environ = {**bench.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")}
    other = dataclasses.replace(bench, environ=environ, fields=fields)
    with pytest.raises(ResolutionError) as caught:
        other.resolve()
    assert f"{name} is not installed: " in caught.value.output
    assert "leads out of the environment" in caught.value.output


@needs_rattler
def test_links_within_a_package_are_no_way_out(bench, channel, tmp_path):
    ours = tmp_path / "channel"
    links = {"lib64": "lib", "bin/tool": "../lib/tool", "share/x": "../nowhere"}
    make_package(ours, "linked", "1.0", files={"lib/tool": "x"}, links=links)
    fields = {"conda": Conda((write_index(ours), channel.as_uri()), ("linked", "python"))}
    other = dataclasses.replace(bench, fields=fields)
    assert versions(other.resolve())["linked"] == "1.0"
