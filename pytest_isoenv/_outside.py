"""What a lock names that lies outside the project: a lock may come from somebody else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from packaging.pylock import Package
from packaging.requirements import Requirement

from pytest_isoenv._reading import UnreadableError, read_toml
from pytest_isoenv._texts import is_path
from pytest_isoenv._urls import path_of
from pytest_isoenv.pinned import parse_pylock
from pytest_isoenv.spec import EnvSpec


def outside(path: str, spec: EnvSpec, root: Path) -> list[str]:
    """Why each part of the lock ``path`` that leads out of the project is refused.

    What the declaration names itself may lie anywhere, and so may what the project's own sources
    do. Raises OSError and ValueError for what is no lock that can be read.
    """
    file = root / Path(path).expanduser()
    packages = parse_pylock(file.read_text(encoding="utf-8")).packages
    named = [(p.name, place) for p in packages for place in _places(p)]
    reasons = [
        f"{package.name}: its subdirectory {text!r} leads out of what it is in"
        for package in packages
        for text in _subdirectories(package)
        if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts
    ]
    if not named:  # as in most locks: all is on an index
        return reasons
    allowed = [place.resolve() for place in (file.parent, *_allowed(spec, root))]
    return reasons + [
        f"{name}: {place!r} lies outside the project {root}; if that is meant, name the place in "
        f"find-links, local or dependencies"
        for name, place in named
        if not _is_in((file.parent / place).resolve(), allowed)
    ]


def _is_in(path: Path, places: Collection[Path]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _places(package: Package) -> Iterator[str]:
    """The files, trees and repositories of this machine that a package comes from."""
    several = [package.vcs, package.archive, package.directory, package.sdist]
    for origin in (*several, *(package.wheels or ())):
        for text in (getattr(origin, "path", None), _file_of(getattr(origin, "url", None))):
            if text is not None:
                yield text


def _file_of(url: str | None) -> str | None:
    parts = urlsplit(url or "")
    return path_of(parts.path) if parts.scheme == "file" else None


def _subdirectories(package: Package) -> Iterator[str]:
    for origin in (package.vcs, package.archive, package.directory):
        if origin is not None and origin.subdirectory:
            yield origin.subdirectory


def _allowed(spec: EnvSpec, root: Path) -> Iterator[Path]:
    yield root
    indexes = filter(None, (spec.index.default, *spec.index.extra))
    for text in (*spec.local, *spec.index.find_links, *indexes):
        yield root / Path(_file_of(text.partition("=")[2] or text) or text).expanduser()
    for text in spec.requirements:
        if is_path(text):
            yield root / Path(text.partition("[")[0]).expanduser()
        else:
            place = _file_of(Requirement(text).url)
            yield from [Path(place)] if place else ()
    if spec.project != "none":
        yield from _sources(root / spec.project_directory)


def _sources(project: Path) -> Iterator[Path]:
    """Where a project's own sources say that its neighbours are, and the workspace it is in."""
    sources = _uv_table(project).get("sources")
    for source in sources.values() if isinstance(sources, Mapping) else ():
        for one in source if isinstance(source, list) else [source]:
            if isinstance(one, Mapping) and isinstance(one.get("path"), str):
                yield project / one["path"]
    yield from (above for above in project.resolve().parents if "workspace" in _uv_table(above))


def _uv_table(directory: Path) -> Mapping[str, Any]:
    try:
        table = read_toml(directory / "pyproject.toml").get("tool", {}).get("uv", {})
    except (UnreadableError, AttributeError):
        return {}
    return table if isinstance(table, Mapping) else {}
