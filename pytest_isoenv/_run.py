"""One pytest run that uses environments: what the hooks of the entry module call."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _ahead, _config, _host, _neighbours, _settings
from pytest_isoenv._backends import builtin, unsupported_by
from pytest_isoenv._disk import remarks
from pytest_isoenv._interrupts import obey_the_others
from pytest_isoenv._jobs import Job
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._proxies import Found, Tree, arguments_for, collect_reports
from pytest_isoenv._reports import module_of
from pytest_isoenv._requests import Request, requested
from pytest_isoenv._select import Selector, request_of, tell_apart
from pytest_isoenv._session import Conductor
from pytest_isoenv._source_marks import env_marks
from pytest_isoenv._status import Status
from pytest_isoenv._summary import Account, Record, header, lines, united, write_report
from pytest_isoenv.backend import Backend
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import ConfigError, InterpreterNotFound, Problem

# What a worker of pytest-xdist is told: where ephemeral environments are.
SHARED = "isoenv_shared"


class Run:
    """The environments of one session, from its options to its reports.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` where options or declarations are wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_ready = False
        self._settings = _settings_of(config)
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
        return Provisioner(self._settings, self._backends, self._notify)

    def _notify(self, name: str) -> None:
        if self._conductor is not None:
            self._conductor.notify(name)

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
        self._raise_problems()

    def _raise_problems(self) -> None:
        if self.selector.problems:
            raise ConfigError(list(self.selector.problems.values()))

    def collect(self, session: pytest.Session) -> list[pytest.Item]:
        """Fill the session with proxies of what the environments of ``--in-env`` collect.

        Returns those that the environments themselves have deselected.
        """
        session.items = []
        distinct = self._in_env()
        alone = len(distinct) == 1
        conductor = self._new_conductor(session)
        with _ended_if_interrupted(conductor):
            jobs = conductor.collect(self._arguments_of(distinct), alone=alone)
        if not hasattr(self._config, "workerinput"):  # pytest-xdist would not pass it on
            _raise_usage_error(jobs)
        self._raise_internal_error(jobs)
        _obey(session)
        self._learn_markers(jobs)
        session.items = self._proxies(session, jobs, "items", alone=alone)
        deselected = self._proxies(session, jobs, "deselected", alone=alone)
        self._raise_problems()
        _leave_alone_what_is_there()
        for report in collect_reports([*session.items, *deselected]):
            self._config.hook.pytest_collectreport(report=report)
        return deselected

    def modify(self, session: pytest.Session) -> None:
        """Let plugins select and order, but no plugin a second time that every environment has."""
        assert self._conductor is not None
        found = [job.found for job in self._conductor.jobs if job.found is not None]
        there = set.intersection(*(set(event["plugins"]) for event in found)) if found else set()
        done = [p for p in self._config.pluginmanager.get_plugins() if module_of(p) in there]
        name = "pytest_collection_modifyitems"
        hook = self._config.pluginmanager.subset_hook_caller(name, done)
        hook(session=session, config=self._config, items=session.items)

    def _in_env(self) -> list[Request]:
        """The environments that ``--in-env`` names."""
        requests = [r for text in self._config.option.in_env for r in self.selector.of_option(text)]
        self._raise_problems()
        return list(dict.fromkeys(requests))

    @property
    def addopts(self) -> str:
        """What the shell adds to the command line."""
        return self._settings.addopts

    def environments(self) -> Iterator[Environment]:
        """The same, ready to use; each is made when it is its turn."""
        for request in self._in_env():
            assert request.spec is not None
            yield self._provisioner.environment(request.name, request.spec)

    def _raise_internal_error(self, jobs: list[Job]) -> None:
        """One in the only environment there is, before it has found a test, is one here."""
        if len(jobs) > 1 or not jobs or not jobs[0].internal_error or jobs[0].found is not None:
            return
        jobs[0].raise_internal_error()

    def let_collecting_end(self) -> None:
        """With ``--collect-only``: warnings of collecting come when it is over."""
        if self._conductor is not None and self._config.option.in_env:
            self._conductor.start([])
            self._conductor.finish()

    def _learn_markers(self, jobs: list[Job]) -> None:
        """``-m`` may name what only the environments' conftest.py files and plugins declare."""
        known = set(self._config.getini("markers"))
        told = [line for job in jobs for line in (job.found or {}).get("markers", ())]
        for line in dict.fromkeys(told):
            if line not in known:
                self._config.addinivalue_line("markers", line)

    def _arguments_of(self, requests: list[Request]) -> dict[Request, list[str]]:
        """What of the command line each environment collects: its own ids, and all others'."""
        given = _host.positional(self._config)
        if len(requests) == 1:
            return {requests[0]: given}
        ids = [request.id for request in requests]
        named = {request: arguments_for(request.id, ids, given) for request in requests}
        return {
            request: found
            for request, found in named.items()
            if len(found) == len(given) or _host.names_a_path(found)
        }

    def _proxies(
        self, session: pytest.Session, jobs: list[Job], which: str, *, alone: bool
    ) -> list[pytest.Item]:
        tree = Tree(session)
        proxies: dict[tuple[str, str], pytest.Item] = {}
        for job in jobs:
            for found in (job.found or {}).get(which, ()):
                marked = self.selector.of_marks(found.environments, found.id)
                for request in marked or [job.request]:
                    plain = len(marked) == 1 if marked else alone
                    item = tree.item(found, request, alone=plain)
                    proxies.setdefault((item.nodeid, found.key), item)
            if job.failure is not None and which == "items":
                item = tree.stand_in(job.request)
                proxies[item.nodeid, ""] = item
        return list(proxies.values())

    def recover(self, module: pytest.Module, report: pytest.CollectReport) -> None:
        """A file that the host cannot import may declare environments that can."""
        marks = env_marks(module.path)
        requests = list(dict.fromkeys(self.selector.of_marks(marks, module.nodeid)))
        requests += self.selector.default
        if not requests:
            return
        _forget(module.path)
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
            vars(report).pop("call", None)  # or --pdb would stop at the error

    def _claimed(self, tree: Tree, jobs: list[Job], error: str) -> None:
        """Proxies of each environment's own tests, and of those that none of them claims."""
        unclaimed: dict[str, Found] = {}
        for job in jobs:
            for found in (job.found or {}).get("items", ()):
                if not tree.has_place_for(found):
                    continue
                marked = self.selector.of_marks(found.environments, found.id)
                wanted = marked or self.selector.default
                if job.request in wanted:
                    tree.item(found, job.request, alone=len(wanted) == 1)
                elif not wanted:
                    unclaimed[found.key] = found
        for found in unclaimed.values():
            item = tree.item(found, None, alone=True)
            item.why_not_here = f"it names no environment, and here its file has an error:\n{error}"

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
                _leave_alone_what_is_there()
            else:
                here = (item for item in session.items if request_of(item) is None)
                _neighbours.hold_back(self._config, here)

    @contextlib.contextmanager
    def _side_by_side(self, session: pytest.Session) -> Iterator[None]:
        """Environments run what is theirs while pytest's own loop runs the rest."""
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

    @contextlib.contextmanager
    def _step_by_step(self, session: pytest.Session) -> Iterator[None]:
        """Under pytest-xdist its scheduler says which item is next."""

        def step(item: pytest.Item, following: pytest.Item | None) -> None:
            (self._conductor or self._new_conductor(session)).step(item, following)

        self._config.pluginmanager.register(_Steps(step), "isoenv-steps")
        try:
            yield
        finally:
            if self._conductor is not None:
                self._conductor.end()

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
            workerinput[SHARED] = str(self._provisioner.shared)

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
        verbosity = self._config.get_verbosity()
        accounts = self.accounts
        if verbosity >= 0 and accounts:
            terminal.write_sep("=", "environments")
            for account in accounts:
                for line in lines(account, verbosity):
                    terminal.write_line(line)
        for account in accounts:
            if account["words"]:
                terminal.write_sep("=", f"plugins in {account['name']}")
                terminal.write_line(account["words"])

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
        kept = [one.forks_from for one in environments if one.provisioned != "ephemeral"]
        if kept:
            self._provisioner.expect(next(filter(None, kept), None))


def _leave_alone_what_is_there() -> None:
    """Items and reports stay to the end: the garbage collector need not look at them each time.

    Only for a process in which no test runs; one could tell.
    """
    gc.freeze()


def _forget(path: Path) -> None:
    """A file that failed half-way through its import must not pass for a module (importlib)."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(path):
            del sys.modules[name]


@contextlib.contextmanager
def _ended_if_interrupted(conductor: Conductor) -> Iterator[None]:
    """Collecting in environments leaves nothing behind when it is cut short."""
    try:
        yield
    except BaseException:
        conductor.end()
        raise


def _raise_usage_error(jobs: list[Job]) -> None:
    """What pytest calls a usage error in every environment is one here, in the same words."""
    if jobs and all(_has_usage_error(job) for job in jobs):
        words = [job.failure[1] for job in jobs if job.failure is not None]
        raise pytest.UsageError(*dict.fromkeys(map(_without_prefix, words)))


def _obey(session: pytest.Session) -> None:
    """What pytest does while it collects."""
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def _has_usage_error(job: Job) -> bool:
    finished = job.finished is not None and job.finished["status"] == pytest.ExitCode.USAGE_ERROR
    return finished and job.failure is not None


def _without_prefix(words: str) -> str:
    """Only what pytest has said: it will say ``ERROR:`` again."""
    return words.partition("\nERROR: ")[2].rstrip() or words


class _BetweenTests:
    """Reports of environments are logged between the tests that run here."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        result = yield
        self._conductor.drain()
        return result


class _Steps:
    """Takes over the items of environments, one by one, as pytest comes to them."""

    def __init__(self, step: Callable[[pytest.Item, pytest.Item | None], None]) -> None:
        self._step = step

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        if request_of(item) is None:
            return None
        self._step(item, nextitem)
        return True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item) -> bool | None:
        """pytest-timeout is the environment's to have, and would interrupt us instead of a test."""
        return None if request_of(item) is None else True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """There is none to cancel."""
        return None if request_of(item) is None else True


def _settings_of(config: pytest.Config) -> _settings.Settings:
    option = config.option
    return _settings.gather(
        config.rootpath,
        cache=_ahead.named_cache(config, option),
        jobs=_jobs(option.env_jobs),
        refresh=option.env_refresh,
        upgrade=option.env_upgrade,
        offline=option.env_offline,
        timeout=_timeout(option.env_timeout),
        outputs=_outputs(config),
        shared=_shared(config),
    )


def _shared(config: pytest.Config) -> Path | None:
    """What the process that distributes tests has told this one."""
    shared = getattr(config, "workerinput", {}).get(SHARED)
    return Path(shared) if shared else None


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


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        what = f"{text!r} is not a number of seconds above 0, such as 60 or 0.5"
        raise ConfigError([Problem("--env-timeout", what)])
    return seconds
