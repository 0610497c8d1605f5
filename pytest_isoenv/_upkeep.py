"""What lies in the store, what it takes up, and what of it can go.

Whatever goes is first locked as its builder would lock it, so nothing amid being made is lost.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pytest_isoenv._files import read_json
from pytest_isoenv._store import Store, manifest_in

#: The bytes of each file by its identity, and how many names it has: hard links count once.
Files = Mapping[tuple[int, int], tuple[int, int]]
Kind = Literal["environment", "resolution", "wheels", "remains"]


@dataclasses.dataclass(frozen=True)
class Kept:
    """One thing in the store.

    ``name`` is the key of an environment, the intent of a resolution, or the digest of the tree
    that wheels were built of; ``remains`` are what
    builds that were killed, or repaired, have left of one. ``built`` and ``used`` are times
    (seconds since the epoch), ``seconds`` is how long building took. ``known_as`` are the
    projects' directories and the names that an environment has there now.
    """

    kind: Kind
    name: str
    path: Path
    used: float
    files: Files = dataclasses.field(repr=False)
    built: float = 0.0
    seconds: float = 0.0
    python: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    known_as: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Its files' bytes, each file once."""
        return sum(size for size, _ in self.files.values())

    @property
    def own_size(self) -> int:
        """The bytes that are free when it is gone: those of files with no other name."""
        return sum(size for size, names in self.files.values() if names == 1)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What may stay: nothing unused for longer than ``age`` (seconds), ``size`` bytes in all."""

    age: float | None = None
    size: int | None = None


@dataclasses.dataclass(frozen=True)
class Pruned:
    """Something that goes, and why; ``busy`` if it stayed since somebody was at work on it."""

    kept: Kept
    why: str
    busy: bool = False


def total(things: Iterable[Kept]) -> int:
    """The bytes of all of them, files that they share counted once."""
    files: dict[tuple[int, int], int] = {}
    for kept in things:
        files.update({identity: size for identity, (size, _) in kept.files.items()})
    return sum(files.values())


def contents(store: Store) -> list[Kept]:
    """Everything in the store, the most recently used first."""
    labels = _labels(store)
    environments = list(_environments(store, labels))
    # Whoever uses an environment uses what lies beneath it.
    uses = {name: max(above) for name, above in _uses_from_above(environments).items()}
    found = [
        dataclasses.replace(kept, used=max(kept.used, uses.get(kept.name, 0.0)))
        for kept in environments
    ]
    found += [*_resolutions(store), *_wheels(store)]
    return sorted(found, key=lambda kept: (kept.used, kept.name in uses), reverse=True)


def _uses_from_above(environments: Iterable[Kept]) -> dict[str, list[float]]:
    """When the environments above each one were used, by its key."""
    found: dict[str, list[float]] = {}
    for kept in environments:
        for name, text in kept.inputs.items():
            if name.startswith("layer "):
                found.setdefault(text.split(" ")[0], []).append(kept.used)
    return found


def _labels(store: Store) -> dict[str, list[tuple[str, str]]]:
    """The projects that had an environment last, by its key."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(_children(store.home / "latest")):
        latest = read_json(path)
        if isinstance(latest, dict) and {"key", "label"} <= latest.keys():
            root, _, name = latest["label"].partition("\0")
            found.setdefault(latest["key"], []).append((root, name))
    return found


def _environments(store: Store, labels: Mapping[str, list[tuple[str, str]]]) -> Iterator[Kept]:
    for place in _children(store.home / "environments"):
        manifest = manifest_in(place)
        published = manifest["directory"] if manifest else None
        for directory in _children(place):
            if directory.name != published and directory.is_dir():
                yield Kept("remains", place.name, directory, _time(directory), _files(directory))
        if manifest is None:
            if not any(_children(place)):
                yield Kept("remains", place.name, place, _time(place), {})
            continue
        yield Kept(
            kind="environment",
            name=place.name,
            path=place / manifest["directory"],
            used=_time(place / "manifest.json"),
            files=_files(place / manifest["directory"]),
            built=manifest.get("built", 0.0),
            seconds=manifest.get("seconds", 0.0),
            python=manifest["facts"].get("python", ""),
            facts=manifest["facts"],
            inputs=manifest["inputs"],
            known_as=tuple(sorted(labels.get(place.name, ()))),
        )


