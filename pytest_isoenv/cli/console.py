"""What commands write: results to stdout, everything else to stderr, one line for each error."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from pytest_isoenv._spans import ago as ago

_UNITS = ("B", "kB", "MB", "GB", "TB")
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def say(*lines: str) -> None:
    """Write lines of the result."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def say_json(**fields: Any) -> None:
    """Write the result for machines; ``version`` is that of its form."""
    say(json.dumps({"version": 1, **fields}, indent=2))


def say_table(rows: Iterable[Sequence[str]]) -> None:
    """Write rows with their columns in line."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


def complain(text: str) -> None:
    """Write an error as pytest does."""
    sys.stderr.write(f"ERROR: {text}\n")


def size(count: float) -> str:
    """A number of bytes for people: ``5.3 MB``."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"


def read_size(text: str) -> int:
    """``500MB``, ``2GB`` or ``1.5 GiB`` in bytes; raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 500MB or 2GB")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def read_span(text: str) -> float:
    """``30d``, ``12h``, ``90m`` or ``2w`` in seconds; a bare number means days."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\w*\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 30d, 12h or 2w")
    return float(match[1]) * _SPANS[match[2] or "d"]


class Progress:
    """What is being built: on a terminal a bar that stays in its place, elsewhere plain lines.

    It goes to stderr. Threads may share it.
    """

    def __init__(self, asked: dict[str, str]) -> None:
        self._asked = asked
        self._building: list[str] = []
        self._done = 0
        self._live = sys.stderr.isatty()
        self._lock = threading.RLock()

    def building(self, name: str) -> None:
        """Work on an environment has begun."""
        with self._lock:
            if name in self._building:
                return
            self._building.append(name)
            if not self._live:
                asked = f" ({self._asked[name]})" if name in self._asked else ""
                sys.stderr.write(f"isoenv: building {name}{asked}\n")
                sys.stderr.flush()
            self._show()

    def done(self, name: str, *lines: str, error: str = "") -> None:
        """It is there, or will not be; ``lines`` say how it went."""
        with self._lock:
            self._done += 1
            self._building = [other for other in self._building if other != name]
            self.clear()
            say(*lines)
            sys.stdout.flush()
            if error:
                complain(error)
            self._show()

    def _show(self) -> None:
        if self._live and self._building:
            count = len(self._asked)
            filled = 20 * self._done // max(count, 1)
            bar = f"[{'#' * filled}{'-' * (20 - filled)}] {self._done}/{count}"
            text = f"{bar} building {', '.join(self._building)}"
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[K{text[:width]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the bar down."""
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
