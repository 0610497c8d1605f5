"""The default backend: uv resolves to PEP 751, creates, and installs with hashes.

A module that satisfies :class:`pytest_isoenv.backend.Backend`.
"""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pytest_isoenv._backends.pylock_text import (
    moved,
    only_index,
    pins,
    rooted,
    with_index,
    without,
    without_trees,
)
from pytest_isoenv._files import write_atomically
from pytest_isoenv._redact import redact
from pytest_isoenv.backend import Run, Wanted
from pytest_isoenv.environment import python_of
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import PinnedEnv, Resolution, Source, pylock_trees, read_pylock
from pytest_isoenv.spec import Index, applicable, is_path

name = "uv"

# A [tool.uv] or uv.toml near the current directory must not change what an environment is.
_COMMON = ("--no-config", "--no-progress", "--color=never")
_INDEX_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
)


# sysconfig, which find_uv_bin asks, fills its variables without a lock.
_FINDING_UV = threading.Lock()


@cache
def _uv() -> str:
    from uv import find_uv_bin

    with _FINDING_UV:
        return str(find_uv_bin())


def index_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """The indexes that uv's variables name, without credentials."""
    return {key: redact(environ[key]) for key in _INDEX_VARIABLES if environ.get(key)}


def resolve(wanted: Wanted, directory: Path, run: Run) -> Resolution:
    """``uv pip compile`` into a pylock.toml; the project and local trees take part, unpinned."""
    lock = _lock_text(wanted)
    # What the lock pins stays as it is; what is asked for beside it must fit.
    compiled = _compile(wanted, directory, run, constraints=pins(lock))
    texts = [rooted(compiled, directory)]
    if wanted.spec.lock is not None:
        # PEP 751: relative paths start from the lock file's own directory.
        texts.insert(0, rooted(lock, (wanted.root / wanted.spec.lock).parent))
    trees = tuple(tree for text in texts for tree in pylock_trees(text))
    index = only_index(wanted.installer_environ, wanted.spec.index)
    texts = [without(without_trees(text), wanted.beneath) for text in texts]
    return Resolution(tuple(with_index(text, index) for text in texts), trees)


def lock(
    wanted: Wanted,
    directory: Path,
    run: Run,
    *,
    python: str,
    old: str = "",
    upgrade: Iterable[str] = (),
) -> str:
    """A document for every platform and every Python from ``python`` (major.minor) on.

    Versions of ``old``, the lock so far, are kept where they fit, but for packages in ``upgrade``.
    Paths in it start from the rootdir; local trees are left out, they are built from their content.
    """
    options = ["--universal", "--python-version", python]
    for package in upgrade:
        options += ["--upgrade-package", package]
    compiled = _compile(wanted, directory, run, options=options, old=old)
    index = only_index(wanted.installer_environ, wanted.spec.index)
    return with_index(without_trees(moved(compiled, directory, wanted.root)), index)


def _compile(wanted: Wanted, directory: Path, run: Run, **how: Any) -> str:
    """What uv makes of it, with the first pytest that fits."""
    for requirement in wanted.pytest_requirements:
        try:
            text = _compile_with(wanted, requirement, directory, run, **how)
            if requirement or any(artefact.name == "pytest" for artefact in read_pylock(text)):
                return text
        except ResolutionError as error:
            # Something asked for needs another pytest than the host's: then that is what it gets.
            is_last = requirement == wanted.pytest_requirements[-1]
            if is_last or "no solution found" not in error.output.lower():
                raise
    raise AssertionError("the last pytest asked for is one")


def _lock_text(wanted: Wanted) -> str:
    if wanted.spec.lock is None:
        return ""
    return redact((wanted.root / wanted.spec.lock).read_text(encoding="utf-8"))


def _compile_with(
    wanted: Wanted,
    pytest: str,
    directory: Path,
    run: Run,
    *,
    constraints: Iterable[str] = (),
    options: Collection[str] = (),
    old: str = "",
) -> str:
    spec = wanted.spec
    output = directory / "pylock.toml"
    output.unlink(missing_ok=True)
    if old:  # uv prefers the versions in what it replaces
        output.write_text(old, encoding="utf-8")
    constraints = [*wanted.constraints, *constraints]
    args: list[str | Path] = [_uv(), "pip", "compile", *_COMMON, "--no-header"]
    args += ["--python", wanted.interpreter.executable]
    args += ["--constraints", _lines(directory / "constraints.txt", constraints)]
    if spec.overrides:
        args += ["--overrides", _lines(directory / "overrides.txt", spec.overrides)]
    args += ["--resolution", spec.resolution]
    args += ["--prerelease", spec.prerelease] if spec.prerelease else []
    args += ["--exclude-newer", wanted.exclude_newer] if wanted.exclude_newer else []
    args += _index_options(spec.index, wanted.root)
    args += ["--output-file", output, *options]
    asked = [*_inputs(wanted, "--universal" in options), *filter(None, [pytest])]
    args += [_lines(directory / "requirements.in", asked)]
    args += [_absolute_path(path, wanted.root) for path in spec.requirement_files]
    run(args, purpose="resolving the requirements", failure=ResolutionError, cwd=directory)
    return redact(output.read_text(encoding="utf-8"))


