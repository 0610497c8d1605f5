"""Whether a finished environment is still what it was when it was built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv.environment import python_of


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
