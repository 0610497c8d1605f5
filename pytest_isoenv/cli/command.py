"""What a command is, and the options that several commands share."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Command:
    """One word after ``isoenv``.

    ``act`` does it and returns the exit code, or below 0 the signal that this process is to die
    of; ``arguments`` adds what the command takes to its parser. ``takes_all`` is for a command
    that hands on all its arguments as they are.
    """

    name: str
    help: str
    act: Callable[[argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    takes_all: bool = False


#: The positional arguments whose values are environments; shells complete them.
ENVIRONMENTS = ("name", "names")


class UsageError(Exception):
    """The arguments, together, make no sense; the text says why."""


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options that say which project and which cache."""
    parser.add_argument(
        "--rootdir",
        type=Path,
        metavar="DIR",
        help="the project's directory (default: the one that pytest would take)",
    )
    add_cache(parser)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """The option that says which cache."""
    parser.add_argument(
        "--env-cache-dir",
        type=Path,
        metavar="DIR",
        help="where environments are kept (default: pytest-isoenv in the user's cache directory)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for machines."""
    parser.add_argument("--json", action="store_true", help="write JSON instead of text")


def add_building(parser: argparse.ArgumentParser) -> None:
    """The options of commands that build what is not there."""
    parser.add_argument(
        "--env-refresh",
        action="store_true",
        help="build from scratch, in a directory that is thrown away at the end",
    )
    parser.add_argument(
        "--env-locked",
        action="store_true",
        help="fail where an environment has no lock file, or one that no longer fits it",
    )
    add_upgrade(parser)
    add_offline(parser)


def add_upgrade(parser: argparse.ArgumentParser) -> None:
    """The option to leave kept resolutions aside."""
    parser.add_argument(
        "--env-upgrade",
        action="store_true",
        help="resolve requirements anew instead of using what was resolved earlier",
    )


def add_offline(parser: argparse.ArgumentParser) -> None:
    """The option to make do with what there is."""
    parser.add_argument(
        "--env-offline",
        action="store_true",
        help="leave the network alone: use the cache, and what installers have downloaded before",
    )


def add_name(parser: argparse.ArgumentParser) -> None:
    """One environment."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a declared environment, or a requirement on top of the base",
    )


def add_names(parser: argparse.ArgumentParser) -> None:
    """Any number of environments; none given means all."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="declared environments: a name, a matrix's name, how names begin, a glob; or a "
        "requirement on top of the base (default: all that are declared)",
    )