def _lines(file: Path, lines: Iterable[str]) -> Path:
    write_atomically(file, "".join(f"{line}\n" for line in lines))
    return file


def _inputs(wanted: Wanted, universal: bool) -> list[str]:
    spec, root = wanted.spec, wanted.root
    asked = spec.requirements
    if not universal:  # else uv chooses, for each of several environments
        asked = tuple(applicable(asked, wanted.interpreter.marker_environment))
    lines = [_absolute(text, root) if is_path(text) else text for text in asked]
    if spec.project != "none":
        extras = f"[{','.join(spec.extras)}]" if spec.extras else ""
        lines.append("-e " * (spec.project == "editable") + f"{wanted.project.resolve()}{extras}")
    return lines


def _absolute(text: str, root: Path) -> str:
    path, bracket, extras = text.partition("[")
    return f"{_absolute_path(path, root)}{bracket}{extras}"


def _absolute_path(path: str, root: Path) -> str:
    return str((root / Path(path).expanduser()).resolve())


def _index_options(index: Index, root: Path) -> list[str]:
    """Where packages come from, both when they are resolved and when they are installed."""
    options = ["--default-index", index.default] if index.default else []
    for extra in index.extra:
        options += ["--index", extra]
    for links in index.find_links:
        options += ["--find-links", links if "://" in links else _absolute_path(links, root)]
    return options


def create(pinned: PinnedEnv, directory: Path, run: Run) -> None:
    """``uv venv``, the pins with their hashes, then local wheels and trees without dependencies."""
    installer = _Installer(pinned, directory, run)
    installer.make()
    for number, text in enumerate(filter(read_pylock, pinned.pylocks)):
        path = directory / f"pylock.{number}.toml"
        path.write_text(text, encoding="utf-8")
        installer.install("installing the pinned packages", "-r", path)
    for source in pinned.sources:
        installer.source(source)


class _Installer:
    """The commands that fill one directory."""

    def __init__(self, pinned: PinnedEnv, directory: Path, run: Run) -> None:
        self._base_python = pinned.interpreter.executable
        # Everything is pinned; but an index may have a name, by which there are credentials.
        index = dataclasses.replace(pinned.spec.index, find_links=())
        self._indexes = _index_options(index, directory)
        self._directory = directory
        self._run = run

    def make(self) -> None:
        self._uv("creating the environment", "venv", "--no-project", "--python",
                 self._base_python, self._directory)  # fmt: skip

    def _uv(self, purpose: str, *args: str | Path) -> None:
        command = [_uv(), *args[:1], *_COMMON, *args[1:]]
        self._run(command, purpose=purpose, failure=BuildError)

    def install(self, purpose: str, *what: str | Path) -> None:
        options: list[str | Path] = [*_COMMON, *self._indexes, "--no-deps"]
        options += ["--python", python_of(self._directory)]
        self._run([_uv(), "pip", "install", *options, *what], purpose=purpose, failure=BuildError)

    def source(self, source: Source) -> None:
        purpose = f"installing {source.path}"
        if source.editable:
            self.install(purpose, "-e", source.path)
        elif source.is_wheel:
            self.install(purpose, source.path)
        else:
            self._built(source, purpose)

    def _built(self, source: Source, purpose: str) -> None:
        # uv's own cache of built trees looks at the metadata's times only, and would give stale
        # code after an edit; a build of its own for each content does not.
        with tempfile.TemporaryDirectory(dir=self._directory, prefix="wheel-") as out:
            self._uv(f"building {source.path}", "build", "--wheel", "--out-dir", out,
                     *self._indexes, "--python", self._base_python, source.path)  # fmt: skip
            self.install(purpose, *Path(out).glob("*.whl"))


def check(directory: Path, facts: Mapping[str, Any]) -> str | None:
    """Compare the interpreter and the installed distributions with what was recorded."""
    python = python_of(directory)
    try:
        real = python.resolve(strict=True)
        stat = real.stat()
    except OSError:
        return f"its interpreter {facts['real_path']} is gone"
    if str(real) != facts["real_path"]:
        return f"its interpreter was {facts['real_path']} and is now {real}"
    if [stat.st_size, stat.st_mtime_ns] != facts["interpreter_file"]:
        return f"its interpreter {real} was replaced"
    missing = [
        name
        for path, names in facts["installed"].items()
        for name in sorted(set(names) - _names_in(Path(path)))
    ]
    return f"missing from it: {', '.join(missing[:3])}" if missing else None


def _names_in(directory: Path) -> set[str]:
    try:
        return {entry.name for entry in directory.iterdir()}
    except OSError:
        return set()
