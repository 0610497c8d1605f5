"""The session that runs inside an environment: its command line, its tests, and its end.

A request names the tests to run, or leaves it to this session to find them: then it tells what it
has collected, and waits for the host's selection. Where the host decides from test to test what
comes next (it is a worker of pytest-xdist), the session takes one step at a time.
"""

from __future__ import annotations

import gc
import os
import shlex
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import apart, descriptions, plugins, reporter


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Session:
    """This part as a plugin of the session."""
    return Session(request, host, others["plugins"], others["reporter"], others.get("apart"))


class Session:
    """Makes the session run what the host asks for."""

    def __init__(
        self,
        request: dict[str, Any],
        host: Any,
        plugins: plugins.Plugins,
        reporter: reporter.Reporter,
        apart: apart.Apart | None,
    ) -> None:
        #: Who ended it before it was done, if somebody did.
        self.ending: dict[str, Any] | None = None
        self._request = request
        self._host = host
        self._plugins = plugins
        self._reporter = reporter
        self._apart = apart
        self._config: Any = None
        self._session: Any = None
        self._deselected: list[Any] = []
        # The host's is part of the options already; tests see it all the same.
        self._addopts = os.environ.get("PYTEST_ADDOPTS")
        self._own = shlex.split(self._addopts or "")
        if (self._addopts or "") == request["addopts"]:
            self._own = []
            os.environ.pop("PYTEST_ADDOPTS", None)
        self._options = [option for option in request["options"] if self._can_be_obeyed(option)]

    # Options

    def _can_be_obeyed(self, option: tuple[str, list[str]]) -> bool:
        name, (first, *_) = option
        plugin = first[2:] if name == "-p" else ""
        return not plugin or plugin.startswith("no:") or self._plugins.can_be_loaded(plugin)

    def arguments(self) -> list[str]:
        """The command line of this session."""
        options = [argument for _, arguments in self._options for argument in arguments]
        return [*self._request["positional"], *options]

    def pytest_addoption(self) -> None:
        """pytest is loaded, and nothing of the user's: that need not be looked at as garbage."""
        if hasattr(gc, "freeze"):  # not everywhere is memory managed in this way
            gc.freeze()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(
        self, parser: Any, args: list[str]
    ) -> Generator[None, Any, None]:
        """Once every option is known that ever will be, drop those that nobody here knows."""
        yield
        known = []
        for name, arguments in self._options:
            unknown = parser.parse_known_and_unknown_args(arguments)[1]
            if not unknown:
                known += arguments
            elif name:
                self._host.send({"kind": "dropped", "option": name})
        args[:] = [*self._own, *self._request["positional"], *known]

    def pytest_configure(self, config: Any) -> None:
        """Know our marker."""
        self._config = config
        if self._addopts is not None:
            os.environ["PYTEST_ADDOPTS"] = self._addopts
        for line in self._request["markers"]:
            config.addinivalue_line("markers", line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: Any) -> None:
        """Remember the session: it knows why it was stopped."""
        self._session = session

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: Any) -> None:
        """Where the host knows its tests, collect their files; else what the options say."""
        if self._request["files"] is not None:
            session.config.args = list(self._request["files"])

    def pytest_deselected(self, items: list[Any]) -> None:
        """What conftest.py files and plugins leave out here counts as left out."""
        self._deselected += items

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> Generator[None, Any, None]:
        """Run what the host asks for, in its order; ids that are not here are told."""
        outcome = yield
        if outcome.excinfo is not None:
            return  # said as an internal error, as pytest does
        here = _keyed(items)
        wanted = self._request["ids"]
        if wanted is None:
            wanted = self._selected(here)
        for key in wanted:
            if key in here:
                self._reporter.keys.setdefault(here[key], []).append(key)
        self._stop_after_failures()
        items[:] = [here[nodeid] for nodeid in wanted if nodeid in here]
        missing = [nodeid for nodeid in wanted if nodeid not in here]
        self._host.send({"kind": "collected", "missing": missing})

    def _selected(self, here: dict[str, Any]) -> list[str]:
        """What the host wants of what is here."""
        gone = _keyed(self._deselected)
        found = descriptions.found(self._config, here, gone, docs=self._request["docs"])
        waits = self._is_for_the_host_to_select(found["marks"])
        self._host.send({**found, "waits": waits})
        wanted: list[str] = self._host.next_command()["run"] if waits else list(here)
        return wanted

    def _is_for_the_host_to_select(self, marks: list[tuple[str, Any, Any]]) -> bool:
        """Whether it may want fewer items, in another order, or some of them elsewhere."""
        if not self._request["whole"] or self._session.testsfailed:
            return True
        return any(name == "env" for name, *_ in marks)

    def _stop_after_failures(self) -> None:
        """With ``--stepwise``; what could not be collected is none of them."""
        most = self._request["failures"]
        if most:
            option, failed = self._config.option, self._session.testsfailed
            option.maxfail = min(option.maxfail or failed + most, failed + most)

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """One step at a time, where the host says from test to test what comes next."""
        if not self._request["steps"]:
            return None
        here = {key: item for item, keys in self._reporter.keys.items() for key in keys}
        while True:
            step = self._host.next_command().get("step")
            if not step:
                self._tear_down_to(session, None)
                return True
            nodeid, following = step
            self._step(session, here.get(nodeid), here.get(following), nodeid)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            if self._apart is not None and self._apart.is_used_up:
                return True

    def _step(self, session: Any, item: Any, following: Any, nodeid: str) -> None:
        if item is None:
            self._host.send({"kind": "collected", "missing": [nodeid]})
            return
        if self._apart is not None:
            self._apart.run(session, item)
            return
        self._tear_down_to(session, item)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    def _tear_down_to(self, session: Any, item: Any) -> None:
        """Another test comes than was foreseen: some fixtures are still there."""
        try:
            session._setupstate.teardown_exact(item)
        except (Exception, pytest.fail.Exception, pytest.skip.Exception):  # noqa: BLE001 - told
            text = str(pytest.ExceptionInfo.from_current().getrepr())
            self._host.send({"kind": "late teardown", "text": text})

    # The end

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Remember who ended the session: ``pytest.exit`` or Ctrl-C; what is known is known."""
        self._host.heard()
        self._reporter.send_what_is_known()
        error = excinfo.value
        self.ending = {
            "why": getattr(error, "msg", None) or str(error) or type(error).__name__,
            "exit": isinstance(error, pytest.exit.Exception),
            "returncode": getattr(error, "returncode", None),
        }

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        """Remember that a test or a plugin stopped the session."""
        if self.ending is None and session.shouldstop:
            self.ending = {"why": str(session.shouldstop), "exit": False, "returncode": None}


def _keyed(items: list[Any]) -> dict[str, Any]:
    """Items by what the host calls them: their id, with a number where others have the same."""
    keyed: dict[str, Any] = {}
    seen: dict[str, int] = {}
    for item in items:
        count = seen[item.nodeid] = seen.get(item.nodeid, 0) + 1
        keyed[item.nodeid if count == 1 else f"{item.nodeid} (#{count})"] = item
    return keyed
