"""The conductor: provisions environments, runs their workers, and reports in the host's session.

What is asked for becomes jobs, one for each environment. The crew gets each its environment and
its worker, in threads; their events come back through one inbox, and handlers make reports of
them. Whatever touches pytest happens in the main thread, which is this module's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pytest_isoenv._crew import Crew
from pytest_isoenv._endings import Endings
from pytest_isoenv._forks import Forks
from pytest_isoenv._handlers import Handlers
from pytest_isoenv._inbox import Inbox
from pytest_isoenv._interrupts import deferred
from pytest_isoenv._jobs import Job, by_request
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._relay import Warned
from pytest_isoenv._requests import Request
from pytest_isoenv._settings import Settings
from pytest_isoenv._status import Status


class Conductor:
    """Runs the jobs of one session."""

    def __init__(
        self,
        session: pytest.Session,
        provisioner: Provisioner,
        settings: Settings,
        status: Status,
        forks: Forks,
    ) -> None:
        self.jobs: list[Job] = []
        self._session = session
        self._config = session.config
        self._status = status
        self._held = contextlib.ExitStack()
        # A worker of pytest-xdist is told from test to test what comes next, and tells its own.
        steps = hasattr(self._config, "workerinput")
        self._inbox = Inbox(status)
        self._crew = Crew(
            self._config, self.jobs, self._inbox, provisioner, settings, forks, steps=steps
        )
        self._endings = Endings(session, self._inbox, self._crew, settings.timeout, steps=steps)
        self._handlers = Handlers(self._config, self._inbox, self._crew, self._endings, status)
        self._already_warned = Warned(self._config)

    def collect(self, wanted: Mapping[Request, Sequence[str]], *, alone: bool = False) -> list[Job]:
        """Let environments collect what their arguments name; returns when all have, or cannot.

        ``alone`` says that there is one environment only, so that its ids need no variant.
        """
        before = len(self.jobs)
        for request, positional in wanted.items():
            self._begin(self.new_job(request, [], positional, alone=alone))
        while any(job.finds and job.found is None for job in self._inbox.open):
            self._handlers.handle(*self._inbox.next())
        if any(job.found is not None and not job.found["waits"] for job in self._inbox.open):
            # Tests run already: what they give is taken in before the run ends.
            self._held.enter_context(deferred(self._inbox.interrupt))
        return self.jobs[before:]

    def collect_apart(self, requests: Sequence[Request], path: str) -> list[Job]:
        """Let environments collect one file, and forget them: they may not be asked to run it."""
        jobs = self.collect({request: [path] for request in requests})
        for job in jobs:
            self.jobs.remove(job)
            if job.worker is not None:
                job.worker.dismiss()
            self._inbox.open.discard(job)
        return jobs

    def start(self, items: Sequence[pytest.Item]) -> None:
        """Begin to run items: provision their environments, or go on in those that are there."""
        groups = by_request(items)
        for job in self.jobs:
            self._resume(job, groups.pop(job.request, []))
        for request, members in groups.items():
            self._begin(self.new_job(request, members))

    def new_job(
        self,
        request: Request,
        items: list[pytest.Item],
        positional: Sequence[str] | None = None,
        *,
        alone: bool = False,
    ) -> Job:
        """A further job of the session, which has not begun yet."""
        job = Job(self._config, request, items, self._already_warned, positional, alone=alone)
        self.jobs.append(job)
        return job

    def _begin(self, job: Job) -> None:
        self._inbox.open.add(job)
        self._crew.send(job)

    def _resume(self, job: Job, items: Sequence[pytest.Item]) -> None:
        job.take(items)
        if job.worker is None and not items and job.failure is None:
            self._inbox.open.discard(job)  # its worker has gone, and it needs no other
        elif job.failure is not None:
            # Said when pytest's own loop has begun: what is said before it is a collection error.
            self._inbox.open.add(job)
            self._inbox.put(job, {"kind": "stand-in"})
        elif job in self._inbox.open and job.found is not None and job.found["waits"]:
            self._crew.send(job)

    def drain(self) -> None:
        """Handle the events that are there, without waiting."""
        with deferred(self._inbox.interrupt):
            while not self._inbox.is_empty():
                self._handlers.handle(*self._inbox.next_in_silence())

    def finish(self) -> None:
        """Handle events until every environment has finished."""
        self._held.close()
        with deferred(self._inbox.interrupt):
            while self._inbox.open:
                self._handlers.handle(*self._inbox.next(gather=True))
                self._obey()

    def _obey(self) -> None:
        """What pytest's own loop does after each test."""
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def step(self, job: Job, item: pytest.Item, *, last: bool) -> None:
        """Run the item that a job has stepped to; returns when it has its result.

        After the last, the fixtures of all jobs are torn down.
        """
        self._handlers.current = item
        with deferred(self._inbox.interrupt):
            if job.failure is not None:
                self._endings.fail(job, *job.failure)
            elif job.relay.waiting:
                self._begin(job)
            while job.relay.waiting and job in self._inbox.open:
                self._handlers.handle(*self._inbox.next())
            if last:
                self._last_steps()
        self._handlers.current = None

    def _last_steps(self) -> None:
        for job in self._inbox.open:
            if job.worker is not None:
                job.worker.last_step()
        while self._inbox.open:
            self._handlers.handle(*self._inbox.next())

    def end(self) -> None:
        """Stop what still runs: fixtures get their teardown, then nothing is left."""
        self._held.close()
        self._crew.stop(self._inbox.open)
        try:
            self._status.clear()  # fails where the terminal is closed
            self._crew.wait()
            self._handlers.handle_the_rest()
        finally:
            self._crew.end()

    def close(self) -> None:
        """Wait for the workers' processes, which were let go when they had finished."""
        self._crew.close()

    def foresee(self, layer: Path, environ: Mapping[str, str]) -> None:
        """Called from a job's thread when its environment is built: what its worker will need."""
        self._crew.foresee(layer, environ)

    def notify(self, name: str) -> None:
        """Called from a job's thread when its environment takes work."""
        for job in self.jobs:
            if job.name == name:
                self._inbox.put(job, {"kind": "building"})
