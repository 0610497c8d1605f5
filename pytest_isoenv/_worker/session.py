"""The session that runs inside an environment, and tells the host what happens in it.

One ``test`` event carries all reports of a finished test: should the process die, the host knows
what was being run. Where a plugin tries a test more than once there is one for each try, the last
of which says that the test is over.

A request names the tests to run, or leaves it to this session to find them: then it tells what it
has collected, and waits for the host's selection. Where the host decides from test to test what
comes next (it is a worker of pytest-xdist), the session takes one step at a time.
"""

from __future__ import annotations

import copy
import gc
import importlib.util
import inspect
import io
import operator
import os
import shlex
from collections.abc import Callable, Generator, Sequence
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Tuple

import pytest

# Kept, for a test may replace it.
_exit = os._exit
# What the plugin of the host is called; nobody needs it here.
_HOST_PLUGIN = ("isoenv", "pytest_isoenv.plugin")
# What we add to the data of reports.
_OURS = ("$words", "$status", "$writes", "_pdbshown")
# A node's type, its name, if it is a directory its path, and if they are shown its docs.
_Node = Tuple[str, str, str, str]
# What a brief report says, where this pytest has it; the rest goes without saying.
_SAID = ("when", "duration", "start", "stop")


def _has_plugin(name: str) -> bool:
    """Whether ``-p name`` can be obeyed here."""
    for module in (name, "_pytest." + name):
        try:
            if importlib.util.find_spec(module) is not None:
                return True
        except (ImportError, ValueError, AttributeError):
            continue
    points: Any = entry_points()
    # Python 3.8 and 3.9 give a dict of groups.
    group = (
        points.select(group="pytest11") if hasattr(points, "select") else points.get("pytest11", ())
    )
    return any(point.name == name for point in group)


def _keyed(items: list[Any]) -> dict[str, Any]:
    """Items by what the host calls them: their id, with a number where others have the same."""
    keyed: dict[str, Any] = {}
    seen: dict[str, int] = {}
    for item in items:
        count = seen[item.nodeid] = seen.get(item.nodeid, 0) + 1
        keyed[item.nodeid if count == 1 else f"{item.nodeid} (#{count})"] = item
    return keyed


class _Marks:
    """The marks of all items, each once: one of ``parametrize`` may hold thousands of values."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, Any]] = []
        self._numbers: dict[int, int] = {}

    def numbers(self, marks: list[Any]) -> tuple[int, ...]:
        """Where the marks stand in ``told``."""
        for mark in marks:
            if id(mark) not in self._numbers:
                self._numbers[id(mark)] = len(self.told)
                self.told.append((mark.name, mark.args, mark.kwargs))
        return tuple(self._numbers[id(mark)] for mark in marks)


class _Above(NamedTuple):
    """What the items below a node have in common; marshal sends an object once."""

    chain: tuple[_Node, ...] = ()
    marks: tuple[int, ...] = ()
    environments: Sequence[Any] = ()


class _Descriptions:
    """What the host needs to know of items to select, order and show them."""

    def __init__(self, docs: bool) -> None:
        self.marks = _Marks()
        self._docs = docs
        self._above: dict[Any, _Above] = {}
        self._keywords: dict[Any, list[str]] = {}
        self._files: dict[str, str] = {}

    def of(self, key: str, item: Any) -> tuple[Any, ...]:
        """The description of one item; the host's ``Found`` says what is where."""
        above = self._down_to(item.parent)
        marks, environments = self._marks_of(item, above)
        file, line, words = item.location
        return (
            item.nodeid,
            key,
            above.chain,
            _node(item, self._docs),
            str(item.path),
            (self._files.setdefault(file, file), line, words),
            environments,
            self._keywords_of(item, marks),
            marks,
        )

    def _down_to(self, node: Any) -> _Above:
        """What is known of the nodes from the session down to this one."""
        if node in self._above:
            return self._above[node]
        above = _Above() if node.parent is None else self._down_to(node.parent)
        itself = () if node.parent is None else (_node(node, self._docs),)
        found = _Above((*above.chain, *itself), *self._marks_of(node, above))
        self._above[node] = found
        return found

    def _marks_of(self, node: Any, above: _Above) -> tuple[tuple[int, ...], Sequence[Any]]:
        """The numbers of its marks, the closest first, and the closest ``env`` marks."""
        own = node.own_markers
        if not own:
            return above.marks, above.environments
        marks = (*self.marks.numbers(own), *above.marks)
        ours = [(mark.args, mark.kwargs) for mark in own if mark.name == "env"]
        if not isinstance(node, pytest.Module):
            ours.reverse()
        return marks, ours or above.environments

    def _keywords_of(self, item: Any, marks: tuple[int, ...]) -> list[str]:
        """The same for all items of which it does not matter here which one it is."""
        if item.extra_keyword_matches:
            return _keywords(item)
        function = getattr(item, "function", None)
        like = (item.parent, marks, function if getattr(function, "__dict__", None) else None)
        if like not in self._keywords:
            self._keywords[like] = _keywords(item)
        return self._keywords[like]


