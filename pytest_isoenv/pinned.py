"""What will be built: :class:`PinnedEnv`, every artefact with its hash, and the key of it all.

A *pin* is what resolving gives; a *lock* is either a file lock or a lock file somebody committed.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NewType

from pytest_isoenv._layout import SCHEMA, digest
from pytest_isoenv.spec import EnvSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from packaging.pylock import Pylock

#: What :func:`explain` says of a layer with the same content in another directory.
BUILT_AGAIN = "was built again"

# The runner layer among the inputs of a key; no declared environment can be called so.
_RUNNER = "layer of pytest"

# How many digits (hexadecimal) a hash has, of those that have always as many.
_DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}

#: Names one environment's content: equal keys are interchangeable directories.
EnvKey = NewType("EnvKey", str)
#: Names one request to resolve: equal intents may share a kept resolution.
IntentKey = NewType("IntentKey", str)


#: The oldest Python that a worker runs on.
OLDEST = (3, 8)


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """A Python on this machine, as it described itself when it was probed.

    ``executable`` is the path to start it by, ``real_path`` where that leads; ``size`` (bytes)
    and ``mtime_ns`` are of the file there, and tell whether the probe still holds. ``markers`` are
    the variables of its environment markers (PEP 508), sorted by name.
    """

    executable: str
    real_path: str
    version: str
    implementation: str
    abi: str
    platform: str
    libc: str
    size: int
    mtime_ns: int
    markers: tuple[tuple[str, str], ...] = ()

    @property
    def free_threaded(self) -> bool:
        """Whether it was built to run without the global lock (PEP 703)."""
        return re.match(r"cpython-\d+d?t", self.abi) is not None

    @property
    def release(self) -> tuple[int, ...]:
        """The numbers of its version: ``(3, 12, 4)``."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version)[:3])

    @property
    def label(self) -> str:
        """What to call it in a message: ``3.12.4``, ``3.13.0t``, ``pypy 3.11.9``."""
        kind = "t" if self.free_threaded else ""
        implementation = "" if self.implementation == "cpython" else f"{self.implementation} "
        return f"{implementation}{self.version}{kind}"

    @property
    def marker_environment(self) -> dict[str, str]:
        """What the markers of requirements are evaluated in; empty if it was not probed."""
        return dict(self.markers)

    def key_inputs(self) -> dict[str, str]:
        """What an environment built on it hangs on; modification times do not count."""
        return {
            "python": self.version,
            "implementation": self.implementation,
            "abi": self.abi,
            "platform": self.platform,
            "libc": self.libc,
            "interpreter": self.real_path,
        }


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One distribution that will be installed from an index, an archive or a repository.

    ``hashed`` says that it is a wheel, or one for each of several platforms, known by its content.
    """

    name: str
    version: str
    digest: str
    hashed: bool = False


@dataclasses.dataclass(frozen=True)
class Source:
    """A wheel or source tree of this machine; goes in last, without its dependencies.

    ``digest`` is over the content: of the tree, for an editable one of its metadata files only,
    since the code stays where it is, and where ``wheel`` was built from the tree, of that.
    """

    path: str
    digest: str
    editable: bool = False
    wheel: str = ""

    @property
    def installable(self) -> str:
        """What an installer is given."""
        return self.wheel or self.path

    @property
    def is_wheel(self) -> bool:
        """Whether this is a built wheel, as opposed to a tree that must be built."""
        return self.installable.endswith(".whl")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A pinned package that is none of Python's, such as conda's.

    ``text`` is what its backend needs to install the same again, and nobody else reads.
    """

    name: str
    version: str
    digest: str
    text: str


@dataclasses.dataclass(frozen=True)
class Resolution:
    """What resolving gave: PEP 751 documents, and the local trees that requirements named.

    ``foreign`` are the packages of a backend that has others than Python's. ``resolved`` is when
    it was made (seconds since the epoch; None if nobody knows), and ``tried`` when it could not be
    made anew. ``note`` is what users should know about its being used. ``read`` are the artefacts
    that the documents pin, where somebody has read them: it takes longer than all else on a hit.
    """

    pylocks: tuple[str, ...]
    trees: tuple[tuple[str, bool], ...] = ()
    foreign: tuple[Foreign, ...] = ()
    resolved: float | None = None
    tried: float | None = None
    note: str = ""
    read: tuple[Artefact, ...] | None = None

    @cached_property
    def artefacts(self) -> tuple[Artefact, ...]:
        """The pinned distributions, sorted by name."""
        return _artefacts(self.pylocks) if self.read is None else self.read


@dataclasses.dataclass(frozen=True)
class Beneath:
    """A finished environment that lies under another: its directory, and what its key is."""

    name: str
    path: str
    key: str

    @property
    def told(self) -> str:
        """Its key, and which of its generations this is; not where its cache happens to be."""
        return f"{self.key} {PurePath(self.path).name}"


