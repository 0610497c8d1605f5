"""Runs inside an environment: takes the host's request, runs a pytest session, says how it ended.

Both directions carry :mod:`marshal` bytes of plain data. The host sends one request, then
commands; the worker sends events, each a dict with a ``kind``.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import collections
import contextlib
import importlib.util
import marshal
import os
import platform
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

try:
    import fcntl
except ImportError:  # this is no POSIX system
    fcntl = None  # type: ignore[assignment]

PROTOCOL = 2
# Readable by every Python that this runs on.
_MARSHAL_VERSION = 4
# How long fixtures may take to be torn down once the host has gone (seconds), and how often one
# looks whether they have been, and tells them again that it has.
_GRACE, _TICK, _AGAIN = 10.0, 0.05, 0.5
# Tells what this process has started from all else; the host has put it into the environment.
_MARK = "PYTEST_ISOENV_RUN"
# Kept, for a test may replace them.
_getpid, _getppid, _sleep, _now = os.getpid, os.getppid, time.sleep, time.monotonic
_dumps, _loads = marshal.dumps, marshal.loads
# That of the module ``signal`` makes an enumeration of what it gets, each time.
_handle, _handled = signal.signal, _signal.getsignal
_fork: Any = getattr(os, "fork", None)
_kill: Any = os.kill
_killpg: Any = getattr(os, "killpg", None)
_listdir, _open = os.listdir, open
_KILL: Any = getattr(signal, "SIGKILL", None)


def main(channel: Any) -> None:
    """Take the request, run the session, tell how it ended."""
    host = Host(channel)
    try:
        _run(host, channel)
    finally:
        host.let_go()


def _run(host: Host, channel: Any) -> None:
    request = host.next_command()
    parts = _loaded(request["parts"], channel.gateway.compiled)
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
    plugins: dict[str, Any] = {}
    for name, part in parts.items():
        if hasattr(part, "plugin"):
            plugins[name] = part.plugin(request, host, plugins)
    session = plugins["session"]
    status = pytest.main(session.arguments(), plugins=list(plugins.values()))
    for plugin in plugins.values():
        if hasattr(plugin, "finish"):
            plugin.finish()
    apart = plugins["apart"].why_not if "apart" in plugins else ""
    host.finish({"status": int(status), "ending": session.ending, "apart": apart})


def _loaded(sources: dict[str, str], compiled: Callable[..., Any]) -> dict[str, types.ModuleType]:
    """The parts of this program, each of which finds the others by their names.

    They are no files here, and no modules that a test could import.
    """
    parts = {name: types.ModuleType("isoenv_" + name) for name in sources}
    for name, source in sources.items():
        exec(compiled(source, f"<isoenv {name}>", "exec"), vars(parts[name]))
    for part in parts.values():
        vars(part).update(parts)
    return parts


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
        self._finished = self._gone = self._heard = False
        self._mark = f"{_MARK}={os.environ.get(_MARK)}".encode()
        channel.setcallback(lambda data: self._commands.append(_loads(data)))
        self._receive = channel.gateway.receive_one
        io = channel.gateway._io
        #: Where commands arrive.
        self.descriptor = io.infile.fileno()
        self._of_parent = [self.descriptor, io.outfile.fileno()]
        _leave_to_the_parent(self._of_parent)
        self._connection = _Connection(self.descriptor, self._has_gone)

    def speak_through(self, line: Any) -> None:
        """This process is a child of the worker, which passes on what it says and hears."""
        self._connection.leave_to_the_parent()
        self._channel, self._receive = line, lambda: self._commands.append(line.next_command())
        self._of_parent += line.descriptors
        self._pid = _getpid()

    @property
    def is_ours(self) -> bool:
        """Whether this process is the worker, and no child that a test forked."""
        return _getpid() == self._pid

    def send(self, event: dict[str, Any]) -> None:
        """Tell the host something; a forked child has nothing to tell."""
        if self.is_ours:
            # The host may answer.
            self._connection.respect_the_tests()
            self._channel.send(_encode(event))

    def next_command(self) -> dict[str, Any]:
        """Wait for what the host wants next."""
        try:
            while not self._commands:
                self._receive()
        except EOFError:
            raise KeyboardInterrupt("the host has gone") from None
        return self._commands.popleft()

    def pass_on(self, event: bytes) -> None:
        """Send what a child of the worker has encoded."""
        self._connection.respect_the_tests()
        self._channel.send(event)

    def finish(self, event: dict[str, Any]) -> None:
        """The last event."""
        self._finished = True
        self.send({"kind": "finish", **event})

    def let_go(self) -> None:
        """From now on the host may go."""
        self._connection.watch_no_longer()

    def heard(self) -> None:
        """The session is ending, and need not be told once more why."""
        self._heard = True

    def _has_gone(self) -> None:
        if not self.is_ours or self._finished:
            return
        if not self._gone:
            self._gone = True
            _kill_all_later(self._mark)
        if not self._heard:
            raise KeyboardInterrupt("the host has gone")


class _Connection:
    """Should the host go while tests run, they end as after Ctrl-C, whatever they do.

    The system sends a signal when the other end of the pipe is closed, where it can.
    """

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._watched = fcntl is not None and hasattr(os, "O_ASYNC")
        if not self._watched:
            return
        self._signal = signal.SIGIO
        poll, can_read = select.poll(), select.POLLIN
        poll.register(descriptor, can_read)

        def look(number: int, frame: Any) -> None:
            # What the host has said before it went is still to be heard.
            if any(not events & can_read for _, events in poll.poll(0)):
                gone()

        self._look = look
        _handle(self._signal, look)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, _getpid())
        self._set_flags(_flags(descriptor) | os.O_ASYNC)

    def respect_the_tests(self) -> None:
        """A test that has taken the signal for itself gets no more of ours.

        By default it would even be deadly.
        """
        if self._watched and _handled(self._signal) is not self._look:
            self.watch_no_longer()

    def leave_to_the_parent(self) -> None:
        """In a child: the signal is not for it, and means to it what it means to any process."""
        if self._watched:
            self._watched = False
            _handle(self._signal, signal.SIG_DFL)

    def watch_no_longer(self) -> None:
        """No signal is sent any more; Python itself stops to handle it while it exits."""
        if self._watched:
            self._watched = False
            with contextlib.suppress(OSError):  # a test may have closed it
                self._set_flags(_flags(self._descriptor) & ~os.O_ASYNC)

    def _set_flags(self, flags: int) -> None:
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags)


def _flags(descriptor: int) -> int:
    flags: int = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    return flags


def _kill_all_later(mark: bytes) -> None:
    """Fixtures may be torn down, but nothing stays: not this process, nor what it has started."""
    parent = _getpid()
    if _fork() != 0:
        return
    deadline, again = _now() + _GRACE, _now() + _AGAIN
    while _getppid() == parent and _now() < deadline:
        _sleep(_TICK)
        if _now() > again:  # an error is lost where Python was deleting something
            again += _AGAIN
            _kill(parent, signal.SIGIO)
    for process in _marked(mark):
        if process != _getpid():
            with contextlib.suppress(OSError):
                _kill(process, _KILL)
    _killpg(0, _KILL)


def _marked(mark: bytes) -> Iterator[int]:
    """Processes that have the mark, whatever group they have moved to, where the system tells."""
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, _listdir("/proc")):
            with contextlib.suppress(OSError), _open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    yield int(name)


def _leave_to_the_parent(descriptors: list[int]) -> None:
    """A child that a test forks must not hold the connection open, nor speak on it."""
    if not hasattr(os, "register_at_fork"):
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    dup2 = os.dup2

    def let_go() -> None:
        for descriptor in descriptors:
            dup2(nowhere, descriptor, inheritable=False)

    os.register_at_fork(after_in_child=let_go)


def _encode(event: Any) -> bytes:
    try:
        return _dumps(event, _MARSHAL_VERSION)
    except ValueError:
        return _dumps(_plain(event), _MARSHAL_VERSION)


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
