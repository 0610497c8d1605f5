"""The programs that run in environments, as text: nothing of ours is installed there."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from functools import cache
from typing import Any


@cache
def source(part: str) -> str:
    """The source of a part of :mod:`pytest_isoenv._worker`."""
    directory = importlib.resources.files("pytest_isoenv").joinpath("_worker")
    return directory.joinpath(f"{part}.py").read_text("utf-8")


def parts(request: Mapping[str, Any]) -> list[str]:
    """The parts that a session of such a request needs, in the order in which pytest knows them.

    A part is made of what those above it have made.
    """
    is_apart = request["isolation"] == "test"
    return [
        *("plugins", "reports", "reporter"),
        *["junit"] * (request["junit_family"] is not None),
        *["descriptions"] * (request["ids"] is None),
        *["line", "forked", "child", "apart"] * is_apart,
        *("session", "terminal", "words"),
        *["coverage"] * (request["coverage"] is not None),
    ]


#: What many requests ask for: they are not told what to run, and of a JUnit report.
USUAL: Mapping[str, Any] = {
    "ids": None,
    "junit_family": "",
    "isolation": None,
    "coverage": None,
}
