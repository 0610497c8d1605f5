"""``isoenv prune``: remove what the cache need not keep."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Callable

from pytest_isoenv._limits import Limits
from pytest_isoenv._store import Store
from pytest_isoenv._tidy import USUAL, keep, upkeep_of
from pytest_isoenv._upkeep import Kept, Pruned, prune, total
from pytest_isoenv.cli.cache import account
from pytest_isoenv.cli.command import Command, add_cache, add_json
from pytest_isoenv.cli.console import ago, read_size, read_span, say, say_json, size
from pytest_isoenv.cli.project import store_of


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument(
        "--older-than",
        type=_told(read_span),
        metavar="TIME",
        help="remove also what nobody has used for this long: 30d, 12h, 2w",
    )
    parser.add_argument(
        "--max-size",
        type=_told(read_size),
        metavar="SIZE",
        help="remove also environments, those unused for longest first, until all that are left "
        "take no more than this: 500MB, 5GB",
    )
    parser.add_argument(
        "--automatic",
        choices=("on", "off"),
        help="whether the cache does this by itself from now on, at the end of a run and at most "
        "once a day; with the limits given here, else 30 days and 20 GB",
    )
    add_json(parser)
    add_cache(parser)


def _told(read: Callable[[str], float]) -> Callable[[str], float]:
    """The same; argparse passes on the words of its own errors only."""

    def read_and_tell(text: str) -> float:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_and_tell


def _act(args: argparse.Namespace) -> int:
    limits = Limits(args.older_than, args.max_size)
    with contextlib.closing(store_of(args)) as store:
        if args.automatic and not args.dry_run:
            _automate(store, args.automatic == "on", limits)
        pruned = prune(store, limits, dry_run=args.dry_run)
    gone = [one.kept for one in pruned if not one.busy]
    if args.json:
        found = [{**account(one.kept), "why": one.why, "busy": one.busy} for one in pruned]
        say_json(dry_run=args.dry_run, size=total(gone), pruned=found)
        return 0
    say(*(_line(one, dry_run=args.dry_run) for one in pruned))
    word = "would be removed" if args.dry_run else "removed"
    say(f"{len(gone)} {word}, {size(total(gone))}")
    return 0


def _automate(store: Store, automatic: bool, limits: Limits) -> None:
    usual = USUAL if limits == Limits() else limits
    keep(store, dataclasses.replace(upkeep_of(store), automatic=automatic, limits=usual))


def _line(one: Pruned, *, dry_run: bool) -> str:
    word = "in use" if one.busy else "would remove" if dry_run else "removed"
    return (
        f"{word}: {one.kept.kind} {_called(one.kept)} ({one.why}, last used {ago(one.kept.used)})"
    )


def _called(kept: Kept) -> str:
    known = ", ".join(f"{name} in {root}" for root, name in kept.known_as)
    return f"{kept.name}, {known}" if known else kept.name


COMMAND = Command("prune", "remove what the cache need not keep", _act, _arguments)
