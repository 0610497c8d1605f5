"""Runs inside an environment: a real pytest session that tells the host what happens in it.

This file's source is sent over the gateway, so the environment needs only pytest. It imports
nothing but pytest and the standard library, and must run on Python 3.8 with pytest 7.0.

Both directions carry :mod:`marshal` bytes of plain data. The host sends one request, then perhaps
commands; the worker sends events, each a dict with a ``kind``. One ``test`` event carries all
reports of a finished test: should the process die, the host knows what was being run.
"""

import importlib.util
import marshal
import os
import platform
import sys

PROTOCOL = 1
# Readable by every Python that this runs on.
_MARSHAL_VERSION = 4


def main(channel):
    request = marshal.loads(channel.receive())
    _prepare_process(request)
    import pytest

    def send(event):
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
    session = _make_session_plugin(pytest, request, send)
    channel.setcallback(lambda data: session.command(marshal.loads(data)))
    status = pytest.main(session.args(), plugins=[session])
    send({"kind": "finish", "status": int(status), "ending": session.ending})


def _prepare_process(request):
    """Make this process what ``pytest`` started from a shell would be."""
    os.chdir(request["cwd"])
    # Started with -c, Python put the current directory in front; the script's stands there else.
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    script = os.path.join(os.path.dirname(sys.executable), "pytest")
    sys.path.insert(0, request["cwd"] if request["cwd_on_path"] else os.path.dirname(script))
    sys.argv[:] = [script, *request["arguments"]]
    if request["stdout"] is not None:
        os.dup2(request["stdout"], 1)
        os.close(request["stdout"])
    # execnet has put others in their place, of another buffering and encoding.
    sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__
    sys.stdout.reconfigure(line_buffering=True)


def _encode(event):
    try:
        return marshal.dumps(event, _MARSHAL_VERSION)
    except ValueError:
        return marshal.dumps(_plain(event), _MARSHAL_VERSION)


def _plain(value):
    """The same data without what marshal cannot carry: subclasses, paths, objects of plugins."""
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, (list, set, frozenset)):
        return [_plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    return repr(value)


def _is_importable(module):
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _make_session_plugin(pytest, request, send):
    """A pytest plugin that sends what happens; made here, where pytest can be imported."""

    class SessionPlugin:
        def __init__(self):
            self.config = None
            self.session = None
            self.ending = None
            self._reports = []
            self._addopts = os.environ.pop("PYTEST_ADDOPTS", None)
            self._options = [
                (name, tokens) for name, tokens in request["options"] if self._can_load(tokens)
            ]

        def _can_load(self, tokens):
            """Drop ``-p plugin`` where the environment has no such plugin."""
            plugin = tokens[0][2:] if tokens[0][:2] == "-p" and tokens[0][:3] != "--" else ""
            if not plugin or plugin[:3] == "no:" or plugin in request["local_plugins"]:
                return True
            if _is_importable(plugin) or _is_importable("_pytest." + plugin):
                return True
            from importlib.metadata import entry_points

            found = entry_points()
            if hasattr(found, "select"):
                names = [point.name for point in found.select(group="pytest11")]
            else:
                names = [point.name for point in found.get("pytest11", ())]
            if plugin not in names:
                send({"kind": "dropped", "option": "-p " + plugin})
            return plugin in names

        def args(self):
            return self._positional() + [t for _, tokens in self._options for t in tokens]

        def _positional(self):
            return list(request["positional"])

        def command(self, command):
            if self.session is not None and command == "stop":
                self.session.shouldstop = "stopped by the host"

        # Before collection

        def pytest_addhooks(self, pluginmanager):
            """Hooks of ours in a conftest.py are no errors here; they are for the host."""

            class Specs:
                pass

            for name, arguments in request["hooks"]:
                scope = {}
                exec("def {}({}): pass".format(name, ", ".join(arguments)), scope)
                setattr(Specs, name, staticmethod(pytest.hookspec(scope[name])))
            pluginmanager.add_hookspecs(Specs)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_load_initial_conftests(self, parser, args):
            """Once every option is known that ever will be, drop those that nobody here knows."""
            yield
            known = []
            for name, tokens in self._options:
                if parser.parse_known_and_unknown_args(tokens)[1]:
                    send({"kind": "dropped", "option": name})
                else:
                    known += tokens
            args[:] = self._positional() + known

        def pytest_configure(self, config):
            self.config = config
            if self._addopts is not None:
                os.environ["PYTEST_ADDOPTS"] = self._addopts
            for line in request["markers"]:
                config.addinivalue_line("markers", line)
            # What failed last is for the host to remember; the cache itself stays usable.
            for name in ("lfplugin", "nfplugin"):
                if config.pluginmanager.hasplugin(name):
                    config.pluginmanager.unregister(name=name)

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionstart(self, session):
            self.session = session
            reporter = session.config.pluginmanager.getplugin("terminalreporter")
            if reporter is not None:
                # The plugin stays, since others ask it for things; its words are the host's.
                reporter._tw._file = open(os.devnull, "w", encoding="utf-8")

        @pytest.hookimpl(tryfirst=True)
        def pytest_collection(self, session):
            session.config.args = list(request["files"])

        # Collection

        def pytest_collectreport(self, report):
            if report.outcome != "passed":
                send({"kind": "collect", "report": self._serialized(report)})

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_collection_modifyitems(self, items):
            """Run what the host asks for, in its order; ids that are not here are told."""
            yield
            here = {item.nodeid: item for item in items}
            items[:] = [here[nodeid] for nodeid in request["ids"] if nodeid in here]
            missing = [nodeid for nodeid in request["ids"] if nodeid not in here]
            send({"kind": "collected", "missing": missing})

        # Running

        def pytest_runtest_logreport(self, report):
            self._reports.append(self._serialized(report))

        def pytest_runtest_logfinish(self, nodeid):
            reports, self._reports = self._reports, []
            send({"kind": "test", "id": nodeid, "reports": reports})

        def _serialized(self, report):
            hook = self.config.hook.pytest_report_to_serializable
            data = hook(config=self.config, report=report)
            if data is None:
                data = dict(report._to_json())
                data["$report_type"] = type(report).__name__
            return data

        def pytest_warning_recorded(self, warning_message, when, nodeid, location):
            category = warning_message.category
            send(
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

        def pytest_internalerror(self, excrepr):
            send({"kind": "internal error", "text": str(excrepr)})

        def pytest_keyboard_interrupt(self, excinfo):
            error = excinfo.value
            self.ending = {
                "why": getattr(error, "msg", None) or str(error),
                "exit": isinstance(error, pytest.exit.Exception),
                "returncode": getattr(error, "returncode", None),
            }

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(self, session):
            if self.ending is None and session.shouldstop:
                self.ending = {"why": str(session.shouldstop), "exit": False, "returncode": None}

    return SessionPlugin()


if __name__ == "__channelexec__":
    main(channel)  # noqa: F821 - execnet puts it there
