"""Runs inside an environment: a real pytest session that tells the host what happens in it.

This file's source is sent over the gateway, so the environment needs only pytest. It imports
nothing but pytest and the standard library, and must run on Python 3.8 with pytest 7.0.

Both directions carry :mod:`marshal` bytes of plain data. The host sends one request, then
commands; the worker sends events, each a dict with a ``kind``. One ``test`` event carries all
reports of a finished test: should the process die, the host knows what was being run.

A request names the tests to run, or leaves it to this session to find them: then it tells what it
has collected, and waits for the host's selection.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import platform
import queue
import sys
from importlib.metadata import entry_points
from typing import Any, Callable, Generator

import pytest

PROTOCOL = 1
# Readable by every Python that this runs on.
_MARSHAL_VERSION = 4


def main(channel: Any) -> None:
    """Take the request, run the session, tell how it ended."""
    request = marshal.loads(channel.receive())
    _prepare_process(request)

    def send(event: dict[str, Any]) -> None:
        channel.send(_encode(event))

    send(
        {
            "kind": "hello",
            "protocol": PROTOCOL,
            "python": platform.python_version(),
            "pytest": pytest.__version__,
            "prefix": sys.prefix,
            "path": list(sys.path),
        }
    )
    session = SessionPlugin(request, send)
    channel.setcallback(lambda data: session.command(marshal.loads(data)))
    status = pytest.main(session.arguments(), plugins=[session])
    send({"kind": "finish", "status": int(status), "ending": session.ending})


def _prepare_process(request: dict[str, Any]) -> None:
    """Make this process what ``pytest`` started from a shell would be."""
    script = os.path.join(os.path.dirname(sys.executable), "pytest")
    sys.path.insert(0, request["cwd"] if request["cwd_on_path"] else os.path.dirname(script))
    main_module: Any = sys.modules["__main__"]
    main_module.__file__ = script
    if request["cwd_on_path"]:  # as ``python -m pytest``
        main_module.__spec__ = importlib.util.find_spec("pytest.__main__")
        main_module.__file__ = script = main_module.__spec__.origin
        main_module.__package__ = "pytest"
    sys.argv[:] = [script, *request["arguments"]]
    if request["stdout"] is not None:
        os.dup2(request["stdout"], 1)
        os.close(request["stdout"])
    # execnet has put others in their place, of another buffering and encoding.
    sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)


def _encode(event: Any) -> bytes:
    try:
        return marshal.dumps(event, _MARSHAL_VERSION)
    except ValueError:
        return marshal.dumps(_plain(event), _MARSHAL_VERSION)


def _plain(value: Any) -> Any:
    """The same data without what marshal cannot carry: subclasses, paths, objects of plugins."""
    if value is None or isinstance(value, (bool, bytes)):
        return value
    for kind, plain in _PLAIN.items():
        if isinstance(value, kind):
            return plain(value)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a test's own object may do anything
        return object.__repr__(value)


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int,
    float: float,
    dict: lambda value: {_plain(key): _plain(entry) for key, entry in value.items()},
    tuple: lambda value: tuple(map(_plain, value)),
    (list, set, frozenset): lambda value: list(map(_plain, value)),
    os.PathLike: lambda value: str(os.fspath(value)),
}


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


def _described(item: Any) -> dict[str, Any]:
    """What the host needs to know of an item to select, order and show it."""
    return {
        "id": item.nodeid,
        "path": str(item.path),
        "location": item.location,
        "chain": [_node(node) for node in item.listchain()[1:]],
        "marks": [(mark.name, mark.args, mark.kwargs) for mark in item.iter_markers()],
        "environments": _closest_env_marks(item),
        "keywords": _keywords(item),
    }


def _keywords(item: Any) -> list[str]:
    """What ``-k`` looks at besides names and marks: this pytest says which attributes count."""
    attributes = getattr(getattr(item, "function", None), "__dict__", ())
    try:
        from _pytest.mark import KeywordMatcher

        seen = KeywordMatcher.from_item(item)._names
        attributes = [name for name in attributes if name in seen]
    except (ImportError, AttributeError):  # private to pytest: without it, all of them count
        pass
    return [*item.listextrakeywords(), *attributes]


def _node(node: Any) -> tuple[str, str, str]:
    """A node's type, its name, and if it is a directory its path."""
    directory = hasattr(pytest, "Directory") and isinstance(node, pytest.Directory)
    return type(node).__name__, node.name, str(node.path) if directory else ""


def _closest_env_marks(item: Any) -> list[Any]:
    for node in reversed(item.listchain()):
        marks = [(m.args, m.kwargs) for m in node.own_markers if m.name == "env"]
        if marks:
            return marks if isinstance(node, pytest.Module) else marks[::-1]
    return []


class _JUnitReport:
    """Passes on what fixtures add to a JUnit report that the host writes."""

    def __init__(self, send: Callable[[dict[str, Any]], None], family: str) -> None:
        self.family = family
        self._send = send

    def add_global_property(self, name: str, value: Any) -> None:
        self._send({"kind": "suite property", "name": name, "value": str(value)})

    def node_reporter(self, nodeid: str) -> Any:
        return _JUnitCase(self._send, nodeid)


