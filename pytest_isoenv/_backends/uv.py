"""The default backend: uv resolves to PEP 751, creates, and installs with hashes.

A module that satisfies :class:`pytest_isoenv.backend.Backend`.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pytest_isoenv._backends._documents import (
    blocks,
    bounds,
    check,
    inputs,
    lock_text,
    resolution_of,
    rooted_path,
    with_pytest,
    write_lines,
)
from pytest_isoenv._redact import redact
from pytest_isoenv.backend import Run, Wanted
from pytest_isoenv.environment import python_of
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import PinnedEnv, Resolution, Source
from pytest_isoenv.spec import Index

__all__ = ["check", "create", "index_inputs", "name", "resolve"]

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
_PYPI = "https://pypi.org/simple"


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
    lock = lock_text(wanted)

    def compiled(pytest: str) -> str:
        _compile(wanted, pytest, lock, directory, run)
        return (directory / "pylock.toml").read_text(encoding="utf-8")

    text = with_pytest(wanted, compiled, lambda output: "no solution found" in output.lower())
    resolution = resolution_of(wanted, lock, text, directory)
    index = _only_index(wanted.installer_environ, wanted.spec.index)
    pylocks = tuple(_with_index(text, index) for text in resolution.pylocks)
    return dataclasses.replace(resolution, pylocks=pylocks)


def _compile(wanted: Wanted, pytest: str, lock: str, directory: Path, run: Run) -> None:
    spec = wanted.spec
    constraints = bounds(wanted, lock)
    args: list[str | Path] = [_uv(), "pip", "compile", *_COMMON, "--no-header"]
    args += ["--python", wanted.interpreter.executable]
    args += ["--constraints", write_lines(directory / "constraints.txt", constraints)]
    if spec.overrides:
        args += ["--overrides", write_lines(directory / "overrides.txt", spec.overrides)]
    args += ["--resolution", spec.resolution]
    args += ["--prerelease", spec.prerelease] if spec.prerelease else []
    args += ["--exclude-newer", wanted.exclude_newer] if wanted.exclude_newer else []
    args += _index_options(spec.index, wanted.root)
    args += ["--output-file", directory / "pylock.toml"]
    args += [write_lines(directory / "requirements.in", inputs(wanted, pytest))]
    args += [rooted_path(path, wanted.root) for path in spec.requirement_files]
    (directory / "pylock.toml").unlink(missing_ok=True)  # uv would prefer the versions in it
    run(args, purpose="resolving the requirements", failure=ResolutionError, cwd=directory)


def _index_options(index: Index, root: Path) -> list[str]:
    """Where packages come from, both when they are resolved and when they are installed."""
    options = ["--default-index", index.default] if index.default else []
    for extra in index.extra:
        options += ["--index", extra]
    for links in index.find_links:
        options += ["--find-links", links if "://" in links else rooted_path(links, root)]
    return options


def _with_index(text: str, index: str | None) -> str:
    """The document with the index of each package, which uv needs to find its cached files."""
    if index is None:
        return text
    head, packages = blocks(text)
    named = rf'\g<0>\nindex = "{index}"'
    return head + "".join(
        re.sub(r"^version = .*$", named, block, count=1, flags=re.MULTILINE)
        if re.search(r"^(wheels|sdist) = ", block, re.MULTILINE)
        and not re.search(r"^index = ", block, re.MULTILINE)
        else block
        for block in packages
    )


def _only_index(environ: Mapping[str, str], declared: Index) -> str | None:
    """The one index that everything came from; None where there are several to choose from."""
    variables = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
    if declared.extra or declared.find_links or any(environ.get(key) for key in variables):
        return None
    index = (
        declared.default or environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or _PYPI
    )
    return _strip_credentials(re.sub(r"^[\w-]+=", "", index))  # it may have a name


def _strip_credentials(url: str) -> str:
    return re.sub(r"(?<=://)[^/@]+@", "", url)


def create(pinned: PinnedEnv, directory: Path, run: Run) -> None:
    """``uv venv``, the pins with their hashes, then local wheels and trees without dependencies."""
    installer = _Installer(pinned, directory, run)
    installer.make()
    for number, text in enumerate(pinned.pylocks):
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
