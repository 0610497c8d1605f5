"""The conductor: provisions environments, runs their workers, and reports in the host's session.

One thread for each environment at work, bounded by ``--env-jobs``; whatever touches pytest happens
in the main thread, which takes the workers' events from one queue.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pytest_isoenv._coverage import Measurement, library_of
from pytest_isoenv._forks import Forks
from pytest_isoenv._gateway import Event, Worker
from pytest_isoenv._interrupts import deferred
from pytest_isoenv._jobs import Job, by_request
from pytest_isoenv._launch import Launch
from pytest_isoenv._process import (
    MARK,
    Cancelled,
    describe_ending,
    describe_silence,
    kill_marked,
)
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._proxies import read_items
from pytest_isoenv._relay import Warned
from pytest_isoenv._requests import Request
from pytest_isoenv._select import request_of, wants_all
from pytest_isoenv._settings import Settings
from pytest_isoenv._status import Status
from pytest_isoenv._terminal import Terminal
from pytest_isoenv._watchdog import Watchdog
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import CommandError, InterpreterNotFound, IsoenvError, WorkerError
from pytest_isoenv.spec import EnvName

# How long fixtures may take to be torn down after Ctrl-C, and a worker to exit (seconds).
_GRACE = 10.0
# How long nothing may happen before the live line says what is being built (seconds).
_PATIENCE = 0.3
# What pytest-timeout prints before it ends the process, which is its way with the thread method.
_TIMEOUT = "+ Timeout +"
# Events that count also when they come while the run is being ended.
_SAID = frozenset({"test", "lost", "warning", "header", "words"})
# How long events gather before this thread wakes up for them (seconds): to be woken for each test
# takes it, and the workers whose processor it needs, a tenth of the time of a small suite.
_GATHER = 0.01
# How many workers wait, for each that may work, until the host has selected: each keeps what it has
# imported. Those beyond end, and others begin in their place when it is their turn.
_WAITING = 2
# From how many environments on a process that forks pays for itself: two that start afresh, each on
# a processor of its own, are there as soon as it is.
_WORTH_A_FORK = 3


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
        self._provisioner = provisioner
        self._status = status
        self._events: queue.SimpleQueue[tuple[Job | None, Event | None]] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(settings.jobs, thread_name_prefix="isoenv")
        self._open: set[Job] = set()
        self._held = contextlib.ExitStack()
        self._stopping = False
        self._alone = False
        self._forks = forks
        self._most_waiting = _WAITING * settings.jobs
        self._launch = Launch(self._config, forks.streams)
        self._workers: list[Worker] = []
        self._watchdog = Watchdog(self._workers, settings.timeout)
        self._watchdog.start()
        self._already_warned = Warned(self._config)
        self._terminal = Terminal(self._config)
        self._measurement = Measurement.under_way()
        # A worker of pytest-xdist is told from test to test what comes next, and tells its own.
        self._steps = hasattr(self._config, "workerinput")
        self._current: pytest.Item | None = None
        self._addopts = settings.addopts
        self._timeout = settings.timeout or 0.0

    # In the main thread

    def collect(self, wanted: Mapping[Request, Sequence[str]], *, alone: bool = False) -> list[Job]:
        """Let environments collect what their arguments name; returns when all have, or cannot.

        ``alone`` says that there is one environment only, so that its ids need no variant.
        """
        self._alone = alone
        for request, positional in wanted.items():
            self._add(Job(self._config, request, [], self._already_warned, positional))
        while any(job.finds and job.found is None for job in self._open):
            self._handle(*self._next())
        if any(job.found is not None and not job.found["waits"] for job in self._open):
            # Tests run already: what they give is taken in before the run ends.
            self._held.enter_context(deferred(self._interrupt))
        return self.jobs

    def collect_apart(self, requests: Sequence[Request], path: str) -> list[Job]:
        """Let environments collect one file, and forget them: they may not be asked to run it."""
        before = list(self.jobs)
        self.jobs = []
        jobs = self.collect({request: [path] for request in requests})
        self.jobs = before
        for job in jobs:
            if job.worker is not None:
                job.worker.dismiss()
            self._open.discard(job)
        return jobs

    def start(self, items: Sequence[pytest.Item]) -> None:
        """Begin to run items: provision their environments, or go on in those that are there."""
        groups = by_request(items)
        for job in self.jobs:
            self._resume(job, groups.pop(job.request, []))
        for request, members in groups.items():
            self._add(Job(self._config, request, members, self._already_warned))

    def step(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Run one item; returns when it has its result. After the last, fixtures are torn down."""
        job = self._stepping(item)
        self._current = item
        job.step_to(item, self._next_in(job, item, following))
        with deferred(self._interrupt):
            if job.failure is not None:
                self._fail(job, *job.failure)
            elif job.relay.waiting:
                self._open.add(job)
                self._submit(job)
            while job.relay.waiting and job in self._open:
                self._handle(*self._next())
            if following is None:
                self._last_steps()
        self._current = None

    def _stepping(self, item: pytest.Item) -> Job:
        request = request_of(item)
        assert request is not None
        for job in self.jobs:
            if job.request == request:
                break
        else:
            job = Job(self._config, request, [], self._already_warned)
            self.jobs.append(job)
        if not job.items:
            job.take(by_request(self._session.items)[request])
        return job

    def _next_in(
        self, job: Job, item: pytest.Item, following: pytest.Item | None
    ) -> pytest.Item | None:
        """What its environment will likely run next: fixtures that both need are kept for it.

        Should the scheduler decide otherwise, they are torn down before the next test begins.
        """
        if following is None or request_of(following) == job.request:
            return following
        index = job.items.index(item)
        return next(iter(job.items[index + 1 :]), None)

    def _last_steps(self) -> None:
        for job in self._open:
            if job.worker is not None:
                job.worker.last_step()
        while self._open:
            self._handle(*self._next())

    def _add(self, job: Job) -> None:
        self.jobs.append(job)
        self._open.add(job)
        self._submit(job)

    def _resume(self, job: Job, items: Sequence[pytest.Item]) -> None:
        job.take(items)
        if job.worker is None and not items and job.failure is None:
            self._open.discard(job)  # its worker has gone, and it needs no other
        elif job.failure is not None:
            # Said when pytest's own loop has begun: what is said before it is a collection error.
            self._open.add(job)
            self._events.put((job, {"kind": "stand-in"}))
        elif job in self._open and job.found is not None and job.found["waits"]:
            self._submit(job)

    def _submit(self, job: Job) -> None:
        def over(future: Future[None]) -> None:
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self._events.put((job, {"kind": "bug", "error": error}))

        self._pool.submit(self._serve, job).add_done_callback(over)

    def drain(self) -> None:
        """Handle the events that are there, without waiting."""
        with deferred(self._interrupt):
            while not self._events.empty():
                self._handle(*self._events.get())

    def finish(self) -> None:
        """Handle events until every environment has finished."""
        self._held.close()
        with deferred(self._interrupt):
            while self._open:
                if self._events.empty():
                    time.sleep(_GATHER)
                self._handle(*self._next())
                self._obey()

    def _interrupt(self) -> None:
        """Ctrl-C takes its turn: results that have come before it are logged whole."""
        self._events.put((None, None))

    def _next(self) -> tuple[Job | None, Event | None]:
        """Wait for an event; should it take its time, show what is going on."""
        try:
            return self._events.get(timeout=_PATIENCE)
        except queue.Empty:
            self._status.show()
            event = self._events.get()
            self._status.clear()
            return event

    def _obey(self) -> None:
        """What pytest's own loop does after each test."""
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def end(self) -> None:
        """Stop what still runs: fixtures get their teardown, then nothing is left."""
        self._held.close()
        self._stopping = True
        running = [job.worker for job in self._open if job.worker is not None]
        if running or self._open:
            self._provisioner.stop()
        for worker in running:
            worker.stop()
        deadline = time.monotonic() + _GRACE
        try:
            self._status.clear()  # fails where the terminal is closed
            for worker in running:
                worker.wait_until_over(max(0.0, deadline - time.monotonic()))
            self._log_the_rest()
        finally:
            for worker in running:
                worker.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._watchdog.stop()
            if self._measurement is not None:
                self._measurement.take_in()

    def _log_the_rest(self) -> None:
        """Results that came while the run was being ended are results all the same."""
        while not self._events.empty():
            job, event = self._events.get()
            if event is not None and event["kind"] in _SAID:
                self._handle(job, event)

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

    def _handle(self, job: Job | None, event: Event | None) -> None:
        if job is None:
            raise KeyboardInterrupt
        if event is None:
            self._generation_over(job)
        else:
            self._HANDLERS[event["kind"]](self, job, event)

    def _on_ready(self, job: Job, event: Event) -> None:
        job.environment = job.record.environment = event["environment"]
        if job.environment.note:
            job.record.note(job.environment.note)
        self._status.ready(job.name)

    def _on_building(self, job: Job, event: Event) -> None:
        self._status.building(job.name, job.spec)

    def _on_failed(self, job: Job, event: Event) -> None:
        """The environment cannot be had: an error, or a skip, on each of its tests."""
        error = event["error"]
        job.record.error = str(error)
        self._status.ready(job.name)
        outcome = "failed"
        if isinstance(error, InterpreterNotFound) and job.spec.missing_interpreter == "skip":
            outcome, job.record.error = "skipped", error.reason
        self._fail(job, outcome, f"environment {job.name!r}: {job.record.error}")

    def _on_unusable(self, job: Job, event: Event) -> None:
        """The environment is there, but no worker can run in it."""
        job.record.error = str(event["error"])
        self._fail(job, "failed", job.record.error)

    def _on_mended(self, job: Job, event: Event) -> None:
        job.record.note(f"it was damaged, and is built again: {event['why']}")

    def _fail(self, job: Job, outcome: str, text: str) -> None:
        """Nothing of the job can run, or go on; while it collects, nobody knows its tests yet."""
        job.failure = (outcome, text)
        job.relay.all_waiting(outcome, text)
        self._open.discard(job)

    def _on_stand_in(self, job: Job, event: Event) -> None:
        assert job.failure is not None
        self._fail(job, *job.failure)

    def _on_items(self, job: Job, event: Event) -> None:
        job.found = read_items(event)
        waiting = [one for one in self.jobs if one.worker and one.worker.awaits_selection]
        if len(waiting) > self._most_waiting and not self._steps:
            assert job.worker is not None
            job.worker.dismiss_quietly()
            job.worker = None

    def _on_test(self, job: Job, event: Event) -> None:
        job.relay.test(event)

    def _on_lost(self, job: Job, event: Event) -> None:
        """The process of one test has gone; its worker goes on with the next."""
        ending = describe_ending(event["status"])
        if event["timed out"]:
            ending = describe_silence(self._timeout)
        assert job.worker is not None
        words = job.worker.without_secrets(event["words"])
        self._lost(job, event["id"], ending, words, event["sections"])

    def _on_collect(self, job: Job, event: Event) -> None:
        if not job.finds:
            job.uncollected.append(event["report"])
            job.relay.collection(event["report"])
        elif job.found is None:
            job.relay.collection_report(event["report"], alone=self._alone)

    def _on_collected(self, job: Job, event: Event) -> None:
        job.collected = True
        job.relay.missing(event["missing"])

    def _on_warning(self, job: Job, event: Event) -> None:
        job.relay.warning(event)

    def _on_suite_property(self, job: Job, event: Event) -> None:
        job.relay.suite_property(event["name"], event["value"])

    def _on_xml_attribute(self, job: Job, event: Event) -> None:
        job.relay.xml_attribute(event["id"], event["name"], event["value"])

    def _on_dropped(self, job: Job, event: Event) -> None:
        job.record.note(f"{event['option']} was not passed on: no plugin there knows it")

    def _on_header(self, job: Job, event: Event) -> None:
        for text in event["lines"]:
            for line in text.splitlines():
                job.record.note(line)

    def _on_words(self, job: Job, event: Event) -> None:
        job.record.add_words(event["text"])

    def _on_unmeasured(self, job: Job, event: Event) -> None:
        job.record.note(f"coverage was not measured: {event['why']}")
        job.relay.own_warning(
            f"coverage is not measured in environment {job.name!r}: {event['why']}"
        )

    def _on_live_log(self, job: Job, event: Event) -> None:
        self._terminal.live_log(event, job.relay.name_of(event["id"]))

    def _on_terminal_wanted(self, job: Job, event: Event) -> None:
        assert job.worker is not None
        self._status.clear()
        meanwhile: list[tuple[Job | None, Event | None]]
        meanwhile = self._terminal.lend(job.worker, job, lambda: self._events.get())
        for of, other in meanwhile:
            self._handle(of, other)

    def _on_terminal_back(self, job: Job, event: Event) -> None:
        """It was lent no longer: the worker is over."""

    def _on_late_teardown(self, job: Job, event: Event) -> None:
        if self._current is not None:
            job.relay.late_teardown(self._current, event["text"])

    def _on_internal_error(self, job: Job, event: Event) -> None:
        job.internal_error = event["text"]

    def _on_foreign(self, job: Job, event: Event) -> None:
        job.internal_error = f"it runs elsewhere: {event['seen']}, not {event['expected']}"

    def _on_bug(self, job: Job, event: Event) -> None:
        raise event["error"]

    def _on_hello(self, job: Job, event: Event) -> None:
        """The greeting was checked where it arrived."""

    def _on_finish(self, job: Job, event: Event) -> None:
        job.finished = event
        if event["status"] != pytest.ExitCode.NO_TESTS_COLLECTED:  # there may have been none for it
            job.record.exit_code = max(job.record.exit_code, event["status"])
        if job.internal_error:
            job.record.note(f"its session ended in an internal error:\n{job.internal_error}")
        assert job.worker is not None
        job.worker.let_go()

    _HANDLERS: Mapping[str, Callable[[Conductor, Job, Event], None]] = {
        "building": _on_building,
        "ready": _on_ready,
        "failed": _on_failed,
        "unusable": _on_unusable,
        "mended": _on_mended,
        "hello": _on_hello,
        "foreign": _on_foreign,
        "dropped": _on_dropped,
        "header": _on_header,
        "words": _on_words,
        "collect": _on_collect,
        "stand-in": _on_stand_in,
        "items": _on_items,
        "collected": _on_collected,
        "warning": _on_warning,
        "suite property": _on_suite_property,
        "xml attribute": _on_xml_attribute,
        "test": _on_test,
        "lost": _on_lost,
        "unmeasured": _on_unmeasured,
        "live log": _on_live_log,
        "terminal wanted": _on_terminal_wanted,
        "terminal back": _on_terminal_back,
        "late teardown": _on_late_teardown,
        "internal error": _on_internal_error,
        "finish": _on_finish,
        "bug": _on_bug,
    }

    def _generation_over(self, job: Job) -> None:
        """The worker will send nothing more; decide what becomes of tests without a result."""
        assert job.worker is not None
        job.worker_is_over = True
        unknown = job.finds and job.found is None
        if not self._stopping and job.finished is not None:
            self._obey_ending(job.finished["ending"])
        if self._stopping or not (job.relay.waiting or unknown):
            if not self._stopping and job.finished is None:
                self._died_late(job, job.worker)
            self._open.discard(job)
            return
        if self._goes_on(job, job.worker):
            self._submit(job)
        else:
            self._open.discard(job)

    def _goes_on(self, job: Job, worker: Worker) -> bool:
        """Whether there is to be another worker for the tests that have no result."""
        if job.finished is not None:
            if self._goes_on_one_by_one(job, job.finished):
                return True
            self._ended_early(job, job.finished)
            return False
        if job.collected and not job.internal_error:
            self._crashed(job, worker)
            return bool(job.relay.waiting) and not self._steps
        return self._doubts(job, worker)

    def _doubts(self, job: Job, worker: Worker) -> bool:
        """A worker could not work at all: whether its environment is to be looked at."""
        error = WorkerError(job.name, _how_it_ended(job, worker), worker.last_words())
        if job.was_doubted:
            self._on_unusable(job, {"error": error})
            return False
        job.doubt, job.was_doubted = error, True
        return True

    def _goes_on_one_by_one(self, job: Job, finish: Event) -> bool:
        """Whether the worker could run one test only; then another is to run the next."""
        stopped = finish["ending"] is not None or self._session.shouldfail or job.internal_error
        if not finish["apart"] or stopped:
            return False
        if not job.one_by_one:
            job.record.note(f"each test has a fresh worker: {finish['apart']}")
        job.one_by_one = True
        return True

    def _died_late(self, job: Job, worker: Worker) -> None:
        """All tests have their results, but something went wrong after them."""
        how = _how_it_ended(job, worker, "after its tests")
        job.record.add_words(str(WorkerError(job.name, how, worker.last_words())))
        job.record.exit_code = max(job.record.exit_code, worker.exit_code)

    def _obey_ending(self, ending: Event | None) -> None:
        """What stopped the session there stops this one."""
        if ending is None:
            return
        if ending["exit"]:
            raise pytest.exit.Exception(ending["why"], ending["returncode"])
        self._session.shouldstop = ending["why"]

    def _ended_early(self, job: Job, finish: Event) -> None:
        if finish["ending"] is not None or self._session.shouldfail:
            return  # it was stopped, or has met --maxfail by itself
        if job.internal_error and self._alone and job.finds and not self._steps:
            job.raise_internal_error()  # it is the whole run's, as by plain pytest
        assert job.worker is not None
        code = f"ended with exit code {finish['status']} before it ran them"
        words = job.internal_error or job.worker.last_words()
        self._fail(job, "failed", str(WorkerError(job.name, code, words)))

    def _crashed(self, job: Job, worker: Worker) -> None:
        """Tests run in the order they were sent: the first without a result was running."""
        victim = next(iter(job.relay.waiting))
        words = "\n".join(filter(None, (worker.remote_error(), worker.last_words())))
        self._lost(job, victim, worker.ending(), words)

    def _lost(
        self,
        job: Job,
        victim: str,
        ending: str,
        words: str,
        sections: Sequence[tuple[str, str]] = (),
    ) -> None:
        if _TIMEOUT in words:
            ending = f"ran into pytest-timeout and {ending}"
        error = WorkerError(job.name, f"{ending} while it ran {victim}", words)
        job.record.note(f"a worker {ending} while it ran {victim}")
        job.relay.settle(victim, "failed", str(error), when="call", sections=sections)

    # In a thread of its own for each job

    def _serve(self, job: Job) -> None:
        collects = job.finds and job.found is None
        if job.doubt is not None and not self._mended(job, job.doubt):
            return
        try:
            if job.environment is None:
                environment = self._provisioner.environment(job.name, job.spec)
                self._events.put((job, {"kind": "ready", "environment": environment}))
                job.environment = environment
            worker = self._worker_of(job, job.environment)
        except (IsoenvError, Cancelled, OSError) as error:
            self._events.put((job, {"kind": "failed", "error": error}))
            return
        if job.step is not None:
            worker.step(*job.step)
            return
        # Between collecting and running, a worker gives up its place among those at work.
        (worker.paused if collects else worker.over).wait()

    def _mended(self, job: Job, error: IsoenvError) -> bool:
        """Whether a worker failed for damage to its environment, which then is built again."""
        assert job.environment is not None
        job.doubt = None
        try:
            damage = self._provisioner.doubt(job.environment)
        except IsoenvError:  # what the worker said is the news, not that nothing can be done
            damage = ""
        if not damage:
            self._events.put((job, {"kind": "unusable", "error": error}))
            return False
        self._events.put((job, {"kind": "mended", "why": damage}))
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
        place = f"{self.jobs.index(job)}-{job.name}-{job.generation}"
        ids = None if job.finds and job.found is None else job.ids
        files = None if job.finds else job.files
        if job.one_by_one and job.step is None:
            ids = ids and ids[:1]
            files = files and [str(next(iter(job.relay.waiting.values())).path)]
        request = self._launch.request(place, ids, files, job.positional)
        request["steps"] = self._steps
        request["whole"] = self._alone and not self._steps and wants_all(self._config)
        request["addopts"] = self._addopts
        request["isolation"] = job.spec.isolation
        request["coverage"] = self._measuring(job, environment, place)
        worker = Worker(
            environment,
            self._config.invocation_params.dir,
            lambda event: self._events.put((job, event)),
            self._forks,
            mark=f"{self._forks.mark}-{len(self._workers)}",
            steps=self._steps,
            may_fork=job.spec.fork_worker or len(self.jobs) >= _WORTH_A_FORK,
        )
        job.worker = worker
        self._workers.append(worker)
        worker.start(request)
        if self._stopping:
            worker.kill()
        return worker

    def _measuring(self, job: Job, environment: Environment, place: str) -> Event | None:
        """How the worker measures coverage; None where it does not."""
        if self._measurement is None:
            return None
        misfit = self._measurement.misfit(environment)
        if misfit:
            self._events.put((job, {"kind": "unmeasured", "why": misfit}))
            return None
        library = None
        for spec in self._measurement.tools(job.spec, environment):
            try:
                library = library_of(self._provisioner.environment(EnvName("coverage"), spec))
                break
            except (CommandError, InterpreterNotFound):
                continue  # the worker says that it has none
        return self._measurement.request(environment, library, place)

    def notify(self, name: str) -> None:
        """Called from a job's thread when its environment takes work."""
        for job in self.jobs:
            if job.name == name:
                self._events.put((job, {"kind": "building"}))


def _how_it_ended(job: Job, worker: Worker, when: str = "before it ran a test") -> str:
    if job.internal_error:
        return f"failed:\n{job.internal_error}"
    error = worker.remote_error()
    return f"failed:\n{error}" if error else f"{worker.ending()} {when}"
