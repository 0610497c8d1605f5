"""Which directory's declarations count: the one that pytest, started here, calls its rootdir."""

from __future__ import annotations

import re
from pathlib import Path

# A file that makes its directory pytest's rootdir, and what must stand in it.
_OF_PYTEST = {
    "pytest.toml": re.compile(""),
    ".pytest.toml": re.compile(""),
    "pytest.ini": re.compile(""),
    ".pytest.ini": re.compile(""),
    "pyproject.toml": re.compile(r"^\s*\[tool\.pytest\b", re.MULTILINE),
    "tox.ini": re.compile(r"^\[pytest\]", re.MULTILINE),
    "setup.cfg": re.compile(r"^\[tool:pytest\]", re.MULTILINE),
}
_OF_OURS = {
    "isoenv.yaml": re.compile(""),
    "pyproject.toml": re.compile(r"^\s*\[tool\.isoenv\b", re.MULTILINE),
}
_OF_A_PROJECT = {"pyproject.toml": re.compile(""), "setup.py": re.compile("")}


def find(start: Path) -> Path:
    """The rootdir for a current directory.

    That is, of it and its parents, the nearest with settings of pytest; if no directory has any,
    the nearest that declares environments, else the nearest with a project, else ``start``.
    """
    for files in (_OF_PYTEST, _OF_OURS, _OF_A_PROJECT):
        for directory in (start, *start.parents):
            if any(_has(directory / name, pattern) for name, pattern in files.items()):
                return directory
    return start


def _has(path: Path, pattern: re.Pattern[str]) -> bool:
    try:
        return pattern.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False
