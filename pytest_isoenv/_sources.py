"""The programs that run in environments, as text: nothing of ours is installed there."""

from __future__ import annotations

import importlib.resources
from functools import cache


@cache
def source(part: str) -> str:
    """The source of a part of :mod:`pytest_isoenv._worker`."""
    directory = importlib.resources.files("pytest_isoenv").joinpath("_worker")
    return directory.joinpath(f"{part}.py").read_text("utf-8")
