"""Files and directories that a declaration names: they must be there, and hold no credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_isoenv._redact import has_secrets
from pytest_isoenv._values import InvalidValueError, Surroundings, each, text_of


def read_paths(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(value, around, existing)


def existing(text: str, around: Surroundings) -> str:
    """The path as it is written: without its "./" it might be the name of a package."""
    try:
        path = around.directory / Path(text.strip()).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InvalidValueError(f"{text!r}: {error}") from None
    if not path.exists():
        raise InvalidValueError(f"{text!r} does not exist below {around.directory}")
    return around.rooted(text.strip())


def installer_file(value: Any, around: Surroundings) -> str:
    """A file whose text will be given to an installer, and kept."""
    path = existing(text_of(value, around), around)
    without_credentials_inside(around.root / Path(path).expanduser(), str(value))
    return path


def without_credentials_inside(file: Path, called: str) -> None:
    """Refuse a file with a secret in one of its URLs; messages say what it is ``called``."""
    text = text_in(file)
    if has_secrets(text):
        raise InvalidValueError(f"{called!r} has credentials in its URLs; make it without them")


def text_in(path: Path) -> str:
    """What the file says."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{str(path)!r} cannot be read: {error}") from None
