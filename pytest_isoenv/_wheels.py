"""Wheels of source trees: built once for each content, for all environments of fitting tags."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.utils import parse_wheel_filename

from pytest_isoenv._files import read_json
from pytest_isoenv._layout import digest
from pytest_isoenv._steps import reached
from pytest_isoenv._store import Store, used
from pytest_isoenv.errors import BuildError
from pytest_isoenv.pinned import Interpreter

# Of a wheel that any Python can use, and any platform.
_ANY = "any"
_NOTE = "wheel.json"

#: Builds a tree into a directory.
Build = Callable[[Path], None]


class NotBuilt(LookupError):
    """There is no wheel, and none was to be built."""


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A built wheel, and the digest of what is in it, whenever it was packed."""

    path: Path
    digest: str


def wheel_of(store: Store, tree: str, interpreter: Interpreter, build: Build | None) -> Wheel:
    """The wheel for an interpreter of the tree whose content has the digest ``tree``.

    Raises :exc:`NotBuilt` where there is none, and ``build`` is None.
    """
    found = _kept(store.kept_wheels(tree), interpreter)
    if found is not None:
        used(store.kept_wheels(tree))
        return found
    if build is None:
        raise NotBuilt(tree)
    with store.wheels(tree) as home:
        return _kept(home, interpreter) or _build(store, home, interpreter, build)


def _kept(home: Path, interpreter: Interpreter) -> Wheel | None:
    for kind in (_ANY, _kind(interpreter)):
        note = read_json(home / kind / _NOTE)
        if isinstance(note, dict) and isinstance(note.get("digest"), str):
            path = next((home / kind / note["digest"]).glob("*.whl"), None)
            # What a power loss has left of a file is shorter than the file was.
            if path is not None and path.stat().st_size == note.get("size", path.stat().st_size):
                return Wheel(path, note["digest"])
    return None


def damaged(home: Path) -> Iterator[Path]:
    """The wheels of one tree that are not what they were when they were built."""
    for file in sorted(home.glob(f"*/{_NOTE}")):
        noted = str((read_json(file) or {}).get("digest"))
        for wheel in sorted((file.parent / noted).glob("*.whl")):
            try:
                is_whole = _content(wheel) == noted
            except (OSError, zipfile.BadZipFile, zlib.error):
                is_whole = False
            if not is_whole:
                yield wheel


def disown(store: Store, tree: str, wheel: Path) -> None:
    """Let a wheel be built anew when it is wanted next."""
    with store.wheels(tree):
        (wheel.parent.parent / _NOTE).unlink(missing_ok=True)


def _build(store: Store, home: Path, interpreter: Interpreter, build: Build) -> Wheel:
    reached("build a wheel", home)
    wheel = built(build, store.ephemeral())
    tags = parse_wheel_filename(wheel.path.name)[3]
    is_pure = any(
        (tag.interpreter, tag.abi, tag.platform) == ("py3", "none", "any") for tag in tags
    )
    kind = home / (_ANY if is_pure else _kind(interpreter))
    reached("keep the wheel", kind)
    (kind / wheel.digest).mkdir(parents=True, exist_ok=True)
    kept = wheel.path.replace(kind / wheel.digest / wheel.path.name)
    # Published last: a wheel without its note does not exist for anybody.
    store.write(kind / _NOTE, {"digest": wheel.digest, "size": kept.stat().st_size})
    return Wheel(kept, wheel.digest)


def _kind(interpreter: Interpreter) -> str:
    inputs = interpreter.key_inputs()
    return digest(" ".join(inputs[name] for name in ("abi", "platform", "libc", "implementation")))


def built(build: Build, directory: Path) -> Wheel:
    """Build into an empty directory; raises BuildError if no wheel comes of it."""
    build(directory)
    wheels = list(directory.glob("*.whl"))
    if len(wheels) != 1:
        found = ", ".join(wheel.name for wheel in wheels) or "nothing"
        raise BuildError("building a wheel", "the build backend", 0, f"it made {found}")
    return Wheel(wheels[0], _content(wheels[0]))


def _content(wheel: Path) -> str:
    """Over the names and contents of its files: archives of equal files may differ in times."""
    hasher = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            hasher.update(f"{name} {hashlib.sha256(archive.read(name)).hexdigest()}\n".encode())
    return hasher.hexdigest()[:20]
