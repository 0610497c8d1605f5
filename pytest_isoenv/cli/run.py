"""``isoenv run NAME -- COMMAND...``: a command with what a test of an environment gets."""

from __future__ import annotations

import argparse
import sys

from pytest_isoenv.cli.command import Command, UsageError, add_building, add_name, add_place
from pytest_isoenv.cli.console import complain
from pytest_isoenv.cli.project import Project
from pytest_isoenv.cli.where import provided

# As a shell says it.
_CANNOT_RUN, _NOT_FOUND = 126, 127


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="-- COMMAND",
        help="what to run: everything after '--', as it stands",
    )
    add_building(parser)
    add_place(parser)


def _act(args: argparse.Namespace) -> int:
    command: list[str] = [*args.words, *args.theirs]
    if args.words and args.separated:
        raise UsageError(f"isoenv run: one environment, then '--'; not {' '.join(args.words)}")
    if not command:
        raise UsageError("isoenv run: there is no command; isoenv run NAME -- COMMAND")
    with provided(Project(args), args.name) as environment:
        sys.stdout.flush()
        try:
            return environment.run_in_foreground(command)
        except FileNotFoundError:
            complain(f"{command[0]!r} is not there, neither in {environment.name!r} nor on PATH")
            return _NOT_FOUND
        except OSError as error:
            complain(f"{command[0]!r} cannot be run: {error.strerror}")
            return _CANNOT_RUN


COMMAND = Command("run", "run a command in an environment", _act, _arguments)
