"""Under pytest-xdist its scheduler says which item is next: environments run theirs step by step.

Imported only there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_isoenv._jobs import Job, by_request
from pytest_isoenv._requests import Request
from pytest_isoenv._select import request_of
from pytest_isoenv._session import Conductor


class Steps:
    """Takes over the items of environments, one by one, as pytest comes to them (a plugin).

    ``conductor`` is asked for when it comes to the first.
    """

    def __init__(self, session: pytest.Session, conductor: Callable[[], Conductor]) -> None:
        self._session = session
        self._conductor = conductor

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        request = request_of(item)
        if request is None:
            return None
        conductor = self._conductor()
        job = self._job(conductor, request)
        job.step_to(item, _next_in(job, item, nextitem))
        conductor.step(job, item, last=nextitem is None)
        return True

    def _job(self, conductor: Conductor, request: Request) -> Job:
        known = (job for job in conductor.jobs if job.request == request)
        job = next(known, None) or conductor.new_job(request, [])
        if not job.items:
            job.take(by_request(self._session.items)[request])
        return job

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """pytest-timeout is the environment's to have, and would interrupt us instead of a test."""
        return None if request_of(item) is None else True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """There is none to cancel."""
        return None if request_of(item) is None else True


def _next_in(job: Job, item: pytest.Item, following: pytest.Item | None) -> pytest.Item | None:
    """What its environment will likely run next: fixtures that both need are kept for it.

    Should the scheduler decide otherwise, they are torn down before the next test begins.
    """
    if following is None or request_of(following) == job.request:
        return following
    index = job.items.index(item)
    return next(iter(job.items[index + 1 :]), None)
