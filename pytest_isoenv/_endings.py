"""What becomes of a job that cannot go on as it began: no environment, or its worker is over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_isoenv._crew import Crew
from pytest_isoenv._gateway import Event, Worker
from pytest_isoenv._inbox import Inbox
from pytest_isoenv._jobs import Job
from pytest_isoenv._process import describe_ending, describe_silence
from pytest_isoenv.errors import InterpreterNotFound, WorkerError

# What pytest-timeout prints before it ends the process, which is its way with the thread method.
_TIMEOUT = "+ Timeout +"


class Endings:
    """Decides whether tests without a result get another worker, or what their result is.

    ``timeout`` is how long (seconds) a test may take; ``steps`` says that pytest-xdist steps
    through the tests, and so will ask for another worker itself.
    """

    def __init__(
        self,
        session: pytest.Session,
        inbox: Inbox,
        crew: Crew,
        timeout: float | None,
        *,
        steps: bool,
    ) -> None:
        self._session = session
        self._inbox = inbox
        self._crew = crew
        self._timeout = timeout or 0.0
        self._steps = steps

    def fail(self, job: Job, outcome: str, text: str) -> None:
        """Nothing of the job can run, or go on; while it collects, nobody knows its tests yet."""
        job.failure = (outcome, text)
        job.relay.all_waiting(outcome, text)
        self._inbox.open.discard(job)

    def fail_again(self, job: Job) -> None:
        """It has failed while it collected; now it has tests."""
        assert job.failure is not None
        self.fail(job, *job.failure)

    def not_provisioned(self, job: Job, error: Exception) -> None:
        """The environment cannot be had: an error, or a skip, on each of its tests."""
        job.record.error = str(error)
        outcome = "failed"
        if isinstance(error, InterpreterNotFound) and job.spec.missing_interpreter == "skip":
            outcome, job.record.error = "skipped", error.reason
        self.fail(job, outcome, f"environment {job.name!r}: {job.record.error}")

    def unusable(self, job: Job, error: Exception) -> None:
        """The environment is there, but no worker can run in it."""
        job.record.error = str(error)
        self.fail(job, "failed", job.record.error)

    def lost(self, job: Job, event: Event) -> None:
        """The process of one test has gone; its worker goes on with the next."""
        ending = describe_ending(event["status"])
        if event["timed out"]:
            ending = describe_silence(self._timeout)
        assert job.worker is not None
        words = job.worker.without_secrets(event["words"])
        _settle_victim(job, event["id"], ending, words, event["sections"])

    def worker_is_over(self, job: Job) -> None:
        """The worker will send nothing more; decide what becomes of tests without a result."""
        assert job.worker is not None
        job.worker_is_over = True
        if job.finished is not None:
            self._obey_ending(job.finished["ending"])
        if job.relay.waiting or (job.finds and job.found is None):
            if self._goes_on(job, job.worker):
                self._crew.send(job)
                return
        elif job.finished is None:
            _died_late(job, job.worker)
        self._inbox.open.discard(job)

    def _obey_ending(self, ending: Event | None) -> None:
        """What stopped the session there stops this one."""
        if ending is None:
            return
        if ending["exit"]:
            raise pytest.exit.Exception(ending["why"], ending["returncode"])
        self._session.shouldstop = ending["why"]

    def _goes_on(self, job: Job, worker: Worker) -> bool:
        """Whether there is to be another worker for the tests that have no result."""
        if job.finished is not None:
            if self._goes_on_one_by_one(job, job.finished):
                return True
            self._ended_early(job, worker, job.finished)
            return False
        if job.collected and not job.internal_error:
            _crashed(job, worker)
            return bool(job.relay.waiting) and not self._steps
        return self._doubts(job, worker)

    def _goes_on_one_by_one(self, job: Job, finish: Event) -> bool:
        """Whether the worker could run one test only; then another is to run the next."""
        stopped = finish["ending"] is not None or self._session.shouldfail or job.internal_error
        if not finish["apart"] or stopped:
            return False
        if not job.one_by_one:
            job.record.note(f"each test has a fresh worker: {finish['apart']}")
        job.one_by_one = True
        return True

    def _ended_early(self, job: Job, worker: Worker, finish: Event) -> None:
        if finish["ending"] is not None or self._session.shouldfail:
            return  # it was stopped, or has met --maxfail by itself
        if job.internal_error and job.alone and not self._steps:
            job.raise_internal_error()  # it is the whole run's, as by plain pytest
        code = f"ended with exit code {finish['status']} before it ran them"
        words = job.internal_error or worker.last_words()
        self.fail(job, "failed", str(WorkerError(job.name, code, words)))

    def _doubts(self, job: Job, worker: Worker) -> bool:
        """A worker could not work at all: whether its environment is to be looked at."""
        error = WorkerError(job.name, _how_it_ended(job, worker), worker.last_words())
        if job.was_doubted:
            self.unusable(job, error)
            return False
        job.doubt, job.was_doubted = error, True
        return True


def _crashed(job: Job, worker: Worker) -> None:
    """Tests run in the order they were sent: the first without a result was running."""
    victim = next(iter(job.relay.waiting))
    words = "\n".join(filter(None, (worker.remote_error(), worker.last_words())))
    _settle_victim(job, victim, worker.ending(), words)


def _settle_victim(
    job: Job, victim: str, ending: str, words: str, sections: Sequence[tuple[str, str]] = ()
) -> None:
    """A process has ended with the test that it ran."""
    if _TIMEOUT in words:
        ending = f"ran into pytest-timeout and {ending}"
    error = WorkerError(job.name, f"{ending} while it ran {victim}", words)
    job.record.note(f"a worker {ending} while it ran {victim}")
    job.relay.settle(victim, "failed", str(error), when="call", sections=sections)


def _died_late(job: Job, worker: Worker) -> None:
    """All tests have their results, but something went wrong after them."""
    how = _how_it_ended(job, worker, "after its tests")
    job.record.add_words(str(WorkerError(job.name, how, worker.last_words())))
    job.record.exit_code = max(job.record.exit_code, worker.exit_code)


def _how_it_ended(job: Job, worker: Worker, when: str = "before it ran a test") -> str:
    if job.internal_error:
        return f"failed:\n{job.internal_error}"
    error = worker.remote_error()
    return f"failed:\n{error}" if error else f"{worker.ending()} {when}"
