"""What a cache must be like, looked at from outside: nothing half, nothing lost, no rubbish."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_isoenv._process import MARK

# What may lie at the top of v1.
_KNOWN = {
    "ahead",
    "environments",
    "interpreters.json",
    "latest",
    "leases",
    "locks",
    "resolutions",
    "runs",
    "trash",
    "upkeep.json",
    "wheels",
}
_LOCKED = {"environment": "environments", "resolution": "resolutions", "wheels": "wheels"}
# What the state is kept in, but for what is in the environments themselves.
_SMALL = ("*.json", "*.lock", "pylock.toml", "*.in", "*.txt", "*.hidden", "*@*")


def manifests(home: Path) -> list[Path]:
    return sorted(home.glob("environments/*/manifest.json"))


def manifest(path: Path) -> dict[str, Any] | None:
    """What publishes an environment; None where there is no such."""
    try:
        read = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return read if isinstance(read, dict) else None


def published(home: Path) -> set[str]:
    """Everything that can be found by whoever wants it."""
    read = filter(None, map(manifest, manifests(home)))
    found = {f"environment {_described(one['inputs'])}" for one in read}
    for kind, note in (("resolutions", "pin.json"), ("wheels", "*/wheel.json")):
        places = {path.relative_to(home / kind).parts[0] for path in home.glob(f"{kind}/*/{note}")}
        found |= {f"{kind} {name}" for name in places}
    return found


def _described(inputs: dict[str, str]) -> str:
    """What it was made of; but not which generation of another one it lies on."""
    told = {name: text for name, text in inputs.items() if not name.startswith("layer ")}
    names = [name.partition(" ")[2] for name in told if name.startswith("package ")]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    return f"{' '.join(sorted(names))} ({digest})"


def small_files(home: Path) -> dict[Path, bytes]:
    """The files that keep the state, and their content."""
    found = {}
    for pattern in _SMALL:
        for path in home.rglob(pattern):
            if path.is_file() and not _is_inside(home, path):
                found[path] = path.read_bytes()
    return found


def _is_inside(home: Path, path: Path) -> bool:
    """Whether it is a part of an environment, or of what is thrown away."""
    kind, *parts = path.relative_to(home).parts
    depth = {"environments": 2, "runs": 1, "trash": 1}.get(kind)
    return depth is not None and len(parts) > depth


def half(home: Path) -> list[str]:
    """The environments that are published and not whole, and what each of them lacks.

    Those with a package that says so are for breaking, and do not count.
    """
    found = []
    for path in manifests(home):
        for _ in range(2):  # between two looks somebody may have taken it away
            read = manifest(path)
            lacks = _lacks(path.parent, read) if read else None
            if lacks is None or any(name.startswith("package own") for name in read["inputs"]):
                break
        else:
            if manifest(path) == read:
                found.append(f"half: {path.parent.name}: {lacks}")
    return found


def _lacks(place: Path, read: dict[str, Any]) -> str | None:
    directory = place / read["directory"]
    if not os.access(directory / "bin" / "python", os.X_OK):
        return f"{directory.name}/bin/python"
    for name in read["facts"]["own"]:
        if not any(directory.glob(f"lib/python*/site-packages/{name}-*.dist-info/RECORD")):
            return name
    try:
        return next(_wrong(directory), None)
    except OSError as error:
        return str(error)


def _wrong(directory: Path) -> Iterator[str]:
    """Files that are not what the record of their distribution says."""
    for record in directory.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        with record.open(newline="") as file:
            for name, told, _ in csv.reader(file):
                data = (record.parents[1] / name).read_bytes()
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                if told and told != f"sha256={digest.decode()}":
                    yield f"{name} is not as recorded"


def picture(place: Path) -> dict[str, Any]:
    """What an environment is, to be compared with what it is later."""
    found: dict[str, Any] = {"manifest.json": (place / "manifest.json").read_bytes()}
    for directory, _, names in os.walk(place):
        for path in (Path(directory, name) for name in names if name != "manifest.json"):
            status = path.lstat()
            where = str(path.readlink()) if path.is_symlink() else ""
            found[str(path.relative_to(place))] = (status.st_size, status.st_mtime_ns, where)
    return found


def rubbish(home: Path) -> list[str]:
    """What is no use to anybody while nobody is at work."""
    return [f"rubbish: {path.relative_to(home)}" for path in _rubbish(home)]


def _rubbish(home: Path) -> Iterator[Path]:
    yield from (path for path in home.iterdir() if path.name not in _KNOWN)
    for name in ("runs", "leases", "trash"):
        yield from (home / name).glob("*")
    for place in home.glob("environments/*"):
        read = manifest(place / "manifest.json")
        names = {"manifest.json", read["directory"]} if read else set()
        yield from (path for path in place.iterdir() if path.name not in names)
        if read is None:
            yield place
    for kind, note in (("resolutions", "pin.json"), ("wheels", "*/wheel.json")):
        yield from (path for path in home.glob(f"{kind}/*") if not any(path.glob(note)))
    for kind, _, names in os.walk(home):
        if not _is_inside(home, Path(kind, "x")):
            yield from (Path(kind, n) for n in names if n[0] == "." or n.endswith(".hidden"))
    yield from _wheels_without_note(home)
    yield from _locks_of_nothing(home)


def _wheels_without_note(home: Path) -> Iterator[Path]:
    for kind in home.glob("wheels/*/*"):
        note = manifest(kind / "wheel.json")
        names = {"wheel.json", note["digest"]} if note else set()
        yield from (path for path in kind.iterdir() if path.name not in names)


def _locks_of_nothing(home: Path) -> Iterator[Path]:
    for lock in home.glob("locks/*.lock"):
        kind, _, name = lock.stem.partition("-")
        if lock.stem != "upkeep" and not (home / _LOCKED[kind] / name).exists():
            yield lock
    for path in home.glob("latest/*.json"):
        latest = manifest(path)
        if latest is None or not (home / "environments" / latest["key"]).exists():
            yield path
    for path in home.glob("ahead/*.json"):
        note = manifest(path)
        if note is None or not Path(note["layer"]).parent.exists():
            yield path


def processes(directory: Path) -> list[str]:
    """The processes that work below a directory, or are marked as those of a run there."""
    own, found = str(directory).encode(), []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            environ = (proc / "environ").read_bytes()
            command = (proc / "cmdline").read_bytes()
        except OSError:  # gone, or somebody else's
            continue
        is_marked = f"{MARK}=".encode() in environ and own in environ
        if is_marked or own in command:
            words = command.replace(b"\0", b" ").decode(errors="replace")
            found.append(f"process: {proc.name} {words.strip()}")
    return found
