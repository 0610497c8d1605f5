"""What lies in the store, what it takes up, and what of it can go.

Whatever goes is locked as its builder would lock it, so nothing amid being made is lost; and it is
hidden before it goes, so that nothing is lost that a run has found and leased meanwhile.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pytest_isoenv._files import children, read_json
from pytest_isoenv._limits import Limits
from pytest_isoenv._steps import reached
from pytest_isoenv._store import Store, manifest_in
from pytest_isoenv._trash import delete

#: By the identity of a file: its bytes, how many names it has (hard links), how many of them here.
Files = Mapping[tuple[int, int], tuple[int, int, int]]
Kind = Literal["environment", "resolution", "wheels", "remains"]


@dataclasses.dataclass(frozen=True)
class Kept:
    """One thing in the store.

    ``name`` is the key of an environment, the intent of a resolution, or the digest of the tree
    that wheels were built of; ``remains`` are what builds that were killed, or repaired, have left
    of one. ``thing`` is what it is locked and leased as. ``built`` and ``used`` are times
    (seconds since the epoch), ``seconds`` is how long building took; ``in_use`` says that a run
    uses it now. ``known_as`` are the projects' directories and the names that an environment has
    there now.
    """

    kind: Kind
    name: str
    path: Path
    thing: str
    used: float
    built: float = 0.0
    seconds: float = 0.0
    python: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    known_as: tuple[tuple[str, str], ...] = ()
    in_use: bool = False

    @cached_property
    def files(self) -> Files:
        """The files in it, looked up when somebody asks: there may be many."""
        return _files(self.path)

    @property
    def size(self) -> int:
        """Its files' bytes, each file once."""
        return total([self])

    @property
    def own_size(self) -> int:
        """The bytes that are free when it is gone: those of files with no name elsewhere."""
        return exclusive([self])


@dataclasses.dataclass(frozen=True)
class Pruned:
    """Something that goes, and why; ``busy`` if it stayed since somebody was at work on it."""

    kept: Kept
    why: str
    busy: bool = False


def total(things: Iterable[Kept]) -> int:
    """The bytes of all of them, files that they share counted once."""
    return sum(size for size, _, _ in _united(things).values())


def exclusive(things: Iterable[Kept]) -> int:
    """The bytes that are free when all of them are gone: other files have names elsewhere."""
    return sum(size for size, names, here in _united(things).values() if names == here)


def _united(things: Iterable[Kept]) -> dict[tuple[int, int], tuple[int, int, int]]:
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for kept in things:
        for identity, (size, names, here) in kept.files.items():
            found[identity] = size, names, here + found.get(identity, (0, 0, 0))[2]
    return found


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
    in_use = store.runs.in_use()
    found += [*_resolutions(store), *_wheels(store)]
    found = [dataclasses.replace(kept, in_use=kept.thing in in_use) for kept in found]
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
    for path in sorted(children(store.home / "latest")):
        latest = read_json(path)
        if isinstance(latest, dict) and {"key", "label"} <= latest.keys():
            root, _, name = latest["label"].partition("\0")
            found.setdefault(latest["key"], []).append((root, name))
    return found


def _environments(store: Store, labels: Mapping[str, list[tuple[str, str]]]) -> Iterator[Kept]:
    for place in children(store.home / "environments"):
        thing = f"environment-{place.name}"
        manifest = manifest_in(place)
        published = manifest["directory"] if manifest else None
        directories = [path for path in children(place) if path.is_dir()]
        for directory in directories:
            if directory.name != published:
                yield Kept("remains", place.name, directory, thing, _time(directory))
        if manifest is None:
            if not directories:
                yield Kept("remains", place.name, place, thing, _time(place))
            continue
        yield Kept(
            kind="environment",
            name=place.name,
            path=place / manifest["directory"],
            thing=thing,
            used=_time(place / "manifest.json"),
            built=manifest.get("built", 0.0),
            seconds=manifest.get("seconds", 0.0),
            python=manifest["facts"].get("python", ""),
            facts=manifest["facts"],
            inputs=manifest["inputs"],
            known_as=tuple(sorted(labels.get(place.name, ()))),
        )


