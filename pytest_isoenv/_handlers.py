"""What is done of each event of a worker: the table, and a few lines for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from pytest_isoenv._crew import Crew
from pytest_isoenv._endings import Endings
from pytest_isoenv._gateway import Event
from pytest_isoenv._inbox import Heard, Inbox
from pytest_isoenv._jobs import Job
from pytest_isoenv._proxies import read_items
from pytest_isoenv._status import Status
from pytest_isoenv._terminal import Terminal

#: What is done of one kind of event.
Handler = Callable[[Job, Event], None]

# Events that count also when they come while the run is being ended.
_SAID = frozenset({"test", "lost", "warning", "header", "words"})


class Handlers:
    """Handles events, in the main thread.

    ``current`` is the item that pytest's own loop has come to, where that loop steps through the
    items of environments, too.
    """

    def __init__(
        self, config: pytest.Config, inbox: Inbox, crew: Crew, endings: Endings, status: Status
    ) -> None:
        self.current: pytest.Item | None = None
        self._inbox = inbox
        self._crew = crew
        self._endings = endings
        self._status = status
        self._terminal = Terminal(config)
        self._table: Mapping[str, Handler] = {
            # Of the threads that get environments and workers.
            "building": self._building,
            "ready": self._ready,
            "failed": self._failed,
            "unusable": self._unusable,
            "mended": _mended,
            "unmeasured": _unmeasured,
            "bug": _bug,
            # Of the host itself.
            "stand-in": self._stand_in,
            # Of workers.
            "hello": _nothing_to_do,  # the greeting was checked where it arrived
            "foreign": _foreign,
            "dropped": _dropped,
            "header": _header,
            "words": _words,
            "collect": _collect,
            "items": self._items,
            "collected": _collected,
            "warning": _warning,
            "suite property": _suite_property,
            "xml attribute": _xml_attribute,
            "test": _test,
            "lost": endings.lost,
            "live log": self._live_log,
            "terminal wanted": self._terminal_wanted,
            "terminal back": _nothing_to_do,  # it was lent no longer: the worker is over
            "late teardown": self._late_teardown,
            "internal error": _internal_error,
            "finish": _finish,
        }

    def handle(self, job: Job | None, event: Event | None) -> None:
        """Handle what was heard; raises KeyboardInterrupt where that is to end the run."""
        if job is None:
            raise KeyboardInterrupt
        if event is None:
            self._endings.worker_is_over(job)
        else:
            self._table[event["kind"]](job, event)

    def handle_the_rest(self) -> None:
        """Results that came while the run was being ended are results all the same."""
        while not self._inbox.is_empty():
            job, event = self._inbox.next_in_silence()
            if event is not None and event["kind"] in _SAID:
                self.handle(job, event)

    def _building(self, job: Job, event: Event) -> None:
        self._status.building(job.name, job.spec)

    def _ready(self, job: Job, event: Event) -> None:
        job.environment = job.record.environment = event["environment"]
        if job.environment.note:
            job.record.note(job.environment.note)
        self._status.ready(job.name)

    def _failed(self, job: Job, event: Event) -> None:
        self._status.ready(job.name)
        self._endings.not_provisioned(job, event["error"])

    def _unusable(self, job: Job, event: Event) -> None:
        self._endings.unusable(job, event["error"])

    def _stand_in(self, job: Job, event: Event) -> None:
        self._endings.fail_again(job)

    def _items(self, job: Job, event: Event) -> None:
        job.found = read_items(event)
        self._crew.may_wait(job)

    def _live_log(self, job: Job, event: Event) -> None:
        self._terminal.live_log(event, job.relay.name_of(event["id"]))

    def _terminal_wanted(self, job: Job, event: Event) -> None:
        assert job.worker is not None
        self._status.clear()
        meanwhile: list[Heard]
        meanwhile = self._terminal.lend(job.worker, job, self._inbox.next_in_silence)
        for heard in meanwhile:
            self.handle(*heard)

    def _late_teardown(self, job: Job, event: Event) -> None:
        if self.current is not None:
            job.relay.late_teardown(self.current, event["text"])


def _nothing_to_do(job: Job, event: Event) -> None:
    """Whoever was to know has been told before."""


def _mended(job: Job, event: Event) -> None:
    job.record.note(f"it was damaged, and is built again: {event['why']}")


def _unmeasured(job: Job, event: Event) -> None:
    job.record.note(f"coverage was not measured: {event['why']}")
    job.relay.own_warning(f"coverage is not measured in environment {job.name!r}: {event['why']}")


def _bug(job: Job, event: Event) -> None:
    raise event["error"]


def _foreign(job: Job, event: Event) -> None:
    job.internal_error = f"it runs elsewhere: {event['seen']}, not {event['expected']}"


def _dropped(job: Job, event: Event) -> None:
    job.record.note(f"{event['option']} was not passed on: no plugin there knows it")


def _header(job: Job, event: Event) -> None:
    for text in event["lines"]:
        for line in text.splitlines():
            job.record.note(line)


def _words(job: Job, event: Event) -> None:
    job.record.add_words(event["text"])


def _collect(job: Job, event: Event) -> None:
    if not job.finds:
        job.uncollected.append(event["report"])
        job.relay.collection(event["report"])
    elif job.found is None:
        job.relay.collection_report(event["report"], alone=job.alone)


def _collected(job: Job, event: Event) -> None:
    job.collected = True
    job.relay.missing(event["missing"])


def _warning(job: Job, event: Event) -> None:
    job.relay.warning(event)


def _suite_property(job: Job, event: Event) -> None:
    job.relay.suite_property(event["name"], event["value"])


def _xml_attribute(job: Job, event: Event) -> None:
    job.relay.xml_attribute(event["id"], event["name"], event["value"])


def _test(job: Job, event: Event) -> None:
    job.relay.test(event)


def _internal_error(job: Job, event: Event) -> None:
    job.internal_error = event["text"]


def _finish(job: Job, event: Event) -> None:
    job.finished = event
    if event["status"] != pytest.ExitCode.NO_TESTS_COLLECTED:  # there may have been none for it
        job.record.exit_code = max(job.record.exit_code, event["status"])
    if job.internal_error:
        job.record.note(f"its session ended in an internal error:\n{job.internal_error}")
    assert job.worker is not None
    job.worker.let_go()
