"""The parsers of all commands."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence
from typing import NoReturn

from pytest_isoenv.cli.command import Command, UsageError
from pytest_isoenv.cli.commands import COMMANDS


class _Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; ``command`` in its result is what to do."""
    found = _Parser(
        prog="isoenv",
        description="The environments that a project declares for its tests (pytest-isoenv).",
        epilog="Exit codes: 1 for a failure, 2 for wrong usage, 130 when interrupted.",
        allow_abbrev=False,
    )
    version = importlib.metadata.version("pytest-isoenv")
    found.add_argument("--version", action="version", version=f"pytest-isoenv {version}")
    commands = found.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            allow_abbrev=False,
        )
        command.arguments(one)
        one.set_defaults(command=command, parser=found)
    return found


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """The command of a command line, and its arguments; raises UsageError for wrong ones."""
    for command in COMMANDS:
        if command.takes_all and argv[:1] == [command.name]:
            return command, argparse.Namespace(arguments=list(argv[1:]))
    ours, separator, theirs = _split(argv)
    args = parser().parse_args(ours)
    args.separated, args.theirs = separator, theirs
    return args.command, args


def _split(argv: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """What stands before and after the first ``--``, which no version of argparse should see."""
    if "--" not in argv:
        return list(argv), False, []
    place = list(argv).index("--")
    return list(argv[:place]), True, list(argv[place + 1 :])
