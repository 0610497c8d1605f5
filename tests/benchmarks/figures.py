"""Medians and quartiles."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some numbers, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(numbers: Sequence[float]) -> Spread:
    """The spread of numbers, of which there is at least one."""
    middle = statistics.median(numbers)
    if len(numbers) == 1:
        return Spread(middle, middle, middle)
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(middle, low, high)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of medians; the quartiles are those of the ratios within each round."""

    value: float
    low: float
    high: float


def ratio(
    ours: Sequence[float],
    theirs: Sequence[float],
    common: Sequence[float] | None = None,
    scale: float = 1.0,
) -> Ratio | None:
    """How much of theirs ours is, after what both have in ``common`` is taken away.

    The n-th numbers were measured in the same round. None where nothing of theirs is left.
    """
    without = [0.0] * min(len(ours), len(theirs)) if common is None else common
    base = statistics.median(without)
    rest = statistics.median(theirs) - base
    if rest <= 0:
        return None
    pairs = [
        (mine - both) / (other - both) * scale
        for mine, other, both in zip(ours, theirs, without, strict=False)
        if other > both
    ]
    around = spread(pairs)
    value = (statistics.median(ours) - base) / rest * scale
    return Ratio(value, around.low, around.high)
