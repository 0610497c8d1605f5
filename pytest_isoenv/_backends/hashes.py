"""Hashes in requirements files: what a file allows is all that may be installed.

uv resolves such files without a look at their hashes, and takes those of the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_isoenv._backends.pylock_text import changed_packages
from pytest_isoenv._files import with_named_files
from pytest_isoenv.errors import HashError

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")
_HASH = re.compile(r"--hash[ =](\w+):(\S+)")
# One file of a package, as it stands in a document, with its hashes in the group.
_FILE = re.compile(r'\{ (?:url|path) = "[^"]*"[^{}]*hashes = \{([^{}]*)\}[^{}]*\}(?:,\s*)?')
_NOTHING_LEFT = re.compile(r"^(?:sdist|archive) = *\n|^wheels = \[\s*\]\n", re.MULTILINE)
_SOURCE = re.compile(r"^(?:sdist|archive|wheels|vcs|directory) = ", re.MULTILINE)

#: The hashes (``algorithm:digits``) that each package may have, by its normalised name.
Allowed = dict[str, frozenset[str]]


def allowed_by(files: Iterable[Path]) -> Allowed:
    """What requirements files, and those that they name, say of hashes."""
    found: Allowed = {}
    for file in (named for path in files for named in with_named_files(path)):
        text = re.sub(r"\\\r?\n", " ", file.read_text(encoding="utf-8"))
        for line in text.splitlines():
            match, hashes = _REQUIREMENT.match(line), _HASH.findall(line)
            if match and hashes:
                name = str(canonicalize_name(match[1]))
                told = {f"{algorithm}:{digits.lower()}" for algorithm, digits in hashes}
                found[name] = found.get(name, frozenset()) | told
    return found


def only_allowed(text: str, allowed: Allowed) -> str:
    """A PEP 751 document without the files whose hashes are not allowed.

    Raises :exc:`~pytest_isoenv.errors.HashError` for a package of which nothing remains.
    """

    def kept(name: str, block: str) -> str:
        if name not in allowed:
            return block
        left = _FILE.sub(lambda m: m[0] if _hashes(m[1]) & allowed[name] else "", block)
        left = _NOTHING_LEFT.sub("", left)
        if not _SOURCE.search(left):
            theirs = sorted({one for match in _FILE.findall(block) for one in _hashes(match)})
            raise HashError(name, tuple(sorted(allowed[name])), tuple(theirs))
        return left

    return changed_packages(text, kept) if allowed else text


def _hashes(table: str) -> set[str]:
    return {
        f"{algorithm}:{digits.lower()}"
        for algorithm, digits in re.findall(r'(\w+) = "([^"]*)"', table)
    }
