"""An index that misbehaves on request, and what is said of it.

``python -m tests.bad_index`` shows the table of ``docs/reference/index-troubles.md``; with
``--write`` it is written anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import io
import os
import re
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from pytest_isoenv.cli.main import main as isoenv
from tests.packages import Index, make_wheel, repack_runner

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "index-troubles.md"
BEGIN, END = "<!-- rows: begin -->\n", "<!-- rows: end -->\n"
BACKENDS = ("uv", "venv")
#: The package that is asked for; each fault has a version of its own.
PACKAGE = "lib"
USER, PASSWORD = "me", "s3cr3t-w0rd"

Handler = http.server.BaseHTTPRequestHandler


class BadIndex(Index):
    """An index that can be told to misbehave, and to be well again.

    Its files may be kept for ever, as those of PyPI may.
    """

    def __init__(self, wheels: Path) -> None:
        super().__init__(wheels)
        self.fault: Fault | None = None
        self._closed = threading.Event()
        self._servers = [self._server]
        # Installers hang up when they have seen enough.
        self._server.handle_error = lambda *about: None  # type: ignore[method-assign]

    def answer(self, handler: Handler) -> None:
        if self.fault is None or not self.fault.answer(self, handler):
            super().answer(handler)

    @staticmethod
    def _send(handler: Handler, data: bytes, kind: str) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        if kind == "application/zip":
            handler.send_header("Cache-Control", "max-age=365000000, immutable, public")
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(data)

    def send(self, handler: Handler, data: bytes, kind: str) -> None:
        """Answer with these bytes."""
        self._send(handler, data, kind)

    def wait(self) -> None:
        """Until nobody wants an answer any more."""
        self._closed.wait()

    def file(self, handler: Handler) -> Path | None:
        """The file that is asked for, if it is one of the package."""
        name = handler.path.rpartition("/")[2]
        is_its = name.startswith(f"{PACKAGE}-") and name.endswith(".whl")
        return self.wheels / name if is_its else None

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def listen_with_tls(self) -> str:
        """The address of the same index, with a certificate that nobody trusts."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._server.RequestHandlerClass)
        server.handle_error = self._server.handle_error  # type: ignore[method-assign]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers.append(server)
        return f"https://localhost:{server.server_port}/simple"

    def close(self) -> None:
        self._closed.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to misbehave: what it is called, and in words for the table.

    ``answer`` says whether it has answered a request; ``url`` is where the index is said to be.
    ``timeout`` is how long installers wait, in seconds: where they need not, a busy machine is no
    slow index.
    """

    name: str
    words: str
    answer: Callable[[BadIndex, Handler], bool] = lambda index, handler: False
    url: Callable[[BadIndex], str] = lambda index: index.url
    timeout: int = 60

    @property
    def version(self) -> str:
        """The version of the package that is asked for."""
        return f"1.{FAULTS.index(self)}"


def _closed_port(index: BadIndex) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return index.url.replace(f":{index.port}/", f":{server.getsockname()[1]}/")


def _tls(index: BadIndex) -> str:
    return f"https://localhost:{index.port}/simple"


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
    file = index.file(handler)
    if file is None:
        return False
    version = file.name.split("-")[1]
    evil = {f"{PACKAGE}.py": "EVIL = 1\n"}
    other = make_wheel(index.wheels / "other", PACKAGE, version, modules=evil)
    index.send(handler, other.read_bytes(), "application/zip")
    return True


def _half_a_file(index: BadIndex, handler: Handler) -> bool:
    file = index.file(handler)
    if file is None:
        return False
    data = file.read_bytes()
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
    Fault("slow", "It never answers", _never, timeout=1),
    Fault("no-tls", "It speaks HTTP where HTTPS is asked for", url=_tls),
    Fault("untrusted", "It shows a certificate that nobody trusts", url=BadIndex.listen_with_tls),
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
        """The line that says what to do."""
        return self._found(r"^next step: (.*)")

    def _found(self, pattern: str) -> str:
        match = re.search(pattern, self.output, re.MULTILINE)
        return _steady(match[1]) if match else ""


def _steady(text: str) -> str:
    """Without what is another one each time."""
    text = re.sub(
        r"https?://(127\.0\.0\.1:\d+|localhost:\d+|i\.invalid)",
        "https://packages.example.com",
        text,
    )
    text = re.sub(rf"\b{PACKAGE}(==|-)1\.\d+", rf"{PACKAGE}\g<1>1.0", text)
    # Installers ask for several packages at once.
    return text.replace("asked for pytest,", f"asked for {PACKAGE},")


class Bench:
    """A project, a cache and the installers' caches, in a directory: for any number of trials."""

    def __init__(self, directory: Path, backend: str) -> None:
        self._directory = directory
        self._backend = backend
        self._wheels = directory / "wheels"
        repack_runner(self._wheels)
        for fault in FAULTS:
            make_wheel(self._wheels, PACKAGE, fault.version)

    @contextlib.contextmanager
    def trial(self, fault: Fault) -> Iterator[Trial]:
        """An index with a fault, and somebody who asks it."""
        index = BadIndex(self._wheels)
        project = self._directory / fault.name
        project.mkdir(exist_ok=True)
        wanted = f"wanted: {{dependencies: [{PACKAGE}=={fault.version}]}}"
        declared = f"environments: {{base: {{backend: {self._backend}}}, {wanted}}}\n"
        (project / "isoenv.yaml").write_text(declared)
        try:
            index.fault = fault
            yield Trial(index, fault.url(index), project, self._directory / "caches", fault.timeout)
        finally:
            index.close()