def _keywords(item: Any) -> list[str]:
    """What ``-k`` looks at here, beside the names that the host is told anyway."""
    added = {*item.listextrakeywords(), *(mark.name for mark in item.iter_markers())}
    try:
        from _pytest.mark import KeywordMatcher

        names = set(KeywordMatcher.from_item(item)._names)
    except (ImportError, AttributeError):  # it has moved
        names = added
    return sorted(names - {node.name for node in item.listchain()} | (added & {item.name}))


def _node(node: Any, docs: bool) -> _Node:
    """What a node is to the host."""
    doc = inspect.getdoc(getattr(node, "obj", None)) if docs and hasattr(node, "obj") else ""
    return type(node).__name__, node.name, _directory(node), doc or ""


def _directory(node: Any) -> str:
    is_one = isinstance(node, getattr(pytest, "Directory", ()))
    return str(node.path) if is_one else ""


class _Words:
    """A file whose text goes to a function."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write

    def flush(self) -> None:
        """What is written has gone already."""


class _JUnitReport:
    """Passes on what fixtures add to a JUnit report that the host writes."""

    def __init__(self, host: Any, family: str, called: Callable[[str], str]) -> None:
        self.family = family
        self._host = host
        self._called = called

    def add_global_property(self, name: str, value: Any) -> None:
        self._host.send({"kind": "suite property", "name": name, "value": str(value)})

    def node_reporter(self, nodeid: str) -> Any:
        return _JUnitCase(self._host, self._called(nodeid))


class _JUnitCase:
    def __init__(self, host: Any, nodeid: str) -> None:
        self._host = host
        self._nodeid = nodeid

    def add_attribute(self, name: str, value: Any) -> None:
        self._host.send(
            {"kind": "xml attribute", "id": self._nodeid, "name": name, "value": str(value)}
        )


class _Statuses:
    """What plugins call outcomes that pytest has no name for, such as a rerun."""

    def __init__(self) -> None:
        self._named: dict[int, Any] = {}
        self._without_plugins: Any = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: Any) -> None:
        """Every plugin is there. Where none has a name for an outcome, nobody needs to listen."""
        if _only_pytest_has(session.config.hook.pytest_report_teststatus, self):
            session.config.pluginmanager.unregister(self)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_teststatus(self, report: Any) -> Generator[None, Any, None]:
        outcome = yield
        self._named[id(report)] = outcome.get_result()

    def of(self, config: Any, report: Any) -> tuple[Any, ...] | None:
        """What a report is called, if pytest would call it otherwise."""
        status = self._named.pop(id(report), None) if self._named else None
        if status is None:
            return None
        if self._without_plugins is None:
            self._without_plugins = self._of_pytest(config)
        if status == self._without_plugins(report=report, config=config):
            return None
        return tuple(status)

    def _of_pytest(self, config: Any) -> Callable[..., Any]:
        name = "pytest_report_teststatus"
        others = [plugin for plugin in config.pluginmanager.get_plugins() if _is_foreign(plugin)]
        caller: Callable[..., Any] = config.pluginmanager.subset_hook_caller(name, others)
        return caller


def _module_of(plugin: Any) -> str:
    return getattr(plugin, "__name__", None) or type(plugin).__module__


def _is_foreign(plugin: Any) -> bool:
    return not _module_of(plugin).startswith("_pytest.")


def _only_pytest_has(hook: Any, *ours: Any) -> bool:
    """Whether no plugin beside pytest's own, and ours, implements a hook."""
    plugins = [call.plugin for call in hook.get_hookimpls() if call.plugin not in ours]
    return not any(map(_is_foreign, plugins))


