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
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._requests import requested
from pytest_isoenv._select import Selector, request_of
from pytest_isoenv._session import Conductor, jobs_of
from pytest_isoenv._status import Status
from pytest_isoenv._summary import Record, header, lines, write_report
from pytest_isoenv.backend import Backend
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import ConfigError, InterpreterNotFound, Problem


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
        if self.selector.problems:
            raise ConfigError(list(self.selector.problems.values()))

    @contextlib.contextmanager
    def conduct(self, session: pytest.Session) -> Iterator[None]:
        """While pytest's own loop runs what stays here, run the rest in environments."""
        if hasattr(self._config, "workerinput"):
            self._config.pluginmanager.register(_OneByOne(self, session), "isoenv-one-by-one")
            yield
            return
        if not any(request_of(item) for item in session.items):
            yield
            return
        conductor = self._conductor_of(session, session.items)
        self._config.pluginmanager.register(_BetweenTests(conductor), "isoenv-between-tests")
        everything = session.items
        session.items = [item for item in everything if request_of(item) is None]
        try:
            if not session.testsfailed or self._config.option.continue_on_collection_errors:
                conductor.start()
            yield
            conductor.finish()
        finally:
            session.items = everything
            conductor.end()

    def _conductor_of(self, session: pytest.Session, items: list[pytest.Item]) -> Conductor:
        jobs = jobs_of(self._config, items)
        self._conductor = Conductor(
            session, self._provisioner, jobs, self._settings.jobs, Status(self._config)
        )
        return self._conductor

    def run_one(self, session: pytest.Session, item: pytest.Item) -> None:
        """Run one item in its environment, and wait for it."""
        conductor = self._conductor_of(session, [item])
        try:
            conductor.start()
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
