"""Every command there is, in the order of the help. A new one is a module and a line here."""

from __future__ import annotations

from pytest_isoenv.cli import (
    build,
    cache,
    completion,
    doctor,
    list_,
    lock,
    prune,
    run,
    run_pytest,
    show,
    where,
)
from pytest_isoenv.cli.command import Command

COMMANDS: tuple[Command, ...] = (
    list_.COMMAND,
    show.COMMAND,
    build.COMMAND,
    lock.COMMAND,
    run.COMMAND,
    where.PATH,
    where.PYTHON,
    cache.COMMAND,
    prune.COMMAND,
    doctor.COMMAND,
    run_pytest.COMMAND,
    completion.COMMAND,
)