class _Brief:
    """What is sent of the report of a test that has passed, if nobody has added anything."""

    def __init__(self) -> None:
        usual = pytest.TestReport("", ("", 0, ""), {}, "passed", None, "call")
        self._usual = vars(usual).keys()
        self._said = [name for name in _SAID if name in self._usual]
        self._of = operator.itemgetter(*self._said)
        self._names: tuple[str, ...] = ()

    def does_for(self, report: Any) -> bool:
        """Whether the host knows the rest."""
        if type(report) is not pytest.TestReport:
            return False
        said = vars(report)
        return (
            said["outcome"] == "passed"
            and said["longrepr"] is None
            and not said["sections"]
            and not said["user_properties"]
            and said.keys() == self._usual
        )

    def of(self, report: Any) -> tuple[Any, ...]:
        """The data that is sent: the names of keywords, and what is said."""
        names = tuple(report.keywords)
        if names != self._names:  # else the same object, which is sent once
            self._names = names
        return self._names, self._of(vars(report))


def _by_name(data: Any) -> dict[str, Any]:
    """The data of a report, also where that is brief."""
    if isinstance(data, dict):
        return data
    keywords, said = data
    return {"keywords": keywords, **dict(zip(_SAID, said))}  # noqa: B905 - new in 3.10


class _Tries:
    """Hears of the end of tests where a plugin may try one several times within its protocol."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, None]:
        outcome = yield
        if outcome.excinfo is None:  # else an internal error: pytest raises it, the session ends
            self._end()


def _remember_hooks(session: Any) -> None:
    """Which conftest.py files have a say on a path: pytest works it out at each step of a test."""
    conftests = getattr(session.config.pluginmanager, "_conftest_plugins", None)
    if conftests is None:
        return
    work_out = session.gethookproxy
    known: dict[Any, tuple[int, Any]] = {}

    def gethookproxy(path: Any) -> Any:
        count, proxy = known.get(path, (-1, None))
        if count != len(conftests):  # there are more of them while tests are collected
            proxy = work_out(path)
            known[path] = len(conftests), proxy
        return proxy

    session.gethookproxy = gethookproxy


class SessionPlugin:
    """Makes the session run what the host asks for, and sends what happens."""

    def __init__(self, request: dict[str, Any], host: Any) -> None:
        self.ending: dict[str, Any] | None = None
        self.error_is_told = False
        self._request = request
        self._host = host
        self._config: Any = None
        self._session: Any = None
        self._reports: list[Any] = []
        self._statuses = _Statuses()
        self._keys: dict[Any, list[str]] = {}
        self._running = ""
        # Whether a test is over when it has been tried, and reported.
        self._once = False
        self._brief: _Brief | None = None
        self._told: dict[str, Any] | None = None
        self._tried: dict[str, Any] | None = None
        self._deselected: list[Any] = []
        #: Runs a test in a process of its own, where that is wanted.
        self.apart: Any = None
        # The host's is part of the options already; tests see it all the same.
        self._addopts = os.environ.get("PYTEST_ADDOPTS")
        self._own = shlex.split(self._addopts or "")
        if (self._addopts or "") == request["addopts"]:
            self._own = []
            os.environ.pop("PYTEST_ADDOPTS", None)
        self._named_plugins = os.environ.get("PYTEST_PLUGINS")
        if self._named_plugins is not None:
            named = [name for name in self._named_plugins.split(",") if name]
            named = [name for name in named if name not in _HOST_PLUGIN]
            os.environ["PYTEST_PLUGINS"] = ",".join(filter(self._can_be_loaded, named))
        self._options = [option for option in request["options"] if self._can_be_obeyed(option)]

    def _can_be_obeyed(self, option: tuple[str, list[str]]) -> bool:
        name, (first, *_) = option
        plugin = first[2:] if name == "-p" else ""
        return not plugin or plugin.startswith("no:") or self._can_be_loaded(plugin)

    def _can_be_loaded(self, plugin: str) -> bool:
        """Whether a plugin is here; if it must be and is not, pytest says so in its own words."""
        if plugin in self._request["wanted_plugins"] or _has_plugin(plugin):
            return True
        self._host.send({"kind": "dropped", "option": "-p " + plugin})
        return False

    def arguments(self) -> list[str]:
        """The command line of this session."""
        options = [argument for _, arguments in self._options for argument in arguments]
        return [*self._request["positional"], *options]

    # Options and plugins

    def pytest_addoption(self) -> None:
        """pytest is loaded, and nothing of the user's: that need not be looked at as garbage."""
        if hasattr(gc, "freeze"):  # not everywhere is memory managed in this way
            gc.freeze()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(
        self, early_config: Any, parser: Any, args: list[str]
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
        early_config.pluginmanager.register(self._statuses, "isoenv-statuses")

    def pytest_configure(self, config: Any) -> None:
        """Know our marker; leave to the host what the host remembers between runs."""
        self._config = config
        if self._addopts is not None:
            os.environ["PYTEST_ADDOPTS"] = self._addopts
        if self._named_plugins is not None:
            os.environ["PYTEST_PLUGINS"] = self._named_plugins
        for line in self._request["markers"]:
            config.addinivalue_line("markers", line)
        if self._request["junit_family"] is not None:
            self._stand_in_for_junit(config)
        for name in ("lfplugin", "nfplugin"):
            if config.pluginmanager.hasplugin(name):
                config.pluginmanager.unregister(name=name)

    def _stand_in_for_junit(self, config: Any) -> None:
        """Where ``record_testsuite_property`` and ``record_xml_attribute`` look for the report."""
        try:
            from _pytest.junitxml import xml_key
        except ImportError:  # it has moved: these two fixtures then do nothing, as without a report
            return
        report = _JUnitReport(self._host, self._request["junit_family"], self._called)
        config.stash[xml_key] = report
        # pytest takes it for a plugin of its own, which it removes when the session is over.
        config.pluginmanager.register(report, "isoenv-junit")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: Any) -> None:
        """Remember the session: it knows why it was stopped."""
        self._session = session
        _remember_hooks(session)
        self._know_hooks_of_the_host(session.config)
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None and session.config.getoption("setupshow", False):
            # What is written between the reports keeps its place among them.
            writer = copy.copy(reporter._tw)
            writer._file = _Words(lambda text: self._reports.append((None, {"$writes": text})))
            session.config.get_terminal_writer = lambda: writer

    def _know_hooks_of_the_host(self, config: Any) -> None:
        """A conftest.py may have them for plugins of the host only; they are no errors here."""
        specs: dict[str, Any] = {}
        for name, arguments in self._request["hooks"]:
            known = getattr(config.hook, name, None)
            if known is None or not known.has_spec():
                scope: dict[str, Any] = {}
                exec(f"def {name}({', '.join(arguments)}): pass", scope)
                specs[name] = staticmethod(pytest.hookspec(scope[name]))
        if specs:
            config.pluginmanager.add_hookspecs(type("HooksOfTheHost", (), specs))

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: Any) -> None:
        """Where the host knows its tests, collect their files; else what the options say."""
        if self._request["files"] is not None:
            session.config.args = list(self._request["files"])

    def pytest_collectreport(self, report: Any) -> None:
        """Tell what could not be collected."""
        if report.outcome != "passed":
            self._host.send({"kind": "collect", "report": self._serialized(report)})

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> Generator[None, Any, None]:
        """Run what the host asks for, in its order; ids that are not here are told."""
        outcome = yield
        if outcome.excinfo is not None:
            return  # said as an internal error, as pytest does
        here = _keyed(items)
        wanted = self._request["ids"]
        if wanted is None:
            found = self._found(here)
            waits = self._is_for_the_host_to_select(found["marks"])
            self._host.send({**found, "waits": waits})
            wanted = self._host.next_command()["run"] if waits else list(here)
        for key in wanted:
            if key in here:
                self._keys.setdefault(here[key], []).append(key)
        self._stop_after_failures()
        items[:] = [here[nodeid] for nodeid in wanted if nodeid in here]
        missing = [nodeid for nodeid in wanted if nodeid not in here]
        self._host.send({"kind": "collected", "missing": missing})

    def _is_for_the_host_to_select(self, marks: list[tuple[str, Any, Any]]) -> bool:
        """Whether it may want fewer items, in another order, or some of them elsewhere."""
        if not self._request["whole"] or self._session.testsfailed:
            return True
        return any(name == "env" for name, *_ in marks)

    def _plugins(self) -> list[str]:
        """The modules of plugins beside pytest's own, which have had their say on the items."""
        plugins = self._config.pluginmanager.get_plugins()
        return sorted({_module_of(plugin) for plugin in plugins if _is_foreign(plugin)})

    def _found(self, here: dict[str, Any]) -> dict[str, Any]:
        descriptions = _Descriptions(self._request["docs"])
        gone = _keyed(self._deselected)
        return {
            "kind": "items",
            "items": [descriptions.of(key, item) for key, item in here.items()],
            "deselected": [descriptions.of(key, item) for key, item in gone.items()],
            "marks": descriptions.marks.told,
            "markers": self._config.getini("markers"),
            "plugins": self._plugins(),
        }

    def _stop_after_failures(self) -> None:
        """With ``--stepwise``; what could not be collected is none of them."""
        most = self._request["failures"]
        if most:
            option, failed = self._config.option, self._session.testsfailed
            option.maxfail = min(option.maxfail or failed + most, failed + most)

    def pytest_collection_finish(self, session: Any) -> None:
        """Every plugin is there; where none adds to what is sent of reports, that can be brief."""
        hook = session.config.hook
        if _only_pytest_has(hook.pytest_report_to_serializable):
            self._brief = _Brief()
        self._once = self.apart is None and _only_pytest_has(hook.pytest_runtest_protocol, self)
        if not self._once:
            session.config.pluginmanager.register(_Tries(self.end), "isoenv-tries")

    def pytest_deselected(self, items: list[Any]) -> None:
        """What conftest.py files and plugins leave out here counts as left out."""
        self._deselected += items

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """One step at a time, where the host says from test to test what comes next."""
        if not self._request["steps"]:
            return None
        here = {key: item for item, keys in self._keys.items() for key in keys}
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
            if self.apart is not None and self.apart.is_used_up:
                return True

    def _step(self, session: Any, item: Any, following: Any, nodeid: str) -> None:
        if item is None:
            self._host.send({"kind": "collected", "missing": [nodeid]})
            return
        if self.apart is not None:
            self.apart.run(session, item)
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> None:
        """A test begins."""
        self.begin(item)

    def begin(self, item: Any) -> str:
        """Remember which test this is, and return what the host calls it.

        Its id may not be its alone.
        """
        first, *later = self._keys.get(item, [item.nodeid])
        self._running = first
        if later:
            self._keys[item] = later
        return self._running

    def _called(self, nodeid: str) -> str:
        """What the host calls the running test."""
        return self._running or nodeid

    def end(self) -> None:
        """The test has been tried for the last time."""
        self._running = ""
        self._send_tried(over=True)

    def pytest_runtest_logstart(self) -> None:
        """If the test has been tried before, that was not its last word."""
        self._send_tried(over=False)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the report until the test has finished."""
        self._reports.append((report, self._told or self._serialized(report)))

    def log_told(self, item: Any, reports: list[Any]) -> None:
        """Log what another process of this session has told of one try at a test."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for told in reports:
            data = _by_name(told)
            report = None if "$writes" in data else self._rebuilt(item, data)
            if report is None:  # nobody here could do anything with it, but the host may
                self._reports.append((None, data))
                continue
            self._told = data
            item.ihook.pytest_runtest_logreport(report=report)
            self._told = None
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def log_lost(self, item: Any, report: Any) -> None:
        """Log the failure of a test whose process is lost; the host is told otherwise."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        self._running, self._tried = "", None

    def _rebuilt(self, item: Any, data: dict[str, Any]) -> Any:
        hook = self._config.hook.pytest_report_from_serializable
        plain = {key: value for key, value in data.items() if key not in _OURS}
        if "outcome" not in data:
            plain["keywords"] = dict.fromkeys(data["keywords"], 1)
            return pytest.TestReport(
                item.nodeid, item.location, outcome="passed", longrepr=None, **plain
            )
        if isinstance(data.get("longrepr"), dict):
            plain["longrepr"] = copy.deepcopy(data["longrepr"])  # pytest would change it
        return hook(config=self._config, data=plain)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """All reports of a test, or of one try, go at once."""
        if not self._host.is_ours:
            _exit(0)  # a test forked, and let the child return to where the parent will be, too
        self._keep_reports(nodeid)
        # A plugin with a loop of its own leaves the protocol out.
        if self._once or not self._running:
            self.end()

    def _keep_reports(self, nodeid: str) -> None:
        kept, self._reports = self._reports, []
        reports = [self._last_said(report, data) for report, data in kept]
        self._tried = {"kind": "test", "id": self._called(nodeid), "reports": reports}

    def _last_said(self, report: Any, data: Any) -> Any:
        """The data of a report, with what plugins have said of it since it was logged."""
        if report is None:
            return data
        if hasattr(report, "_pdbshown"):  # the debugger has: it is not shown again
            data = {**_by_name(data), "_pdbshown": True}
        status = self._statuses.of(self._config, report)
        return data if status is None else {**_by_name(data), "$status": status}

    def _send_tried(self, *, over: bool) -> None:
        tried, self._tried = self._tried, None
        if tried is not None:
            self._host.send({**tried, "over": over})

    def _serialized(self, report: Any) -> Any:
        if self._brief is not None and self._brief.does_for(report):
            return self._brief.of(report)
        hook = self._config.hook.pytest_report_to_serializable
        data = hook(config=self._config, report=report)
        if data is None:
            data = {**report._to_json(), "$report_type": type(report).__name__}
        longrepr = report.longrepr
        if hasattr(longrepr, "toterminal") and not hasattr(longrepr, "reprtraceback"):
            data["$words"] = self._shown(longrepr)  # sent as text, but it is no text
        return data

    def _shown(self, longrepr: Any) -> str:
        """What the terminal would get, with colours if it has them."""
        from _pytest._io import TerminalWriter

        shown = io.StringIO()
        writer = TerminalWriter(shown)
        writer.hasmarkup = self._config.getoption("color", "no") == "yes"
        longrepr.toterminal(writer)
        return shown.getvalue()

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        """Send what a warning says; its class may not exist on the host."""
        category = warning_message.category
        self._host.send(
            {
                "kind": "warning",
                "category": category.__name__,
                "module": category.__module__,
                "message": str(warning_message.message),
                "filename": warning_message.filename,
                "lineno": warning_message.lineno,
                "line": warning_message.line,
                "when": when,
                "id": nodeid,
                "location": location,
            }
        )

    # The end

    def pytest_internalerror(self, excrepr: Any) -> None:
        """Send pytest's own traceback: this session ends here; what is known is known."""
        self.send_what_is_known()
        if not self.error_is_told:
            self.error_is_told = True
            self._host.send({"kind": "internal error", "text": str(excrepr)})

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Remember who ended the session: ``pytest.exit`` or Ctrl-C; what is known is known."""
        self._host.heard()
        self.send_what_is_known()
        error = excinfo.value
        self.ending = {
            "why": getattr(error, "msg", None) or str(error) or type(error).__name__,
            "exit": isinstance(error, pytest.exit.Exception),
            "returncode": getattr(error, "returncode", None),
        }

    def send_what_is_known(self) -> None:
        """The reports of a test that will not be finished."""
        if self._reports:
            self._keep_reports(self._running)
        self._send_tried(over=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        """Remember that a test or a plugin stopped the session."""
        if self.ending is None and session.shouldstop:
            self.ending = {"why": str(session.shouldstop), "exit": False, "returncode": None}
