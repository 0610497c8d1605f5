"""The user's terminal, and what environments want of it: live logs, and now and then all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from pytest_isoenv._gateway import Event, Worker
from pytest_isoenv._interrupts import passed_on

#: An event of a worker, and whose it is; None in its place says that the worker is over.
Owner = TypeVar("Owner")


class Terminal:
    """pytest's terminal, as far as events of environments are shown on it."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: pytest.TerminalReporter | None
        self._reporter = config.pluginmanager.getplugin("terminalreporter")

    def live_log(self, event: Event, nodeid: str) -> None:
        """A line of a live log, or the title above such lines, as pytest writes them."""
        if self._reporter is None:
            return
        if "title" in event:
            self._reporter.ensure_newline()
            self._reporter.section(f"{event['title']}: {nodeid}", sep="-", bold=True)
        else:
            self._reporter.write(event["text"], flush=True)

    def lend(
        self, worker: Worker, owner: Owner, next_event: Callable[[], tuple[Owner, Event | None]]
    ) -> list[tuple[Owner, Event | None]]:
        """Let a worker have the terminal until it gives it back, or is over, or the run is to end.

        Ctrl-C is the worker's. Returns the events that came meanwhile, in their order; one that is
        nobody's says that the run is to end.
        """
        if self._reporter is not None:
            self._reporter.ensure_newline()
            self._reporter.flush()
        meanwhile: list[tuple[Owner, Event | None]] = []
        with passed_on(worker.interrupt):
            worker.lend_terminal()
            while True:
                of, event = next_event()
                if of is owner and event is not None and event["kind"] == "terminal back":
                    return meanwhile
                meanwhile.append((of, event))
                if event is None and (of is owner or of is None):
                    return meanwhile
