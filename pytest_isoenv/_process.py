"""One way to run a command: in a process group of its own, its output kept, killable as a whole.

The only module that starts processes. No command goes through a shell.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

from pytest_isoenv._redact import redact
from pytest_isoenv._secrets import hide

#: The variable that tells the processes of a run from all others.
MARK = "PYTEST_ISOENV_RUN"


@dataclasses.dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit status, and its output without credentials of URLs."""

    command: str
    status: int
    stdout: str
    stderr: str
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def output(self) -> str:
        """What a user should see of a failure: nothing that is secret in its variables."""
        parts = (part.strip() for part in (self.stderr, self.stdout))
        return hide("\n".join(filter(None, parts)), self.environ)


class Cancelled(Exception):
    """The run was interrupted while a command ran or was about to start."""


class Processes:
    """The commands of one run; :meth:`stop` ends those that run and refuses new ones.

    ``mark`` stands in their variables: what a run leaves that was killed can be told by it.
    """

    def __init__(self, mark: str = "") -> None:
        self._mark = {MARK: mark} if mark else {}
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopped

    def run(
        self, args: Sequence[str | Path], *, environ: Mapping[str, str], cwd: Path | None = None
    ) -> Finished:
        """Run a command to its end and return how it ended; never raises for its exit status."""
        argv = [str(arg) for arg in args]
        popen = self._start(argv, environ, cwd)
        try:
            stdout, stderr = popen.communicate()
        except BaseException:
            kill_group(popen)
            raise
        finally:
            with self._lock:
                self._running.discard(popen)
        if self._stopped:
            raise Cancelled
        return Finished(
            command=hide(shlex.join(argv), environ),
            status=popen.returncode,
            stdout=redact(stdout.decode("utf-8", "replace")),
            stderr=redact(stderr.decode("utf-8", "replace")),
            environ=environ,
        )

    def _start(
        self, argv: list[str], environ: Mapping[str, str], cwd: Path | None
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Cancelled
            popen = subprocess.Popen(
                argv,
                env={**environ, **self._mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._running.add(popen)
            return popen

    def stop(self) -> None:
        """Kill every command that runs, with its children."""
        with self._lock:
            self._stopped = True
            for popen in self._running:
                kill_group(popen)


class Process(Protocol):
    """What is asked of a process: what :class:`subprocess.Popen` can do, and others, too."""

    pid: int

    @property
    def stdin(self) -> IO[bytes] | None:
        """The end of a pipe from which it reads."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """The end of a pipe to which it writes."""

    def poll(self) -> int | None:
        """Its exit status; below 0, the signal that ended it; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait (seconds) for its end; raises :exc:`subprocess.TimeoutExpired`."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it still runs."""

    def kill(self) -> None:
        """Kill it, if it still runs."""


@dataclasses.dataclass(eq=False)
class Child:
    """A process that another has forked for us, and which that one waits for."""

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]

    def __post_init__(self) -> None:
        self._status: int | None = None
        self._over = threading.Event()

    def end(self, status: int) -> None:
        """It has ended so."""
        self._status = status
        self._over.set()

    def lose(self) -> None:
        """Nobody will ever say how it ended: it ends now."""
        kill_group(self)
        self.end(-signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait (seconds) for its end; raises :exc:`subprocess.TimeoutExpired`."""
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired("a forked worker", timeout or 0.0)
        assert self._status is not None
        return self._status

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it still runs."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """Kill it, and all that it has started in its group."""
        kill_group(self)


def has_gone(popen: Process, timeout: float | None) -> bool:
    """Wait (seconds) until a process has ended; whether it has."""
    try:
        popen.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    return True


def spawn(
    args: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    cwd: Path,
    stderr: IO[bytes] | int | None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process that is talked to over its standard streams, in a group of its own.

    A Ctrl-C in the terminal does not reach it: whoever started it decides how it ends.
    """
    return subprocess.Popen(
        [str(arg) for arg in args],
        env=environ,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
    )


def run_for_user(
    args: Sequence[Any], environ: Mapping[str, str], options: Mapping[str, Any]
) -> subprocess.CompletedProcess[Any]:
    """:func:`subprocess.run` with another environment; ``options`` are passed on."""
    return subprocess.run(args, **{"env": dict(environ), **options})


def run_in_foreground(args: Sequence[str | Path], environ: Mapping[str, str]) -> int:
    """Run a command in our place: with our streams and terminal, and the signals that we get.

    Returns its exit status; below 0, the signal that ended it. What the terminal sends, a Ctrl-C
    for instance, it gets by itself, and does with it what it likes; what is sent to us alone is
    passed on. Outside the main thread no signal is.
    """
    popen = subprocess.Popen([str(arg) for arg in args], env=dict(environ))
    usual: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number, handler in _while_another_runs(popen):
                usual[number] = signal.signal(number, handler)
        return popen.wait()
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _while_another_runs(popen: subprocess.Popen[bytes]) -> Iterator[tuple[signal.Signals, Any]]:
    def pass_on(number: int, _: object) -> None:
        if popen.poll() is None:
            popen.send_signal(number)

    def leave_it(number: int, _: object) -> None:
        """The terminal has sent it to the command as well."""

    of_terminal = leave_it if _has_terminal() else pass_on
    names = {"SIGINT": of_terminal, "SIGQUIT": of_terminal}
    names |= dict.fromkeys(["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"], pass_on)
    for name, handler in names.items():
        if hasattr(signal, name):
            yield getattr(signal, name), handler


def _has_terminal() -> bool:
    """Whether a terminal sends its signals to our process group."""
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:  # noqa: PTH123
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, AttributeError):
        return False


def die_of(number: int) -> NoReturn:
    """End this process by a signal, as the command did that it ran: whoever waits can tell."""
    with contextlib.suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)  # not possible for SIGKILL, nor necessary
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)


