"""The steps of work in the cache, by name: where a kill or a full disk could strike.

Each is reported as an audit event (PEP 578), which costs next to nothing while nobody listens. The
tests listen, and strike at every one of them.
"""

from __future__ import annotations

import sys
from typing import Literal

#: The audit event; its arguments are the step, and what the step works on.
EVENT = "pytest_isoenv.step"

Step = Literal[
    "make the root",
    "begin a run",
    "be alive",
    "lease",
    "look",
    "take the lock",
    "resolve",
    "keep the resolution",
    "build a wheel",
    "keep the wheel",
    "make the directory",
    "create",
    "run a command",
    "finish",
    "check",
    "publish",
    "remember",
    "throw away",
    "end the run",
    "sweep",
    "sweep a dead run",
    "prune",
    "hide",
    "hidden",
    "discard",
    "empty the trash",
]


def reached(step: Step, what: object = "") -> None:
    """Say that a step is about to be taken."""
    sys.audit(EVENT, step, str(what))
