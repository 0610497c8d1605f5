"""The cache cleans itself: at the end of a run, at most once a day, and never for long."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

from pytest_isoenv._files import read_json
from pytest_isoenv._limits import Limits
from pytest_isoenv._store import Store
from pytest_isoenv.errors import StoreError

_DAY = 24 * 3600.0
#: What stays without anybody having said anything: 30 days unused, and 20 GB.
USUAL = Limits(age=30 * _DAY, size=20_000_000_000)
# How long the end of a run may take longer for it (seconds).
_PATIENCE = 2.0


@dataclasses.dataclass(frozen=True)
class Upkeep:
    """What a cache does by itself: whether it prunes, to which limits, and when it did last.

    ``last`` is a time (seconds since the epoch), 0.0 where it never did.
    """

    automatic: bool = True
    limits: Limits = USUAL
    last: float = 0.0


def upkeep_of(store: Store) -> Upkeep:
    """What is written in the cache; what cannot be read is as usual."""
    kept = read_json(_file(store))
    if not isinstance(kept, dict):
        return Upkeep()
    limits = Limits(_number(kept, "age", USUAL.age), _number(kept, "size", USUAL.size))
    return Upkeep(kept.get("automatic") is not False, limits, _number(kept, "last", 0.0) or 0.0)


def _number(kept: dict[str, Any], name: str, usual: Any) -> Any:
    value = kept.get(name, usual)
    return value if value is None or isinstance(value, (int, float)) else usual


def _file(store: Store) -> Path:
    return store.home / "upkeep.json"


def keep(store: Store, upkeep: Upkeep) -> None:
    """Let the cache do so from now on; raises StoreError."""
    age, size = upkeep.limits.age, upkeep.limits.size
    told = {"automatic": upkeep.automatic, "age": age, "size": size, "last": upkeep.last}
    store.write(_file(store), told)


def tidy(store: Store) -> None:
    """Prune if it is time to, and nobody else does; it waits for nobody, and nobody for it.

    The store is closed then. A run that is over does not fail of it: whoever wants to know why it
    cannot be done prunes by a command.
    """
    if store.writable and _is_due(upkeep_of(store)):
        with contextlib.suppress(OSError, StoreError):
            _prune_alone(store)
    store.close()


def _prune_alone(store: Store) -> None:
    from pytest_isoenv._upkeep import prune  # once a day

    with store.alone_with("upkeep") as alone:
        upkeep = upkeep_of(store)
        if alone and _is_due(upkeep):
            keep(store, dataclasses.replace(upkeep, last=time.time()))
            prune(store, upkeep.limits, until=time.monotonic() + _PATIENCE)


def _is_due(upkeep: Upkeep) -> bool:
    return upkeep.automatic and not 0 <= time.time() - upkeep.last < _DAY
