"""Does jobs, each in a forked process of its own, and strikes them at a step or at a moment.

``python -m tests.faults.child`` reads orders from its standard input, a JSON object on each line,
and answers each with one. It has imported everything, so a job costs no more than its work; and it
is the parent of what it kills, so no other process can be hit.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pytest_isoenv._steps import EVENT
from pytest_isoenv.cli import main

#: What an answer has as the status of a job that let an exception through.
LEAKED = 99


@dataclasses.dataclass(frozen=True)
class Order:
    """One job: ``isoenv``'s arguments, where, with which variables; and what strikes it.

    ``fault`` strikes as the step ``step`` is reached for the ``nth`` time (from 1 on);
    ``kill_after`` (seconds) is when SIGKILL strikes, whatever is done then.
    """

    args: tuple[str, ...]
    directory: str
    environ: Mapping[str, str]
    scratch: str
    step: str = ""
    nth: int = 0
    fault: str = ""
    kill_after: float | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """How a job ended: its status (below 0: the signal), what it wrote, the steps it reached."""

    status: int
    out: str
    err: str
    steps: tuple[str, ...]


class Child:
    """The process that does jobs, seen from outside; one order at a time."""

    def __init__(self) -> None:
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=environ,
        )
        self._lock = threading.Lock()

    def do(self, order: Order) -> Answer:
        """Have a job done, to whichever end."""
        assert self._popen.stdin
        assert self._popen.stdout
        with self._lock:
            self._popen.stdin.write(json.dumps(dataclasses.asdict(order)) + "\n")
            self._popen.stdin.flush()
            answer = json.loads(self._popen.stdout.readline())
        return Answer(answer["status"], answer["out"], answer["err"], tuple(answer["steps"]))

    def close(self) -> None:
        """End it; it does nothing then."""
        assert self._popen.stdin
        assert self._popen.stdout
        self._popen.stdin.close()
        self._popen.wait()
        self._popen.stdout.close()


# In the process itself


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _refuse(number: int) -> Callable[[], None]:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    return refuse


#: What can strike, by name. What is written amid a loss of power is damaged afterwards.
STRIKES: dict[str, Callable[[], None]] = {
    "SIGKILL": _die,
    "power loss, removed": _die,
    "ENOSPC": _refuse(errno.ENOSPC),
    "SIGTERM": _terminate,
    "power loss, emptied": _die,
    "EROFS": _refuse(errno.EROFS),
    "KeyboardInterrupt": _interrupt,
    "power loss, halved": _die,
}


class _Watch:
    """An audit hook that writes down each step, and strikes at one of them."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._count = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC
        self._steps = os.open(f"{order['scratch']}/steps", flags, 0o600)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event != EVENT:
            return
        os.write(self._steps, f"{args[0]}\n".encode())
        if args[0] == self._order["step"]:
            self._count += 1
            if self._count == self._order["nth"]:
                STRIKES[self._order["fault"]]()


def _act(order: Mapping[str, Any]) -> NoReturn:
    """What the forked process does."""
    status = LEAKED
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(order["environ"])
        os.chdir(order["directory"])
        for descriptor, name in ((0, os.devnull), (1, "out"), (2, "err")):
            path = Path(order["scratch"]) / name
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags, 0o600), descriptor)
        sys.addaudithook(_Watch(order))
        status = main.main(order["args"])
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - it must not become a second parent
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def _done(order: Mapping[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        _act(order)
    if order["kill_after"] is not None:
        signal.sigtimedwait({signal.SIGCHLD}, order["kill_after"])
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    while signal.sigtimedwait({signal.SIGCHLD}, 0):
        """Of this one, or of a kill that came too late: no later one is to be woken by it."""
    scratch = Path(order["scratch"])
    return {
        "status": os.waitstatus_to_exitcode(status),
        "out": _text(scratch / "out"),
        "err": _text(scratch / "err"),
        "steps": _text(scratch / "steps").splitlines(),
    }


def _text(path: Path) -> str:
    text = path.read_text(errors="replace") if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def serve() -> None:
    """Do what is ordered until there are no more orders."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for line in sys.stdin:
        print(json.dumps(_done(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
