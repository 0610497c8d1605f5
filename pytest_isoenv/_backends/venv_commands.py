"""The commands of the standard library's backend: ``python -m venv``, and a Python's own pip.

Nothing is on the machine that a Python does not bring: pip is unpacked from ensurepip, and is not
left in the environment.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import threading
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_isoenv._backends.asked import (
    absolute_path,
    indexes,
    inputs,
    lock_text,
    resolution_of,
    with_pytest,
    write_lines,
)
from pytest_isoenv._backends.pip_report import Item, document, lines_of, requirement_of
from pytest_isoenv._backends.pylock_text import pins
from pytest_isoenv._backends.records import examine
from pytest_isoenv._files import write_atomically
from pytest_isoenv._hints import is_of_index, not_cached, trouble
from pytest_isoenv._prefixes import python_of
from pytest_isoenv._redact import redact
from pytest_isoenv.backend import Run, Wanted
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import PinnedEnv, Resolution, Source, parse_pylock
from pytest_isoenv.spec import Index

__all__ = [
    "build_wheel",
    "create",
    "examine",
    "indexes_of",
    "resolve",
]

_OPTIONS = ("--disable-pip-version-check", "--no-input", "--no-color", "--quiet")
# What pip says where another pytest might fit.
_CONTRADICTIONS = ("resolutionimpossible", "no matching distribution found")
# Prints where ensurepip keeps its pip: some distributions of Linux keep it in a place of their own.
_FIND_PIP = """
import os, sys, sysconfig
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit("this Python comes without pip or venv (%s); Debian has them in python3-venv" % error)
version = ensurepip.version()
if [int(number) for number in version.split(".")[:2]] < [22, 2]:
    sys.exit("this Python brings pip %s, and 22.2 is the first that can say what it would install; "
             "take a later release of this Python, or the backend uv" % version)
name = "pip-%s-py3-none-any.whl" % version
places = [sysconfig.get_config_var("WHEEL_PKG_DIR"), os.path.dirname(ensurepip.__file__)]
found = [os.path.join(p, d, name) for p in places if p for d in ("", "_bundled")]
found = [path for path in found if os.path.isfile(path)]
print(found[0] if found else sys.exit("this Python comes without %s" % name))
"""

_START = "start_pip.py"
# What starts pip; where that lies, and what else has it, is added at its end.
_START_PIP = Path(__file__).with_name(_START)

# The cache that pip keeps, and nothing else.
_FROM_CACHE = ("--no-index", "--proxy", "http://127.0.0.1:9", "--retries", "0")
# What pip says then of a file that is not there.
_NOT_CACHED = re.compile(
    r"url: \S+/(?P<name>[^/\s-]+)-(?P<version>[^/\s-]+?)(?:-\S+\.whl|\.tar\.gz|\.zip) "
    r"\(Caused by Proxy"
    r"|No matching distribution found for (?P<one>\S+)==(?P<its>\S+)"
)
# How many of them are named: each takes half a second to find.
_NAMED = 5

_UNPACKING = threading.Lock()


@cache
def _unpacked(wheel: str) -> tempfile.TemporaryDirectory[str]:
    """A wheel's content, in a directory that goes when this process does."""
    directory = tempfile.TemporaryDirectory(prefix="isoenv-pip-", ignore_cleanup_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory.name)
    return directory


def indexes_of(command: Sequence[str | Path], environ: Mapping[str, str]) -> list[str]:
    """The indexes that a pip of ours asks; none for commands of others."""
    if not any(Path(word).name == _START for word in command[:3]):
        return []
    variables = ("PIP_INDEX_URL",), ("PIP_EXTRA_INDEX_URL",)
    return indexes(command, environ, ("--index-url", "--extra-index-url"), variables)