@dataclasses.dataclass
class Trial:
    """One project and its index."""

    index: BadIndex
    url: str
    project: Path
    caches: Path
    timeout: int

    def build(self, *options: str, patient: bool = False) -> Said:
        """``isoenv build``, and what it says.

        Where it is not ``patient``, what passes is not waited for: that takes seconds.
        """
        arguments = ["build", "wanted", "--rootdir", str(self.project), *options]
        retries = {} if patient else {"UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0"}
        environ = {**self._environ(), **retries}
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            contextlib.redirect_stderr(io.StringIO()) as said,
            contextlib.redirect_stdout(said),
        ):
            status = isoenv(arguments)
        return Said(status, said.getvalue())

    def mend(self) -> None:
        """From now on the index is well."""
        self.index.fault = None
        self.url = self.index.url

    def _environ(self) -> dict[str, str]:
        url = self.url.replace("://", f"://{USER}:{PASSWORD}@")
        system = ("PATH", "HOME", "TMPDIR", "SYSTEMROOT")
        return {
            **{name: os.environ[name] for name in system if name in os.environ},
            "XDG_CACHE_HOME": str(self.caches),
            "UV_CACHE_DIR": str(self.caches / "uv"),
            "PIP_CACHE_DIR": str(self.caches / "pip"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_DEFAULT_INDEX": url,
            "PIP_INDEX_URL": url,
            "UV_HTTP_TIMEOUT": str(self.timeout),
            "PIP_TIMEOUT": str(self.timeout),
        }


def rows(fault: Fault, said: dict[str, Said]) -> list[str]:
    """The rows of a fault; backends that say the same share one."""
    by_words: dict[tuple[str, str], list[str]] = {}
    for backend, one in said.items():
        by_words.setdefault((one.what, one.next_step), []).append(backend)
    return [
        f"| {fault.words} | {' and '.join(backends)} | {what} | {next_step} |"
        for (what, next_step), backends in by_words.items()
    ]


def rows_of_page() -> list[str]:
    """The rows that the page has."""
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return table.splitlines()[2:]


def _write(lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    table = "".join(f"{line}\n" for line in [*_HEAD, *lines])
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2], encoding="utf-8")


_HEAD = ("| The index | Backend | What is said | Next step |", "|---|---|---|---|")


def main(arguments: list[str]) -> None:
    """Try every fault, and show the table or write it."""
    said: dict[Fault, dict[str, Said]] = {fault: {} for fault in FAULTS}
    with tempfile.TemporaryDirectory() as scratch:
        for backend in BACKENDS:
            bench = Bench(Path(scratch, backend), backend)
            for fault in FAULTS:
                with bench.trial(fault) as trial:
                    said[fault][backend] = trial.build()
    lines = [line for fault in FAULTS for line in rows(fault, said[fault])]
    if "--write" in arguments:
        _write(lines)
    else:
        print(*_HEAD, *lines, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
