"""What is compiled inside source trees that are installed editable.

The code of such a tree runs where it lies, so an edit of it is seen at once; but not an edit of
what a compiler must see first. And the modules that it made lie in the tree as well, where every
environment finds those of the last that was built.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._files import content_digest, source_files

# Suffixes of what compilers read, and names of what tells them how.
_SUFFIX = re.compile(
    r"\.(c|cc|cpp|cu|cxx|f|f03|f90|f95|for|go|h|hh|hpp|hxx|i|inl|m|mm|pxd|pxi|pyf|pyx|rs|zig)"
)
_NAMES = frozenset({"CMakeLists.txt", "Cargo.lock", "Cargo.toml", "meson.build"})
_CYTHON = (".pyx", ".py")


def sources_digest(tree: Path) -> str:
    """Over the sources that must be compiled; empty where a tree has none."""
    hasher = hashlib.sha256()
    found = sorted(file for file in source_files(tree) if _is_compiled(file))
    for file in found:
        hasher.update(f"{file.relative_to(tree).as_posix()} {content_digest(file)}\n".encode())
    return hasher.hexdigest()[:20] if found else ""


def _is_compiled(file: Path) -> bool:
    if file.name in _NAMES:
        return True
    is_made_by_cython = file.suffix in (".c", ".cpp") and any(
        file.with_suffix(suffix).exists() for suffix in _CYTHON
    )
    return bool(_SUFFIX.fullmatch(file.suffix)) and not is_made_by_cython


def modules(trees: Iterable[str], suffixes: Collection[str]) -> dict[str, list[Any]]:
    """The compiled modules in these trees that a Python with such suffixes can import.

    Of each its size (bytes), the time of its last change (nanoseconds), and its digest.
    """
    return {
        str(file): [*_stat(file), content_digest(file)]
        for tree in trees
        for file in _modules(Path(tree), suffixes)
    }


def _modules(tree: Path, suffixes: Collection[str]) -> Iterator[Path]:
    for file in source_files(tree):
        _, dot, suffix = file.name.partition(".")
        if dot + suffix in suffixes:
            yield file


def _stat(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def changed(facts: Mapping[str, Any]) -> str | None:
    """Whether a compiled module is not the one that was there when an environment was built."""
    for path, (*stat, digest) in facts.get("compiled", {}).items():
        file = Path(path)
        if not file.is_file():
            return f"the compiled module {path} is gone"
        if _stat(file) != stat and content_digest(file) != digest:
            return f"the compiled module {path} was replaced"
    return None
