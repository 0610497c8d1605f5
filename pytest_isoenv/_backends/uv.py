"""The default backend: uv resolves to PEP 751, creates, and installs with hashes.

A module that satisfies :class:`pytest_isoenv.backend.Backend`. Here is what a run asks of it that
finds all its environments; what runs uv is in :mod:`pytest_isoenv._backends.uv_commands`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_isoenv._backends.health import check
from pytest_isoenv._redact import redact
from pytest_isoenv.spec import EnvSpec

if TYPE_CHECKING:
    from pytest_isoenv._backends.uv_commands import (
        build_wheel,
        create,
        diagnose,
        examine,
        forget,
        indexes_of,
        lock,
        program,
        resolve,
    )

__all__ = [
    "brings_python",
    "build_wheel",
    "check",
    "create",
    "diagnose",
    "examine",
    "forget",
    "index_inputs",
    "indexes_of",
    "lock",
    "name",
    "program",
    "resolve",
    "unsupported",
]

name = "uv"
brings_python = False

_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
)


def unsupported(spec: EnvSpec) -> list[str]:
    """Packages of another kind than Python's."""
    return ["conda-dependencies"] * bool(spec.conda.dependencies)


def index_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """The indexes that uv's variables name, without credentials."""
    return {key: redact(environ[key]) for key in _INDEX_VARIABLES if environ.get(key)}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_isoenv._backends import uv_commands  # nothing that a hit needs

    return getattr(uv_commands, name)