def resolve(wanted: Wanted, directory: Path, run: Run) -> Resolution:
    """``pip install --dry-run --report``, written as a PEP 751 document."""
    python = wanted.base.executable
    pip = _start_pip(python, directory, run, ResolutionError)
    lock = lock_text(wanted)
    resolver = _Resolver(wanted, [python, "-I", pip], directory, run)

    def compiled(pytest: str) -> str:
        lines = [_without_spaces(line) for line in [*inputs(wanted), *filter(None, [pytest])]]
        return resolver.compile(lines, [*wanted.constraints, *pins(lock)])

    text = with_pytest(wanted, compiled, _is_contradiction)
    return resolution_of(wanted, lock, redact(text), directory)


def _without_spaces(line: str) -> str:
    """A line with an editable tree, whose path pip would end at a space, with its URL."""
    if not line.startswith("-e "):
        return line
    path, bracket, extras = line.removeprefix("-e ").partition("[")
    return f"-e {Path(path).as_uri()}{bracket}{extras}"


def _is_contradiction(output: str) -> bool:
    """Not if it is only that an index did not answer."""
    return any(words in output.lower() for words in _CONTRADICTIONS) and not is_of_index(output)


def _start_pip(python: str | Path, directory: Path, run: Run, failure: Any) -> Path:
    """Write the file that starts the pip which a Python brings."""
    wheel = run([python, "-I", "-c", _FIND_PIP], purpose="finding pip", failure=failure).strip()
    with _UNPACKING:
        unpacked = _unpacked(wheel).name
    start = directory / _START
    program = _START_PIP.read_text(encoding="utf-8")
    write_atomically(start, f"{program}\n\nmain({unpacked!r}, {wheel!r})\n")
    return start


