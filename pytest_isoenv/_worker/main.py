"""Runs inside an environment: takes the host's request, runs a pytest session, says how it ended.

Both directions carry :mod:`marshal` bytes of plain data. The host sends one request, then
commands; the worker sends events, each a dict with a ``kind``.
"""

from __future__ import annotations

import collections
import importlib.util
import marshal
import os
import platform
import select
import signal
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import pytest

try:
    import fcntl
except ImportError:  # this is no POSIX system
    fcntl = None  # type: ignore[assignment]

PROTOCOL = 2
# Readable by every Python that this runs on.
_MARSHAL_VERSION = 4
# How long fixtures may take to be torn down once the host has gone (seconds).
_GRACE = 10.0
# Kept, for a test may replace them.
_getpid, _sleep = os.getpid, time.sleep
_fork: Any = getattr(os, "fork", None)
_killpg: Any = getattr(os, "killpg", None)


def main(channel: Any) -> None:
    """Take the request, run the session, tell how it ended."""
    host = Host(channel)
    request = host.next_command()
    parts = {name: _loaded(name, source) for name, source in request["parts"].items()}
    _prepare_process(request)
    host.send(
        {
            "kind": "hello",
            "protocol": PROTOCOL,
            "python": platform.python_version(),
            "pytest": pytest.__version__,
            "prefix": sys.prefix,
            "path": list(sys.path),
        }
    )
    session = parts["session"].SessionPlugin(request, host)
    plugins = [part.plugin(request, host) for name, part in parts.items() if name != "session"]
    status = pytest.main(session.arguments(), plugins=[session, *plugins])
    for plugin in plugins:
        plugin.finish()
    host.finish({"status": int(status), "ending": session.ending})


def _loaded(name: str, source: str) -> types.ModuleType:
    """A part of this program; it is no file here, and no module that a test could import."""
    module = types.ModuleType("isoenv_" + name)
    exec(compile(source, f"<isoenv {name}>", "exec"), module.__dict__)
    return module


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
    for number, stream in enumerate(request["streams"]):
        if stream is not None:
            os.dup2(stream, number)
            os.close(stream)
    # execnet has put others in their place, of another buffering and encoding.
    sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)


class Host:
    """The other end: events go there, commands come from there."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._pid = _getpid()
        self._commands: collections.deque[dict[str, Any]] = collections.deque()
        self._finished = False
        channel.setcallback(lambda data: self._commands.append(marshal.loads(data)))
        io = channel.gateway._io
        _leave_to_the_parent(io)
        self._notice_its_end(io.infile.fileno())

    @property
    def is_ours(self) -> bool:
        """Whether this process is the worker, and no child that a test forked."""
        return _getpid() == self._pid

    def send(self, event: dict[str, Any]) -> None:
        """Tell the host something; a forked child has nothing to tell."""
        if self.is_ours:
            self._channel.send(_encode(event))

    def next_command(self) -> dict[str, Any]:
        """Wait for what the host wants next."""
        try:
            while not self._commands:
                self._channel.gateway.receive_one()
        except EOFError:
            raise KeyboardInterrupt("the host has gone") from None
        return self._commands.popleft()

    def finish(self, event: dict[str, Any]) -> None:
        """The last event."""
        self._finished = True
        self.send({"kind": "finish", **event})

    def _notice_its_end(self, descriptor: int) -> None:
        """Should the host go while tests run, they end as after Ctrl-C, whatever they do.

        The system sends a signal when the other end of the pipe is closed, where it can.
        """
        if fcntl is None or not hasattr(os, "O_ASYNC"):
            return
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)

        def look(number: int, frame: Any) -> None:
            # What the host has said before it went is still to be heard.
            gone = any(not events & select.POLLIN for _, events in poll.poll(0))
            if gone and self.is_ours and not self._finished:
                signal.signal(signal.SIGIO, signal.SIG_IGN)
                _kill_group_later()
                raise KeyboardInterrupt("the host has gone")

        signal.signal(signal.SIGIO, look)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, self._pid)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)


def _kill_group_later() -> None:
    """Fixtures may be torn down, but nothing stays: not this process, nor what it has started."""
    if _fork() == 0:
        _sleep(_GRACE)
        _killpg(0, signal.SIGKILL)


def _leave_to_the_parent(io: Any) -> None:
    """A child that a test forks must not hold the connection open, nor speak on it."""
    if not hasattr(os, "register_at_fork"):
        return
    descriptors = [io.infile.fileno(), io.outfile.fileno()]
    nowhere = os.open(os.devnull, os.O_RDWR)
    dup2 = os.dup2

    def let_go() -> None:
        for descriptor in descriptors:
            dup2(nowhere, descriptor, inheritable=False)

    os.register_at_fork(after_in_child=let_go)


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


if __name__ == "__channelexec__":
    main(globals()["channel"])  # execnet puts it there
