"""Resolutions that are kept: reading and dating them, and whether one has come to its age."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from pytest_isoenv import _spans
from pytest_isoenv._files import read_json
from pytest_isoenv._wanted import metadata_of
from pytest_isoenv.errors import CommandError
from pytest_isoenv.pinned import Artefact, Foreign, Resolution

# How long nobody tries again to resolve anew what could not be just now (seconds): the processes
# of a run, and the next runs, do not each wait for a network that is not there.
_PAUSE = 600.0

#: Why one that is too old is used all the same.
NOT_ASKED = "no index could be asked"


def kept_in(directory: Path) -> Resolution | None:
    """What was resolved, if all source trees that it found still ask for the same."""
    pin = read_json(directory / "pin.json")
    try:
        trees = tuple((str(path), bool(editable)) for path, editable in pin["trees"])
        if metadata_of(path for path, _ in trees) != pin.get("metadata", {}):
            return None
        foreign = tuple(Foreign(**fields) for fields in pin.get("foreign", []))
        moments = _moment(pin.get("resolved")), _moment(pin.get("tried"))
        read = tuple(Artefact(**fields) for fields in pin["read"])
        return Resolution(tuple(map(str, pin["pylocks"])), trees, foreign, *moments, read=read)
    except (KeyError, TypeError, ValueError):
        return None  # whoever wrote it meant something else, or not all of it was written


def written(resolution: Resolution) -> dict[str, Any]:
    """What to keep of it, with what its source trees ask for."""
    seen = metadata_of(path for path, _ in resolution.trees)
    whole = dataclasses.replace(resolution, read=resolution.artefacts)
    return {**dataclasses.asdict(whole), "metadata": seen}


def dated(resolution: Resolution) -> Resolution:
    """The same, with the word that it was made now."""
    return dataclasses.replace(resolution, resolved=time.time())


def is_too_old(resolved: float | None, max_age: str | None) -> bool:
    """Whether what was resolved then is older than it may be; so is what has no date."""
    if max_age is None:
        return False
    now = time.time()
    # One from the future was made by a clock that went wrong, and would be young for too long.
    if resolved is None or resolved > now + _spans.DAY:
        return True
    return now - resolved > _spans.days_of(max_age) * _spans.DAY


def was_tried(resolution: Resolution) -> bool:
    """Whether somebody has just tried in vain to resolve it anew."""
    return resolution.tried is not None and 0 <= time.time() - resolution.tried < _PAUSE


def served(resolution: Resolution, max_age: str, why: str) -> str:
    """What to say of one that is used though it is too old."""
    when = _spans.ago(resolution.resolved) if resolution.resolved else "nobody knows when"
    return f"resolved {when}, which is longer than its max-age ({max_age}): {why}"


def could_not_ask(error: CommandError) -> bool:
    """Whether no index answered, as opposed to an answer that is no good."""
    from pytest_isoenv._hints import trouble  # only a failure pays for it

    told = trouble(error.output)
    return told.unreachable or told.passes


def _moment(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
