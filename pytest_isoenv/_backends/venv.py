"""The backend of the standard library: ``python -m venv``, and the pip that comes with a Python.

A module that satisfies :class:`pytest_isoenv.backend.Backend`. Here is what a run asks of it that
finds all its environments; what runs pip is in :mod:`pytest_isoenv._backends.venv_commands`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_isoenv._backends.health import check
from pytest_isoenv._redact import redact
from pytest_isoenv.spec import EnvSpec

if TYPE_CHECKING:
    from pytest_isoenv._backends.venv_commands import (
        build_wheel,
        create,
        examine,
        indexes_of,
        resolve,
    )

__all__ = [
    "brings_python",
    "build_wheel",
    "check",
    "create",
    "examine",
    "index_inputs",
    "indexes_of",
    "name",
    "resolve",
    "unsupported",
]

name = "venv"
brings_python = False

_INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")


def unsupported(spec: EnvSpec) -> list[str]:
    """What pip has no option for."""
    return [
        *["conda-dependencies"] * bool(spec.conda.dependencies),
        *[f"resolution: {spec.resolution}"] * (spec.resolution != "highest"),
        *["overrides"] * bool(spec.overrides),
        *["exclude-newer"] * bool(spec.index.exclude_newer),
        *[f"prerelease: {spec.prerelease}"] * (spec.prerelease in ("disallow", "explicit")),
    ]


def index_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """The indexes that pip's variables name, without credentials."""
    return {key: redact(environ[key]) for key in _INDEX_VARIABLES if environ.get(key)}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_isoenv._backends import venv_commands  # nothing that a hit needs

    return getattr(venv_commands, name)