class _Resolver:
    """Asks pip what it would install, and writes that down."""

    def __init__(self, wanted: Wanted, pip: list[str | Path], directory: Path, run: Run) -> None:
        self._wanted = wanted
        self._pip = pip
        self._directory = directory
        self._run = run

    def compile(self, requirements: list[str], constraints: list[str]) -> str:
        """The PEP 751 document of what pip would install."""
        spec, directory = self._wanted.spec, self._directory
        report = directory / "report.json"
        args: list[str | Path] = ["--dry-run", "--ignore-installed", "--report", report]
        args += ["--constraint", write_lines(directory / "constraints.txt", constraints)]
        args += ["--requirement", write_lines(directory / "requirements.in", requirements)]
        for path in spec.requirement_files:
            args += ["--requirement", absolute_path(path, self._wanted.root)]
        self._ask("install", *args)
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
        return document(items, self._fetched_hash)

    def _ask(self, command: str, *args: str | Path) -> None:
        spec = self._wanted.spec
        options = [*_OPTIONS, *_index_options(spec.index)]
        for links in spec.index.find_links:
            place = links if "://" in links else absolute_path(links, self._wanted.root)
            options += ["--find-links", place]
        options += ["--pre"] * (spec.prerelease == "allow")
        command_line: list[str | Path] = [*self._pip, command, *options, *args]
        purpose = "resolving the requirements"
        self._run(command_line, purpose=purpose, failure=ResolutionError, cwd=self._wanted.root)

    def _fetched_hash(self, item: Item) -> Mapping[str, str]:
        """For a file that the index tells no hash of."""
        with tempfile.TemporaryDirectory(dir=self._directory) as fetched:
            self._ask("download", "--no-deps", "--dest", fetched, requirement_of(item))
            (file,) = Path(fetched).iterdir()
            return {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def _index_options(index: Index) -> list[str]:
    """Where packages come from, both when they are resolved and when they are installed."""
    options = ["--index-url", _unnamed(index.default)] if index.default else []
    for extra in index.extra:
        options += ["--extra-index-url", _unnamed(extra)]
    return options


def _unnamed(index: str) -> str:
    """An index's URL without its name, which only uv knows what to do with."""
    return re.sub(r"^[\w.-]+=", "", index)


def create(pinned: PinnedEnv, directory: Path, run: Run) -> None:
    """``python -m venv``, the pins with their hashes, then local wheels and trees."""
    python = pinned.base.executable
    make: list[str | Path] = [python, "-I", "-m", "venv", "--without-pip", directory]
    run(make, purpose="creating the environment", failure=BuildError)
    pip = _start_pip(python, directory, run, BuildError)
    installer = _Installer(pinned, directory, [python_of(directory), "-I", pip], run)
    for number, text in enumerate(pinned.pylocks):
        installer.pins(text, number)
    for source in pinned.sources:
        installer.source(source)


def build_wheel(tree: Path, wanted: Wanted, directory: Path, run: Run) -> None:
    """``pip wheel`` into a directory."""
    pip = _start_pip(wanted.base.executable, directory, run, BuildError)
    options = [*_OPTIONS, *_index_options(wanted.spec.index), "--no-deps"]
    command: list[str | Path] = [wanted.base.executable, "-I", pip, "wheel", *options]
    command += ["--wheel-dir", directory, tree]
    run(command, purpose=f"building {tree}", failure=BuildError)


class _Installer:
    """The commands that fill one directory."""

    def __init__(self, pinned: PinnedEnv, directory: Path, pip: list[str | Path], run: Run) -> None:
        index = pinned.spec.index
        self._indexes = _index_options(index)
        for links in index.find_links:
            self._indexes += ["--find-links", links] if "://" in links else []
        self._directory = directory
        self._pip = pip
        self._run = run

    def pins(self, text: str, number: int) -> None:
        """Install what a PEP 751 document pins; pip wants a hash of everything or of nothing."""
        lines = lines_of(parse_pylock(text).packages)
        if lines.hashed:
            file = self._directory / f"requirements.{number}.txt"
            try:
                self._hashed(lines.hashed, lines.options, file)
            except BuildError as error:
                self._from_cache(text, file.with_suffix(".cached.txt"), error)
        if lines.commits:
            file = write_lines(self._directory / f"commits.{number}.txt", lines.commits)
            self._install("installing the pinned commits", "--requirement", file)

    def _hashed(self, lines: list[str], options: Sequence[str], file: Path) -> None:
        told = ["--require-hashes", *options, "--requirement", str(write_lines(file, lines))]
        self._install("installing the pinned packages", *told)

    def _from_cache(self, text: str, file: Path, error: BuildError) -> None:
        """Install it from what pip has downloaded before, if the index cannot be asked.

        pip has no option for that. But it looks up an address in its cache first, where the index
        allows it to (``Cache-Control``), and through a proxy that is nowhere it gets no further.
        """
        told = trouble(error.output, offline=True)
        if not (told.unreachable or told.offline):
            raise error
        lines = lines_of(parse_pylock(text).packages, by_url=True).hashed
        missing = self._not_cached(lines, file, _NAMED if error.offline else 1)
        if missing and error.offline:
            error.happened = not_cached(missing).happened
        if missing:
            raise error

    def _not_cached(self, lines: list[str], file: Path, most: int) -> list[str]:
        """Install from pip's cache; if that cannot be, what is missing: pip names one at a time."""
        missing: list[str] = []
        while lines and len(missing) < most:
            try:
                self._hashed(lines, _FROM_CACHE, file)
                break
            except BuildError as error:
                found = _NOT_CACHED.search(error.output)
                if found is None:
                    raise
                name = str(canonicalize_name(found["name"] or found["one"]))
                missing.append(f"{name}=={found['version'] or found['its']}")
                lines = [line for line in lines if re.split("[ =]", line)[0] != name]
        return missing

    def source(self, source: Source) -> None:
        """Install a local wheel or tree over what was pinned of its name."""
        editable = ["--editable"] if source.editable else []
        what = [*editable, source.installable]
        self._install(f"installing {source.path}", "--force-reinstall", *what)

    def _install(self, purpose: str, *what: str | Path) -> None:
        options = [*_OPTIONS, *self._indexes, "--no-deps", "--no-compile"]
        options.append("--no-warn-script-location")
        self._run([*self._pip, "install", *options, *what], purpose=purpose, failure=BuildError)