def _resolutions(store: Store) -> Iterator[Kept]:
    for directory in _children(store.home / "resolutions"):
        pin = directory / "pin.json"
        kind: Kind = "resolution" if pin.is_file() else "remains"
        yield Kept(kind, directory.name, directory, _time(directory), _files(directory), _time(pin))


def _wheels(store: Store) -> Iterator[Kept]:
    for directory in _children(store.home / "wheels"):
        used = _time(directory)
        yield Kept("wheels", directory.name, directory, used, _files(directory), used)


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:  # it is not there, or somebody has just removed it
        return []


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _files(directory: Path) -> Files:
    found = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - there are many
            except OSError:
                continue
            found[status.st_dev, status.st_ino] = status.st_size, status.st_nlink
    return found


def prune(store: Store, limits: Limits, *, dry_run: bool = False) -> list[Pruned]:
    """Remove what nobody can use, and what is beyond the limits; says what went and why.

    With ``dry_run`` it only says.
    """
    if not dry_run:
        store.sweep()
    now = time.time()
    return [
        Pruned(kept, why, busy=not _remove(store, kept, dry_run=dry_run))
        for kept, why in condemned(contents(store), limits, now)
    ]


def condemn(store: Store, kept: Kept) -> bool:
    """Let an environment be built anew when it is wanted next; those who run in it go on.

    Whether it was done: not if somebody is building it, or has built another generation.
    """
    manifest = kept.path.parent / "manifest.json"
    with store.alone_with(f"environment-{kept.name}") as alone:
        if not alone or (manifest_in(kept.path.parent) or {}).get("directory") != kept.path.name:
            return False
        manifest.unlink(missing_ok=True)
    return True


def condemned(things: list[Kept], limits: Limits, now: float) -> list[tuple[Kept, str]]:
    """What is to go and why, of all things in the store (the most recently used first)."""
    going = [(kept, "left by a build") for kept in things if kept.kind == "remains"]
    staying = [kept for kept in things if kept.kind != "remains"]
    if limits.age is not None:
        old = [kept for kept in staying if now - kept.used > limits.age]
        going += [(kept, "unused") for kept in old]
        staying = [kept for kept in staying if kept not in old]
    if limits.size is not None:
        going += [(kept, "beyond the size") for kept in _beyond(limits.size, staying)]
    return going


def _beyond(limit: int, things: Iterable[Kept]) -> Iterator[Kept]:
    """The environments that were used the longest ago, so that the others keep to the limit.

    Resolutions take next to nothing, and they make builds repeatable.
    """
    files: set[tuple[int, int]] = set()
    size = 0
    for kept in things:
        if kept.kind == "environment":
            size += sum(kept.files[identity][0] for identity in kept.files.keys() - files)
            files |= kept.files.keys()
            if size > limit:
                yield kept


# What the store calls the lock of something in each of its directories.
_LOCKS = {"environments": "environment", "resolutions": "resolution", "wheels": "wheels"}


def _remove(store: Store, kept: Kept, *, dry_run: bool) -> bool:
    """Whether it could be removed: nobody was at work on it, or has used it since."""
    is_environment = kept.path.is_relative_to(store.home / "environments")
    kind = "environments" if is_environment else kept.path.parent.name
    name = f"{_LOCKS[kind]}-{kept.name}"
    with store.alone_with(name) as alone:
        if not alone or _has_changed(kept):
            return False
        if dry_run:
            return True
        if kept.kind == "environment":
            # From now on it does not exist for anybody who looks.
            (kept.path.parent / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(kept.path, ignore_errors=True)
        if is_environment and not _children(kept.path.parent):
            shutil.rmtree(kept.path.parent, ignore_errors=True)
    return True


def _has_changed(kept: Kept) -> bool:
    """Whether it was used or, if it was what a build left, finished since it was looked at."""
    if kept.kind == "environment":
        return _time(kept.path.parent / "manifest.json") > kept.used
    if kept.kind in ("resolution", "wheels"):
        return _time(kept.path) > kept.used
    manifest = manifest_in(kept.path.parent)
    return (manifest or {}).get("directory") == kept.path.name or (kept.path / "pin.json").is_file()
