"""Workers that are forked: from one process for each runner layer, which has imported pytest.

To start a Python and to import pytest is most of what a small worker costs. A fork has both behind
it. Where it would not be what a fresh start gives, none is made: the variables that a Python reads
when it starts must be those of the process that forks, and the environment's own start must run no
code that anybody has written. :mod:`pytest_isoenv._worker.forks` is the other side.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pytest_isoenv._prefixes import python_of
from pytest_isoenv._process import MARK, Child, Process, has_gone, kill_group, spawn
from pytest_isoenv._sources import source

if TYPE_CHECKING:
    from pytest_isoenv.environment import Environment

#: Sources that all workers compile, by the names that their code has.
Sources = Sequence[tuple[str, str]]

# Leaves no name in ``__main__``, nor a frame below the program that a child runs.
_START = (
    "import sys; del sys.path[: sys.path[:1] == ['']]; exec(*(lambda names: "
    "exec(sys.argv.pop(1), names) or names['serve']())({'__name__': 'isoenv'}))"
)
# Variables that the interpreter, the C library or a module that pytest imports reads only once.
_READ_AT_START = ("PY", "LC_", "LD_", "DYLD_", "MALLOC_", "GLIBC_")
_ALSO = frozenset({"LANG", "LANGUAGE", "TZ"})
# Those of Python with which a fork has been seen to be like a fresh start.
_KNOWN = frozenset(
    f"PYTHON{name}"
    for name in ("BREAKPOINT", "COERCECLOCALE", "DONTWRITEBYTECODE", "FAULTHANDLER", "HASHSEED",
                 "IOENCODING", "NOUSERSITE", "OPTIMIZE", "PATH", "PYCACHEPREFIX", "SAFEPATH",
                 "UNBUFFERED", "UTF8", "WARNINGS")
)  # fmt: skip
# Each starts something before pytest is imported.
_STARTS_CODE = ("PYTHON", "COVERAGE_PROCESS_")
# How long the process that forks may take to go (seconds).
_GRACE = 2.0


class Forks:
    """What the workers of one session come from and have in common.

    ``streams`` are descriptors for the standard streams of what runs there, None for none. ``mark``
    tells the processes of the session, and those of each worker, from all others, whatever group
    they have moved to. It is none of the cache's: if this process is killed, workers tear their
    fixtures down, and nobody who sweeps there may end them before.
    """

    def __init__(self, cwd: Path, streams: Sequence[int | None]) -> None:
        self.streams = streams
        self.mark = uuid.uuid4().hex
        self._cwd = cwd
        self._lock = threading.Lock()
        self._servers: dict[Any, _Server] = {}

    def begin(self, layer: Path, environ: Mapping[str, str]) -> None:
        """Start the process of a layer, whose workers will likely run with such variables."""
        if not any(map(_is_unknown, environ)):
            self._server(layer, environ)

    def has_begun(self, environment: Environment, environ: Mapping[str, str]) -> bool:
        """Whether there is a process already that could fork a worker for an environment."""
        layer = environment.forks_from
        return layer is not None and _key(layer, environ) in self._servers

    def fork(
        self,
        environment: Environment,
        command: Sequence[str],
        environ: Mapping[str, str],
        stderr: int | None,
        sources: Sources,
    ) -> tuple[Process, IO[bytes] | None] | None:
        """A worker's process and, without a ``stderr``, the file that has what it writes there.

        None where one must be started afresh.
        """
        layer = environment.forks_from
        if layer is None or any(map(_is_unknown, environ)):
            return None
        server = self._server(layer, environ)
        return server.fork(command, environ, stderr) if server.prepare(sources) else None

    def _server(self, layer: Path, environ: Mapping[str, str]) -> _Server:
        with self._lock:
            key = _key(layer, environ)
            if key not in self._servers:
                mark = {MARK: f"{self.mark}-forks-{len(self._servers)}"}
                streams = [stream for stream in self.streams if stream is not None]
                self._servers[key] = _Server(layer, {**environ, **mark}, self._cwd, streams)
            return self._servers[key]

    def close(self) -> None:
        """Let the processes that fork go; their children have gone before."""
        while self._servers:
            self._servers.popitem()[1].close()
        for stream in self.streams:
            if stream is not None:
                os.close(stream)
        self.streams = ()


def _key(layer: Path, environ: Mapping[str, str]) -> Any:
    """Two environments with one key can have one process that forks."""
    return layer, frozenset(item for item in environ.items() if _is_read_at_start(item[0]))


def _is_read_at_start(name: str) -> bool:
    return name != MARK and (name.startswith(_READ_AT_START) or name in _ALSO)


def _is_unknown(name: str) -> bool:
    return name.startswith(_STARTS_CODE) and name not in _KNOWN


class _Server:
    """A process that forks, and its children."""

    def __init__(
        self, layer: Path, environ: Mapping[str, str], cwd: Path, streams: Sequence[int]
    ) -> None:
        with tempfile.TemporaryFile() as stderr:
            self._popen = spawn(
                [python_of(layer), "-c", _START, source("forks")],
                environ=environ,
                cwd=cwd,
                stderr=stderr,
                pass_fds=streams,
            )
        self._directory = Path(tempfile.mkdtemp(prefix="isoenv-"))
        self._preparing = threading.Lock()
        self._is_asked = False
        self._listener = threading.Thread(target=self._listen, name="isoenv-forks", daemon=True)
        self._asking = threading.Lock()
        self._answers = threading.Condition()
        self._ready: bool | None = None
        self._pids: list[int] = []
        self._children: dict[int, Child] = {}
        self._gone = False
        self._count = 0

    def prepare(self, sources: Sources) -> bool:
        """Wait until the process is ready, the first time; whether it can be used."""
        with self._preparing:
            if not self._is_asked:
                self._is_asked = True
                self._listener.start()
                self._order({"sources": [list(part) for part in sources]})
            with self._answers:
                self._answers.wait_for(lambda: self._gone or self._ready is not None)
                return bool(self._ready) and not self._gone

    def _order(self, order: Mapping[str, Any]) -> None:
        data = marshal.dumps(dict(order), 4)
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # it has gone: that is heard elsewhere
            self._popen.stdin.write(len(data).to_bytes(4, "big") + data)
            self._popen.stdin.flush()

    def fork(
        self, command: Sequence[str], environ: Mapping[str, str], stderr: int | None
    ) -> tuple[Process, IO[bytes] | None] | None:
        """A child, or None if the process is no more."""
        with self._asking:
            self._count += 1
            pipes = _Pipes(self._directory, self._count, stderr)
            order = {"command": list(command), "environ": dict(environ), **pipes.names}
            self._order(order)
            with self._answers:
                self._answers.wait_for(lambda: self._gone or bool(self._pids))
                if not self._pids:
                    pipes.close()
                    return None
                pid = self._pids.pop()
                child = Child(pid, *pipes.opened())
                self._children[pid] = child
                self._answers.notify_all()
                return child, pipes.stderr

    def _listen(self) -> None:
        """In a thread of its own: what the process says of its children."""
        stream = self._popen.stdout
        assert stream is not None
        while len(size := stream.read(4)) == 4:
            answer = marshal.loads(stream.read(int.from_bytes(size, "big")))
            self._heard(answer)
        with self._answers:
            self._gone = True
            self._answers.notify_all()
            children = list(self._children.values())
        for child in children:
            child.lose()

    def _heard(self, answer: Mapping[str, Any]) -> None:
        with self._answers:
            if "ready" in answer:
                self._ready = answer["ready"]
            elif "forked" in answer:
                self._pids.append(answer["forked"])
            else:
                # Whoever asked for it may not have come to know it yet.
                self._answers.wait_for(lambda: answer["ended"] in self._children)
                self._children.pop(answer["ended"]).end(answer["status"])
            self._answers.notify_all()

    def close(self) -> None:
        """End the process, in an orderly way if it has children to see to."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()
        if self._count:
            has_gone(self._popen, _GRACE)
        kill_group(self._popen)
        self._popen.wait()
        if self._is_asked:
            self._listener.join(_GRACE)
        if self._popen.stdout is not None and not self._listener.is_alive():
            self._popen.stdout.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class _Pipes:
    """The streams of a child, which have names until both ends are open."""

    def __init__(self, directory: Path, number: int, stderr: int | None) -> None:
        self._paths = [directory / f"{number}.{name}" for name in ("in", "out")]
        for path in self._paths:
            os.mkfifo(path, 0o600)
        # Both ways at first, which waits for nobody; else a child would read of an end at once.
        self._both = os.open(self._paths[0], os.O_RDWR | os.O_CLOEXEC)
        self._out = os.open(self._paths[1], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._out, True)
        self.stderr: IO[bytes] | None = None
        self.names: dict[str, Any] = {"stdin": str(self._paths[0]), "stdout": str(self._paths[1])}
        self.names["stderr"] = stderr
        if stderr is None:
            self._paths.append(directory / f"{number}.err")
            self.names["stderr"] = str(self._paths[-1])
            self.stderr = open(self._paths[-1], "w+b")  # noqa: SIM115, PTH123

    def opened(self) -> tuple[IO[bytes], IO[bytes]]:
        """Our ends, once the child has its own."""
        writing = os.open(self._paths[0], os.O_WRONLY | os.O_CLOEXEC)  # waits not: see above
        os.close(self._both)
        self._remove()
        return open(writing, "wb"), open(self._out, "rb")  # noqa: PTH123

    def _remove(self) -> None:
        for path in self._paths:
            path.unlink()

    def close(self) -> None:
        os.close(self._both)
        os.close(self._out)
        if self.stderr is not None:
            self.stderr.close()
        self._remove()
