"""What is measured waits for all children of its process, so there must be no others."""

from __future__ import annotations

import pytest

from tests.starter import Starter


@pytest.fixture(autouse=True)
def no_other_child(starter: Starter) -> None:
    """Runs of other tests may have left theirs there, for the next run."""
    starter.close()
