"""Mentions of packages in the places of a declaration, and what remains of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from pytest_isoenv._texts import is_path, package_of_match_spec


def unite_requirements(requirements: Iterable[str]) -> tuple[str, ...]:
    """What remains of all mentions of each package, sorted by name; the last mention wins.

    A bare ``pkg`` does not displace an earlier ``pkg==X``, though its extras are added. A mention
    with an environment marker displaces an earlier one with the same marker; beside others it
    stands, after them, for :func:`applicable` to choose once the interpreter is known.
    """
    united: dict[str, list[Requirement | str]] = {}
    for text in requirements:
        mention: Requirement | str = text if is_path(text) else Requirement(text)
        name = _package(mention)
        united[name] = _with(united.get(name, []), mention)
    return tuple(str(mention) for name in sorted(united) for mention in united[name])


def unite_match_specs(specs: Iterable[str]) -> tuple[str, ...]:
    """What remains of all mentions of each conda package, sorted by name; the last mention wins.

    A bare name does not displace an earlier mention that says more.
    """
    united: dict[str, str] = {}
    for text in specs:
        name = package_of_match_spec(text)
        if name not in united or text.strip().lower() != name:
            united[name] = text
    return tuple(united[name] for name in sorted(united))


def applicable(requirements: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """The requirements that hold in a marker environment (PEP 508), one for each package.

    The last one that holds wins, as among mentions without markers.
    """
    holding = [text for text in requirements if _holds(text, environment)]
    return list(unite_requirements(map(_without_marker, holding)))


def _holds(text: str, environment: Mapping[str, str]) -> bool:
    marker = None if is_path(text) else Requirement(text).marker
    return marker is None or marker.evaluate({**environment, "extra": ""})


def _without_marker(text: str) -> str:
    if is_path(text):
        return text
    requirement = Requirement(text)
    requirement.marker = None
    return str(requirement)


def _package(mention: Requirement | str) -> str:
    """What a mention speaks of: a normalised name, or for a tree its path."""
    if isinstance(mention, Requirement):
        return str(canonicalize_name(mention.name))
    return _name_of_archive(mention) or mention


def _name_of_archive(path: str) -> str | None:
    """The package in a wheel or source archive, by its file's name (PEP 427, PEP 625)."""
    file = path.partition("[")[0].strip().replace("\\", "/").rpartition("/")[2]
    try:
        if file.endswith(".whl"):
            return str(parse_wheel_filename(file)[0])
        if file.endswith((".tar.gz", ".zip")):
            return str(parse_sdist_filename(file)[0])
    except (InvalidWheelFilename, InvalidSdistFilename):
        pass  # it may be anything: the installer will say
    return None


def _with(mentions: list[Requirement | str], new: Requirement | str) -> list[Requirement | str]:
    marker = str(new.marker or "") if isinstance(new, Requirement) else ""
    same = [old for old in mentions if not marker or _marker(old) == marker]
    says_something = not isinstance(new, Requirement) or bool(new.specifier or new.url)
    if says_something or not same:
        return [*(old for old in mentions if old not in same), new]
    for old in same:
        if isinstance(old, Requirement) and isinstance(new, Requirement):
            old.extras |= new.extras
    # Where no mention without a marker stands yet, a bare one still asks for the package.
    always = not marker and all(_marker(old) for old in same)
    return [new, *mentions] if always else mentions


def _marker(mention: Requirement | str) -> str:
    return str(mention.marker or "") if isinstance(mention, Requirement) else ""
