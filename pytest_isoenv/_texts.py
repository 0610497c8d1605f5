"""What the texts of a declaration mean by their look alone: a path, a package, a Python, a name."""

from __future__ import annotations

import re

from packaging.requirements import InvalidRequirement, Requirement


def is_path(text: str) -> bool:
    """Whether a requirement string names a file or directory instead of a package."""
    if "://" in text or " @ " in text:  # a URL requirement (PEP 508), whatever its file is called
        return False
    head = text.partition("[")[0].strip()
    return head.startswith((".", "/", "~")) or head.endswith((".whl", ".tar.gz")) or "\\" in head


def names_a_path(python: str) -> bool:
    """Whether a Python is asked for by where it lies."""
    return not python.startswith("~=") and (is_path(python) or "/" in python)


def version_in(python: str) -> str | None:
    """The version, at most a patch, that a request for a Python names: ``3.12`` of python3.12."""
    match = re.match(r"(?:python)?(\d+(?:\.\d+){0,2})$", python)
    return match[1] if match else None


def is_bare_word(text: str) -> bool:
    """Whether a string is only a name: no version, extra, URL, environment marker or path.

    Such a word names a declared environment, never a package: a typo must not fetch a
    stranger's package.
    """
    if is_path(text):
        return False
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    return not (
        requirement.specifier or requirement.extras or requirement.url or requirement.marker
    )


def package_of_match_spec(text: str) -> str:
    """The package that a conda match spec such as ``conda-forge::numpy >=1.26`` speaks of."""
    return re.split(r"[\s=<>!~\[]", text.rpartition("::")[2].strip(), maxsplit=1)[0].lower()
