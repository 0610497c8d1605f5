"""``isoenv cache``: where the cache is, and what lies in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_isoenv._store import Store
from pytest_isoenv._tidy import Upkeep, upkeep_of
from pytest_isoenv._upkeep import Kept, contents, exclusive, total
from pytest_isoenv.cli.command import Command, add_cache, add_json
from pytest_isoenv.cli.console import ago, say, say_json, say_table, size
from pytest_isoenv.cli.project import store_of


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_cache(parser)


def _act(args: argparse.Namespace) -> int:
    store = store_of(args)
    things = contents(store)
    environments = [kept for kept in things if kept.kind == "environment"]
    if args.json:
        say_json(
            directory=str(store.root),
            size=total(things),
            own_size=exclusive(things),
            resolutions=sum(kept.kind == "resolution" for kept in things),
            wheels=sum(kept.kind == "wheels" for kept in things),
            remains=sum(kept.kind == "remains" for kept in things),
            environments=[account(kept) for kept in environments],
            others=[path.name for path in _others(store)],
            upkeep=_upkeep_data(upkeep_of(store)),
        )
        return 0
    say(str(store.root), _summary(things), _upkeep_text(upkeep_of(store)))
    for path in _others(store):
        say(f"{path.name}/ is of another version of pytest-isoenv, and is left alone")
    if environments:
        say_table([("KEY", "SIZE", "ITS OWN", "BUILT", "LAST USED", "KNOWN AS"), *_rows(things)])
    return 0


def account(kept: Kept) -> dict[str, Any]:
    """One thing in the store, as data."""
    return {
        "kind": kept.kind,
        "name": kept.name,
        "path": str(kept.path),
        "size": kept.size,
        "own_size": kept.own_size,
        "built": kept.built,
        "used": kept.used,
        "in_use": kept.in_use,
        "python": kept.python,
        "known_as": [{"rootdir": root, "name": name} for root, name in kept.known_as],
    }


def _summary(things: list[Kept]) -> str:
    kinds = [kept.kind for kept in things]
    sizes = f"{size(total(things))} ({size(exclusive(things))} of it nowhere else)"
    parts = [f"{kinds.count('environment')} environments", sizes]
    parts += [f"{kinds.count('resolution')} resolutions"]
    parts += [f"wheels of {kinds.count('wheels')} trees"] * ("wheels" in kinds)
    remains = kinds.count("remains")
    return ", ".join(parts + [f"{remains} remains of builds (isoenv prune)"] * bool(remains))


def _rows(things: list[Kept]) -> Iterator[tuple[str, ...]]:
    for kept in things:
        if kept.kind == "environment":
            known = ", ".join(f"{name} in {root}" for root, name in kept.known_as)
            sizes = size(kept.size), size(kept.own_size)
            used = "now" if kept.in_use else ago(kept.used)
            yield kept.name, *sizes, ago(kept.built), used, known or "nobody"


def _others(store: Store) -> list[Path]:
    """What versions of the plugin with another form of the cache have there."""
    return sorted(path for path in store.root.glob("v[0-9]*") if path != store.home)


def _upkeep_text(upkeep: Upkeep) -> str:
    if not upkeep.automatic:
        return "it does not clean itself (isoenv prune --automatic on)"
    age, most = upkeep.limits.age, upkeep.limits.size
    parts = ["of remains"]
    parts += [] if age is None else [f"of what is unused for {age / 86400:g} days"]
    parts += [] if most is None else [f"beyond {size(most)}"]
    last = f"; last {ago(upkeep.last)}" if upkeep.last else ""
    return f"it cleans itself daily: {', '.join(parts)}{last}"


def _upkeep_data(upkeep: Upkeep) -> dict[str, Any]:
    limits = {"age": upkeep.limits.age, "size": upkeep.limits.size}
    return {"automatic": upkeep.automatic, **limits, "last": upkeep.last}


COMMAND = Command("cache", "say what the cache holds", _act, _arguments)
