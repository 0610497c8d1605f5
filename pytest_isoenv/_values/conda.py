"""What conda is asked for: channels, match specs, and files that hold both."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._reading import UnreadableError, read_yaml
from pytest_isoenv._texts import is_path, package_of_match_spec
from pytest_isoenv._values import (
    InvalidValueError,
    Surroundings,
    each,
    read_texts,
    without_credentials,
)
from pytest_isoenv._values.paths import existing, installer_file
from pytest_isoenv._values.requirements import read_requirements

# What an environment.yml may have; a name and a prefix are for conda's own commands.
_KEYS = frozenset({"name", "prefix", "channels", "dependencies"})


def read_channels(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Conda channels: names, URLs, and directories of this machine."""
    return each(value, around, _channel)


def _channel(text: str, around: Surroundings) -> str:
    return existing(text, around) if is_path(text) else _without_token(text)


def read_match_specs(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(value, around, _match_spec)


def _match_spec(text: str, around: Surroundings) -> str:
    _without_token(text)
    if not re.fullmatch(r"[a-z0-9_][\w.-]*", package_of_match_spec(text)):
        raise InvalidValueError(f"{text!r} is not a conda match spec such as 'gdal>=3.8'")
    return text


def _without_token(text: str) -> str:
    """A channel, or what names one, without the token that conda takes in a path: ``/t/TOKEN/``."""
    if re.search(r"://[^/\s]+/t/[^/\s]+", text):
        raise InvalidValueError(
            f"{re.sub('/t/[^/ ]+', '/t/***', text)!r} has a token in its URL, which would be kept; "
            f"give it to the installer by a file of credentials (RATTLER_AUTH_FILE)"
        )
    return without_credentials(text)


def read_conda_environment(value: Any, around: Surroundings) -> dict[str, tuple[str, ...]]:
    """What an environment.yml asks for: channels, conda packages, and what its pip section has."""
    path = around.root / Path(installer_file(value, around)).expanduser()
    try:
        declared = read_yaml(path)
        if not isinstance(declared, Mapping):
            raise InvalidValueError(f"{declared!r} is not a mapping")
        there = dataclasses.replace(around, home=_home_of(path, around.root))
        return _read(declared, there)
    except (UnreadableError, InvalidValueError) as error:
        raise InvalidValueError(f"{str(value)!r} is no conda environment: {error}") from None


def _read(declared: Mapping[str, Any], around: Surroundings) -> dict[str, tuple[str, ...]]:
    unknown = sorted(set(map(str, declared)) - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise InvalidValueError(f"unknown key {unknown[0]!r}; the keys are: {known}")
    specs: list[Any] = []
    requirements: list[Any] = []
    for entry in _list_of(declared, "dependencies"):
        if isinstance(entry, Mapping) and set(entry) == {"pip"}:
            requirements += read_texts(entry["pip"], around)
        else:
            specs.append(entry)
    # conda ignores its pseudo-channel as well: it says that only the channels named here count.
    channels = [text for text in _list_of(declared, "channels") if text != "nodefaults"]
    return {
        "channels": read_channels(channels, around),
        "conda_dependencies": read_match_specs(specs, around),
        "requirements": read_requirements(requirements, around),
    }


def _list_of(declared: Mapping[str, Any], key: str) -> list[Any]:
    value = declared.get(key)
    if value is not None and not isinstance(value, list):
        raise InvalidValueError(f"{key}: {value!r} is not a list")
    return value or []


def _home_of(path: Path, root: Path) -> str:
    home = os.path.relpath(path.resolve().parent, root.resolve()).replace(os.sep, "/")
    return "" if home == "." else home
