"""Tiny distributions for tests, and the index that serves them: no network, no build backend."""

from __future__ import annotations

import base64
import hashlib
import http.server
import importlib.metadata
import io
import tarfile
import tempfile
import textwrap
import threading
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

# What an environment needs to run tests at all; taken from what runs these tests.
RUNNER = (
    "pytest",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
    "exceptiongroup",
    "tomli",
    "typing-extensions",
)


def make_wheel(
    directory: Path,
    name: str,
    version: str,
    *,
    modules: Mapping[str, str] | None = None,
    requires: Iterable[str] = (),
    requires_python: str = "",
    entry_points: str = "",
) -> Path:
    """Write a pure-Python wheel; its module is called like it and has a ``__version__``."""
    module = name.replace("-", "_")
    files = dict(modules or {f"{module}.py": f"__version__ = {version!r}\n"})
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    metadata += [f"Requires-Python: {requires_python}"] * bool(requires_python)
    files[f"{info}/METADATA"] = "\n".join(metadata) + "\n"
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if entry_points:
        files[f"{info}/entry_points.txt"] = textwrap.dedent(entry_points)
    wheel = directory / f"{module}-{version}-py3-none-any.whl"
    return write_wheel(wheel, info, {path: text.encode() for path, text in files.items()})


def write_wheel(wheel: Path, info: str, files: Mapping[str, bytes]) -> Path:
    """Write it at once, and the same bytes for the same files: processes share what they build."""
    record = []
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as directory:
        made = Path(directory, wheel.name)
        with zipfile.ZipFile(made, "w") as archive:
            for path, data in files.items():
                _add(archive, path, data)
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
                record.append(f"{path},sha256={digest.decode()},{len(data)}\n")
            _add(archive, f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]).encode())
        made.replace(wheel)
    return wheel


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    """Add a file, of no particular time."""
    entry = zipfile.ZipInfo(path)
    entry.external_attr = 0o600 << 16
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def make_sdist(directory: Path, name: str, members: Iterable[tarfile.TarInfo] = ()) -> Path:
    """Write an archive of a source tree that builds offline, with more members of any kind."""
    tree = make_project(directory / "tree", name)
    archive = directory / f"{name}-1.0.tar.gz"
    tree.joinpath("PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    with tarfile.open(archive, "w:gz") as file:
        file.add(tree, f"{name}-1.0")
        for member in members:
            file.addfile(member, io.BytesIO(b"escaped"))
    return archive


def member(path: str, link: str = "") -> tarfile.TarInfo:
    """A member of such an archive: a file, or a symbolic link."""
    info = tarfile.TarInfo(path)
    info.size = 0 if link else len(b"escaped")
    if link:
        info.type, info.linkname = tarfile.SYMTYPE, link
    return info


def repack(distribution: importlib.metadata.Distribution, directory: Path) -> Path:
    """Make a wheel of an installed pure-Python distribution, so that an index can serve it."""
    files = {}
    for file in distribution.files or ():
        unwanted = file.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
        # Compiling 250 lexers would be most of the work of building an environment.
        lexer = file.parts[:2] == ("pygments", "lexers")
        unwanted |= lexer and file.name not in (
            "__init__.py",
            "_mapping.py",
            "python.py",
            "diff.py",
        )
        if ".." not in file.parts and "__pycache__" not in file.parts and not unwanted:
            files[file.as_posix()] = Path(str(distribution.locate_file(file))).read_bytes()
    info = next(path.partition("/")[0] for path in files if ".dist-info/" in path)
    return write_wheel(
        directory / f"{info.removesuffix('.dist-info')}-py3-none-any.whl", info, files
    )


def repack_runner(directory: Path) -> None:
    for name in RUNNER:
        try:
            repack(importlib.metadata.distribution(name), directory)
        except importlib.metadata.PackageNotFoundError:
            continue  # only older Pythons need it


# A build backend without requirements: what a source tree needs to be built offline.
# ruff: noqa: E501
BACKEND = """
import base64, hashlib, os, zipfile

NAME, VERSION, REQUIRES, EXTRAS = {name!r}, {version!r}, {requires!r}, {extras!r}

def _write(directory, files):
    wheel = "%s-%s-py3-none-any.whl" % (NAME, VERSION)
    info = "%s-%s.dist-info" % (NAME, VERSION)
    metadata = "Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n" % (NAME, VERSION)
    metadata += "".join("Requires-Dist: %s\\n" % r for r in REQUIRES)
    for extra, requirements in EXTRAS.items():
        metadata += "Provides-Extra: %s\\n" % extra
        metadata += "".join("Requires-Dist: %s; extra == '%s'\\n" % (r, extra) for r in requirements)
    files[info + "/METADATA"] = metadata
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = info + "/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        for path, text in files.items():
            data = text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record = "%s,sha256=%s,%d\\n" % (path, digest, len(data)) + record
            archive.writestr(path, data)
        archive.writestr(info + "/RECORD", record)
    return wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    with open(os.path.join("src", NAME + ".py")) as file:
        return _write(directory, {{NAME + ".py": file.read()}})

def build_editable(directory, config_settings=None, metadata_directory=None):
    return _write(directory, {{"_%s.pth" % NAME: os.path.abspath("src") + "\\n"}})
"""


def make_project(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    code: str = "VALUE = 1\n",
    requires: Iterable[str] = (),
    extras: Mapping[str, list[str]] | None = None,
    build_requires: Iterable[str] = (),
    pyproject: str = "",
) -> Path:
    """Write a source tree that builds offline: ``src/NAME.py`` and a backend of its own."""
    (directory / "src").mkdir(parents=True, exist_ok=True)
    (directory / "src" / f"{name}.py").write_text(code)
    backend = BACKEND.format(
        name=name, version=version, requires=list(requires), extras=dict(extras or {})
    )
    (directory / "backend.py").write_text(backend)
    lines = [
        "[build-system]",
        f"requires = {list(build_requires)!r}",
        'build-backend = "backend"',
        'backend-path = ["."]',
        "[project]",
        f'name = "{name}"',
        f'version = "{version}"',
        f"dependencies = {list(requires)!r}",
        "[project.optional-dependencies]",
        *(f"{extra} = {requirements!r}" for extra, requirements in (extras or {}).items()),
    ]
    (directory / "pyproject.toml").write_text("\n".join(lines) + "\n" + textwrap.dedent(pyproject))
    return directory


class Served(NamedTuple):
    """The index of all tests, which may be served by another process."""

    url: str


class Index:
    """A package index (PEP 503) on the loopback interface, serving a directory of wheels."""

    def __init__(self, wheels: Path) -> None:
        self.wheels = wheels
        self.requests: list[str] = []
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                index.answer(self)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                """Say nothing: a test's stderr is its own."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/simple"

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        *_, last = handler.path.rstrip("/").split("/")
        if last.endswith(".whl") and (self.wheels / last).is_file():
            self._send(handler, (self.wheels / last).read_bytes(), "application/zip")
            return
        found = [w for w in sorted(self.wheels.glob("*.whl")) if _project(w) == last]
        if not found:
            handler.send_error(404)
            return
        links = [f'<a href="/files/{w.name}#sha256={_sha256(w)}">{w.name}</a>' for w in found]
        self._send(handler, f"<!DOCTYPE html><html><body>{''.join(links)}".encode(), "text/html")

    @staticmethod
    def _send(handler: http.server.BaseHTTPRequestHandler, data: bytes, kind: str) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(data)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _project(wheel: Path) -> str:
    return wheel.name.partition("-")[0].lower().replace("_", "-")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
