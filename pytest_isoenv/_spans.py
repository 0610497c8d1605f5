"""Spans of time: as declarations write them, and as people read them."""

from __future__ import annotations

import re
import time

# As uv writes them, as ISO 8601 does, and as the command's own options do.
_SPAN = re.compile(
    r"P(\d+[YMWD])+|\d+ ?(hours?|h|days?|d|weeks?|w|months?|years?|y)", re.IGNORECASE
)
# What a unit is in days, by its first letter; as uv counts months and years.
_DAYS = {"H": 1 / 24, "D": 1, "W": 7, "M": 30, "Y": 365}

#: In seconds.
DAY = 86400.0


def is_span(text: str) -> bool:
    """Whether a text is a span such as ``30 days``, ``30d`` or ``P30D``."""
    return _SPAN.fullmatch(text) is not None


def days_of(text: str) -> float:
    """How many days such a span has."""
    parts = re.findall(r"(\d+) ?([A-Za-z])", text)
    return sum(int(count) * _DAYS[unit.upper()] for count, unit in parts)


def is_old(moment: float) -> bool:
    """Whether a moment is worth a word: what is of today is as good as new."""
    return time.time() - moment >= DAY


def ago(moment: float) -> str:
    """How long ago a moment (seconds since the epoch) was, for people: ``3 days ago``."""
    seconds = max(0.0, time.time() - moment)
    for word, length in (("day", DAY), ("hour", 3600.0), ("minute", 60.0)):
        count = int(seconds // length)
        if count:
            return f"{count} {word}{'s' * (count > 1)} ago"
    return "just now"
