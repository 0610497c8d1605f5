"""Files that are never half written, and what a tree of files contains."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

# What lies in a source tree without being part of it.
_NOT_SOURCE = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
        "__pycache__",
        "node_modules",
    }
)
# What building leaves beside the sources: only at the top, where build backends put it.
_BUILD_OUTPUT = frozenset({"build", "dist"})

# A line of a requirements file that names another one, relative to its own directory.
_NAMES_A_FILE = re.compile(
    r"^\s*(?:-r|-c|--requirements?|--constraints?)[ \t=]*([^#\r\n]+?)\s*(?:#.*)?$", re.MULTILINE
)

# A project's files that its metadata may come from; its code does not change what it depends on.
_METADATA = ("pyproject.toml", "setup.py", "setup.cfg", "*requirements*.txt", "requirements/*.txt")


def write_atomically(path: Path, text: str, scratch: Path | None = None) -> None:
    """Write a file so that readers, and a machine that loses power, see the old or the new one.

    It is written in ``scratch`` (a directory of the same file system; by default its own) first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=scratch or path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, scratch: Path | None = None) -> None:
    """Write a value as JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n", scratch)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None where there is no such file, or none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def children(directory: Path) -> list[Path]:
    """What lies in a directory, sorted; nothing where it is not there, or not any more."""
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def content_digest(path: Path, outputs: Collection[Path] = ()) -> str:
    """A short SHA-256 over a file, or over the names and contents of a source tree's files.

    ``outputs`` are files that do not count, since the run itself writes them.
    """
    hasher = hashlib.sha256()
    files = [path] if path.is_file() else sorted(set(source_files(path)) - set(outputs))
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        data = file.read_bytes()
        hasher.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogateescape"))
        hasher.update(data)
    return hasher.hexdigest()[:20]


def _is_build_output(directory: Path) -> bool:
    return directory.name in _BUILD_OUTPUT and not (directory / "__init__.py").exists()


def _is_of_a_tool(directory: Path) -> bool:
    """A cache that says so, as Cargo's target does, or a virtual environment."""
    return any((directory / name).exists() for name in ("CACHEDIR.TAG", "pyvenv.cfg"))


def source_files(tree: Path) -> Iterator[Path]:
    """What a source tree consists of, without what tools have left in it."""
    for directory, subdirectories, files in os.walk(tree):
        at_top = Path(directory) == tree
        subdirectories[:] = [
            name
            for name in subdirectories
            if name not in _NOT_SOURCE
            and not name.endswith(".egg-info")
            and not (at_top and _is_build_output(tree / name))
            and not _is_of_a_tool(Path(directory, name))
        ]
        for name in files:
            file = Path(directory, name)
            unwanted = name.endswith((".pyc", ".pyo")) or name.startswith(".coverage")
            if not unwanted and file.is_file():
                yield file


def metadata_digest(path: Path) -> str:
    """Over what decides the dependencies of a project, or over a file."""
    if path.is_file():
        return content_digest(path)
    files = sorted({file for pattern in _METADATA for file in path.glob(pattern)})
    told = "\n".join(f"{file.name} {content_digest(file)}" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def with_named_files(path: Path) -> list[Path]:
    """A requirements file and the files that it names (``-r``, ``-c``), and so on."""
    found = [path]
    for file in found:
        names = _NAMES_A_FILE.findall(_text_of(file))
        named = [Path(os.path.normpath(file.parent / name.strip("\"'"))) for name in names]
        found += [other for other in dict.fromkeys(named) if other not in found]
    return [file for file in found if file == path or file.is_file()]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""  # it may be a URL; what cannot be read, whoever needs it will say
