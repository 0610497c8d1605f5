"""One command, measured: time on the clock, time of processors, memory.

Processor time is that of the command and of all that it started, whether it has waited for it or
not: what is left behind comes to this process (Linux), which waits for it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# How often memory is looked at (seconds), and how long what was left behind may take to go.
_INTERVAL = 0.05
_PATIENCE = 10.0
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEBIBYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a command took (seconds, MiB), and how it ended.

    ``host`` is the most memory that its own process had resident, ``tree`` the most that it and
    its descendants had at one time; None where nobody has looked.
    """

    wall: float
    cpu: float
    status: int
    host: float | None = None
    tree: float | None = None


class LeftBehindError(Exception):
    """A command has left processes that do not end."""


def adopt_orphans() -> None:
    """From now on processes whose parent ends before them become ours to wait for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(
    command: Sequence[object],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    output: Path,
    memory: bool = False,
) -> Usage:
    """Run a command; all that it writes goes to a file. No other child may be running."""
    _time_of_the_rest()  # what has ended before is not this command's
    with output.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        with _Sampler(process.pid if memory else None) as sampler:
            _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime + _time_of_the_rest()
    return Usage(wall, cpu, process.returncode, sampler.host, sampler.tree)


def _time_of_the_rest() -> float:
    """Processor time of what was left behind, once it has ended."""
    total, deadline = 0.0, time.monotonic() + _PATIENCE
    while True:
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return total
        if pid:
            total += used.ru_utime + used.ru_stime
        elif time.monotonic() > deadline:
            raise LeftBehindError(_kill_the_rest())
        else:
            time.sleep(0.005)


def _kill_the_rest() -> str:
    left = list(_descendants(os.getpid()))
    names = [_read(f"/proc/{pid}/cmdline").replace("\0", " ").strip() for pid in left]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return "; ".join(names)


class _Sampler:
    """Looks at the memory of a process and its descendants while it runs (Linux)."""

    def __init__(self, pid: int | None) -> None:
        self.host: float | None = None
        self.tree: float | None = None
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again, daemon=True)

    def __enter__(self) -> _Sampler:
        if self._pid is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._pid is not None:
            self._thread.join()

    def _look_again_and_again(self) -> None:
        assert self._pid is not None
        while True:
            peak = _peak(self._pid)
            resident = sum(map(_resident, [self._pid, *_descendants(self._pid)]))
            if peak:
                self.host = max(self.host or 0.0, peak)
                self.tree = max(self.tree or 0.0, resident)
            if self._over.wait(_INTERVAL):
                return


def _read(path: str) -> str:
    """What a file of /proc says; nothing if its process has gone."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _peak(pid: int) -> float:
    """The most that a process had resident so far, as the kernel counts it (MiB)."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _resident(pid: int) -> float:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE / _MEBIBYTE if fields else 0.0


def _descendants(pid: int) -> Iterator[int]:
    for thread in _threads(pid):
        for child in map(int, _read(f"/proc/{pid}/task/{thread}/children").split()):
            yield child
            yield from _descendants(child)


def _threads(pid: int) -> list[str]:
    try:
        return [path.name for path in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