def interrupt(popen: Process) -> None:
    """Ask a process to stop as Ctrl-C does."""
    if popen.poll() is None:
        popen.send_signal(signal.SIGINT)


def terminate(popen: Process) -> None:
    """Ask a process to stop where it does not listen to Ctrl-C."""
    popen.send_signal(signal.SIGTERM)


def abort(popen: Process) -> None:
    """End a process so that faulthandler, where it is enabled, writes where every thread stands."""
    if popen.poll() is None:
        popen.send_signal(signal.SIGABRT if hasattr(signal, "SIGABRT") else signal.SIGTERM)


def kill_group(popen: Process) -> None:
    """Kill a process and all that it started in its group; one that is gone is no error."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(popen.pid, signal.SIGKILL)
        else:
            popen.kill()
    except (ProcessLookupError, PermissionError):
        return


def describe_ending(status: int | None) -> str:
    """How a process ended, in words: the signal's name or the exit code."""
    if status is None:
        return "closed its connection and went on running"
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        perhaps = " (the system's way when memory runs out)" if name == "SIGKILL" else ""
        return f"was killed by signal {name}{perhaps}"
    return f"exited with code {status}"


def describe_silence(seconds: float) -> str:
    """How a process ended that had given no sign of life for so long, in words."""
    return f"gave no sign of life for {seconds:g} s (--env-timeout) and was ended"


def kill_marked(name: str, beginning: str) -> None:
    """Kill every process that has a variable which begins so, whatever group it has moved to.

    Where the system does not show processes' variables (no ``/proc``) nothing is done.
    """
    mark = f"\0{name}={beginning}".encode()
    for process in _processes():
        try:
            # There may be hundreds, at the end of every run: no paths are made of them.
            with open(f"/proc/{process}/environ", "rb", buffering=0) as file:  # noqa: PTH123
                if mark in b"\0" + file.read():
                    os.kill(process, signal.SIGKILL)
        except OSError:  # gone, or somebody else's
            continue


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []
