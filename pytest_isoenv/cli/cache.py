"""``isoenv cache``: where the cache is, and what lies in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from pytest_isoenv._upkeep import Kept, contents, total
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
            resolutions=sum(kept.kind == "resolution" for kept in things),
            wheels=sum(kept.kind == "wheels" for kept in things),
            remains=sum(kept.kind == "remains" for kept in things),
            environments=[account(kept) for kept in environments],
        )
        return 0
    say(str(store.root), _summary(things))
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
        "python": kept.python,
        "known_as": [{"rootdir": root, "name": name} for root, name in kept.known_as],
    }


def _summary(things: list[Kept]) -> str:
    kinds = [kept.kind for kept in things]
    parts = [f"{kinds.count('environment')} environments", size(total(things))]
    parts += [f"{kinds.count('resolution')} resolutions"]
    parts += [f"wheels of {kinds.count('wheels')} trees"] * ("wheels" in kinds)
    remains = kinds.count("remains")
    return ", ".join(parts + [f"{remains} remains of builds (isoenv prune)"] * bool(remains))


def _rows(things: list[Kept]) -> Iterator[tuple[str, ...]]:
    for kept in things:
        if kept.kind == "environment":
            known = ", ".join(f"{name} in {root}" for root, name in kept.known_as)
            sizes = size(kept.size), size(kept.own_size)
            yield kept.name, *sizes, ago(kept.built), ago(kept.used), known or "nobody"


COMMAND = Command("cache", "say what the cache holds", _act, _arguments)
