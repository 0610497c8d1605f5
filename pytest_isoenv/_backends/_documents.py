"""What backends for packages of Python indexes share: their input's lines, PEP 751, and health."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._files import write_atomically
from pytest_isoenv._redact import redact
from pytest_isoenv.backend import OLDEST_PYTEST, Wanted
from pytest_isoenv.environment import python_of
from pytest_isoenv.errors import ResolutionError
from pytest_isoenv.pinned import Resolution, pylock_trees, read_pylock
from pytest_isoenv.spec import is_path


def with_pytest(
    wanted: Wanted, compiled: Callable[[str], str], is_contradiction: Callable[[str], bool]
) -> str:
    """The document that resolving gives with the first requirement of pytest that fits the rest.

    ``compiled`` resolves with one; ``is_contradiction`` tells from an installer's output whether
    another might fit.
    """
    for requirement in wanted.pytest_requirements:
        try:
            text = compiled(requirement)
            if requirement or any(artefact.name == "pytest" for artefact in read_pylock(text)):
                break
        except ResolutionError as error:
            # Something asked for needs another pytest than the host's: then that is what it gets.
            is_last = requirement == wanted.pytest_requirements[-1]
            if is_last or not is_contradiction(error.output):
                raise
    return text


def resolution_of(wanted: Wanted, lock: str, compiled: str, directory: Path) -> Resolution:
    """What a lock file and the document that was resolved beside it, in ``directory``, pin."""
    texts = [with_absolute_paths(redact(compiled), directory)]
    if wanted.spec.lock is not None:
        # PEP 751: relative paths start from the lock file's own directory.
        texts.insert(0, with_absolute_paths(lock, (wanted.root / wanted.spec.lock).parent))
    trees = tuple(tree for text in texts for tree in pylock_trees(text))
    return Resolution(tuple(without_trees(text) for text in texts), trees)


def lock_text(wanted: Wanted) -> str:
    """The lock file that is declared, without credentials; empty where none is."""
    if wanted.spec.lock is None:
        return ""
    return redact((wanted.root / wanted.spec.lock).read_text(encoding="utf-8"))


def write_lines(file: Path, lines: Iterable[str]) -> Path:
    """Write a requirements file for an installer."""
    write_atomically(file, "".join(f"{line}\n" for line in lines))
    return file


def inputs(wanted: Wanted, pytest: str) -> list[str]:
    """What is asked for directly, as lines of a requirements file with absolute paths."""
    spec, root = wanted.spec, wanted.root
    lines = [_absolute(text, root) if is_path(text) else text for text in spec.requirements]
    if spec.project != "none":
        extras = f"[{','.join(spec.extras)}]" if spec.extras else ""
        lines.append("-e " * (spec.project == "editable") + f"{wanted.project.resolve()}{extras}")
    return [*lines, pytest] if pytest else lines


def bounds(wanted: Wanted, lock: str) -> list[str]:
    """Constraints: what the lock pins stays as it is, what is asked for beside it must fit."""
    return [f"pytest>={OLDEST_PYTEST}", *wanted.spec.constraints, *_pins(lock)]


def _absolute(text: str, root: Path) -> str:
    path, bracket, extras = text.partition("[")
    return f"{rooted_path(path, root)}{bracket}{extras}"


def rooted_path(path: str, root: Path) -> str:
    """A path of a declaration as an absolute one."""
    return str((root / Path(path).expanduser()).resolve())


def _pins(lock: str) -> list[str]:
    if not lock:
        return []
    return [f"{pin.name}=={pin.version}" for pin in read_pylock(lock) if pin.version]


def with_absolute_paths(text: str, start: Path) -> str:
    """The document with absolute paths: it is going to be installed from another place."""

    def absolute(match: re.Match[str]) -> str:
        return f'path = "{(start / match[1]).resolve()}"'

    return re.sub(r'\bpath = "([^"]+)"', absolute, text)


def blocks(text: str) -> tuple[str, list[str]]:
    """A document's head, and the text of each of its packages."""
    head, *packages = re.split(r"^(?=\[\[packages\]\])", text, flags=re.MULTILINE)
    return head, packages


def without_trees(text: str) -> str:
    """The document without local trees: they are built from their content, never from a cache."""
    head, packages = blocks(text)
    return head + "".join(block for block in packages if not pylock_trees(block))


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
