"""Hooks that other plugins and conftest.py files can implement.

They are pytest hooks: see `Writing hook functions
<https://docs.pytest.org/en/stable/how-to/writing_hook_functions.html>`_.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_isoenv.backend import Backend


@pytest.hookspec
def pytest_isoenv_environments(config: pytest.Config) -> dict[str, dict[str, Any]] | None:
    """Declare named environments: names to the fields that ``isoenv.yaml`` knows.

    Called once, when declarations are first needed. A name that a config file or another plugin
    declares with other content is a usage error, as between two files.
    """


@pytest.hookspec
def pytest_isoenv_backends(config: pytest.Config) -> list[Backend] | None:
    """Add backends: objects or modules that satisfy :class:`pytest_isoenv.backend.Backend`.

    A backend is chosen by the key ``backend`` of an environment. One with the name of an
    existing backend replaces it.
    """
