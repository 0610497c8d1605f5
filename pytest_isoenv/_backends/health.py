"""Whether a finished environment is still what it was when it was built, as far as a glance tells.

Every hit is looked at, so this takes a few calls of the system and walks through no tree; what it
cannot see, :mod:`pytest_isoenv._backends.records` finds on demand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._prefixes import python_of


def check(directory: Path, facts: Mapping[str, Any]) -> str | None:
    """Compare the interpreter and the installed distributions with what was recorded."""
    return _interpreter(directory, facts) or _witnesses(facts) or _missing(facts)


def noted(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be recorded of a finished environment beside what it says of itself.

    Two small files stand for a lot: without its pyvenv.cfg an environment is the Python it was made
    of, and without ``os`` there is no standard library.
    """
    likely = [directory / "pyvenv.cfg", Path(facts.get("stdlib") or directory)]
    return {
        "executable": str(python_of(directory).relative_to(directory)),
        "witnesses": {str(file): _seen(file) for file in likely if file.is_file()},
    }


def _interpreter(directory: Path, facts: Mapping[str, Any]) -> str | None:
    relative, recorded = facts.get("executable"), facts["real_path"]
    python = f"{directory}{os.sep}{relative}" if relative else str(python_of(directory))
    try:
        found = os.stat(python)  # noqa: PTH116 - on every hit
        as_it_was = [found.st_size, found.st_mtime_ns] == facts["interpreter_file"]
        if as_it_was and _leads_to(found, recorded):
            return None
        real = str(Path(python).resolve(strict=True))
    except PermissionError as error:
        return f"its interpreter {python} cannot be reached: {error.strerror}"
    except (OSError, RuntimeError):  # a loop of links is the latter, until Python 3.12
        gone = python if Path(recorded).exists() else recorded
        return f"its interpreter {gone} is gone"
    if real != recorded:
        return f"its interpreter was {recorded} and is now {real}"
    return f"its interpreter {recorded}, Python {facts['python']} then, was replaced"


def _leads_to(found: os.stat_result, recorded: str) -> bool:
    """Whether a file that was found is the one at a path: following each link takes much longer."""
    try:
        return os.path.samestat(found, os.stat(recorded))  # noqa: PTH116 - on every hit
    except OSError:
        return False


def _witnesses(facts: Mapping[str, Any]) -> str | None:
    for path, (size, mtime, digest) in facts.get("witnesses", {}).items():
        try:
            stat = os.stat(path)  # noqa: PTH116 - on every hit
            changed = (stat.st_size, stat.st_mtime_ns) != (size, mtime)
            # A copy has other times, and the content is what counts.
            if changed and (stat.st_size != size or _digest(Path(path)) != digest):
                return f"{path} was changed"
        except FileNotFoundError:
            return f"{path} is gone"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
    return None


def _missing(facts: Mapping[str, Any]) -> str | None:
    missing: list[str] = []
    for directory, names in facts["installed"].items():
        try:
            missing += sorted(set(names).difference(os.listdir(directory)))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            if names:
                return f"{directory} is gone"
        except OSError as error:
            return f"{directory} cannot be read: {error.strerror}"
    return f"missing from it: {', '.join(_some(missing))}" if missing else None


def _some(names: list[str]) -> Iterator[str]:
    yield from names[:3]
    if len(names) > 3:
        yield f"and {len(names) - 3} more"


def _seen(file: Path) -> list[Any]:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, _digest(file)]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:20]
