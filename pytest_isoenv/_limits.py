"""How much may stay in the cache, and for how long."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """What may stay: nothing unused for longer than ``age`` (seconds), ``size`` bytes in all."""

    age: float | None = None
    size: int | None = None
