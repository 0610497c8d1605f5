"""From a command line to an exit code: whatever goes wrong is a line, and never a traceback."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

from pytest_isoenv._interrupts import obey_the_others
from pytest_isoenv._process import Cancelled, die_of
from pytest_isoenv._redact import redact
from pytest_isoenv.cli.command import UsageError
from pytest_isoenv.cli.console import complain
from pytest_isoenv.cli.parser import parse
from pytest_isoenv.errors import ConfigError, IsoenvError

FAILURE, USAGE, BUG, INTERRUPTED, CLOSED_PIPE = 1, 2, 3, 130, 141


def script() -> None:
    """The console script ``isoenv``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale, it is written
    status = main()
    if status < 0:
        die_of(-status)
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what a command line says; returns the exit code, or below 0 the signal to die of."""
    undo = None
    try:
        command, args = parse(sys.argv[1:] if argv is None else argv)
        if not command.takes_all:
            undo = obey_the_others()
        status = command.act(args)
        sys.stdout.flush()
        return status
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else FAILURE
    except BrokenPipeError:
        _close_stdout()
        return CLOSED_PIPE
    except (KeyboardInterrupt, Cancelled):
        complain("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last to hear of it
        return _complain_of(error)
    finally:
        if undo is not None:
            undo()


def _complain_of(error: Exception) -> int:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            complain(str(problem))
        return USAGE
    if isinstance(error, UsageError):
        complain(str(error))
        return USAGE
    if isinstance(error, OSError) and not _can_write():
        _close_stdout()
    if isinstance(error, (IsoenvError, OSError)):
        complain(redact(str(error)))
        return FAILURE
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    complain(redact(f"internal error, please report it: {what}"))
    return BUG


def _can_write() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _close_stdout() -> None:
    """Nobody can read the output any more: nothing is to be written when Python ends, either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
