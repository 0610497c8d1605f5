"""What is to be installed: requirements and their bounds, locks, and the project itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_isoenv._files import with_named_files
from pytest_isoenv._texts import is_path
from pytest_isoenv._values import (
    InvalidValueError,
    Surroundings,
    choices,
    each,
    one_of,
    without_credentials,
)
from pytest_isoenv._values.paths import (
    existing,
    installer_file,
    text_in,
    without_credentials_inside,
)
from pytest_isoenv.pinned import parse_pylock
from pytest_isoenv.spec import PROJECT_CHOICES


def read_requirements(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(value, around, requirement)


def requirement(text: str, around: Surroundings) -> str:
    """A PEP 508 requirement, normalised, or the path of something that can be installed."""
    if is_path(text):
        path, bracket, extras = text.partition("[")
        return f"{existing(path, around)}{bracket}{extras}"
    without_credentials(text)
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidValueError(
            f"{text!r} is not a PEP 508 requirement such as 'attrs>=23': {reason}"
        ) from None


def read_files(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Requirements files; what they name in turn is read as well."""
    return each([value] if isinstance(value, str) else value, around, _requirements_file)


def _requirements_file(text: str, around: Surroundings) -> str:
    path = installer_file(text, around)
    for file in with_named_files(around.root / Path(path).expanduser())[1:]:
        without_credentials_inside(file, os.path.relpath(file, around.directory))
    return path


def read_bounds(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Constraints or overrides: requirements, and files with one on each line."""
    several = each(value, around, _bounds_of)
    return tuple(bound for bounds in several for bound in bounds)


def _bounds_of(text: str, around: Surroundings) -> tuple[str, ...]:
    if not is_path(text) and not text.endswith((".txt", ".in")):
        return (_bound(text, around),)
    path = installer_file(text, around)
    lines = text_in(around.root / Path(path).expanduser()).splitlines()
    stripped = [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
    return each([line for line in stripped if line], around, _bound)


def _bound(text: str, around: Surroundings) -> str:
    if is_path(text):
        raise InvalidValueError(f"{text!r} is a path; a version of a package is expected here")
    return requirement(text, around)


def read_lock(value: Any, around: Surroundings) -> str:
    path = installer_file(value, around)
    name = Path(path).name
    if not (name == "pylock.toml" or (name.startswith("pylock.") and name.endswith(".toml"))):
        raise InvalidValueError(
            f"{str(value)!r} is not named pylock.toml or pylock.<name>.toml, as PEP 751 asks; "
            f"files with requirements are named by requirements:"
        )
    try:
        parse_pylock(text_in(around.root / Path(path).expanduser()))
    except ValueError as error:
        raise InvalidValueError(f"{str(value)!r} is no lock file (PEP 751): {error}") from None
    return path


def read_project(value: Any, around: Surroundings) -> str:
    choice = one_of(*PROJECT_CHOICES)(value, around)
    if choice != "none" and not around.has_project:
        raise InvalidValueError(
            f"{choice!r} needs a project, but {around.directory} has no pyproject.toml with a "
            f"[project] or [build-system] table, and no setup.py"
        )
    return choice


def read_extras(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(value, around, _extra)


def _extra(text: str, around: Surroundings) -> str:
    name = str(canonicalize_name(text))
    if around.extras is not None:
        _must_be_known(name, around.extras, "extra of the project")
    return name


def read_groups(value: Any, around: Surroundings) -> tuple[str, ...]:
    several = each(value, around, _group)
    return tuple(requirement for group in several for requirement in group)


def _group(name: str, around: Surroundings) -> tuple[str, ...]:
    known = [str(canonicalize_name(group)) for group in around.groups]
    _must_be_known(str(canonicalize_name(name)), known, "dependency group")
    # Only projects with groups pay for it.
    from packaging.dependency_groups import DependencyGroupResolver
    from packaging.errors import ExceptionGroup

    try:
        found = DependencyGroupResolver(around.groups).resolve(name)
    except ExceptionGroup as error:
        reasons = "; ".join(str(reason) for reason in error.exceptions)
        raise InvalidValueError(f"dependency group {name!r}: {reasons}") from None
    return tuple(str(entry) for entry in found)


def _must_be_known(name: str, known: Iterable[str], kind: str) -> None:
    if name not in known:
        raise InvalidValueError(f"{name!r} is no {kind}; there are: {choices(name, known)}")