def _resolutions(store: Store) -> Iterator[Kept]:
    for directory in children(store.home / "resolutions"):
        thing, pin = f"resolution-{directory.name}", directory / "pin.json"
        kind: Kind = "resolution" if pin.is_file() else "remains"
        written = read_json(pin) if kind == "resolution" else None
        # Not the file's own time: it is written again when nobody could resolve anew.
        made = written.get("resolved") if isinstance(written, dict) else None
        yield Kept(kind, directory.name, directory, thing, _time(directory), made or 0.0)


def _wheels(store: Store) -> Iterator[Kept]:
    for directory in children(store.home / "wheels"):
        thing, used = f"wheels-{directory.name}", _time(directory)
        kind: Kind = "wheels" if any(directory.glob("*/wheel.json")) else "remains"
        yield Kept(kind, directory.name, directory, thing, used, used)


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _files(directory: Path) -> Files:
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                status = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - there are many
            except OSError:
                continue
            identity = status.st_dev, status.st_ino
            here = found.get(identity, (0, 0, 0))[2] + 1
            found[identity] = status.st_size, status.st_nlink, here
    return found


def prune(
    store: Store, limits: Limits, *, dry_run: bool = False, until: float | None = None
) -> list[Pruned]:
    """Remove what nobody can use, and what is beyond the limits; says what went and why.

    With ``dry_run`` it only says. At the moment ``until`` (of the monotonic clock) it stops, and
    leaves the rest for the next time. What a run uses stays, and nobody is made to wait.
    """
    reached("prune", store.root)
    if not dry_run:
        store.sweep(until)
    pruned = []
    for kept, why in condemned(contents(store), limits, time.time(), until):
        if _is_over(until):
            break
        if until is None:
            kept.files  # noqa: B018 - its size can be told only now
        ended = _remove(store, kept, dry_run=dry_run)
        if ended != "gone":
            pruned.append(Pruned(kept, why, busy=ended == "busy"))
    if not dry_run:
        _remove_litter(store)
        store.trash.empty(until)
    return pruned


def _is_over(until: float | None) -> bool:
    return until is not None and time.monotonic() > until


def condemned(
    things: list[Kept], limits: Limits, now: float, until: float | None = None
) -> list[tuple[Kept, str]]:
    """What is to go and why, of all things in the store (the most recently used first).

    Adding up sizes ends at the moment ``until``; what was not seen by then stays.
    """
    going = [(kept, "left by a build") for kept in things if kept.kind == "remains"]
    staying = [kept for kept in things if kept.kind != "remains"]
    if limits.age is not None:
        old = [kept for kept in staying if now - kept.used > limits.age]
        going += [(kept, "unused") for kept in old]
        staying = [kept for kept in staying if kept not in old]
    if limits.size is not None:
        going += [(kept, "beyond the size") for kept in _beyond(limits.size, staying, until)]
    return going


def _beyond(limit: int, things: Iterable[Kept], until: float | None) -> Iterator[Kept]:
    """The environments that were used the longest ago, so that the others keep to the limit.

    Resolutions take next to nothing, and they make builds repeatable.
    """
    files: set[tuple[int, int]] = set()
    size = 0
    for kept in things:
        if kept.kind == "environment" and not _is_over(until):
            if size <= limit:
                size += sum(kept.files[identity][0] for identity in kept.files.keys() - files)
                files |= kept.files.keys()
            if size > limit:
                yield kept


def _remove(store: Store, kept: Kept, *, dry_run: bool) -> Literal["removed", "busy", "gone"]:
    """Remove it, if nobody is at work on it, uses it, or has used it since it was looked at.

    What somebody else has removed meanwhile is ``gone``.
    """
    with store.alone_with(kept.thing) as alone:
        if alone and not kept.path.exists():
            return "gone"
        if not alone or store.runs.leased(kept.thing) or _has_changed(kept):
            return "busy"
        if dry_run:
            return "removed"
        if not _hide(store, kept):
            return "busy"
        gone = [store.trash.discard(kept.path)]
        gone += [store.trash.discard(place) for place in _deserted(store, kept)]
    for path in gone:
        delete(path)
    return "removed"


