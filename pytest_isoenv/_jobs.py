"""A job: the tests of one environment in one run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pytest

from pytest_isoenv._gateway import Event, Worker
from pytest_isoenv._relay import Relay, Warned
from pytest_isoenv._requests import Request
from pytest_isoenv._select import id_there, request_of
from pytest_isoenv._summary import Record
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import IsoenvError


class Job:
    """The tests of one environment in this run, and where they stand.

    A job of ``--in-env`` begins without items: its environment collects them (``finds``), and
    what it has ``found`` becomes items of the host, of which the selected ones come back. If it is
    ``alone`` there is no other environment, so that its ids need no variant.
    """

    def __init__(
        self,
        config: pytest.Config,
        request: Request,
        items: list[pytest.Item],
        already_warned: Warned,
        positional: Sequence[str] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        assert request.spec is not None
        self.request = request
        self.name = request.name
        self.spec = request.spec
        self.record = Record(request.name, request.spec)
        self.finds = positional is not None
        self.positional = positional
        self.alone = alone
        self.found: Event | None = None
        self.uncollected: list[Mapping[str, Any]] = []
        self.step: tuple[str, str | None] | None = None
        # Held by the thread that gets it a worker, and who has been told the step: one may come
        # for it that did not hear yet that the worker is over, and one because it is.
        self.serving = threading.Lock()
        self.stepped_by: Worker | None = None
        self.failure: tuple[str, str] | None = None
        self._config = config
        self._already_warned = already_warned
        self.take(items)
        self.environment: Environment | None = None
        self.worker: Worker | None = None
        # That nothing of it is still to be heard: what comes of another must not be mixed with it.
        self.worker_is_over = False
        self.generation = 0
        self.one_by_one = False
        self.collected = False
        self.finished: Event | None = None
        self.internal_error = ""
        # Why a worker could not work at all, while nobody has looked what its environment is like.
        self.doubt: IsoenvError | None = None
        self.was_doubted = False

    def take(self, items: Sequence[pytest.Item]) -> None:
        """These are the job's items from now on."""
        self.items = list(items)
        self.relay = Relay(self._config, self.record, items, self._already_warned)
        self.files = list(dict.fromkeys(str(item.path) for item in items))

    def step_to(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """This item alone waits for its result; ``following`` is what will likely come next."""
        with self.serving:
            self.step = id_there(item), id_there(following) if following is not None else None
            self.relay.waiting = {id_there(item): item}
            self.stepped_by = None
        for report in self.uncollected:
            self.relay.collection(report)

    def raise_internal_error(self) -> NoReturn:
        """End the host's session as the environment's has ended."""
        writer = self._config.get_terminal_writer()
        writer.line()
        for line in self.internal_error.splitlines():
            writer.line(f"INTERNALERROR> {line}")
        reason = f"internal error of the pytest in environment {self.name!r}"
        raise pytest.exit.Exception(reason, pytest.ExitCode.INTERNAL_ERROR)

    @property
    def ids(self) -> list[str]:
        """What a worker that starts now is to run, as its environment names it."""
        wanted = self.relay.waiting.values() if self.step is None else self.items
        return [id_there(item) for item in wanted]


def by_request(items: Sequence[pytest.Item]) -> dict[Request, list[pytest.Item]]:
    """Group the items that run in environments by the environment that they name."""
    groups: dict[Request, list[pytest.Item]] = {}
    for item in items:
        request = request_of(item)
        if request is not None:
            groups.setdefault(request, []).append(item)
    return groups
