"""Run each test inside the environment it declares; report it in the session you started.

PYTEST_DONT_REWRITE: its assertions are not a test's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_isoenv.environment import Environment
    from pytest_isoenv.manager import EnvManager

__all__ = ["EnvManager", "Environment"]

# Where the public names live. They are imported on first use: pytest loads this package for
# every run of every user who has the plugin installed, whether or not a test needs it.
_HOMES = {"EnvManager": "pytest_isoenv.manager", "Environment": "pytest_isoenv.environment"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
