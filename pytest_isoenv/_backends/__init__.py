"""The backends that come with pytest-isoenv."""

from __future__ import annotations

from pytest_isoenv._backends import uv, venv
from pytest_isoenv.backend import Backend


def builtin() -> list[Backend]:
    """Every backend that needs nothing else installed."""
    return [uv, venv]
