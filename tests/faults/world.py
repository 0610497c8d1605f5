"""A project, an index and a cache of its own, and the jobs that are done there."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import shutil
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.faults.child import Answer, Child, Order
from tests.faults.state import manifests
from tests.packages import Index, make_project, make_wheel

_DAY = 24 * 3600
# v1, environments, KEY, 1, and then what is in it.
_INSIDE = 4
_PACKAGES = dict.fromkeys(("lib", "other", "moving", "own1", "own2"), ("1.0",))
_YAML = """
environments:
  base: {project: none}
  bystander: {dependencies: [other==1.0]}
  app: {dependencies: [lib==1.0]}
  moving: {dependencies: ["moving>=1"]}
  whole: {project: wheel, local: [../tree]}
  heavy: {dependencies: [lib==1.0, other==1.0]}
  thin: {layers: [heavy], dependencies: [moving==1.0]}
  old: {dependencies: [lib==1.0, moving==1.0]}
  old-tree: {local: [../old-tree]}
  own-1: {dependencies: [own1==1.0]}
  own-2: {dependencies: [own2==1.0]}
"""


def running(name: str, code: str, *options: str) -> tuple[str, ...]:
    """The arguments that run code in an environment, which must print what is there."""
    code = f"import pytest; {code}"
    return ("run", *options, name, "--", "python", "-c", code)


def _version(package: str) -> str:
    return f"import {package}; print('{package}', {package}.__version__)"


USE_APP = running("app", _version("lib"))
USE_WHOLE = running("whole", "import proj, tree; print('proj', proj.VALUE, 'tree', tree.VALUE)")
USE_THIN = running("thin", _version("moving") + "; " + _version("lib"))


class World:
    """Everything that jobs need, below one directory, and nothing that others have."""

    def __init__(self, directory: Path, packages: Mapping[str, Iterable[str]] = _PACKAGES) -> None:
        self.directory = directory
        self.cache = directory / "cache"
        self.home = self.cache / "v1"
        self._states = directory / "states"
        self._wheels = directory / "wheels"
        for path in (self._wheels, self._states, directory / "scratch"):
            path.mkdir(parents=True)
        make_wheel(self._wheels, "pytest", importlib.metadata.version("pytest"))
        for name, versions in {**_PACKAGES, **packages}.items():
            for version in versions:
                make_wheel(self._wheels, name, version)
        self._project = make_project(directory / "project", "proj")
        make_project(directory / "tree", "tree", code="VALUE = 2\n")
        make_project(directory / "old-tree", "oldtree")
        (self._project / "isoenv.yaml").write_text(textwrap.dedent(_YAML))
        self._index = Index(self._wheels)
        self._child = Child()

    def close(self) -> None:
        self._child.close()
        self._index.close()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a job: none of them speaks of what lies outside, but for ``PATH``."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory / "scratch"),
            "LC_ALL": "C.UTF-8",
            "UV_CACHE_DIR": str(self.directory / "uv"),
            "UV_DEFAULT_INDEX": self._index.url,
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def do(self, args: tuple[str, ...], *, child: Child | None = None, **fault: object) -> Answer:
        """Do a job; ``child`` does it at the same time as another one of this world."""
        child = child or self._child
        scratch = self.directory / "scratch" / str(id(child))
        scratch.mkdir(exist_ok=True)
        words = args.index("--") if "--" in args else len(args)
        place = ("--env-cache-dir", str(self.cache))
        told = (*args[:words], *place, *args[words:])
        order = Order(told, str(self._project), self.environ, str(scratch))
        return child.do(dataclasses.replace(order, **fault))  # type: ignore[arg-type]

    def must(self, *args: str, **fault: object) -> Answer:
        """Do a job that nothing may go wrong with."""
        answer = self.do(args, **fault)
        if answer.status != 0:
            raise RuntimeError(f"{args}: {answer}")
        return answer

    # The states that jobs begin with

    def prepare(self, job: Job) -> None:
        """Make the state that a job begins with, to come back to it with :meth:`restore`."""
        shutil.rmtree(self.cache, ignore_errors=True)
        job.before(self)
        kept = self._states / job.name
        if self.cache.exists():
            self._copy(self.cache, kept)
        else:
            kept.mkdir(mode=0o700)

    def restore(self, job: Job) -> None:
        shutil.rmtree(self.cache, ignore_errors=True)
        self._copy(self._states / job.name, self.cache)

    @staticmethod
    def _copy(state: Path, copy: Path) -> None:
        def copied(file: str, to: str) -> None:
            # What is in an environment is never written to.
            is_inside = len(Path(file).relative_to(state).parts) > _INSIDE
            (os.link if is_inside else shutil.copy2)(file, to)

        shutil.copytree(state, copy, symlinks=True, copy_function=copied)

    def environment(self, name: str) -> Path:
        """The directory of an environment that is there; it starts no process but the command."""
        return Path(self.must("path", name).out.strip())

    def age(self) -> None:
        """Let everything that is kept be unused for two days, as far as it goes by its times."""
        then = time.time() - 2 * _DAY
        for path in (*manifests(self.home), *self.home.glob("resolutions/*")):
            os.utime(path, (then, then))
        for path in self.home.glob("wheels/*"):
            os.utime(path, (then, then))

    def move_on(self) -> None:
        """A new version comes out."""
        make_wheel(self._wheels, "moving", "2.0")


def break_environment(directory: Path, package: str) -> None:
    """Let an environment lose a package; what its files are linked to stays as it is."""
    for path in directory.glob(f"lib/python*/site-packages/{package}-*.dist-info"):
        shutil.rmtree(path, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Job:
    """A command, what it prints if all is right, and the state that it begins with.

    ``prune`` is what tidies up in the end.
    """

    name: str
    args: tuple[str, ...]
    says: str
    before: Callable[[World], None]
    prune: tuple[str, ...] = ("prune",)


def _nothing(world: World) -> None:
    """Not even the root."""


def _bystander(world: World) -> None:
    world.must("build", "bystander")


def _layer(world: World) -> None:
    world.must("build", "bystander", "heavy")


def _app(world: World) -> None:
    world.must("build", "bystander", "app")


def _behind(world: World) -> None:
    world.must("build", "bystander", "moving")
    world.move_on()


def _broken(world: World) -> None:
    _app(world)
    break_environment(world.environment("app"), "lib")


def _rubbish(world: World) -> None:
    """All that there can be to tidy up."""
    _broken(world)
    world.must("build", "app")  # a second generation
    world.must("build", "old", "old-tree", "--jobs", "1")
    world.age()
    world.must("build", "bystander", "app")
    world.do(running("old", "1", "--env-refresh"), step="create", nth=1, fault="SIGKILL")
    left = world.home / "trash" / "1-0123abcd"  # of a kill between taking away and deleting
    left.mkdir(parents=True)
    (left / "file").write_text("")


def _due(world: World) -> None:
    _rubbish(world)
    world.must("prune", "--automatic", "on", "--older-than", "1d", "--dry-run")
    (world.home / "upkeep.json").write_text('{"age": 86400, "last": 0}')


# A cache that was killed as it cleaned itself does so again on the next day.
_PRUNE = ("prune", "--older-than", "1d")
JOBS = (
    Job("first", USE_APP, "lib 1.0", _nothing),
    Job("wheel", USE_WHOLE, "proj 1 tree 2", _bystander),
    Job("layer", USE_THIN, "moving 1.0\nlib 1.0", _layer),
    Job("ephemeral", (*USE_APP[:1], "--env-refresh", *USE_APP[1:]), "lib 1.0", _bystander),
    Job("hit", USE_APP, "lib 1.0", _app),
    Job("heal", USE_APP, "lib 1.0", _broken),
    Job("upgrade", running("moving", _version("moving"), "--env-upgrade"), "moving 2.0", _behind),
    Job("prune", _PRUNE, "removed", _rubbish),
    Job("tidy", USE_APP, "lib 1.0", _due, _PRUNE),
)
#: The cheapest jobs that reach every step together.
FEW = tuple(
    job for name in ("prune", "heal", "ephemeral", "wheel") for job in JOBS if job.name == name
)
