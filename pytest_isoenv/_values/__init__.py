"""The values of a declaration's fields: what rules look at, and what is said when one is broken.

Each room here reads the fields of one kind; which key is read by what is in
:data:`pytest_isoenv._fields.FIELDS`. A reader takes a value as it was written and its surroundings,
and raises :exc:`InvalidValueError`.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pytest_isoenv._redact import has_secrets, without_tokens

_Parsed = TypeVar("_Parsed")


class InvalidValueError(ValueError):
    """A value that breaks its field's rule; the message names the value, the rule, the choices.

    ``reasons`` are the messages of a value that breaks it in several places.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What the rules of some fields look at: where the file lies, and the project there.

    ``home`` is the file's directory, relative to the rootdir ``root``: relative paths start there.
    ``backends`` are the names of those that are installed. ``extras`` is None where the project
    computes them at build time, so nobody can say.
    """

    root: Path
    home: str = ""
    has_project: bool = False
    extras: frozenset[str] | None = frozenset()
    groups: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backends: frozenset[str] = frozenset({"uv"})

    @property
    def directory(self) -> Path:
        """Where relative paths of the file start."""
        return self.root / self.home

    def rooted(self, text: str) -> str:
        """A path of the file as one that starts from the rootdir."""
        if not self.home or text.startswith("~") or Path(text).is_absolute():
            return text
        path = posixpath.normpath(posixpath.join(self.home, text))
        return path if path.startswith(".") else f"./{path}"


def choices(value: str, known: Iterable[str]) -> str:
    """The known names for an error message, the nearest to ``value`` first."""
    import difflib  # only a mistake pays for it

    names = sorted(known)
    nearest = difflib.get_close_matches(value, names, n=3, cutoff=0.6)
    ordered = nearest + [name for name in names if name not in nearest]
    return ", ".join(ordered) or "(none)"


def text_of(value: Any, around: Surroundings) -> str:
    """A text that says something, without the space around it."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"{value!r} is not a text")
    return value.strip()


def each(
    value: Any, around: Surroundings, parse: Callable[[str, Surroundings], _Parsed]
) -> tuple[_Parsed, ...]:
    """A list of texts, each read by ``parse``; what is wrong with any of them is said."""
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise InvalidValueError(f"{value!r} is not a list of texts")
    found: list[_Parsed] = []
    reasons: list[str] = []
    for entry in value:
        try:
            found.append(parse(text_of(entry, around), around))
        except InvalidValueError as error:
            reasons += error.reasons
    if reasons:
        raise InvalidValueError(*dict.fromkeys(reasons))
    return tuple(found)


def read_texts(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(value, around, text_of)


def read_flag(value: Any, around: Surroundings) -> bool:
    if not isinstance(value, bool):
        raise InvalidValueError(f"{value!r} is neither true nor false")
    return value


def one_of(*allowed: str) -> Callable[[Any, Surroundings], str]:
    """A reader of one of a few words."""

    def parse(value: Any, around: Surroundings) -> str:
        if value not in allowed:
            raise InvalidValueError(f"{value!r} is not one of: {', '.join(allowed)}")
        return str(value)

    return parse


def read_backend(value: Any, around: Surroundings) -> str:
    """The name of one that is installed."""
    return one_of(*sorted(around.backends))(value, around)


def without_credentials(text: str) -> str:
    """The text, which may be a URL or have one, if nothing in it is secret."""
    if has_secrets(text):
        raise InvalidValueError(
            f"{without_tokens(text)!r} has credentials in its URL, which would be kept; give them "
            f"to the installer by a netrc file, a keyring, or the variables of its index"
        )
    return text
