"""What a process of an environment runs on and sees: its Python, variables and directories."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pytest_isoenv._texts import is_path, names_a_path
from pytest_isoenv._values import InvalidValueError, Surroundings, each, read_texts, text_of
from pytest_isoenv._values.paths import existing
from pytest_isoenv._variables import HOST_ONLY


def read_python(value: Any, around: Surroundings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidValueError(
            f"{value!r} is a number, so 3.10 would be read as 3.1; write it as a text: '3.10'"
        )
    text = text_of(value, around)
    if names_a_path(text):
        return existing(text, around) if is_path(text) else around.rooted(text)
    if text[0] in "<>=!~":
        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            raise InvalidValueError(
                f"{text!r} is no range of versions such as '>=3.10,<3.13' (PEP 440)"
            ) from None
    return text


def read_variables(value: Any, around: Surroundings) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        kind = type(value).__name__  # not the value: it may be a secret
        raise InvalidValueError(f"a {kind} is not a mapping of variable names to texts")
    reasons = []
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            reasons.append(f"{name!r} is not the name of an environment variable")
        elif not isinstance(text, str) or "\0" in text:
            # Not the value: it may be a secret.
            reasons.append(f"the value of {name} is not a text: {type(text).__name__}")
    if reasons:
        raise InvalidValueError(*reasons)
    return tuple(sorted(value.items()))


def read_passed(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Names and globs of variables of the host."""
    return each(value, around, _passed)


def _passed(text: str, around: Surroundings) -> str:
    name, equals, _ = text.partition("=")
    if equals:  # not what follows: it may be a secret
        raise InvalidValueError(f"{name!r} is given a value, which is what env: is for")
    if re.search(r"[\s\0]", text):
        raise InvalidValueError(
            f"{text!r} is neither the name of an environment variable nor a glob such as 'AWS_*'"
        )
    if text in HOST_ONLY:
        raise InvalidValueError(
            f"{text!r} speaks of the host's own environment, and is never passed; where the "
            f"environment needs one of that name, declare it by env:"
        )
    return text


def read_directories(value: Any, around: Surroundings) -> tuple[str, ...]:
    return tuple(around.rooted(text) for text in read_texts(value, around))
