"""What every backend must do: subclass :class:`BackendContract` and give it a ``backend`` fixture.

A backend is met as the store meets it: resolve, create, check. The runs' index is on the loopback
interface; a backend of another ecosystem overrides ``index_variables``, and ``fields`` for what its
environments must say beside their requirements.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from pytest_isoenv import _settings
from pytest_isoenv._files import read_json
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv._provision import Provisioner
from pytest_isoenv.backend import Wanted
from pytest_isoenv.environment import python_of
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import Interpreter, PinnedEnv, Resolution, Source
from pytest_isoenv.spec import EnvName, EnvSpec
from tests.packages import Index, make_project, make_sdist, make_wheel, member, write_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECRET = "s3cret"


class PrivateIndex(Index):
    """An index that answers those who know the password."""

    @property
    def url(self):
        return super().url.replace("://", f"://me:{SECRET}@")

    def answer(self, handler):
        wanted = base64.b64encode(f"me:{SECRET}".encode()).decode()
        if handler.headers.get("Authorization") == f"Basic {wanted}":
            super().answer(handler)
            return
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="private"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()


@dataclasses.dataclass
class Bench:
    """One backend, and what it needs to work: the names of the Protocol with their arguments."""

    backend: Any
    interpreter: Interpreter
    environ: Mapping[str, str]
    scratch: Path
    fields: Mapping[str, Any]

    def run(self, args, *, purpose, failure, cwd=None):
        ended = Processes().run(args, environ=self.environ, cwd=cwd)
        if ended.status != 0:
            raise failure(purpose, ended.command, ended.status, ended.output)
        return ended.stdout

    def spec(self, **fields):
        return EnvSpec(backend=self.backend.name, **{**self.fields, **fields})

    @property
    def base(self):
        return None if self.backend.brings_python else self.interpreter

    @cached_property
    def nothing(self):
        """A resolution of an environment without any distribution, but with a Python."""
        if not self.backend.brings_python:
            return Resolution(())
        return dataclasses.replace(self.resolve(), pylocks=())

    def below(self, directory):
        """The same with directories, and caches of the installer's, below another one."""
        caches = {name: str(directory / name) for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR")}
        scratch = directory / "bench"
        scratch.mkdir()
        return dataclasses.replace(self, environ={**self.environ, **caches}, scratch=scratch)

    def directory(self):
        number = len(list(self.scratch.iterdir()))
        directory = self.scratch / str(number)
        directory.mkdir()
        return directory

    def resolve(self, *requirements, root=None, runner=("other==1.0",), directory=None, **fields):
        spec = self.spec(requirements=requirements, **fields)
        wanted = Wanted(spec, self.base, runner, root or self.scratch, self.environ)
        return self.backend.resolve(wanted, directory or self.directory(), self.run)

    def create(self, resolution=None, *sources):
        resolution = resolution or self.nothing
        pinned = PinnedEnv(
            self.spec(), self.base, resolution.pylocks, sources, foreign=resolution.foreign
        )
        directory = self.directory()
        self.backend.create(pinned, directory, self.run)
        return directory


def pins(resolution: Resolution) -> dict[str, str]:
    """What a resolution pins: name to version."""
    return {package["name"]: package.get("version", "") for package in packages(resolution)}


def packages(resolution: Resolution) -> list[dict[str, Any]]:
    return [p for text in resolution.pylocks for p in tomllib.loads(text).get("packages", [])]


def inside(directory: Path, code: str) -> str:
    """What a piece of code prints in an environment."""
    ended = subprocess.run(
        [python_of(directory), "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def installed(directory: Path) -> dict[str, str]:
    code = "import importlib.metadata as m; "
    code += "print(*(f'{d.metadata[\"Name\"]}=={d.version}' for d in m.distributions()))"
    found = (text.split("==") for text in inside(directory, code).split())
    return {str(canonicalize_name(name)): version for name, version in found}


def files_with(directory: Path, text: str) -> list[Path]:
    """The files of this machine's user below a directory that hold a text."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if text.encode() in path.read_bytes()]


def escaping(outside: Path) -> Iterator[list[str]]:
    """Names in a wheel that lead out of an environment, whatever they start from there."""
    yield [f"{'../' * levels}escaped" for levels in range(4, 7)]
    yield [str(outside / "escaped")]
    yield [f"bad2-1.0.data/scripts/{'../' * levels}escaped" for levels in range(3, 7)]
    yield [f"bad3-1.0.data/data/{'../' * levels}escaped" for levels in range(3, 7)]


def escaped(directory: Path) -> list[Path]:
    """What such names have led to, outside environments and the directories of an installer."""
    found = [path for path in directory.rglob("escaped") if path.read_bytes() == b"escaped"]
    homes = ("lib", "Lib", "archive-v0", "pkgs")
    return [path for path in found if not set(homes) & set(path.relative_to(directory).parts)]


@contextlib.contextmanager
def moved_away(path: Path):
    away = path.rename(path.with_name("moved away"))
    try:
        yield
    finally:
        away.rename(path)


#: Promises that hang on a function which a backend may do without.
OPTIONAL = {
    "test_a_wheel_of_a_tree_can_be_built_once_and_installed_often": "build_wheel",
    "test_a_sound_environment_has_no_damage_in_any_file": "examine",
    "test_a_file_that_was_edited_or_emptied_is_found_and_named": "examine",
    "test_what_it_was_told_to_forget_is_fetched_anew": "forget",
}


class BackendContract:
    """The promises; a subclass provides the fixture ``backend``, of class scope or wider."""

    @pytest.fixture(autouse=True)
    def only_what_it_has(self, request, backend):
        function = OPTIONAL.get(request.function.__name__)
        if function is not None and not hasattr(backend, function):
            pytest.skip(f"the backend {backend.name!r} has no {function}")

    @pytest.fixture(scope="class")
    @classmethod
    def index_variables(cls, index):
        """The installer's variables that make it use the tests' own index."""
        return {"UV_DEFAULT_INDEX": index.url, "PIP_INDEX_URL": index.url}

    @pytest.fixture(scope="class")
    @classmethod
    def environ(cls, index_variables, shared_caches):
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {
            **kept,
            "UV_CACHE_DIR": str(shared_caches / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "XDG_CACHE_HOME": str(shared_caches),
            **index_variables,
        }

    @pytest.fixture(scope="class")
    @classmethod
    def interpreter(cls, tmp_path_factory):
        place = tmp_path_factory.mktemp("python")
        settings = _settings.gather(place, cache=place)
        return Interpreters(settings, Processes(), place / "interpreters.json").find(None)

    @pytest.fixture(scope="class")
    @classmethod
    def fields(cls):
        """What an environment of this backend must say beside its requirements."""
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, backend, interpreter, environ, fields, tmp_path_factory):
        return Bench(backend, interpreter, environ, tmp_path_factory.mktemp("bench"), fields)

    @pytest.fixture(scope="class")
    @classmethod
    def resolution(cls, bench):
        return bench.resolve("needs-lib", "lib<1.1")

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, bench, resolution):
        return bench.create(resolution)

    @pytest.fixture
    def tree(self, tmp_path):
        return make_project(tmp_path / "a tree", "app", requires=["lib<2"])

    # Resolving

    def test_it_has_a_name_and_every_method_of_the_protocol(self, backend):
        assert backend.name
        assert backend.name == backend.name.lower()
        assert backend.brings_python in (True, False)
        for method in ("unsupported", "index_inputs", "resolve", "create", "check"):
            assert callable(getattr(backend, method))

    def test_what_every_backend_can_do_is_refused_by_none(self, backend, fields):
        assert list(backend.unsupported(EnvSpec(backend=backend.name, **fields))) == []
        own = EnvSpec(requirements=("lib",), project="editable", lock="pylock.toml", **fields)
        assert list(backend.unsupported(own)) == []

    def test_every_pin_has_a_version_and_a_hash_of_each_of_its_files(self, resolution):
        for package in packages(resolution):
            assert package["version"]
            files = [*package.get("wheels", []), package.get("sdist"), package.get("archive")]
            files = [file for file in files if file]
            assert files
            assert all(len(file["hashes"]["sha256"]) == 64 for file in files)

    def test_dependencies_are_pinned_with_what_was_asked_for(self, resolution):
        assert pins(resolution) == {"needs-lib": "1.0", "lib": "1.0", "other": "1.0"}

    def test_what_runs_the_tests_is_resolved_together_with_the_rest(self, bench):
        assert pins(bench.resolve("lib<2", runner=("lib==2.0", "lib==1.1", "lib"))) == {
            "lib": "1.1"
        }

    def test_a_kept_directory_does_not_hold_an_old_version_back(self, bench):
        directory = bench.directory()
        assert pins(bench.resolve("lib<2", directory=directory))["lib"] == "1.1"
        assert pins(bench.resolve("lib", directory=directory))["lib"] == "2.0"

    def test_requirements_without_a_solution_say_so_in_the_installers_words(self, bench):
        with pytest.raises(ResolutionError) as caught:
            bench.resolve("broken-needs")
        assert "lib>=99" in caught.value.output
        assert caught.value.status != 0
        assert caught.value.purpose

    def test_the_command_that_failed_can_be_repeated(self, bench, environ):
        with pytest.raises(ResolutionError) as caught:
            bench.resolve("broken-needs")
        again = subprocess.run(
            shlex.split(caught.value.command), env=environ, capture_output=True, check=False
        )
        assert again.returncode == caught.value.status
        assert b"lib>=99" in again.stderr + again.stdout

    def test_an_index_that_does_not_have_a_package_is_a_failed_resolution(self, bench):
        with pytest.raises(ResolutionError) as caught:
            bench.resolve("no-such-package==1.0")
        assert "no-such-package" in caught.value.output

    def test_an_installers_configuration_changes_nothing_wherever_it_lies(
        self, bench, tmp_path, monkeypatch
    ):
        constraint = 'constraint-dependencies = ["lib<1.1"]\n'
        (tmp_path / "uv").mkdir()
        (tmp_path / "pip").mkdir()
        (tmp_path / "uv" / "uv.toml").write_text(constraint)
        (tmp_path / "uv.toml").write_text(constraint)
        (tmp_path / "pyproject.toml").write_text(f"[tool.uv]\n{constraint}")
        (tmp_path / "pip" / "pip.conf").write_text("[install]\nconstraint = nowhere.txt\n")
        monkeypatch.chdir(tmp_path)
        environ = {**bench.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        resolution = dataclasses.replace(bench, environ=environ).resolve("lib", root=tmp_path)
        assert pins(resolution)["lib"] == "2.0"

    def test_a_tree_named_by_a_requirement_is_a_source_and_its_dependencies_are_pinned(
        self, bench, tree
    ):
        resolution = bench.resolve(f"./{tree.name}", root=tree.parent)
        assert resolution.trees == ((str(tree), False),)
        assert pins(resolution) == {"lib": "1.1", "other": "1.0"}

    def test_a_wheel_named_by_a_requirement_is_pinned_by_its_content(self, bench, tmp_path):
        wheel = make_wheel(tmp_path, "mine", "1.0")
        resolution = bench.resolve(f"./{wheel.name}", root=tmp_path)
        assert pins(resolution)["mine"] == "1.0"
        assert installed(bench.create(resolution))["mine"] == "1.0"

    @pytest.mark.parametrize(("mode", "editable"), [("editable", True), ("wheel", False)])
    def test_the_project_takes_part_with_its_extras_but_is_not_pinned(
        self, bench, tmp_path, mode, editable
    ):
        root = make_project(tmp_path / "my app", "app", extras={"more": ["lib==1.0"]})
        resolution = bench.resolve(project=mode, extras=("more",), root=root)
        assert resolution.trees == ((str(root), editable),)
        assert pins(resolution) == {"lib": "1.0", "other": "1.0"}

    # Lock files

    def test_what_a_lock_file_pins_stays_and_the_rest_is_resolved_beside_it(self, bench, tmp_path):
        (lock,) = bench.resolve(runner=("lib==1.0",)).pylocks
        (tmp_path / "pylock.toml").write_text(lock)
        resolution = bench.resolve("needs-lib", lock="pylock.toml", root=tmp_path)
        assert pins(resolution) == {"needs-lib": "1.0", "lib": "1.0", "other": "1.0"}
        assert installed(bench.create(resolution)).items() >= pins(resolution).items()

    def test_what_contradicts_a_lock_file_has_no_solution(self, bench, tmp_path):
        (lock,) = bench.resolve(runner=("lib==1.0",)).pylocks
        (tmp_path / "pylock.toml").write_text(lock)
        with pytest.raises(ResolutionError):
            bench.resolve("lib==2.0", lock="pylock.toml", root=tmp_path)

    def test_the_paths_in_a_lock_file_start_from_the_lock_file(self, bench, tmp_path):
        make_wheel(tmp_path / "dist", "mine", "1.0")
        (relative,) = bench.resolve("./dist/mine-1.0-py3-none-any.whl", root=tmp_path).pylocks
        relative = relative.replace(str(tmp_path), "..")
        assert 'path = "../dist/mine' in relative
        (tmp_path / "locks").mkdir()
        (tmp_path / "locks" / "pylock.toml").write_text(relative)
        resolution = bench.resolve(lock="locks/pylock.toml", root=tmp_path)
        assert installed(bench.create(resolution))["mine"] == "1.0"

    # Creating

    def test_what_is_pinned_is_installed_at_its_version(self, built, resolution):
        assert installed(built).items() >= pins(resolution).items()

    def test_an_environment_is_a_prefix_of_its_own_without_the_hosts_packages(self, built):
        code = "import json, sys; print(json.dumps([sys.prefix, sys.version_info[:3], sys.path]))"
        prefix, version, path = json.loads(inside(built, code))
        assert Path(prefix).resolve() == built.resolve()
        assert tuple(version) == sys.version_info[:3]
        host = Path(str(importlib.metadata.distribution("pytest").locate_file("")))
        assert str(host) not in path

    def test_a_file_whose_hash_is_not_the_pinned_one_is_never_installed(self, bench):
        resolution = bench.resolve("lib==1.0")
        hashes = {
            digest
            for package in packages(resolution)
            for digest in [package["wheels"][0]["hashes"]["sha256"]]
        }
        (text,) = resolution.pylocks
        for digest in hashes:
            text = text.replace(digest, "0" * 64)
        with pytest.raises(BuildError):
            bench.create(dataclasses.replace(resolution, pylocks=(text,)))

    def test_a_wheel_that_was_changed_since_it_was_pinned_is_never_installed(self, bench, tmp_path):
        wheel = make_wheel(tmp_path, "mine", "1.0", modules={"mine.py": "WHO = 'pinned'\n"})
        resolution = bench.resolve(str(wheel), root=tmp_path)
        assert inside(bench.create(resolution), "import mine; print(mine.WHO)") == "pinned"
        make_wheel(tmp_path, "mine", "1.0", modules={"mine.py": "WHO = 'changed'\n"})
        try:
            again = bench.create(resolution)
        except BuildError:
            return
        # An installer may still have what was pinned.
        assert inside(again, "import mine; print(mine.WHO)") == "pinned"

    def test_a_wheel_writes_nothing_outside_its_environment(self, bench, tmp_path):
        bench = bench.below(tmp_path)
        for number, names in enumerate(escaping(tmp_path / "outside")):
            info = f"bad{number}-1.0.dist-info"
            kind = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            metadata = f"Metadata-Version: 2.1\nName: bad{number}\nVersion: 1.0\n"
            files = {f"{info}/WHEEL": kind.encode(), f"{info}/METADATA": metadata.encode()}
            wheel = tmp_path / f"bad{number}-1.0-py3-none-any.whl"
            write_wheel(wheel, info, files | dict.fromkeys(names, b"escaped"))
            with contextlib.suppress(BuildError):
                bench.create(None, Source(str(wheel), "digest"))
        assert escaped(tmp_path) == []

    def test_an_archive_of_sources_that_leads_out_of_itself_is_refused(self, bench, tmp_path):
        bench = bench.below(tmp_path)
        outside = tmp_path / "outside"
        outside.mkdir()
        several = [
            [member("../escaped")],
            [member(str(outside / "escaped"))],
            [member("bad-1.0/link", str(outside)), member("bad-1.0/link/escaped")],
            [member("bad-1.0/link", str(outside / "escaped")), member("bad-1.0/link")],
        ]
        for number, members in enumerate(several):
            archive = make_sdist(tmp_path / str(number), "bad", members)
            with pytest.raises(ResolutionError):
                bench.resolve(str(archive))
        assert escaped(tmp_path) == []

    def test_a_local_tree_is_built_from_its_content_and_never_stale(self, bench, tree):
        source = Source(str(tree), "digest")
        assert inside(bench.create(None, source), "import app; print(app.VALUE)") == "1"
        code = tree / "src" / "app.py"
        before = code.stat()
        code.write_text("VALUE = 2\n")
        os.utime(code, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert inside(bench.create(None, source), "import app; print(app.VALUE)") == "2"

    def test_building_a_local_tree_leaves_nothing_in_it(self, bench, tree):
        before = sorted(tree.rglob("*"))
        bench.create(None, Source(str(tree), "digest"))
        left = {path.name for path in set(tree.rglob("*")) - set(before)}
        assert left <= {"__pycache__"} | {path.name for path in tree.rglob("__pycache__/*")}

    def test_an_editable_tree_shows_its_edits_without_another_build(self, bench, tree):
        directory = bench.create(None, Source(str(tree), "digest", editable=True))
        assert inside(directory, "import app; print(app.VALUE)") == "1"
        (tree / "src" / "app.py").write_text("VALUE = 22\n")
        assert inside(directory, "import app; print(app.VALUE)") == "22"

    def test_local_sources_go_in_without_their_dependencies(self, bench, tmp_path, tree):
        wheel = make_wheel(tmp_path, "mine", "1.0", requires=["lib>=99"])
        directory = bench.create(None, Source(str(tree), "a"), Source(str(wheel), "b"))
        assert installed(directory).keys() >= {"app", "mine"}
        assert "lib" not in installed(directory)

    def test_a_wheel_that_was_replaced_under_its_name_is_not_stale(self, bench, tmp_path):
        for value in ("1", "2"):
            modules = {"mine.py": f"VALUE = {value}\n"}
            wheel = make_wheel(tmp_path, "mine", "1.0", modules=modules)
            directory = bench.create(None, Source(str(wheel), value))
            assert inside(directory, "import mine; print(mine.VALUE)") == value

    def test_a_local_source_replaces_what_was_pinned_of_the_same_name(self, bench, tmp_path):
        wheel = make_wheel(tmp_path, "lib", "7.0")
        directory = bench.create(bench.resolve("lib==1.0"), Source(str(wheel), "digest"))
        assert installed(directory)["lib"] == "7.0"

    def test_a_tree_that_does_not_build_fails_with_the_words_of_its_build(self, bench, tree):
        (tree / "backend.py").write_text("raise RuntimeError('no compiler here')\n")
        with pytest.raises(BuildError) as caught:
            bench.create(None, Source(str(tree), "digest"))
        assert "no compiler here" in caught.value.output
        assert str(tree) in caught.value.purpose

    def test_a_wheel_of_a_tree_can_be_built_once_and_installed_often(
        self, bench, interpreter, tree, tmp_path
    ):
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        wanted = Wanted(bench.spec(), interpreter, (), tree, bench.environ)
        bench.backend.build_wheel(tree, wanted, wheels, bench.run)
        (wheel,) = wheels.glob("*.whl")
        (tree / "src" / "app.py").write_text("VALUE = 'of the tree'\n")
        source = Source(str(tree), "digest", wheel=str(wheel))
        assert inside(bench.create(None, source), "import app; print(app.VALUE)") == "1"

    # Checking

    @pytest.fixture(scope="class")
    @classmethod
    def environment(cls, backend, environ, fields, tmp_path_factory):
        """An environment as the whole chain makes it, and the facts that it recorded."""
        place = tmp_path_factory.mktemp("provisioned")
        settings = dataclasses.replace(
            _settings.gather(place, cache=place / "cache"), environ=environ
        )
        provisioner = Provisioner(settings, [backend])
        spec = EnvSpec(requirements=("lib==1.0",), backend=backend.name, **fields)
        environment = provisioner.environment(EnvName("contract"), spec)
        facts = read_json(environment.path.parent / "manifest.json")["facts"]
        return environment, facts

    def test_a_sound_environment_passes_its_check(self, backend, environment):
        there, facts = environment
        assert backend.check(there.path, facts) is None

    def test_a_distribution_that_is_missing_is_seen_and_named(self, backend, environment):
        there, facts = environment
        code = "import importlib.metadata as m; print(m.distribution('lib')._path)"
        with moved_away(Path(inside(there.path, code))):
            assert "lib-1.0.dist-info" in backend.check(there.path, facts)
        assert backend.check(there.path, facts) is None

    def test_a_module_that_is_missing_is_seen_and_named(self, backend, environment):
        there, facts = environment
        with moved_away(Path(inside(there.path, "import lib; print(lib.__file__)"))):
            assert "lib.py" in backend.check(there.path, facts)

    def test_an_interpreter_that_is_gone_is_seen(self, backend, environment):
        there, facts = environment
        with moved_away(there.python):
            assert "interpreter" in backend.check(there.path, facts)

    def test_an_interpreter_that_is_another_one_now_is_seen(
        self, backend, environment, interpreter, tmp_path
    ):
        there, facts = environment
        (tmp_path / "python").write_bytes(Path(interpreter.real_path).read_bytes())
        with moved_away(there.python):
            there.python.symlink_to(tmp_path / "python")
            reason = backend.check(there.path, facts)
            there.python.unlink()
        assert "interpreter" in reason

    def test_an_environment_that_is_gone_is_seen(self, backend, environment, tmp_path):
        _, facts = environment
        assert backend.check(tmp_path / "nothing", facts)

    def test_a_sound_environment_has_no_damage_in_any_file(self, backend, environment):
        there, facts = environment
        inside(there.path, "import lib, compileall as c; c.compile_file(lib.__file__, force=True)")
        assert list(backend.examine(there.path, facts, thoroughly=True)) == []

    @pytest.mark.parametrize("thoroughly", [True, False])
    def test_a_file_that_was_edited_or_emptied_is_found_and_named(
        self, backend, environment, thoroughly
    ):
        there, facts = environment
        module = Path(inside(there.path, "import lib; print(lib.__file__)"))
        with moved_away(module):  # not in its place: the installer's cache may have the same file
            module.write_text("" if not thoroughly else "__version__ = '9.9'\n")
            (damage,) = backend.examine(there.path, facts, thoroughly=thoroughly)
            module.unlink()
        assert (damage.package, damage.path) == ("lib", str(module.relative_to(there.path)))
        assert damage.what

    def test_what_it_was_told_to_forget_is_fetched_anew(self, bench, tmp_path):
        environ = {**bench.environ, "UV_CACHE_DIR": str(tmp_path / "uv")}
        apart = dataclasses.replace(bench, environ=environ)
        resolution = apart.resolve("lib==1.0")
        damaged = apart.create(resolution)
        Path(inside(damaged, "import lib; print(lib.__file__)")).write_text("")
        bench.backend.forget(damaged, ["lib"], apart.run)
        assert inside(apart.create(resolution), "import lib; print(lib.__version__)") == "1.0"

    # Credentials

    @pytest.fixture(scope="class")
    @classmethod
    def private(cls, backend, interpreter, environ, fields, wheels, tmp_path_factory):
        """The same backend with an index that asks for a password."""
        index = PrivateIndex(wheels)
        place = tmp_path_factory.mktemp("private")
        variables = {name: index.url for name in environ if "INDEX" in name}
        environ = {**environ, **variables, "UV_CACHE_DIR": str(place / "cache")}
        scratch = tmp_path_factory.mktemp("private-bench")
        yield Bench(backend, interpreter, environ, scratch, fields)
        index.close()

    def test_credentials_are_used_but_stand_in_no_pin(self, private):
        resolution = private.resolve("lib==1.0")
        assert SECRET not in repr(resolution)
        assert installed(private.create(resolution))["lib"] == "1.0"
        assert files_with(private.scratch, SECRET) == []

    def test_pins_of_a_private_index_can_be_installed_with_a_cold_cache(self, private, tmp_path):
        resolution = private.resolve("lib==1.0")
        cold = {**private.environ, "UV_CACHE_DIR": str(tmp_path / "cold")}
        elsewhere = dataclasses.replace(private, environ=cold)
        assert installed(elsewhere.create(resolution))["lib"] == "1.0"

    def test_credentials_stand_in_no_error(self, private):
        with pytest.raises(ResolutionError) as caught:
            private.resolve("no-such-package==1.0")
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)

    def test_the_index_counts_for_the_key_and_its_credentials_do_not(self, backend, environ):
        def inputs(prefix):
            names = [name for name in environ if "INDEX" in name]
            return backend.index_inputs(dict.fromkeys(names, f"{prefix}example.org/simple"))

        assert inputs("https://me:one@") == inputs("https://me:two@")
        assert SECRET not in repr(inputs(f"https://me:{SECRET}@"))
        assert inputs("https://me:one@") != inputs("https://me:one@mirror.")
