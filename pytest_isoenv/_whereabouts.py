"""Whether an environment lies where it was built, and in whose hands it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def noted(directory: Path) -> dict[str, Any]:
    """What is to be recorded when an environment has been built."""
    return {"prefix": str(directory)}


def moved(directory: Path, facts: Mapping[str, Any]) -> str | None:
    """Whether it was built elsewhere: what is installed in it knows its own paths.

    Another name of the same directory, such as a symbolic link gives, is no other place.
    """
    prefix = facts.get("prefix", str(directory))
    if prefix == str(directory) or _same(Path(prefix), directory):
        return None
    return f"it was built at {prefix} and is now at {directory}"


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def strange(directory: Path) -> str | None:
    """Whether it belongs to somebody else, who could change what tests run in.

    What root owns is not strange to anybody.
    """
    if not hasattr(os, "getuid"):
        return None
    try:
        owner = directory.stat().st_uid
    except OSError:
        return None  # it is not there, which others say better
    if owner in (0, os.getuid()):
        return None
    return f"it belongs to the user with id {owner}"