@dataclasses.dataclass(frozen=True)
class PinnedEnv:
    """An environment with nothing left open: the same pins give the same content anywhere.

    ``interpreter`` is None where the environment brings its own, as one of ``foreign``. What lies
    in the ``runner`` layer, where it has one, is pinned like anything else, and not installed. When
    it was resolved, and what there is to say of that, makes no other environment of it. ``read``
    are the artefacts that the documents pin, where somebody has read them.
    """

    spec: EnvSpec
    interpreter: Interpreter | None
    pylocks: tuple[str, ...]
    sources: tuple[Source, ...]
    beneath: tuple[Beneath, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    runner: Beneath | None = None
    resolved: float | None = dataclasses.field(default=None, compare=False)
    note: str = dataclasses.field(default="", compare=False)
    read: tuple[Artefact, ...] | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def base(self) -> Interpreter:
        """The interpreter that it is built on; only for an environment that brings none."""
        assert self.interpreter is not None
        return self.interpreter

    @cached_property
    def artefacts(self) -> tuple[Artefact, ...]:
        """The pinned distributions, sorted by name."""
        return _artefacts(self.pylocks) if self.read is None else self.read

    def key_inputs(self) -> dict[str, str]:
        """Everything the key is made of, by name, so that a change of key can be explained.

        The values of variables may be secrets: only their hashes stand here.
        """
        inputs = {"schema": SCHEMA, "backend": self.spec.backend}
        inputs |= self.interpreter.key_inputs() if self.interpreter is not None else {}
        for package in self.foreign:
            inputs[f"package {self.spec.backend}:{package.name}"] = (
                f"{package.version} {package.digest}"
            )
        for artefact in self.artefacts:
            inputs[f"package {artefact.name}"] = f"{artefact.version} {artefact.digest}"
        for source in self.sources:
            kind = "editable" if source.editable else "local"
            inputs[f"{kind} {source.path}"] = source.digest
        for name, value in self.spec.variables:
            inputs[f"variable {name}"] = digest(value)
        for layer in self.beneath:
            inputs[f"layer {layer.name}"] = layer.told
        if self.runner is not None:
            inputs[_RUNNER] = self.runner.told
        return inputs

    @cached_property
    def _key(self) -> EnvKey:
        return EnvKey(digest_of(self.key_inputs()))

    def key(self) -> EnvKey:
        """The hash over :meth:`key_inputs`."""
        return self._key


def _artefacts(pylocks: Iterable[str]) -> tuple[Artefact, ...]:
    found = {artefact for text in pylocks for artefact in read_pylock(text)}
    return tuple(sorted(found, key=lambda artefact: (artefact.name, artefact.version)))


def digest_of(inputs: Mapping[str, str]) -> str:
    """A short SHA-256 over named inputs, whatever their order."""
    return digest("\n".join(f"{name}={inputs[name]!r}" for name in sorted(inputs)))


def explain(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What changed between two environments' key inputs, such as ``python 3.12.4 -> 3.12.5``."""
    changes = []
    # That pytest lies in another layer follows from its version, say.
    names = {name for name in set(old) | set(new) if old.get(name) != new.get(name)}
    for name in sorted(names - {_RUNNER} or names):
        before, after = old.get(name), new.get(name)
        label = name.removeprefix("package ")
        if before is None:
            changes.append(f"{label} added")
        elif after is None:
            changes.append(f"{label} removed")
        else:
            changes.append(_change(label, before, after))
    return changes


def _change(label: str, before: str, after: str) -> str:
    was, now = before.split(" ")[0], after.split(" ")[0]
    if was == now and label.startswith("layer "):
        return f"{label} {BUILT_AGAIN}"
    if was == now or label.startswith(("local ", "editable ", "variable ")):
        return f"{label}: other content"
    return f"{label} {was} -> {now}"


@functools.lru_cache(maxsize=4)
def parse_pylock(text: str) -> Pylock:
    """A PEP 751 document, checked; raises ValueError for what is none.

    Several look at one while declarations are read, and a large one takes its time.
    """
    # Only projects with lock files pay for it, and whoever resolves.
    from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

    try:
        lock = Pylock.from_dict(tomllib.loads(text))
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise ValueError(str(error)) from None
    for package in lock.packages:
        for file in (*(package.wheels or ()), package.sdist, package.archive):
            for algorithm, value in file.hashes.items() if file is not None else ():
                _check_hash(package.name, algorithm, value)
    return lock


def _check_hash(package: str, algorithm: str, value: str) -> None:
    digits = _DIGITS.get(algorithm, len(value))
    if len(value) != digits or not re.fullmatch("[0-9a-fA-F]+", value):
        raise ValueError(f"{value!r} of {package} is no {algorithm}: it has {digits} digits (hex)")


def read_pylock(text: str) -> list[Artefact]:
    """The artefacts that a PEP 751 document names.

    The digest of each covers all its files (a package may have a wheel for each platform), or
    where it has no hash (a repository) the commit.
    """
    return [
        Artefact(
            package["name"],
            str(package.get("version", "")),
            digest(repr(_content(package))),
            _is_hashed(package),
        )
        for package in packages_of(text)
        if "directory" not in package
    ]


def _is_hashed(package: Mapping[str, Any]) -> bool:
    wheels = package.get("wheels", [])
    return bool(wheels) and all(wheel.get("hashes") for wheel in wheels)


def packages_of(text: str) -> list[dict[str, Any]]:
    """The packages of a PEP 751 document, as they stand there."""
    packages: list[dict[str, Any]] = tomllib.loads(text).get("packages", [])
    return packages


def _content(package: Mapping[str, Any]) -> list[str]:
    files = [*package.get("wheels", []), package.get("sdist"), package.get("archive")]
    hashes = [f"{k}:{v}" for file in files if file for k, v in file.get("hashes", {}).items()]
    return sorted(hashes) or [str(package.get("vcs", {}).get("commit-id", package))]


def pylock_trees(text: str) -> list[tuple[str, bool]]:
    """The local source trees that a PEP 751 document names: their paths, and whether editable."""
    return [
        (package["directory"]["path"], bool(package["directory"].get("editable", False)))
        for package in packages_of(text)
        if "directory" in package
    ]
