"""The default backend: uv resolves to PEP 751, creates, and installs with hashes.

A module that satisfies :class:`pytest_isoenv.backend.Backend`.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pytest_isoenv._files import write_atomically
from pytest_isoenv._redact import redact
from pytest_isoenv.backend import Run, Wanted
from pytest_isoenv.environment import python_of
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import PinnedEnv, Resolution, Source, pylock_trees, read_pylock
from pytest_isoenv.spec import EnvSpec, is_path

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


def program() -> str:
    """Where uv is, for whoever else has something for it to do."""
    return _uv()


def index_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """The indexes that uv's variables name, without credentials."""
    return {key: redact(environ[key]) for key in _INDEX_VARIABLES if environ.get(key)}


def resolve(wanted: Wanted, directory: Path, run: Run) -> Resolution:
    """``uv pip compile`` into a pylock.toml; the project and local trees take part, unpinned."""
    lock = _lock_text(wanted)
    for requirement in wanted.pytest_requirements:
        try:
            _compile(wanted, requirement, lock, directory, run)
            break
        except ResolutionError as error:
            # Something asked for needs another pytest than the host's: then that is what it gets.
            is_last = requirement == wanted.pytest_requirements[-1]
            if is_last or "no solution found" not in error.output.lower():
                raise
    compiled = redact((directory / "pylock.toml").read_text(encoding="utf-8"))
    texts = [_rooted(compiled, directory)]
    if wanted.spec.lock is not None:
        # PEP 751: relative paths start from the lock file's own directory.
        texts.insert(0, _rooted(lock, (wanted.root / wanted.spec.lock).parent))
    trees = tuple(tree for text in texts for tree in pylock_trees(text))
    index = _only_index(wanted.installer_environ)
    return Resolution(tuple(_with_index(_without_trees(text), index) for text in texts), trees)


def _lock_text(wanted: Wanted) -> str:
    if wanted.spec.lock is None:
        return ""
    return redact((wanted.root / wanted.spec.lock).read_text(encoding="utf-8"))


def _compile(wanted: Wanted, pytest: str, lock: str, directory: Path, run: Run) -> None:
    requirements = directory / "requirements.in"
    write_atomically(requirements, "\n".join([*_inputs(wanted.spec, wanted.root), pytest]) + "\n")
    args: list[str | Path] = [_uv(), "pip", "compile", *_COMMON, "--no-header"]
    args += ["--python", wanted.interpreter.executable]
    if lock:
        # What the lock pins stays as it is; what is asked for beside it must fit.
        constraints = directory / "constraints.txt"
        write_atomically(constraints, "".join(f"{line}\n" for line in _pins(lock)))
        args += ["--constraints", constraints]
    args += ["--output-file", directory / "pylock.toml", requirements]
    (directory / "pylock.toml").unlink(missing_ok=True)  # uv would prefer the versions in it
    run(args, purpose="resolving the requirements", failure=ResolutionError, cwd=directory)


def _inputs(spec: EnvSpec, root: Path) -> list[str]:
    lines = [_absolute(text, root) if is_path(text) else text for text in spec.requirements]
    if spec.project != "none":
        extras = f"[{','.join(spec.extras)}]" if spec.extras else ""
        lines.append("-e " * (spec.project == "editable") + f"{root}{extras}")
    return lines


def _absolute(text: str, root: Path) -> str:
    path, bracket, extras = text.partition("[")
    return f"{(root / Path(path).expanduser()).resolve()}{bracket}{extras}"


def _pins(lock: str) -> list[str]:
    return [f"{pin.name}=={pin.version}" for pin in read_pylock(lock) if pin.version]


def _rooted(text: str, start: Path) -> str:
    """The document with absolute paths: it is going to be installed from another place."""

    def absolute(match: re.Match[str]) -> str:
        return f'path = "{(start / match[1]).resolve()}"'

    return re.sub(r'\bpath = "([^"]+)"', absolute, text)


def _blocks(text: str) -> tuple[str, list[str]]:
    head, *packages = re.split(r"^(?=\[\[packages\]\])", text, flags=re.MULTILINE)
    return head, packages


def _without_trees(text: str) -> str:
    """The document without local trees: they are built from their content, never from a cache."""
    head, packages = _blocks(text)
    return head + "".join(block for block in packages if not pylock_trees(block))


def _with_index(text: str, index: str | None) -> str:
    """The document with the index of each package, which uv needs to find its cached files."""
    if index is None:
        return text
    head, packages = _blocks(text)
    named = rf'\g<0>\nindex = "{index}"'
    return head + "".join(
        re.sub(r"^version = .*$", named, block, count=1, flags=re.MULTILINE)
        if re.search(r"^(wheels|sdist) = ", block, re.MULTILINE)
        and not re.search(r"^index = ", block, re.MULTILINE)
        else block
        for block in packages
    )


def _only_index(environ: Mapping[str, str]) -> str | None:
    """The one index that everything came from; None where there are several to choose from."""
    if any(environ.get(key) for key in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")):
        return None
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or _PYPI
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
        self._directory = directory
        self._run = run

    def make(self) -> None:
        self._uv("creating the environment", "venv", "--no-project", "--python",
                 self._base_python, self._directory)  # fmt: skip

    def _uv(self, purpose: str, *args: str | Path) -> None:
        command = [_uv(), *args[:1], *_COMMON, *args[1:]]
        self._run(command, purpose=purpose, failure=BuildError)

    def install(self, purpose: str, *what: str | Path) -> None:
        options = (*_COMMON, "--no-deps", "--python", python_of(self._directory))
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
                     "--python", self._base_python, source.path)  # fmt: skip
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
