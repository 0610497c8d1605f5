"""Where a cache keeps what is looked for before anything else is loaded, and how it names it."""

from __future__ import annotations

import hashlib
from pathlib import Path

#: The version of what lies in the store; part of every key and of the store's path.
SCHEMA = "1"


def digest(text: str) -> str:
    """A short SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def home_in(cache: Path) -> Path:
    """The part of a cache that this version of the plugin knows."""
    return cache / f"v{SCHEMA}"


def ahead(cache: Path, whose: str) -> Path:
    """The file that says what the workers of a project, or of a kind of host, are forked from."""
    return home_in(cache) / "ahead" / f"{digest(whose)}.json"