def _hide(store: Store, kept: Kept) -> bool:
    """Let nobody find it any more; or let it be, if somebody has found it just before.

    Whoever wants it leases it first and looks for it then. So either they do not find it, or we
    find their lease.
    """
    reached("hide", kept.path)
    published = [path for path in _published(kept) if path.exists()]
    hidden = [path.replace(path.with_name(f"{path.name}.hidden")) for path in published]
    reached("hidden", kept.path)
    if not store.runs.leased(kept.thing):
        return True
    for path, place in zip(hidden, published, strict=True):
        path.replace(place)
    return False


def _published(kept: Kept) -> list[Path]:
    """The files that make it exist."""
    if kept.thing.startswith("environment-"):
        return [kept.path.parent / "manifest.json"] * (kept.kind == "environment")
    return [kept.path / "pin.json", *kept.path.glob("*/wheel.json")]


def _deserted(store: Store, kept: Kept) -> list[Path]:
    """The place of an environment of which nothing is left."""
    place = kept.path.parent
    if place.parent != store.home / "environments":
        return []
    stays = any(path.is_dir() or path.name == "manifest.json" for path in children(place))
    return [] if stays else [place]


def _has_changed(kept: Kept) -> bool:
    """Whether it was used or, if it was what a build left, finished since it was looked at."""
    if kept.kind == "environment":
        return _time(kept.path.parent / "manifest.json") > kept.used
    if kept.kind in ("resolution", "wheels"):
        return _time(kept.path) > kept.used
    manifest = manifest_in(kept.path.parent)
    is_published = manifest is not None and manifest["directory"] == kept.path.name
    return is_published or any(path.exists() for path in _published(kept))


# Where the thing lies that a lock is for.
_PLACES = {"environment": "environments", "resolution": "resolutions", "wheels": "wheels"}


def _remove_litter(store: Store) -> None:
    """Remove the locks of what is gone, and what projects remember of environments that are."""
    for lock in children(store.home / "locks"):
        kind, _, name = lock.stem.partition("-")
        thing = store.home / _PLACES.get(kind, "") / name
        if kind in _PLACES and not thing.exists():
            with store.alone_with(lock.stem) as alone:
                if alone and not thing.exists():
                    lock.unlink(missing_ok=True)
    _remove_notes(store.home / "latest", "key", store.home / "environments")
    _remove_notes(store.home / "ahead", "layer", store.home)
    for directory in children(store.home / "resolutions"):
        _remove_beside(store, f"resolution-{directory.name}", [*directory.glob("*.hidden")])
    for directory in children(store.home / "wheels"):
        beside = [path for kind in children(directory) for path in _beside_wheel(kind)]
        _remove_beside(store, f"wheels-{directory.name}", beside)


def _remove_notes(directory: Path, name: str, beside: Path) -> None:
    """Remove notes of what is gone: each says by this ``name`` where it is, or was."""
    for path in children(directory):
        note = read_json(path)
        noted = note.get(name) if isinstance(note, dict) else None
        if not noted or not (beside / noted).exists():
            path.unlink(missing_ok=True)


def _beside_wheel(kind: Path) -> Iterator[Path]:
    """What lies beside the wheel for a kind of Python, and beside the note that names it."""
    note = read_json(kind / "wheel.json")
    names = {"wheel.json", note.get("digest")} if isinstance(note, dict) else set()
    return (path for path in children(kind) if path.name not in names)


def _remove_beside(store: Store, thing: str, paths: list[Path]) -> None:
    """Remove what a killed prune or build has left beside what was made again since."""
    if paths:
        with store.alone_with(thing) as alone:
            if alone and not store.runs.leased(thing):
                for path in paths:
                    delete(path)
