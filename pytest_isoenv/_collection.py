"""Collecting a session whose tests all run in environments, in place of pytest's own way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_isoenv._run import Run


def perform(session: pytest.Session, run: Run) -> list[pytest.Item]:
    """What ``session.perform_collect()`` does, with the items of environments."""
    hook = session.config.hook
    try:
        deselected = run.collect(session)
        if deselected:
            hook.pytest_deselected(items=deselected)
        run.modify(session)
    finally:
        hook.pytest_collection_finish(session=session)
    session.testscollected = len(session.items)
    return session.items
