"""A live worker: a process in an environment, talked to over an execnet gateway.

The only module that imports execnet. The process is started by us and handed to execnet, because
execnet's own ``popen`` cannot give it variables of its own, and its exit status is ours to read.
"""

from __future__ import annotations

import contextlib
import inspect
import marshal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

import execnet
from execnet import gateway_base, gateway_bootstrap

from pytest_isoenv._forks import Forks, Sources
from pytest_isoenv._process import (
    MARK,
    Process,
    abort,
    describe_ending,
    describe_silence,
    has_gone,
    interrupt,
    kill_group,
    spawn,
    terminate,
)
from pytest_isoenv._secrets import hide
from pytest_isoenv._sources import USUAL, parts, source
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import WorkerError

PROTOCOL = 2
# As execnet does it, but without the current directory that ``-c`` puts in front of sys.path, and
# without its names in ``__main__``.
_BOOTSTRAP = (
    "import sys; del sys.path[: sys.path[:1] == ['']]; "
    "exec(eval(sys.stdin.readline()), {'__name__': 'isoenv'})"
)
#: A worker's event, or None once there will be no more.
Event = Mapping[str, Any]
Deliver = Callable[["Event | None"], None]

# How much of a dead worker's stderr is shown (characters).
_TAIL = 8192
# How long the last words of a process that has gone may take to arrive (seconds).
_LAG = 2.0
# How long a debugger may take to go before it is told again (seconds).
_REMINDER = 0.5
# After these events a worker waits for the host; after all others it has something to do.
_WAITS = ("terminal wanted", "finish")
# What a test that hangs may send for ever.
_CHATTER = ("live log", "warning")


