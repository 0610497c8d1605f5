"""An index that misbehaves on request; ``python -m tests.bad_index`` shows what is said of it.

With ``--write`` the table in ``docs/reference/index-troubles.md`` is written anew.
"""

from __future__ import annotations

import dataclasses
import http.server
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.packages import Index, make_wheel, repack_runner

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "index-troubles.md"
BEGIN, END = "<!-- rows: begin -->\n", "<!-- rows: end -->\n"
BACKENDS = ("uv", "venv")
#: The package that faults of single files are about.
PACKAGE = "lib"
USER, PASSWORD = "me", "s3cr3t-w0rd"

Handler = http.server.BaseHTTPRequestHandler


class BadIndex(Index):
    """An index that can be told to misbehave, and to be well again.

    What it serves may be kept for ever, as PyPI says of its files.
    """

    def __init__(self, wheels: Path) -> None:
        super().__init__(wheels)
        self.fault: Fault | None = None
        self._server.handle_error = lambda *about: None  # type: ignore[method-assign]
        self._closed = threading.Event()

    def answer(self, handler: Handler) -> None:
        if self.fault is None or not self.fault.answer(self, handler):
            super().answer(handler)

    def send(self, handler: Handler, data: bytes, kind: str) -> None:
        """Answer with these bytes."""
        self._send(handler, data, kind)

    def wait(self) -> None:
        """Until nobody wants an answer any more."""
        self._closed.wait()

    def file(self, handler: Handler) -> bytes | None:
        """What is in the file that is asked for, if it is one of the package."""
        name = handler.path.rpartition("/")[2]
        is_its = name.startswith(f"{PACKAGE}-") and name.endswith(".whl")
        return (self.wheels / name).read_bytes() if is_its else None

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def speak_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def close(self) -> None:
        self._closed.set()
        super().close()


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to misbehave: what it is called, and in words for the table.

    ``answer`` says whether it has answered a request; ``url`` is where the index is said to be.
    """

    name: str
    words: str
    answer: Callable[[BadIndex, Handler], bool] = lambda index, handler: False
    url: Callable[[BadIndex], str] = lambda index: index.url


def _closed_port(index: BadIndex) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return index.url.replace(f":{index.port}/", f":{server.getsockname()[1]}/")


def _tls(index: BadIndex) -> str:
    return index.url.replace("http:", "https:")


def _untrusted(index: BadIndex) -> str:
    index.speak_tls()
    return _tls(index)


def _never(index: BadIndex, handler: Handler) -> bool:
    index.wait()
    return True


def _status(code: int) -> Callable[[BadIndex, Handler], bool]:
    def answer(index: BadIndex, handler: Handler) -> bool:
        handler.send_error(code)
        return True

    return answer


def _text(text: str, kind: str) -> Callable[[BadIndex, Handler], bool]:
    def answer(index: BadIndex, handler: Handler) -> bool:
        index.send(handler, text.encode(), kind)
        return True

    return answer


def _in_circles(index: BadIndex, handler: Handler) -> bool:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    return True


def _another_file(index: BadIndex, handler: Handler) -> bool:
    data = index.file(handler)
    if data is None:
        return False
    other = make_wheel(index.wheels / "other", PACKAGE, "1.0", modules={"lib.py": "EVIL = 1\n"})
    index.send(handler, other.read_bytes(), "application/zip")
    return True


def _half_a_file(index: BadIndex, handler: Handler) -> bool:
    data = index.file(handler)
    if data is None:
        return False
    handler.send_response(200)
    handler.send_header("Content-Type", "application/zip")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    return True


def _no_file(index: BadIndex, handler: Handler) -> bool:
    if index.file(handler) is None:
        return False
    handler.send_error(404)
    return True


FAULTS = (
    Fault("down", "Nothing listens there", url=_closed_port),
    Fault("no-such-host", "Its host name has no address", url=lambda i: "https://i.invalid/simple"),
    Fault("slow", "It never answers", _never),
    Fault("no-tls", "It speaks HTTP where HTTPS is asked for", url=_tls),
    Fault("untrusted", "It shows a certificate that nobody trusts", url=_untrusted),
    Fault("401", "401: it does not know us", _status(401)),
    Fault("403", "403: it refuses us", _status(403)),
    Fault("404", "404: it has no such package", _status(404)),
    Fault("500", "500: it fails", _status(500)),
    Fault("503", "503: it has no time", _status(503)),
    Fault("garbage", "It answers with something else", _text("\1\2", "application/octet-stream")),
    Fault("login", "It answers with a page to log in", _text("<p>Hello", "text/html")),
    Fault("circles", "It redirects in circles", _in_circles),
    Fault("hash", "A file is not the one that it names", _another_file),
    Fault("truncated", "A file ends too early", _half_a_file),
    Fault("gone", "A file is gone", _no_file),
)


@dataclasses.dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    status: int
    output: str

    @property
    def what(self) -> str:
        """The line that says what is wrong."""
        return self._found(r"^ERROR: environment 'wanted': (.*)")

    @property
    def next_step(self) -> str:
        return self._found(r"^next step: (.*)")

    def _found(self, pattern: str) -> str:
        match = re.search(pattern, self.output, re.MULTILINE)
        return _steady(match[1]) if match else ""


def _steady(text: str) -> str:
    """Without what is another one each time."""
    return re.sub(r"127\.0\.0\.1:\d+", "HOST", text).replace("i.invalid", "HOST")


class Trial:
    """A project, a cache and an installer of its own, with an index that may misbehave."""

    def __init__(self, index: BadIndex, backend: str, directory: Path) -> None:
        self.index = index
        self.directory = directory
        (directory / "project").mkdir()
        declared = f"base: {{backend: {backend}}}\n  wanted: {{dependencies: [{PACKAGE}==1.0]}}"
        (directory / "project" / "isoenv.yaml").write_text(f"environments:\n  {declared}\n")
        self.url = index.url

    def build(self, *options: str, **variables: str) -> Said:
        """``isoenv build``, with the index where it is said to be."""
        command = [sys.executable, "-m", "pytest_isoenv", "build", "wanted", *options]
        ended = subprocess.run(
            command,
            cwd=self.directory / "project",
            env={**self._environ(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Said(ended.returncode, ended.stdout)

    def _environ(self) -> Mapping[str, str]:
        url = self.url.replace("://", f"://{USER}:{PASSWORD}@")
        system = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "PYTHONPATH")
        return {
            **{name: os.environ[name] for name in system if name in os.environ},
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            "UV_CACHE_DIR": str(self.directory / "uv"),
            "PIP_CACHE_DIR": str(self.directory / "pip"),
            "UV_DEFAULT_INDEX": url,
            "PIP_INDEX_URL": url,
            "UV_HTTP_TIMEOUT": "1",
            "PIP_TIMEOUT": "1",
            # No second try of what may pass: it takes seconds.
            "UV_HTTP_RETRIES": "0",
            "PIP_RETRIES": "0",
        }


@contextmanager
def trial(fault: Fault | None, backend: str, wheels: Path, directory: Path) -> Iterator[Trial]:
    """A trial whose index has this fault."""
    index = BadIndex(wheels)
    try:
        found = Trial(index, backend, directory)
        if fault is not None:
            index.fault = fault
            found.url = fault.url(index)
        yield found
    finally:
        index.close()


def make_wheels(directory: Path) -> Path:
    """What the index serves."""
    repack_runner(directory)
    make_wheel(directory, PACKAGE, "1.0")
    return directory


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wheels = make_wheels(Path(scratch, "wheels"))
        for fault in FAULTS:
            for backend in BACKENDS:
                directory = Path(scratch, f"{fault.name}-{backend}")
                directory.mkdir()
                with trial(fault, backend, wheels, directory) as one:
                    said = one.build()
                    print(f"=== {fault.name} {backend} {said.status}\n{said.what}\n{said.next_step}")


if __name__ == "__main__":
    main(sys.argv[1:])
