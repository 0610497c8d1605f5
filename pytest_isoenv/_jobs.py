"""A job: the tests of one environment in one run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_isoenv._gateway import Event, Worker
from pytest_isoenv._relay import Relay, Warned
from pytest_isoenv._requests import Request
from pytest_isoenv._select import request_of
from pytest_isoenv._summary import Record
from pytest_isoenv.environment import Environment


class Job:
    """The tests of one environment in this run, and where they stand.

    A job of ``--in-env`` begins without items: its environment collects them (``finds``), and
    what it has ``found`` becomes items of the host, of which the selected ones come back.
    """

    def __init__(
        self,
        config: pytest.Config,
        request: Request,
        items: list[pytest.Item],
        already_warned: Warned,
        positional: Sequence[str] | None = None,
    ) -> None:
        assert request.spec is not None
        self.request = request
        self.name = request.name
        self.spec = request.spec
        self.record = Record(request.name, request.spec)
        self.finds = positional is not None
        self.positional = positional
        self.found: Event | None = None
        self.failure: tuple[str, str] | None = None
        self._config = config
        self._already_warned = already_warned
        self.take(items)
        self.environment: Environment | None = None
        self.worker: Worker | None = None
        self.generation = 0
        self.collected = False
        self.finished: Event | None = None
        self.internal_error = ""

    def take(self, items: Sequence[pytest.Item]) -> None:
        """These are the job's items from now on."""
        self.relay = Relay(self._config, self.record, items, self._already_warned)
        self.files = list(dict.fromkeys(str(item.path) for item in items))


def by_request(items: Sequence[pytest.Item]) -> dict[Request, list[pytest.Item]]:
    """Group the items that run in environments by the environment that they name."""
    groups: dict[Request, list[pytest.Item]] = {}
    for item in items:
        request = request_of(item)
        if request is not None:
            groups.setdefault(request, []).append(item)
    return groups
