"""The backend for conda packages: py-rattler or a conda of yours solves, uv puts the rest on top.

A module that satisfies :class:`pytest_isoenv.backend.Backend`. Here is what a run asks of it that
finds all its environments; what solves is in :mod:`pytest_isoenv._backends.conda_commands`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_isoenv._backends import uv
from pytest_isoenv._backends.health import check
from pytest_isoenv._texts import version_in
from pytest_isoenv.spec import EnvSpec

if TYPE_CHECKING:
    from pytest_isoenv._backends.conda_commands import (
        create,
        diagnose,
        examine,
        forget,
        resolve,
    )

__all__ = [
    "brings_python",
    "check",
    "create",
    "diagnose",
    "examine",
    "forget",
    "index_inputs",
    "name",
    "resolve",
    "unsupported",
]

name = "conda"
brings_python = True


def unsupported(spec: EnvSpec) -> list[str]:
    """What only an interpreter of this machine can be asked for, and what lies beneath others."""
    python = spec.python
    asks_for_a_version = python is None or python[0] in "<>=!~" or version_in(python)
    return [
        *[f"python: {python}"] * (not asks_for_a_version),
        *["layers"] * bool(spec.beneath),
    ]


def index_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """uv's indexes, and what the machine is said to have."""
    overridden = {key: environ[key] for key in environ if key.startswith("CONDA_OVERRIDE_")}
    return {**uv.index_inputs(environ), **overridden}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_isoenv._backends import conda_commands  # nothing that a hit needs

    return getattr(conda_commands, name)
