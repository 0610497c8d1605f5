"""The backends that come with pytest-isoenv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_isoenv._backends import conda, uv, venv
from pytest_isoenv.backend import Backend
from pytest_isoenv.spec import EnvSpec


def builtin() -> list[Backend]:
    """Every backend that comes with it; conda asks for more when it is used."""
    return [uv, venv, conda]


def unsupported_by(backends: Iterable[Backend], spec: EnvSpec) -> Sequence[str]:
    """What of an environment its backend, one of these, cannot do; of one name the last counts."""
    by_name = {backend.name: backend for backend in backends}
    return by_name[spec.backend].unsupported(spec)
