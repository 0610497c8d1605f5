"""A process that has imported pytest, and forks runs of it: that import is half of a small run.

Each run is a process of its own, in which all is as ``python -m pytest`` has it after that import;
of pytest-isoenv nothing is imported before. What Python itself reads as it starts it cannot be told
any more: where that differs, a process is started as ever.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# What Python and its C library read as they start; PYTHONPATH is made up for.
_AT_START = ("PYTHON", "LC_", "LANG", "TZ")
_MOST = 2**17  # bytes of an order
_KINDS = 3  # of such processes; a run with yet other variables is started as ever

_Process = subprocess.Popen[bytes]


def _read_at_start(environ: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    items = (item for item in environ.items() if item[0].startswith(_AT_START))
    return frozenset(item for item in items if item[0] != "PYTHONPATH")


class Starter:
    """Such processes, seen from outside: one for each setting of what Python reads at its start."""

    def __init__(self) -> None:
        self._started: dict[frozenset[tuple[str, str]], tuple[_Process, socket.socket]] = {}

    def pytest(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        directory: Path,
        environ: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
    ) -> _Process | Run:
        """``python -m pytest`` in a directory."""
        arguments = list(map(os.fspath, args))
        connection = self._connection(environ)
        if connection is None:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", *arguments],
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        order = {"args": arguments, "directory": str(directory), "environ": dict(environ)}
        with Path(os.devnull).open() as nothing:
            files = [file.fileno() for file in (nothing, stdout, stderr)]
            socket.send_fds(connection, [json.dumps(order).encode()], files)
        return Run(connection)

    def _connection(self, environ: Mapping[str, str]) -> socket.socket | None:
        """Whom to tell, once it is there; None if such a process is of no use, or impossible."""
        read = _read_at_start(environ)
        if read not in self._started:
            if len(self._started) == _KINDS or sys.platform != "linux":
                return None  # elsewhere, such sockets may be missing
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with its:
                process = subprocess.Popen(
                    [sys.executable, __file__, str(its.fileno())],
                    env={k: v for k, v in environ.items() if k != "PYTHONPATH"},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[its.fileno()],
                )
            self._started[read] = process, ours
        return self._started[read][1]

    def close(self) -> None:
        """End them; whoever needs one later has another."""
        while self._started:
            process, connection = self._started.popitem()[1]
            connection.close()
            process.wait()


class Run:
    """A run that was forked, with what callers ask of :class:`subprocess.Popen`."""

    stdin = None

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pid = int(connection.recv(_MOST))

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; raises :exc:`subprocess.TimeoutExpired`."""
        self._connection.settimeout(timeout)
        try:
            return int(self._connection.recv(_MOST))
        except TimeoutError:
            assert timeout is not None
            raise subprocess.TimeoutExpired("pytest", timeout) from None

    def kill(self) -> None:
        """End it at once; its status is still to be waited for."""
        os.kill(self._pid, signal.SIGKILL)


# In the process itself


def _serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork what is ordered, until nobody orders any more; in a fork, what it is to do."""
    while True:
        order, streams, _, _ = socket.recv_fds(connection, _MOST, 3)
        if not order:
            return None
        pid = os.fork()
        if pid == 0:
            connection.close()
            for descriptor, stream in enumerate(streams):
                os.dup2(stream, descriptor)
        for stream in streams:
            os.close(stream)
        if pid == 0:
            return json.loads(order)
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(order: Mapping[str, Any]) -> None:
    """Make this process what ``python -m`` makes of one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["directory"])
    paths = dict.fromkeys(filter(None, order["environ"].get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:1] = [order["directory"], *paths]
    importlib.invalidate_caches()
    sys.argv = ["-m", *order["args"]]


def _import_pytest() -> None:
    from _pytest.config import default_plugins

    for name in default_plugins:
        importlib.import_module(f"_pytest.{name}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with whoever started it
    _import_pytest()
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is not None:
        _become(order)
        runpy.run_module("pytest", run_name="__main__", alter_sys=True)
