"""What a backend for packages of Python indexes is asked for, as installers read it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pytest_isoenv._backends.pylock_text import rooted, without, without_trees
from pytest_isoenv._files import write_atomically
from pytest_isoenv._hints import plain
from pytest_isoenv._mentions import applicable
from pytest_isoenv._redact import redact
from pytest_isoenv._texts import is_path
from pytest_isoenv.backend import Wanted
from pytest_isoenv.errors import ResolutionError
from pytest_isoenv.pinned import Resolution, pylock_trees, read_pylock


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
                return text
        except ResolutionError as error:
            # Something asked for needs another pytest than the host's: then that is what it gets.
            is_last = requirement == wanted.pytest_requirements[-1]
            if is_last or not is_contradiction(error.output):
                raise
    raise AssertionError("the last pytest asked for is one")


def resolution_of(wanted: Wanted, lock: str, compiled: str, directory: Path) -> Resolution:
    """What a lock file and the document that was resolved beside it, in ``directory``, pin."""
    texts = [rooted(compiled, directory)]
    if wanted.spec.lock is not None:
        # PEP 751: relative paths start from the lock file's own directory.
        texts.insert(0, rooted(lock, (wanted.root / wanted.spec.lock).parent))
    trees = tuple(tree for text in texts for tree in pylock_trees(text))
    return Resolution(tuple(without(without_trees(text), wanted.beneath) for text in texts), trees)


def lock_text(wanted: Wanted) -> str:
    """The lock file that is declared, without credentials; empty where none is."""
    if wanted.spec.lock is None:
        return ""
    return redact((wanted.root / wanted.spec.lock).read_text(encoding="utf-8"))


def indexes(
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    options: tuple[str, str],
    variables: tuple[Sequence[str], Sequence[str]],
) -> list[str]:
    """The indexes that a command asks, without credentials: what is said of a failure names them.

    ``options`` and ``variables`` are those that say which is asked by default, and which others.
    """
    told = list(itertools.pairwise(map(str, command)))
    default = next((value for option, value in told if option == options[0]), "")
    default = default or next(filter(None, map(environ.get, variables[0])), _PYPI)
    extra = [value for option, value in told if option == options[1]]
    extra += [url for name in variables[1] for url in environ.get(name, "").split()]
    return [plain(url) for url in [*extra, default]]


_PYPI = "https://pypi.org/simple"


def write_lines(file: Path, lines: Iterable[str]) -> Path:
    """Write a requirements file for an installer."""
    write_atomically(file, "".join(f"{line}\n" for line in lines))
    return file


def inputs(wanted: Wanted, universal: bool = False) -> list[str]:
    """What is asked for directly, as lines of a requirements file with absolute paths.

    A ``universal`` answer is for many Pythons, so what has a marker stands there with it.
    """
    spec, root = wanted.spec, wanted.root
    asked = spec.requirements
    if not universal:  # else uv chooses, for each of several environments
        asked = tuple(applicable(asked, wanted.base.marker_environment))
    lines = [_absolute(text, root) if is_path(text) else text for text in asked]
    if spec.project != "none":
        extras = f"[{','.join(spec.extras)}]" if spec.extras else ""
        lines.append("-e " * (spec.project == "editable") + f"{wanted.project.resolve()}{extras}")
    return lines


def _absolute(text: str, root: Path) -> str:
    path, bracket, extras = text.partition("[")
    return f"{absolute_path(path, root)}{bracket}{extras}"


def absolute_path(path: str, root: Path) -> str:
    """A path of a declaration as one that holds anywhere on this machine."""
    return str((root / Path(path).expanduser()).resolve())
