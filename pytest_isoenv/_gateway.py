"""A live worker: a process in an environment, talked to over an execnet gateway.

The only module that imports execnet. The process is started by us and handed to execnet, because
execnet's own ``popen`` cannot give it variables of its own, and its exit status is ours to read.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import marshal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import execnet
from execnet import gateway_base, gateway_bootstrap

from pytest_isoenv._process import describe_ending, interrupt, kill_group, spawn
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import WorkerError

PROTOCOL = 1
# As execnet does it, but without the current directory that ``-c`` puts in front of sys.path.
_BOOTSTRAP = "import sys; del sys.path[: sys.path[:1] == ['']]; exec(eval(sys.stdin.readline()))"
#: A worker's event, or None once there will be no more.
Event = Mapping[str, Any]
Deliver = Callable[["Event | None"], None]

# How much of a dead worker's stderr is shown (bytes).
_TAIL = 8192


class _Pipes(gateway_base.Popen2IO):
    """execnet's view of a process that somebody else started."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        super().__init__(popen.stdin, popen.stdout, gateway_base.get_execmodel("thread"))
        self._popen = popen

    def wait(self) -> int | None:
        return self._popen.wait()

    def kill(self) -> None:
        kill_group(self._popen)


class Worker:
    """One process that runs tests in an environment.

    ``deliver`` is called from a thread of the gateway with every event, in order, and at last
    with None (``over`` is set then), after which :meth:`ending` and :meth:`last_words` tell how
    it went. ``paused`` is set once a worker that collects for itself waits for :meth:`select`.
    ``stdout`` and ``stderr`` are descriptors to write to; by default stdout goes nowhere and
    stderr is kept.
    """

    def __init__(
        self,
        environment: Environment,
        cwd: Path,
        deliver: Deliver,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        self._environment = environment
        self._stderr = tempfile.TemporaryFile() if stderr is None else None  # noqa: SIM115
        self._deliver = deliver
        self.over = threading.Event()
        self.paused = threading.Event()
        self.awaits_selection = False
        self._popen = spawn(
            [environment.python, "-c", _BOOTSTRAP],
            environ=environment.environ,
            cwd=cwd,
            stderr=self._stderr or stderr,
            pass_fds=() if stdout is None else (stdout,),
        )

    def start(self, request: Mapping[str, Any]) -> None:
        """Send the worker's source and its request; events follow.

        Raises :exc:`~pytest_isoenv.errors.WorkerError` where the process dies before it answers.
        """
        spec = execnet.XSpec("popen//id=isoenv//execmodel=main_thread_only")
        try:
            pipes = cast("gateway_base.IO", _Pipes(self._popen))
            gateway_bootstrap.bootstrap_exec(pipes, spec)
            gateway = execnet.Gateway(pipes, spec)
            self._channel = gateway.remote_exec(_source())
            self._channel.send(marshal.dumps(dict(request), 4))
        except (OSError, EOFError, AssertionError) as error:
            self.paused.set()
            self.over.set()
            raise WorkerError(self._environment.name, self.ending(), self.last_words()) from error
        self._channel.setcallback(self._receive, endmarker=None)

    def _receive(self, data: object) -> None:
        if data is None:
            self.paused.set()
            self.over.set()
            self._deliver(None)
            return
        event = marshal.loads(cast("bytes", data))
        if event["kind"] == "hello":
            self._check(event)
        if event["kind"] == "items":
            self.awaits_selection = True
            self.paused.set()
        self._deliver(event)

    def _check(self, hello: Event) -> None:
        """Isolation is checked, not hoped for: the worker says where it runs."""
        environment = self._environment
        seen = (hello["protocol"], hello["python"], Path(hello["prefix"]).resolve())
        expected = (PROTOCOL, environment.version, environment.path.resolve())
        if seen != expected:
            self._deliver({"kind": "foreign", "seen": repr(seen), "expected": repr(expected)})
            self.kill()

    def select(self, ids: Sequence[str]) -> None:
        """Let a worker that has collected run these tests, in this order."""
        self.awaits_selection = False
        # It may have gone; then the end of its events says so.
        with contextlib.suppress(OSError):
            self._channel.send(marshal.dumps({"run": list(ids)}, 4))

    def interrupt(self) -> None:
        """What Ctrl-C does: fixtures are torn down, then the session ends."""
        if not self.dismiss():
            interrupt(self._popen)

    def dismiss(self) -> bool:
        """Let a worker that waits for a selection end without a test; whether it was one."""
        waits = self.awaits_selection
        if waits:
            self.select([])
        return waits

    def kill(self) -> None:
        """End the process and all that it started, now."""
        kill_group(self._popen)
        self._popen.wait()

    def wait(self, timeout: float | None) -> bool:
        """Wait (seconds) until the process has gone; whether it has."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def let_go(self) -> None:
        """Tell the process that nothing more will come, so that it exits."""
        assert self._popen.stdin is not None
        # It may have gone first, and left words unsent that nobody will read.
        with contextlib.suppress(OSError):
            self._popen.stdin.close()

    def close(self, timeout: float) -> None:
        """Let the process exit on its own; after ``timeout`` seconds kill what is left of it."""
        self.let_go()
        self.wait(timeout)
        self.kill()

    def ending(self) -> str:
        """How the process ended, in words."""
        self.wait(2)
        return describe_ending(self._popen.poll())

    def remote_error(self) -> str:
        """The traceback of an error in the worker's own code; empty if it had none."""
        try:
            self._channel.waitclose(0)
        except self._channel.RemoteError as error:
            return str(error.formatted)
        except (OSError, EOFError):
            return ""
        return ""

    def last_words(self) -> str:
        """The end of what the process wrote to its stderr; nothing if the user has seen it."""
        if self._stderr is None:
            return ""
        size = self._stderr.seek(0, 2)
        self._stderr.seek(max(0, size - _TAIL))
        return self._stderr.read().decode("utf-8", "replace")


def _source() -> str:
    return importlib.resources.files("pytest_isoenv").joinpath("_worker.py").read_text("utf-8")
