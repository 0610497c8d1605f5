"""The crew of a session: threads that get jobs their environments, and the workers that are there.

One thread for each environment at work, bounded by ``--env-jobs``. None of them touches pytest:
what they have to say goes to the main thread.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_isoenv._coverage import Measurement, library_of
from pytest_isoenv._forks import Forks
from pytest_isoenv._gateway import Event, Worker
from pytest_isoenv._inbox import Inbox
from pytest_isoenv._jobs import Job
from pytest_isoenv._launch import Launch
from pytest_isoenv._process import MARK, Cancelled, kill_marked
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._select import wants_all
from pytest_isoenv._settings import Settings
from pytest_isoenv._watchdog import Watchdog
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import CommandError, InterpreterNotFound, IsoenvError
from pytest_isoenv.spec import EnvName

# How long fixtures may take to be torn down after Ctrl-C, and a worker to exit (seconds).
_GRACE = 10.0
# How many workers wait, for each that may work, until the host has selected: each keeps what it has
# imported. Those beyond end, and others begin in their place when it is their turn.
_WAITING = 2
# From how many environments on a process that forks pays for itself: two that start afresh, each on
# a processor of its own, are there as soon as it is.
_WORTH_A_FORK = 3


class Crew:
    """Works for ``jobs``, which are all that the session has so far.

    ``steps`` says that workers are told from test to test what comes next.
    """

    def __init__(
        self,
        config: pytest.Config,
        jobs: Sequence[Job],
        inbox: Inbox,
        provisioner: Provisioner,
        settings: Settings,
        forks: Forks,
        *,
        steps: bool,
    ) -> None:
        self._config = config
        self._jobs = jobs
        self._inbox = inbox
        self._provisioner = provisioner
        self._addopts = settings.addopts
        self._most_waiting = _WAITING * settings.jobs
        self._forks = forks
        self._steps = steps
        self._pool = ThreadPoolExecutor(settings.jobs, thread_name_prefix="isoenv")
        self._launch = Launch(config, forks.streams)
        # Two threads may start workers at the same moment.
        self._numbers = itertools.count()
        self._workers: list[Worker] = []
        self._watchdog = Watchdog(self._workers, settings.timeout)
        self._watchdog.start()
        self._measurement = Measurement.under_way()
        self._stopping = False
        self._stopped: list[Worker] = []

    # In the main thread

    def send(self, job: Job) -> None:
        """Let a job have its environment and its worker as soon as it is its turn."""

        def over(future: Future[None]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self._inbox.put(job, {"kind": "bug", "error": error})

        self._pool.submit(self._serve, job).add_done_callback(over)

    def may_wait(self, job: Job) -> None:
        """The worker of a job has collected, and is to wait, unless too many do; then it ends."""
        waiting = [one for one in self._jobs if one.worker and one.worker.awaits_selection]
        if len(waiting) > self._most_waiting and not self._steps:
            assert job.worker is not None
            job.worker.dismiss_quietly()
            job.worker = None

    def stop(self, jobs: Collection[Job]) -> None:
        """Begin to stop what still runs for these jobs: fixtures get their teardown."""
        self._stopping = True
        self._stopped = [job.worker for job in jobs if job.worker is not None]
        if jobs:
            self._provisioner.stop()
        for worker in self._stopped:
            worker.stop()

    def wait(self) -> None:
        """Wait for the workers that have been stopped, as long as one may."""
        deadline = time.monotonic() + _GRACE
        for worker in self._stopped:
            worker.wait_until_over(max(0.0, deadline - time.monotonic()))

    def end(self) -> None:
        """Nothing is to run any longer."""
        for worker in self._stopped:
            worker.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._watchdog.stop()
        if self._measurement is not None:
            self._measurement.take_in()

    def close(self) -> None:
        """Wait for the workers' processes, which were let go when they had finished."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.close(_GRACE)
        self._forks.close()
        if self._workers:
            kill_marked(MARK, self._forks.mark)
        if self._measurement is not None:
            self._measurement.close()

    # In a thread of its own for each job

    def foresee(self, layer: Path, environ: Mapping[str, str]) -> None:
        """Begin with what a worker will be forked from while its environment is built."""
        if self._is_worth_a_fork:
            with contextlib.suppress(OSError):  # said when it is needed
                self._forks.begin(layer, environ)

    @property
    def _is_worth_a_fork(self) -> bool:
        return len(self._jobs) >= _WORTH_A_FORK

    def _serve(self, job: Job) -> None:
        collects = job.finds and job.found is None
        with job.serving:
            if job.step is not None and not job.relay.waiting:
                return
            worker = self._at_work(job)
            if worker is not None and job.step is not None:
                if job.stepped_by is not worker:
                    job.stepped_by = worker
                    worker.step(*job.step)
                return
        if worker is not None:
            # Between collecting and running, a worker gives up its place among those at work.
            (worker.paused if collects else worker.over).wait()

    def _at_work(self, job: Job) -> Worker | None:
        """Its worker, in its environment; None if one of them cannot be had."""
        if job.doubt is not None and not self._mended(job, job.doubt):
            return None
        try:
            if job.environment is None:
                environment = self._provisioner.environment(job.name, job.spec)
                self._inbox.put(job, {"kind": "ready", "environment": environment})
                job.environment = environment
            return self._worker_of(job, job.environment)
        except (IsoenvError, Cancelled, OSError) as error:
            self._inbox.put(job, {"kind": "failed", "error": error})
            return None

    def _mended(self, job: Job, error: IsoenvError) -> bool:
        """Whether a worker failed for damage to its environment, which then is built again."""
        assert job.environment is not None
        job.doubt = None
        try:
            damage = self._provisioner.doubt(job.environment)
        except IsoenvError:  # what the worker said is the news, not that nothing can be done
            damage = ""
        if not damage:
            self._inbox.put(job, {"kind": "unusable", "error": error})
            return False
        self._inbox.put(job, {"kind": "mended", "why": damage})
        job.environment, job.internal_error = None, ""
        return True

    def _worker_of(self, job: Job, environment: Environment) -> Worker:
        worker = job.worker
        if worker is None or job.worker_is_over:
            return self._start_worker(job, environment)
        if worker.awaits_selection:
            worker.select(job.ids)
        return worker

    def _start_worker(self, job: Job, environment: Environment) -> Worker:
        job.generation += 1
        job.worker_is_over, job.collected, job.finished = False, False, None
        request = self._request(job, environment)
        worker = Worker(
            environment,
            self._config.invocation_params.dir,
            lambda event: self._inbox.put(job, event),
            self._forks,
            mark=f"{self._forks.mark}-{next(self._numbers)}",
            steps=self._steps,
            may_fork=job.spec.fork_worker or self._is_worth_a_fork,
        )
        job.worker = worker
        self._workers.append(worker)
        worker.start(request)
        if self._stopping:
            worker.kill()
        return worker

    def _request(self, job: Job, environment: Environment) -> Event:
        """What a worker is told that starts now."""
        place = f"{self._jobs.index(job)}-{job.name}-{job.generation}"
        ids = None if job.finds and job.found is None else job.ids
        files = None if job.finds else job.files
        if job.one_by_one and job.step is None:
            ids = ids and ids[:1]
            files = files and [str(next(iter(job.relay.waiting.values())).path)]
        request = self._launch.request(place, ids, files, job.positional)
        request["steps"] = self._steps
        request["whole"] = job.alone and not self._steps and wants_all(self._config)
        request["addopts"] = self._addopts
        request["isolation"] = job.spec.isolation
        request["coverage"] = self._measuring(job, environment, place)
        return request

    def _measuring(self, job: Job, environment: Environment, place: str) -> Event | None:
        """How the worker measures coverage; None where it does not."""
        if self._measurement is None:
            return None
        misfit = self._measurement.misfit(environment)
        if misfit:
            self._inbox.put(job, {"kind": "unmeasured", "why": misfit})
            return None
        library = None
        for spec in self._measurement.tools(job.spec, environment):
            try:
                library = library_of(self._provisioner.environment(EnvName("coverage"), spec))
                break
            except (CommandError, InterpreterNotFound):
                continue  # the worker says that it has none
        return self._measurement.request(environment, library, place)