class _JUnitCase:
    def __init__(self, send: Callable[[dict[str, Any]], None], nodeid: str) -> None:
        self._send = send
        self._nodeid = nodeid

    def add_attribute(self, name: str, value: Any) -> None:
        self._send({"kind": "xml attribute", "id": self._nodeid, "name": name, "value": str(value)})


class SessionPlugin:
    """Makes the session run what the host asks for, and sends what happens."""

    def __init__(self, request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        self.ending: dict[str, Any] | None = None
        self._request = request
        self._send = send
        self._config: Any = None
        self._session: Any = None
        self._reports: list[Any] = []
        self._selection: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        # Already part of the options; tests see it all the same.
        self._addopts = os.environ.pop("PYTEST_ADDOPTS", None)
        self._options = [option for option in request["options"] if self._can_be_obeyed(option)]

    def _can_be_obeyed(self, option: tuple[str, list[str]]) -> bool:
        name, (first, *_) = option
        plugin = first[2:] if name == "-p" else ""
        if not plugin or plugin.startswith("no:") or plugin in self._request["local_plugins"]:
            return True
        if not _has_plugin(plugin):
            self._send({"kind": "dropped", "option": "-p " + plugin})
            return False
        return True

    def arguments(self) -> list[str]:
        """The command line of this session."""
        options = [argument for _, arguments in self._options for argument in arguments]
        return [*self._request["positional"], *options]

    def command(self, command: dict[str, Any]) -> None:
        """Obey the host; called from the gateway's thread."""
        if "run" in command:
            self._selection.put(command["run"])

    # Options and plugins

    def pytest_addhooks(self, pluginmanager: Any) -> None:
        """Hooks of ours in a conftest.py are no errors here; they are for the host."""

        class Specs:
            """One function for each hook."""

        for name, arguments in self._request["hooks"]:
            scope: dict[str, Any] = {}
            exec(f"def {name}({', '.join(arguments)}): pass", scope)
            setattr(Specs, name, staticmethod(pytest.hookspec(scope[name])))
        pluginmanager.add_hookspecs(Specs)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(
        self, parser: Any, args: list[str]
    ) -> Generator[None, Any, None]:
        """Once every option is known that ever will be, drop those that nobody here knows."""
        yield
        known = []
        for name, arguments in self._options:
            unknown = parser.parse_known_and_unknown_args(arguments)[1]
            # What nobody knows, pytest refuses in its own words.
            if unknown and name not in self._request["required"]:
                self._send({"kind": "dropped", "option": name})
            else:
                known += arguments
        args[:] = [*self._request["positional"], *known]

    def pytest_configure(self, config: Any) -> None:
        """Know our marker; leave to the host what the host remembers between runs."""
        self._config = config
        if self._addopts is not None:
            os.environ["PYTEST_ADDOPTS"] = self._addopts
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
        config.stash[xml_key] = _JUnitReport(self._send, self._request["junit_family"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: Any) -> None:
        """The terminal plugin stays, since others ask it for things; its words are the host's."""
        self._session = session
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter._tw._file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: Any) -> None:
        """Where the host knows its tests, collect their files; else what the options say."""
        if self._request["files"] is not None:
            session.config.args = list(self._request["files"])

    def pytest_collectreport(self, report: Any) -> None:
        """Tell what could not be collected."""
        if report.outcome != "passed":
            self._send({"kind": "collect", "report": self._serialized(report)})

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> Generator[None, Any, None]:
        """Run what the host asks for, in its order; ids that are not here are told."""
        outcome = yield
        if outcome.excinfo is not None:
            return  # an internal error: pytest raises it, and this session ends
        here = {item.nodeid: item for item in items}
        wanted = self._request["ids"]
        if wanted is None:
            self._send({"kind": "items", "items": [_described(item) for item in items]})
            wanted = self._selection.get()
        items[:] = [here[nodeid] for nodeid in wanted if nodeid in here]
        missing = [nodeid for nodeid in wanted if nodeid not in here]
        self._send({"kind": "collected", "missing": missing})

    # Running

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the report until the test has finished."""
        self._reports.append(self._serialized(report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Send all reports of the test at once."""
        reports, self._reports = self._reports, []
        self._send({"kind": "test", "id": nodeid, "reports": reports})

    def _serialized(self, report: Any) -> Any:
        hook = self._config.hook.pytest_report_to_serializable
        data = hook(config=self._config, report=report)
        if data is None:
            data = {**report._to_json(), "$report_type": type(report).__name__}
        longrepr = report.longrepr
        if hasattr(longrepr, "toterminal") and not hasattr(longrepr, "reprtraceback"):
            data["$words"] = True  # sent as text, but it is no text
        return data

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        """Send what a warning says; its class may not exist on the host."""
        category = warning_message.category
        self._send(
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
        """Send pytest's own traceback: this session ends here."""
        self._send({"kind": "internal error", "text": str(excrepr)})

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Remember who ended the session: ``pytest.exit`` or Ctrl-C."""
        error = excinfo.value
        self.ending = {
            "why": getattr(error, "msg", None) or str(error),
            "exit": isinstance(error, pytest.exit.Exception),
            "returncode": getattr(error, "returncode", None),
        }

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: Any) -> None:
        """Remember that a test or a plugin stopped the session."""
        if self.ending is None and session.shouldstop:
            self.ending = {"why": str(session.shouldstop), "exit": False, "returncode": None}


if __name__ == "__channelexec__":
    main(globals()["channel"])  # execnet puts it there
