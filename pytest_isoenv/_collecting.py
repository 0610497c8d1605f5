"""Collecting in environments, where the host cannot or shall not: what they find, as items here."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pytest_isoenv import _host
from pytest_isoenv._jobs import Job
from pytest_isoenv._proxies import Found, Tree, arguments_for, collect_reports
from pytest_isoenv._reports import module_of
from pytest_isoenv._requests import Request
from pytest_isoenv._select import Selector
from pytest_isoenv._session import Conductor
from pytest_isoenv._source_marks import env_marks


class Collecting:
    """Fills the host's session with what environments have collected."""

    def __init__(self, config: pytest.Config, selector: Selector) -> None:
        self._config = config
        self._selector = selector

    def suite(
        self, session: pytest.Session, requests: Sequence[Request], conductor: Conductor
    ) -> list[pytest.Item]:
        """Fill the session with proxies of what the environments of ``--in-env`` collect.

        Returns those that the environments themselves have deselected.
        """
        alone = len(requests) == 1
        with _ended_if_interrupted(conductor):
            jobs = conductor.collect(self._arguments_of(requests), alone=alone)
        if not hasattr(self._config, "workerinput"):  # pytest-xdist would not pass it on
            _raise_usage_error(jobs)
        _raise_internal_error(jobs)
        _obey(session)
        self._learn_markers(jobs)
        session.items = self._proxies(session, jobs, "items")
        deselected = self._proxies(session, jobs, "deselected")
        self._selector.raise_problems()
        self.leave_alone_what_is_there()
        for report in collect_reports([*session.items, *deselected]):
            self._config.hook.pytest_collectreport(report=report)
        return deselected

    @staticmethod
    def leave_alone_what_is_there() -> None:
        """Items and reports stay to the end: the garbage collector need not look at them each time.

        Only for a process in which no test runs; one could tell.
        """
        gc.freeze()

    def _arguments_of(self, requests: Sequence[Request]) -> dict[Request, list[str]]:
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

    def _learn_markers(self, jobs: Sequence[Job]) -> None:
        """``-m`` may name what only the environments' conftest.py files and plugins declare."""
        known = set(self._config.getini("markers"))
        told = [line for job in jobs for line in (job.found or {}).get("markers", ())]
        for line in dict.fromkeys(told):
            if line not in known:
                self._config.addinivalue_line("markers", line)

    def _proxies(
        self, session: pytest.Session, jobs: Sequence[Job], which: str
    ) -> list[pytest.Item]:
        tree = Tree(session)
        proxies: dict[tuple[str, str], pytest.Item] = {}
        for job in jobs:
            for found in (job.found or {}).get(which, ()):
                marked = self._selector.of_marks(found.environments, found.id)
                for request in marked or [job.request]:
                    plain = len(marked) == 1 if marked else job.alone
                    item = tree.item(found, request, alone=plain)
                    proxies.setdefault((item.nodeid, found.key), item)
            if job.failure is not None and which == "items":
                item = tree.stand_in(job.request)
                proxies[item.nodeid, ""] = item
        return list(proxies.values())

    def modify(self, session: pytest.Session, jobs: Sequence[Job]) -> None:
        """Let plugins select and order, but no plugin a second time that every environment has."""
        found = [job.found for job in jobs if job.found is not None]
        there = set.intersection(*(set(event["plugins"]) for event in found)) if found else set()
        done = [p for p in self._config.pluginmanager.get_plugins() if module_of(p) in there]
        name = "pytest_collection_modifyitems"
        hook = self._config.pluginmanager.subset_hook_caller(name, done)
        hook(session=session, config=self._config, items=session.items)

    def recover(
        self,
        module: pytest.Module,
        report: pytest.CollectReport,
        conductor_of: Callable[[pytest.Session], Conductor],
    ) -> None:
        """A file that the host cannot import may declare environments that can."""
        marks = env_marks(module.path)
        requests = list(dict.fromkeys(self._selector.of_marks(marks, module.nodeid)))
        requests += self._selector.default
        if not requests:
            return
        _forget(module.path)
        conductor = conductor_of(module.session)
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

    def _claimed(self, tree: Tree, jobs: Sequence[Job], error: str) -> None:
        """Proxies of each environment's own tests, and of those that none of them claims."""
        unclaimed: dict[str, Found] = {}
        for job in jobs:
            for found in (job.found or {}).get("items", ()):
                if not tree.has_place_for(found):
                    continue
                marked = self._selector.of_marks(found.environments, found.id)
                wanted = marked or self._selector.default
                if job.request in wanted:
                    tree.item(found, job.request, alone=len(wanted) == 1)
                elif not wanted:
                    unclaimed[found.key] = found
        for found in unclaimed.values():
            item = tree.item(found, None, alone=True)
            item.why_not_here = f"it names no environment, and here its file has an error:\n{error}"


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


def _raise_usage_error(jobs: Sequence[Job]) -> None:
    """What pytest calls a usage error in every environment is one here, in the same words."""
    if jobs and all(_has_usage_error(job) for job in jobs):
        words = [job.failure[1] for job in jobs if job.failure is not None]
        raise pytest.UsageError(*dict.fromkeys(map(_without_prefix, words)))


def _has_usage_error(job: Job) -> bool:
    finished = job.finished is not None and job.finished["status"] == pytest.ExitCode.USAGE_ERROR
    return finished and job.failure is not None


def _without_prefix(words: str) -> str:
    """Only what pytest has said: it will say ``ERROR:`` again."""
    return words.partition("\nERROR: ")[2].rstrip() or words


def _raise_internal_error(jobs: Sequence[Job]) -> None:
    """One in the only environment there is, before it has found a test, is one here."""
    if len(jobs) > 1 or not jobs or not jobs[0].internal_error or jobs[0].found is not None:
        return
    jobs[0].raise_internal_error()


def _obey(session: pytest.Session) -> None:
    """What pytest does while it collects."""
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
