"""Forks workers: one process that has imported pytest from a runner layer, for many environments.

It runs in the layer's Python, with one thread, and has no file open but its own: what a child of it
has inherited is what a Python of its environment would have come to by itself. The rest, which
says what environment this is, is set anew as the interpreter and ``site`` do at start.

Orders come from the host on standard input, answers go to standard output: :mod:`marshal` bytes
behind four bytes that say how many. When there will be no more orders, it waits for its children
and goes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

# Modules that take the environment's place into account when they are imported.
_KNOW_THE_PLACE = (
    "distutils",
    "multiprocessing.spawn",
    "sitecustomize",
    "sysconfig",
    "usercustomize",
)
# Plugins of pytest's that workers do without: what is remembered is the host's to remember.
_LEFT_OUT = ("cacheprovider", "stepwise")
# How long workers may take to end once the host has gone (seconds).
_GRACE = 15.0
# How often one looks whether they have, and how long what they leave may take (seconds).
_TICK, _LAG = 0.05, 0.5
_MARK = "PYTEST_ISOENV_RUN"


def serve() -> tuple[str, dict[str, Any]]:
    """Obey; returns in children only, with the program that is to run and the names that it has."""
    import site

    path = _path_before_site(site)
    _import_pytest()
    known = set(sys.modules)
    server = _Server(site, path)
    server.own_modules = set(sys.modules) - known
    return server.serve()


def _path_before_site(site: Any) -> list[str]:
    """``sys.path`` as it was when ``site`` began to add to it."""
    added = [sys.path.index(place) for place in site.getsitepackages() if place in sys.path]
    return sys.path[: min(added)]


def _import_pytest() -> None:
    """What every session of pytest imports before it looks at anything."""
    import pytest  # noqa: F401
    from _pytest.config import default_plugins

    for name in default_plugins:
        if name not in _LEFT_OUT:
            __import__(f"_pytest.{name}")


class _Server:
    """Forks on demand, and tells how its children end."""

    def __init__(self, site: Any, path: list[str]) -> None:
        import marshal
        import select
        import signal

        self.own_modules: set[str] = set()
        self._marshal, self._select, self._signal = marshal, select, signal
        self._site = site
        self._path = path
        self._compiled: dict[tuple[str, str], Any] = {}
        self._children: set[int] = set()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def serve(self) -> tuple[str, dict[str, Any]]:
        unfit = [name for name in _KNOW_THE_PLACE if name in sys.modules]
        self._tell({"ready": not unfit, "why": ", ".join(unfit)})
        while True:
            order = self._next_order()
            if order is None:
                self._see_children_off()
                os._exit(0)  # nothing of what Python does at its end is wanted of it
            if "sources" in order:
                for source, name in order["sources"]:
                    self._compiled[source, name] = compile(source, name, "exec")
            elif self._is_forked(order):
                return self._become(order)

    # Both ends

    def _next_order(self) -> Any:
        """Wait for an order, and for ends of children meanwhile; None if none will come."""
        while True:
            readable, _, _ = self._select.select([0, self._woken], [], [])
            if self._woken in readable:
                self._reap()
            if 0 in readable:
                size = self._read(4)
                if len(size) < 4:
                    return None
                return self._marshal.loads(self._read(int.from_bytes(size, "big")))

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.read(0, count - len(data))
            if not more:
                break
            data += more
        return data

    def _tell(self, answer: dict[str, Any]) -> None:
        data = self._marshal.dumps(answer, 4)
        data = len(data).to_bytes(4, "big") + data
        while data:
            try:
                data = data[os.write(1, data) :]
            except BrokenPipeError:
                return  # nobody listens any more

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 4096):
                pass
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _see_children_off(self) -> None:
        """The host has gone. Its workers know, and have another parent now, as they would expect.

        Somebody stays to see that they end, and that nothing does not.
        """
        if not self._children or os.fork() != 0:
            os._exit(0)
        import time

        deadline = time.monotonic() + _GRACE
        while self._children and time.monotonic() < deadline:
            time.sleep(_TICK)
            self._children = {pid for pid in self._children if _is_there(pid)}
        for pid in self._children:
            self._kill(os.killpg, pid)
        time.sleep(_LAG)  # they, too, have left somebody to see to what they have started
        for pid in _marked(f"{_MARK}={os.environ.get(_MARK)}".encode()):
            self._kill(os.kill, pid)

    def _kill(self, how: Callable[[int, int], None], pid: int) -> None:
        with contextlib.suppress(OSError):  # it has gone
            how(pid, self._signal.SIGKILL)

    # A child

    def _is_forked(self, order: dict[str, Any]) -> bool:
        """Fork; whether this is the child."""
        streams = [os.open(order["stdin"], os.O_RDONLY | os.O_NONBLOCK)]
        os.set_blocking(streams[0], True)
        streams.append(os.open(order["stdout"], os.O_WRONLY))
        stderr = order["stderr"]
        streams.append(os.open(stderr, os.O_RDWR) if isinstance(stderr, str) else os.dup(stderr))
        pid = os.fork()
        if pid == 0:
            self._take(streams)
            return True
        self._children.add(pid)
        for descriptor in streams:
            os.close(descriptor)
        self._tell({"forked": pid})
        return False

    def _take(self, streams: list[int]) -> None:
        """Be the first of a session of its own, with these streams and no other open file."""
        os.setsid()
        self._signal.set_wakeup_fd(-1)
        self._signal.signal(self._signal.SIGCHLD, self._signal.SIG_DFL)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        for descriptor in (*streams, self._woken, self._wake):
            os.close(descriptor)

    def _become(self, order: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make this process what the environment's Python is when it has started."""
        was = sys.executable
        os.environ.clear()
        os.environ.update(order["environ"])
        # Until 3.10 both are the same in a virtual environment.
        for name in ("_base_executable", "executable"):
            if getattr(sys, name, "") == was:
                setattr(sys, name, order["command"][0])
        sys.argv[:] = ["-c"]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[:] = order["command"]
        for name in self.own_modules:
            del sys.modules[name]
        self._run_site()
        _begin_anew()
        return eval(sys.stdin.readline()), {"__name__": "isoenv", "compile": self._compile}

    def _run_site(self) -> None:
        site: Any = self._site
        sys.prefix, sys.exec_prefix = sys.base_prefix, sys.base_exec_prefix
        site.PREFIXES = [sys.prefix, sys.exec_prefix]
        site.ENABLE_USER_SITE = site.USER_SITE = site.USER_BASE = None
        sys.path[:] = self._path
        sys.modules["importlib"].invalidate_caches()
        site.main()

    def _compile(self, source: Any, name: str, *rest: Any, **options: Any) -> Any:
        """The built-in function, but for what has been compiled before the fork."""
        code = self._compiled.get((source, name)) if isinstance(source, str) else None
        return code or compile(source, name, *rest, **options)


def _begin_anew() -> None:
    """Correct what modules remember of the process that imported them."""
    logging: Any = sys.modules["logging"]
    time: Any = sys.modules["time"]
    began = logging._startTime  # in nanoseconds from 3.13 on
    logging._startTime = time.time_ns() if isinstance(began, int) else time.time()
    main_thread: Any = sys.modules["threading"].main_thread()
    if hasattr(main_thread, "_set_native_id"):
        main_thread._set_native_id()  # Python itself forgets to


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _marked(mark: bytes) -> list[int]:
    """Processes that were started for this run from here, where the system tells."""
    found = []
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for name in names:
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0") and int(name) != os.getpid():
                    found.append(int(name))
        except OSError:
            continue  # gone, or somebody else's
    return found