class _Pipes(gateway_base.Popen2IO):
    """execnet's view of a process that somebody else started."""

    def __init__(self, popen: Process) -> None:
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
    ``steps`` says that it is told test by test what to run. Of ``forks`` it has its streams; it is
    forked where that can be done and what forks is there, or ``may_fork`` says that it may be
    started for this. A stderr of its own is kept. ``mark`` is what its processes are known by.
    """

    _popen: Process
    _stderr: IO[bytes] | None

    def __init__(
        self,
        environment: Environment,
        cwd: Path,
        deliver: Deliver,
        forks: Forks,
        *,
        mark: str,
        steps: bool = False,
        may_fork: bool = False,
    ) -> None:
        self._environment = environment
        self._deliver = deliver
        self._steps = steps
        self._ending = threading.Lock()
        self._reaper: threading.Thread | None = None
        self._gone = threading.Event()
        self.over = threading.Event()
        self.paused = threading.Event()
        self.awaits_selection = False
        self._has_terminal = False
        self.timed_out = 0.0
        self._busy_since: float | None = None
        self._apart = False
        self._tests_over = 0
        self._was_told = False
        command = [str(environment.python), "-c", _BOOTSTRAP]
        variables = {**environment.environ, MARK: mark}
        stderr = forks.streams[2]
        if may_fork or forks.has_begun(environment, variables):
            forked = forks.fork(environment, command, variables, stderr, _sources())
            if forked is not None:
                self._popen, self._stderr = forked
                return
        self._stderr = tempfile.TemporaryFile() if stderr is None else None  # noqa: SIM115
        self._popen = spawn(
            command,
            environ=variables,
            cwd=cwd,
            stderr=self._stderr or stderr,
            pass_fds=[stream for stream in forks.streams if stream is not None],
        )

    def start(self, request: Mapping[str, Any]) -> None:
        """Send the worker's source and its request; events follow.

        Raises :exc:`~pytest_isoenv.errors.WorkerError` where the process dies before it answers.
        """
        self._busy_since = time.monotonic()
        self._apart = request.get("isolation") == "test"
        spec = execnet.XSpec("popen//id=isoenv//execmodel=main_thread_only")
        try:
            pipes = cast("gateway_base.IO", _Pipes(self._popen))
            _bootstrap(pipes)
            gateway = execnet.Gateway(pipes, spec)
            self._channel = gateway.remote_exec(source("main"))
            program = {part: source(part) for part in parts(request)}
            self._channel.send(marshal.dumps({**request, "parts": program}, 4))
        except (OSError, EOFError, AssertionError) as error:
            self.paused.set()
            self.over.set()
            raise WorkerError(self._environment.name, self.ending(), self.last_words()) from error
        self._channel.setcallback(self._receive, endmarker=None)
        self._reaper = threading.Thread(target=self._reap, name="isoenv-reaper", daemon=True)
        self._reaper.start()

    def _reap(self) -> None:
        """A process that has gone is over, even where a child of its holds its connection open."""
        self._popen.wait()
        self._gone.set()
        if not self.over.wait(_LAG):
            kill_group(self._popen)
            if not self.over.wait(_LAG):
                self._receive(None)

    def _receive(self, data: object) -> None:
        if data is None:
            self._end()
            return
        event = marshal.loads(cast("bytes", data))
        self._note_life(event)
        if event["kind"] == "hello":
            self._check(event)
        if event["kind"] == "terminal back":
            self._has_terminal = False
        if event.get("waits"):
            self.awaits_selection = True
            self.paused.set()
        self._deliver(event)

    def _note_life(self, event: Event) -> None:
        kind = event["kind"]
        is_over = kind == "lost" or (kind == "test" and event["over"])
        self._tests_over += is_over
        self._was_told = False
        if kind in _WAITS or event.get("waits") or (self._steps and is_over):
            self._busy_since = None
        elif kind not in _CHATTER:
            self._busy_since = time.monotonic()

    def _end(self) -> None:
        with self._ending:
            if self.over.is_set():
                return
            self._busy_since = None
            self.paused.set()
            self.over.set()
        self._deliver(None)

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
        self._command({"run": list(ids)})

    def step(self, nodeid: str, following: str | None) -> None:
        """Let a worker that takes steps run a test; ``following`` is what it will likely run next.

        Fixtures that the next test has in common with this one stay.
        """
        self._command({"step": [nodeid, following]})

    def last_step(self) -> None:
        """There is no further test for a worker that takes steps: its fixtures are torn down."""
        self._command({"step": None})

    def lend_terminal(self) -> None:
        """What a worker asked for: until it says so, the terminal is its own."""
        self._has_terminal = True
        self._command({"terminal": True})
        self._busy_since = None

    def _command(self, command: Mapping[str, Any]) -> None:
        self._busy_since = time.monotonic()
        # It may have gone; then the end of its events says so.
        with contextlib.suppress(OSError):
            self._channel.send(marshal.dumps(dict(command), 4))

    def silence(self) -> float:
        """For how long (seconds) it has had something to do and has given no sign of life."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def time_out(self, limit: float) -> None:
        """End a worker that has been silent for too long; it is to write where it stands.

        Where each test has a process of its own the worker is told to end that, the first time.
        """
        if self._apart and not self._was_told:
            self._command({"end": self._tests_over})
            self._was_told = True
            return
        self.timed_out = limit
        abort(self._popen)
        if not self.wait(_LAG):
            self.kill()

    def interrupt(self) -> None:
        """Pass on a Ctrl-C: a debugger may have a use for it."""
        interrupt(self._popen)

    def stop(self) -> None:
        """Let fixtures be torn down and the session end, even if it is in a debugger."""
        if self._has_terminal:
            terminate(self._popen)
        elif not self.dismiss():
            interrupt(self._popen)

    def wait_until_over(self, timeout: float) -> None:
        """Wait (seconds) for the end of a session that has been stopped."""
        deadline = time.monotonic() + timeout
        while not self.over.wait(max(0.0, min(_REMINDER, deadline - time.monotonic()))):
            if time.monotonic() > deadline:
                return
            if self._has_terminal:
                # Python hears of no signal that comes just before it begins to wait for a line.
                terminate(self._popen)

    def dismiss(self) -> bool:
        """Let a worker that waits for a selection end without a test; whether it was one."""
        waits = self.awaits_selection
        if waits:
            self.select([])
            if self._steps:
                self.last_step()
        return waits

    def dismiss_quietly(self) -> None:
        """The same; and whatever it still has to say, nobody wants to hear it."""

        def see_off(event: Event | None) -> None:
            if event is not None and event["kind"] == "finish":
                self.let_go()

        self._deliver = see_off
        self.dismiss()

    def kill(self) -> None:
        """End the process and all that it started, now."""
        kill_group(self._popen)
        self._popen.wait()

    def wait(self, timeout: float | None) -> bool:
        """Wait (seconds) until the process has gone; whether it has."""
        if self._reaper is None:
            return has_gone(self._popen, timeout)
        return self._gone.wait(timeout)  # the reaper knows at once; others would have to poll

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
        if self.timed_out:
            return describe_silence(self.timed_out)
        self.wait(_LAG)
        return describe_ending(self._popen.poll())

    @property
    def exit_code(self) -> int:
        """That of a process which has failed; 1 where a signal or an error has ended it."""
        return max(1, self._popen.poll() or 0)

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
        """The end of what the process wrote to its stderr; nothing if the user has seen it.

        What its variables keep secret is not in it.
        """
        if self._stderr is None:
            return ""
        size = self._stderr.seek(0, 2)
        # Of a secret that the cut goes through nothing may be left.
        self._stderr.seek(max(0, size - 2 * _TAIL))
        text = self._stderr.read().decode("utf-8", "replace")
        return self.without_secrets(text)

    def without_secrets(self, text: str) -> str:
        """The end of what a process in the environment wrote, as it may be shown."""
        return hide(text, self._environment.environ)[-_TAIL:]


def _bootstrap(pipes: gateway_base.IO) -> None:
    """As execnet does it, but for a gateway that needs no thread; see the worker's ``gateway``."""
    gateway_bootstrap.sendexec(
        pipes,
        # Once for each, since both begin with imports from __future__.
        f"exec(compile({_execnet()!r}, '<execnet>', 'exec'), globals())",
        "io = init_popen_io(get_execmodel('main_thread_only'))",
        "io.write(b'1')",
        # Kept, for a test may replace what the module has.
        "import types; struct = types.SimpleNamespace(**vars(struct))",
        "base = types.SimpleNamespace(**globals())",
        f"exec(compile({source('gateway')!r}, '<isoenv>', 'exec'), globals())",
        "serve(base, io)",
    )
    if pipes.read(1) != b"1":
        raise EOFError


def _sources() -> Sources:
    """What all workers compile, by the names that it has there."""
    program = [(source(part), f"<isoenv {part}>") for part in parts(USUAL)]
    gateway = [(_execnet(), "<execnet>"), (source("gateway"), "<isoenv>")]
    return [*gateway, (f"{source('main')}\n", "<remote exec>"), *program]


@cache
def _execnet() -> str:
    return inspect.getsource(gateway_base)
