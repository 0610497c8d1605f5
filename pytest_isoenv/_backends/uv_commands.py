"""The commands of the default backend, uv: it resolves to PEP 751, creates, and installs."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from pytest_isoenv._backends.hashes import allowed_by, only_allowed
from pytest_isoenv._backends.pylock_text import (
    moved,
    only_index,
    pins,
    with_index,
    without,
    without_trees,
)
from pytest_isoenv._backends.records import examine
from pytest_isoenv._hints import missing, not_cached, trouble
from pytest_isoenv._prefixes import python_of
from pytest_isoenv._redact import redact
from pytest_isoenv.backend import Finding, Run, Wanted
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import PinnedEnv, Resolution, Source, pylock_trees, read_pylock
from pytest_isoenv.spec import Index

__all__ = [
    "build_wheel",
    "create",
    "diagnose",
    "examine",
    "fill",
    "forget",
    "indexes_of",
    "lock",
    "program",
    "resolve",
]

# A [tool.uv] or uv.toml near the current directory must not change what an environment is.
_COMMON = ("--no-config", "--no-progress", "--color=never")
# How many packages that are missing are named.
_NAMED = 20

# sysconfig, which find_uv_bin asks, fills its variables without a lock.
_FINDING_UV = threading.Lock()


@cache
def _uv() -> str:
    from uv import find_uv_bin

    with _FINDING_UV:
        return str(find_uv_bin())


def program() -> str:
    """Where uv is, for whoever else has something for it to do."""
    return _uv()


def indexes_of(command: Sequence[str | Path], environ: Mapping[str, str]) -> list[str]:
    """The indexes that a command of uv asks; none for those of others."""
    if command[0] != _uv():
        return []
    variables = ("UV_DEFAULT_INDEX", "UV_INDEX_URL"), ("UV_INDEX", "UV_EXTRA_INDEX_URL")
    return indexes(command, environ, ("--default-index", "--index"), variables)


def resolve(wanted: Wanted, directory: Path, run: Run) -> Resolution:
    """``uv pip compile`` into a pylock.toml; the project and local trees take part, unpinned."""
    lock = lock_text(wanted)
    # What the lock pins stays as it is; what is asked for beside it must fit.
    compiled = _compile(wanted, directory, run, constraints=pins(lock))
    resolution = resolution_of(wanted, lock, compiled, directory)
    index = only_index(wanted.installer_environ, wanted.spec.index)
    pylocks = tuple(with_index(text, index) for text in resolution.pylocks)
    return dataclasses.replace(resolution, pylocks=pylocks)


def lock(
    wanted: Wanted,
    directory: Path,
    run: Run,
    *,
    python: str,
    old: str = "",
    upgrade: Iterable[str] = (),
) -> tuple[str, list[str]]:
    """A document for every platform and every Python from ``python`` (major.minor) on.

    Versions of ``old``, the lock so far, are kept where they fit, but for packages in ``upgrade``.
    Paths in it start from the rootdir; local trees are left out, since they are built from their
    content, and come beside it.
    """
    options = ["--universal", "--python-version", python]
    for package in upgrade:
        options += ["--upgrade-package", package]
    compiled = _compile(wanted, directory, run, options=options, old=old)
    index = only_index(wanted.installer_environ, wanted.spec.index)
    text = moved(compiled, directory, wanted.root)
    return with_index(without_trees(text), index), [tree for tree, _ in pylock_trees(text)]


def _compile(wanted: Wanted, directory: Path, run: Run, **how: Any) -> str:
    """What uv makes of it, with the first pytest that fits."""

    def compiled(pytest: str) -> str:
        return _compile_with(wanted, pytest, directory, run, **how)

    return with_pytest(wanted, compiled, lambda output: "no solution found" in output.lower())


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
    args += ["--python", wanted.base.executable]
    args += ["--constraints", write_lines(directory / "constraints.txt", constraints)]
    if spec.overrides:
        args += ["--overrides", write_lines(directory / "overrides.txt", spec.overrides)]
    args += ["--resolution", spec.resolution]
    args += ["--prerelease", spec.prerelease] if spec.prerelease else []
    args += ["--exclude-newer", wanted.exclude_newer] if wanted.exclude_newer else []
    args += _index_options(spec.index, wanted.root)
    args += ["--output-file", output, *options]
    asked = [*inputs(wanted, "--universal" in options), *filter(None, [pytest])]
    args += [write_lines(directory / "requirements.in", asked)]
    files = [absolute_path(path, wanted.root) for path in spec.requirement_files]
    args += files
    run(args, purpose="resolving the requirements", failure=ResolutionError, cwd=wanted.root)
    text = redact(output.read_text(encoding="utf-8"))
    return only_allowed(text, allowed_by(map(Path, files)))


def _index_options(index: Index, root: Path) -> list[str]:
    """Where packages come from, both when they are resolved and when they are installed."""
    options = ["--default-index", index.default] if index.default else []
    for extra in index.extra:
        options += ["--index", extra]
    for links in index.find_links:
        options += ["--find-links", links if "://" in links else absolute_path(links, root)]
    return options


def create(pinned: PinnedEnv, directory: Path, run: Run) -> None:
    """``uv venv``, the pins with their hashes, then local wheels and trees without dependencies."""
    base = pinned.base.executable
    make: list[str | Path] = [_uv(), "venv", *_COMMON, "--no-project", "--python", base, directory]
    run(make, purpose="creating the environment", failure=BuildError)
    fill(pinned, directory, base, run)


def fill(pinned: PinnedEnv, directory: Path, builder: str | Path, run: Run) -> None:
    """Install what is pinned into a directory that has a Python; ``builder`` builds local trees."""
    installer = _Installer(pinned, directory, builder, run)
    for number, text in enumerate(filter(read_pylock, pinned.pylocks)):
        installer.pins(text, directory / f"pylock.{number}.toml")
    for source in pinned.sources:
        installer.source(source)


class _Installer:
    """The commands that fill one directory."""

    def __init__(self, pinned: PinnedEnv, directory: Path, builder: str | Path, run: Run) -> None:
        self._builder = builder
        # Everything is pinned; but an index may have a name, by which there are credentials.
        index = dataclasses.replace(pinned.spec.index, find_links=())
        self._indexes = _index_options(index, directory)
        self._directory = directory
        self._run = run

    def _install(self, *what: str | Path) -> list[str | Path]:
        """The command that installs something, without what it depends on."""
        options: list[str | Path] = [*_COMMON, *self._indexes, "--no-deps"]
        return [_uv(), "pip", "install", *options, "--python", python_of(self._directory), *what]

    def pins(self, text: str, file: Path) -> None:
        """Install what a PEP 751 document pins; it is written to ``file``.

        What uv has cached is tried first: it is faster without a look at the index, whether all is
        still as it was, and it needs no network. Hashes are enforced either way.
        """
        file.write_text(text, encoding="utf-8")
        purpose = "installing the pinned packages"
        command = self._install("-r", file)
        try:
            self._run([*command, "--offline"], purpose=purpose, failure=BuildError)
        except BuildError:
            try:
                self._run(command, purpose=purpose, failure=BuildError)
            except BuildError as error:
                if trouble(error.output).offline:
                    error.happened = not_cached(self._not_cached(text, file)).happened
                raise

    def _not_cached(self, text: str, file: Path) -> list[str]:
        """What of a document uv would have to download, the first of many: it names one a time."""
        rest = file.with_name(f"pylock.rest-{file.name.split('.')[1]}.toml")
        names: list[str] = []
        while len(names) < _NAMED:
            packages = {str(canonicalize_name(name.partition("==")[0])) for name in names}
            rest.write_text(without(text, packages), encoding="utf-8")
            try:
                command = [*self._install("-r", rest), "--offline"]
                self._run(command, purpose="looking what is cached", failure=BuildError)
            except BuildError as error:
                found = missing(error.output)
                if not found or found[0] in names:
                    break
                names += found
            else:
                break
        return names

    def source(self, source: Source) -> None:
        purpose = f"installing {source.path}"
        if source.editable:
            _also_offline(self._install("-e", source.path), purpose, self._run)
        elif source.is_wheel:
            install = self._install(source.installable)
            self._run(install, purpose=purpose, failure=BuildError)
        else:
            self._built(source, purpose)

    def _built(self, source: Source, purpose: str) -> None:
        with tempfile.TemporaryDirectory(dir=self._directory, prefix="wheel-") as out:
            _build(Path(source.path), self._builder, Path(out), self._indexes, self._run)
            install = self._install(*Path(out).glob("*.whl"))
            self._run(install, purpose=purpose, failure=BuildError)


def build_wheel(tree: Path, wanted: Wanted, directory: Path, run: Run) -> None:
    """``uv build --wheel`` into a directory.

    uv's own cache of built trees looks at the metadata's times only, and would give stale code
    after an edit; a build for each content does not.
    """
    indexes = _index_options(wanted.spec.index, wanted.root)
    _build(tree, wanted.base.executable, directory, indexes, run)


def _build(tree: Path, python: str | Path, out: Path, indexes: list[str], run: Run) -> None:
    options = ["--wheel", "--out-dir", out, *indexes, "--python", python]
    _also_offline([_uv(), "build", *_COMMON, *options, tree], f"building {tree}", run)


def _also_offline(command: list[str | Path], purpose: str, run: Run) -> None:
    """Run a command that may need packages to build with; without an index, those in uv's cache.

    Not those first: the index may have newer ones, and a build takes the newest.
    """
    try:
        run(command, purpose=purpose, failure=BuildError)
    except BuildError as error:
        if not trouble(error.output).unreachable:
            raise
        with contextlib.suppress(BuildError):
            run([*command, "--offline"], purpose=purpose, failure=BuildError)
            return
        raise


def forget(directory: Path, packages: Sequence[str], run: Run) -> None:
    """``uv cache clean`` of some packages: what is installed may be hard links to its cache."""
    command = [_uv(), "cache", "clean", *_COMMON, *packages]
    run(command, purpose="dropping damaged packages from uv's cache", failure=BuildError)


def diagnose(environ: Mapping[str, str], run: Run) -> Iterator[Finding]:
    """uv itself; and whether the index answers, by resolving what no cache can answer for it."""
    try:
        version = run([_uv(), "--version"], purpose="starting uv", failure=BuildError).strip()
    except (BuildError, OSError) as error:
        yield Finding("uv", False, str(error), "install it again: pip install --force-reinstall uv")
        return
    yield Finding("uv", True, f"{version} ({_uv()})")
    index = only_index(environ, Index()) or "one of the indexes"
    if environ.get("UV_OFFLINE", "0") not in ("", "0", "false"):
        mend = "unset UV_OFFLINE when something new is to be resolved"
        yield Finding("index", True, f"{index} is not asked: UV_OFFLINE is set", mend)
        return
    try:
        _ask_index(run)
    except ResolutionError as error:
        mend = "check the network, the index (UV_DEFAULT_INDEX), its credentials and proxies"
        yield Finding("index", False, f"{index} does not answer: {error.output}", mend)
    else:
        yield Finding("index", True, f"{index} answers")


def _ask_index(run: Run) -> None:
    with tempfile.TemporaryDirectory() as directory:
        question = Path(directory, "requirements.in")
        question.write_text("pytest\n", encoding="utf-8")
        options = (*_COMMON, "--no-cache", "--no-deps", "--quiet")
        command: list[str | Path] = [_uv(), "pip", "compile", *options, question]
        run(command, purpose="asking the index", failure=ResolutionError)
