"""One pytest run that uses environments: what the hooks of the entry module call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_isoenv import _ahead, _config, _neighbours
from pytest_isoenv._backends import builtin, unsupported_by
from pytest_isoenv._disk import remarks
from pytest_isoenv._interrupts import obey_the_others
from pytest_isoenv._jobs import Job
from pytest_isoenv._own_options import settings_of, share
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._requests import Request, requested
from pytest_isoenv._select import Selector, request_of, tell_apart
from pytest_isoenv._session import Conductor
from pytest_isoenv._status import Status
from pytest_isoenv._summary import Account, Record, header, summarize, united, write_report
from pytest_isoenv.backend import Backend
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import InterpreterNotFound

if TYPE_CHECKING:
    from pytest_isoenv._collecting import Collecting


class Run:
    """The environments of one session, from its options to its reports.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` where options or declarations are wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_ready = False
        self._settings = settings_of(config)
        added = config.hook.pytest_isoenv_backends(config=config)
        self._backends: list[Backend] = [*builtin(), *(b for found in added for b in found)]
        known = {backend.name for backend in self._backends}
        declared = config.hook.pytest_isoenv_environments(config=config)
        self._declarations = _config.load(
            config.rootpath,
            known,
            declared,
            locked=config.option.env_locked,
            unsupported=partial(unsupported_by, self._backends),
        )
        self.selector = Selector(self._declarations)
        if self.selector.default:
            self.get_ready()
        self.announced = False
        self._conductor: Conductor | None = None
        self._provided: dict[str, Record] = {}
        self._of_workers: list[Account] = []
        self._disobey: Callable[[], None] | None = None

    @cached_property
    def _provisioner(self) -> Provisioner:
        """Made when the first environment is wanted: before that, nothing touches the cache."""
        self.obey_signals()
        return Provisioner(self._settings, self._backends, self._notify, self._foresee)

    def _notify(self, name: str) -> None:
        if self._conductor is not None:
            self._conductor.notify(name)

    def _foresee(self, layer: Path, environ: Mapping[str, str]) -> None:
        if self._conductor is not None:
            self._conductor.foresee(layer, environ)

    def get_ready(self) -> None:
        """There will be work for environments, as it seems, while pytest still collects."""
        if not self._is_ready:
            self._is_ready = True
            _ahead.begin(self._config)

    def obey_signals(self) -> None:
        """From now on there are things to put away before the run ends, however it is ended."""
        self._disobey = self._disobey or obey_the_others()

    def assign(self, items: list[pytest.Item]) -> None:
        """Settle where each item runs; raises ConfigError with everything wrong in the marks."""
        for item in items:
            self.selector.assign(item)
        tell_apart(items)
        self.selector.raise_problems()

    @cached_property
    def _collecting(self) -> Collecting:
        from pytest_isoenv._collecting import Collecting

        return Collecting(self._config, self.selector)

    def collect(self, session: pytest.Session) -> list[pytest.Item]:
        """Fill the session with proxies of what the environments of ``--in-env`` collect.

        Returns those that the environments themselves have deselected.
        """
        session.items = []
        requests = self._in_env()
        return self._collecting.suite(session, requests, self._new_conductor(session))

    def modify(self, session: pytest.Session) -> None:
        """Let plugins select among what environments have collected, and order it."""
        assert self._conductor is not None
        self._collecting.modify(session, self._conductor.jobs)

    def recover(self, module: pytest.Module, report: pytest.CollectReport) -> None:
        """A file that the host cannot import may declare environments that can."""
        self._collecting.recover(module, report, self._conductor_of)

    def _in_env(self) -> list[Request]:
        """The environments that ``--in-env`` names."""
        return self.selector.of_options(self._config.option.in_env)

    @property
    def addopts(self) -> str:
        """What the shell adds to the command line."""
        return self._settings.addopts

    def environments(self) -> Iterator[Environment]:
        """Those that ``--in-env`` names, ready to use; each is made when it is its turn."""
        for request in self._in_env():
            assert request.spec is not None
            yield self._provisioner.environment(request.name, request.spec)

    def let_collecting_end(self) -> None:
        """With ``--collect-only``: warnings of collecting come when it is over."""
        if self._conductor is not None and self._config.option.in_env:
            self._conductor.start([])
            self._conductor.finish()

    @contextlib.contextmanager
    def conduct(self, session: pytest.Session) -> Iterator[None]:
        """While pytest's own loop runs what stays here, run the rest in environments."""
        if self._conductor is None and not self.has_work(session.items):
            yield
            return
        _neighbours.check(self._config)
        steps = hasattr(self._config, "workerinput")
        try:
            with self._step_by_step(session) if steps else self._side_by_side(session):
                yield
        finally:
            if self._config.option.in_env:
                self._collecting.leave_alone_what_is_there()
            else:
                here = (item for item in session.items if request_of(item) is None)
                _neighbours.hold_back(self._config, here)

    @contextlib.contextmanager
    def _side_by_side(self, session: pytest.Session) -> Iterator[None]:
        """Environments run what is theirs while pytest's own loop runs the rest."""
        conductor = self._conductor_of(session)
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

    @contextlib.contextmanager
    def _step_by_step(self, session: pytest.Session) -> Iterator[None]:
        """Under pytest-xdist its scheduler says which item is next."""
        from pytest_isoenv._stepping import Steps

        steps = Steps(session, lambda: self._conductor_of(session))
        self._config.pluginmanager.register(steps, "isoenv-steps")
        try:
            yield
        finally:
            if self._conductor is not None:
                self._conductor.end()

    def _conductor_of(self, session: pytest.Session) -> Conductor:
        return self._conductor or self._new_conductor(session)

    def _new_conductor(self, session: pytest.Session) -> Conductor:
        self._conductor = Conductor(
            session,
            self._provisioner,
            self._settings,
            Status(self._config),
            _ahead.forks_of(self._config),
        )
        return self._conductor

    def provide(self, *args: Any, **fields: Any) -> Environment:
        """What the ``isoenv`` fixture gives; a missing interpreter may be a skip, as declared."""
        name, spec = requested(args, fields, "isoenv", self._declarations)
        record = self._provided.setdefault(name, Record(name, spec))
        try:
            record.environment = self._provisioner.environment(name, spec)
        except InterpreterNotFound as error:
            record.error = str(error)
            if spec.missing_interpreter == "skip":
                record.error = error.reason
                pytest.skip(error.reason)
            raise
        return record.environment

    def perform_collect(self, session: pytest.Session) -> list[pytest.Item]:
        """What ``session.perform_collect()`` does, with the items of environments."""
        hook = self._config.hook
        try:
            deselected = self.collect(session)
            if deselected:
                hook.pytest_deselected(items=deselected)
            self.modify(session)
        finally:
            hook.pytest_collection_finish(session=session)
        session.testscollected = len(session.items)
        return session.items

    def has_work(self, items: Sequence[pytest.Item]) -> bool:
        """Whether one of these items runs in an environment."""
        return any(request_of(item) is not None for item in items)

    @property
    def accounts(self) -> list[Account]:
        """One for each environment, whether tests ran in it or only the fixture gave it.

        Those of pytest-xdist's workers are united.
        """
        of_tests = [job.record for job in self._conductor.jobs] if self._conductor else []
        records = [*of_tests, *self._provided.values()]
        return united([*self._of_workers, *(record.account() for record in records)])

    @property
    def exit_code(self) -> int:
        """The gravest with which a session in an environment ended (pytest's exit codes)."""
        return max((account["exit_code"] for account in self.accounts), default=0)

    def share(self, workerinput: dict[str, Any]) -> None:
        """Let a worker of pytest-xdist on this machine keep ephemeral environments with others."""
        specs = [self._declarations.spec(name) for name in (None, *self._declarations.names)]
        if self._settings.refresh or any(spec.refresh for spec in specs):
            share(workerinput, self._provisioner.shared)

    def add_accounts(self, accounts: list[Account]) -> None:
        """Take in what a worker of pytest-xdist did in environments."""
        self._of_workers += accounts
        if not self._config.option.in_env:
            _neighbours.hold_back(self._config, [])

    def header(self) -> list[str]:
        """The lines of the session's header."""
        self.announced = True
        cache = self._settings.cache
        warnings = [f"isoenv: the cache: {remark}" for remark in remarks(cache)]
        return [header(self._declarations, cache), *warnings]

    def summarize(self, terminal: pytest.TerminalReporter) -> None:
        """Write the summary's lines, where there is something to say."""
        summarize(terminal, self.accounts, self._config.get_verbosity())

    def write_report(self) -> None:
        """Write ``--env-report``, if it was asked for."""
        path = self._config.option.env_report
        if path and not hasattr(self._config, "workerinput"):
            write_report(self._config.invocation_params.dir / path, self.accounts)

    def close(self) -> None:
        """Leave no process and no throw-away directory; a second time does nothing."""
        if self._conductor is not None:
            self._conductor.close()
            self._expect_the_same(self._conductor.jobs)
            self._conductor = None
        provisioner = vars(self).pop("_provisioner", None)
        if provisioner is not None:
            provisioner.close()
        if self._disobey is not None:
            self._disobey()
            self._disobey = None

    def _expect_the_same(self, jobs: Sequence[Job]) -> None:
        """The next run will most likely fork its workers from where this one did, or could have."""
        environments = [job.environment for job in jobs if job.environment is not None]
        kept = [one for one in environments if one.provisioned != "ephemeral"]
        if kept:
            _ahead.remember(self._settings, kept, self._provisioner.note)


class _BetweenTests:
    """Reports of environments are logged between the tests that run here."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        result = yield
        self._conductor.drain()
        return result
