"""One pytest run that uses environments: what the hooks of the entry module call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _config, _settings
from pytest_isoenv._backends import builtin
from pytest_isoenv._jobs import Job
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._proxies import Tree, arguments_for, collect_reports
from pytest_isoenv._requests import Request, requested
from pytest_isoenv._select import Selector, request_of
from pytest_isoenv._session import Conductor
from pytest_isoenv._source_marks import env_marks
from pytest_isoenv._status import Status
from pytest_isoenv._summary import Record, header, lines, write_report
from pytest_isoenv.backend import Backend
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import ConfigError, InterpreterNotFound, Problem, WorkerError


class Run:
    """The environments of one session, from its options to its reports.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` where options or declarations are wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._settings = _settings_of(config)
        added = config.hook.pytest_isoenv_backends(config=config)
        self._backends: list[Backend] = [*builtin(), *(b for found in added for b in found)]
        known = {backend.name for backend in self._backends}
        declared = config.hook.pytest_isoenv_environments(config=config)
        self._declarations = _config.load(config.rootpath, known, declared)
        self.selector = Selector(self._declarations)
        self.announced = False
        self._conductor: Conductor | None = None
        self._provided: dict[str, Record] = {}

    @cached_property
    def _provisioner(self) -> Provisioner:
        """Made when the first environment is wanted: before that, nothing touches the cache."""
        return Provisioner(self._settings, self._backends, self._notify)

    def _notify(self, name: str) -> None:
        if self._conductor is not None:
            self._conductor.notify(name)

    def assign(self, items: list[pytest.Item]) -> None:
        """Settle where each item runs; raises ConfigError with everything wrong in the marks."""
        for item in items:
            self.selector.assign(item)
        self._raise_problems()

    def _raise_problems(self) -> None:
        if self.selector.problems:
            raise ConfigError(list(self.selector.problems.values()))

    def collect(self, session: pytest.Session) -> None:
        """Fill the session with proxies of what the environments of ``--in-env`` collect."""
        requests = [r for text in self._config.option.in_env for r in self.selector.of_option(text)]
        self._raise_problems()
        distinct = list(dict.fromkeys(requests))
        alone = len(distinct) == 1
        conductor = self._new_conductor(session)
        with _ended_if_interrupted(conductor):
            jobs = conductor.collect(self._arguments_of(distinct), alone=alone)
        _raise_ending(jobs)
        session.items = self._proxies(session, jobs, alone=alone)
        self._raise_problems()
        for report in collect_reports(session.items):
            self._config.hook.pytest_collectreport(report=report)

    def _arguments_of(self, requests: list[Request]) -> dict[Request, list[str]]:
        """What of the command line each environment collects: its own ids, and all others'."""
        given = list(self._config.option.file_or_dir)
        if len(requests) == 1:
            return {requests[0]: given}
        ids = [request.id for request in requests]
        named = {request: arguments_for(request.id, ids, given) for request in requests}
        return {request: found for request, found in named.items() if found or not given}

    def _proxies(
        self, session: pytest.Session, jobs: list[Job], *, alone: bool
    ) -> list[pytest.Item]:
        tree = Tree(session)
        proxies: dict[str, pytest.Item] = {}
        for job in jobs:
            for data in job.found or ():
                marked = self.selector.of_marks(data["environments"], data["id"])
                for request in marked or [job.request]:
                    plain = len(marked) == 1 if marked else alone
                    item = tree.item(data, request, alone=plain)
                    proxies.setdefault(item.nodeid, item)
            if job.failure is not None:
                item = tree.stand_in(job.request)
                proxies[item.nodeid] = item
        return list(proxies.values())

    def recover(self, module: pytest.Module, report: pytest.CollectReport) -> None:
        """A file that the host cannot import may declare environments that can."""
        marks = env_marks(module.path)
        requests = list(dict.fromkeys(self.selector.of_marks(marks, module.nodeid)))
        requests += [self.selector.default] if self.selector.default else []
        if not requests:
            return
        conductor = self._conductor or self._new_conductor(module.session)
        with _ended_if_interrupted(conductor):
            jobs = conductor.collect_apart(requests, str(module.path))
        tree = Tree(module)
        for job in jobs:
            if job.failure is not None:
                tree.stand_in(job.request)
        self._claimed(tree, jobs, str(report.longrepr))
        if tree.children:
            report.outcome, report.longrepr, report.result = "passed", None, tree.children

    def _claimed(self, tree: Tree, jobs: list[Job], error: str) -> None:
        """Proxies of each environment's own tests, and of those that none of them claims."""
        unclaimed: dict[str, Any] = {}
        for job in jobs:
            for data in job.found or ():
                marked = self.selector.of_marks(data["environments"], data["id"])
                wanted = marked or [request for request in [self.selector.default] if request]
                if job.request in wanted:
                    tree.item(data, job.request, alone=len(wanted) == 1)
                elif not wanted:
                    unclaimed[data["id"]] = data
        for data in unclaimed.values():
            item = tree.item(data, None, alone=True)
            item.why_not_here = f"it names no environment, and here its file has an error:\n{error}"

    @contextlib.contextmanager
    def conduct(self, session: pytest.Session) -> Iterator[None]:
        """While pytest's own loop runs what stays here, run the rest in environments."""
        if hasattr(self._config, "workerinput"):
            self._config.pluginmanager.register(_OneByOne(self, session), "isoenv-one-by-one")
            yield
            return
        if self._conductor is None and not any(request_of(item) for item in session.items):
            yield
            return
        conductor = self._conductor or self._new_conductor(session)
        self._config.pluginmanager.register(_BetweenTests(conductor), "isoenv-between-tests")
        everything = session.items
        session.items = [item for item in everything if request_of(item) is None]
        try:
            if not session.testsfailed or self._config.option.continue_on_collection_errors:
                conductor.start(everything)
            yield
            conductor.finish()
        finally:
            session.items = everything
            conductor.end()

    def _new_conductor(self, session: pytest.Session) -> Conductor:
        self._conductor = Conductor(
            session, self._provisioner, self._settings.jobs, Status(self._config)
        )
        return self._conductor

    def run_one(self, session: pytest.Session, item: pytest.Item) -> None:
        """Run one item in its environment, and wait for it."""
        conductor = self._new_conductor(session)
        try:
            conductor.start([item])
            conductor.finish()
        finally:
            conductor.end()
            conductor.close()

    def provide(self, *args: Any, **fields: Any) -> Environment:
        """What the ``isoenv`` fixture gives; a missing interpreter may be a skip, as declared."""
        name, spec = requested(args, fields, "isoenv", self._declarations)
        record = self._provided.setdefault(name, Record(name, spec))
        try:
            record.environment = self._provisioner.environment(name, spec)
        except InterpreterNotFound as error:
            record.error = str(error)
            if spec.missing_interpreter == "skip":
                pytest.skip(str(error))
            raise
        return record.environment

    @property
    def _records(self) -> list[Record]:
        """One for each environment, whether tests ran in it or only the fixture gave it."""
        of_tests = [job.record for job in self._conductor.jobs] if self._conductor else []
        records = {(record.name, record.spec): record for record in of_tests}
        for record in self._provided.values():
            records.setdefault((record.name, record.spec), record)
        return list(records.values())

    def header(self) -> str:
        """The line of the session's header."""
        self.announced = True
        return header(self._declarations, self._settings.cache)

    def summarize(self, terminal: pytest.TerminalReporter) -> None:
        """Write the summary's lines, where there is something to say."""
        verbosity = self._config.get_verbosity()
        if verbosity < 0 or not self._records:
            return
        terminal.write_sep("=", "environments")
        for record in self._records:
            for line in lines(record, verbosity):
                terminal.write_line(line)

    def write_report(self) -> None:
        """Write ``--env-report``, if it was asked for."""
        path = self._config.option.env_report
        if path and not hasattr(self._config, "workerinput"):
            write_report(self._config.invocation_params.dir / path, self._records)

    def close(self) -> None:
        """Leave no process and no throw-away directory."""
        if self._conductor is not None:
            self._conductor.close()
        if "_provisioner" in vars(self):
            self._provisioner.close()


@contextlib.contextmanager
def _ended_if_interrupted(conductor: Conductor) -> Iterator[None]:
    """Collecting in environments leaves nothing behind when it is cut short."""
    try:
        yield
    except BaseException:
        conductor.end()
        raise


def _raise_ending(jobs: list[Job]) -> None:
    """What ends pytest's collection there ends it here, if there is no other environment.

    A usage error is one here, too; so is an internal error, such as one of a conftest.py's hook.
    """
    job = jobs[0]
    if len(jobs) > 1 or job.failure is None or job.finished is None:
        return
    if job.finished["status"] == pytest.ExitCode.USAGE_ERROR:
        raise pytest.UsageError(job.failure[1])
    if job.finished["status"] == pytest.ExitCode.INTERNAL_ERROR:
        raise WorkerError(job.name, "failed", job.internal_error)


class _BetweenTests:
    """Reports of environments are logged between the tests that run here."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        result = yield
        self._conductor.drain()
        return result


class _OneByOne:
    """Under pytest-xdist its scheduler says which item is next, so each is run by itself.

    Outcomes are the same; module- and session-scoped fixtures are set up for each test.
    """

    def __init__(self, run: Run, session: pytest.Session) -> None:
        self._run = run
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if request_of(item) is None:
            return None
        self._run.run_one(self._session, item)
        return True


def _settings_of(config: pytest.Config) -> _settings.Settings:
    option = config.option
    return _settings.gather(
        config.rootpath,
        cache=config.invocation_params.dir / Path(option.env_cache_dir).expanduser()
        if option.env_cache_dir
        else None,
        jobs=_jobs(option.env_jobs),
        refresh=option.env_refresh,
        upgrade=option.env_upgrade,
        outputs=_outputs(config),
    )


def _outputs(config: pytest.Config) -> list[Path]:
    """The files that this run writes."""
    paths = [config.getoption(name, None) for name in ("env_report", "xmlpath", "log_file")]
    return [
        (config.invocation_params.dir / Path(path).expanduser()).resolve() for path in paths if path
    ]


def _jobs(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ConfigError([Problem("--env-jobs", f"{text!r} is not a whole number from 1")])
    return int(text)
