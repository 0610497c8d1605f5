"""``isoenv path NAME`` and ``isoenv python NAME``: where an environment is, for scripts."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_isoenv._provision import Provisioner
from pytest_isoenv._redact import redact
from pytest_isoenv.cli.command import (
    Command,
    UsageError,
    add_name,
    add_offline,
    add_place,
    add_upgrade,
)
from pytest_isoenv.cli.console import Progress, say
from pytest_isoenv.cli.project import Project
from pytest_isoenv.environment import Environment


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_upgrade(parser)
    add_offline(parser)
    add_place(parser)


@contextlib.contextmanager
def provided(project: Project, text: str) -> Iterator[Environment]:
    """The environment that a text means, built if it is not there."""
    request = project.request(text)
    assert request.spec is not None
    progress = Progress({request.name: redact(request.spec.asked_for())})

    def provide(provisioner: Provisioner) -> Environment:
        assert request.spec is not None
        try:
            return provisioner.environment(request.name, request.spec)
        finally:
            progress.done(request.name)

    with project.provisioner(progress.building) as provisioner:
        yield provide(provisioner)


def _saying(what: Callable[[Environment], Path]) -> Callable[[argparse.Namespace], int]:
    def act(args: argparse.Namespace) -> int:
        project = Project(args)
        spec = project.request(args.name).spec
        if spec is not None and spec.refresh:
            why = "is thrown away after each use (refresh: true), so it has no place of its own"
            raise UsageError(f"environment {args.name!r} {why}; isoenv run uses it")
        with provided(project, args.name) as environment:
            say(str(what(environment)))
        return 0

    return act


PATH = Command(
    "path",
    "print an environment's directory, built if it is not there",
    _saying(lambda environment: environment.path),
    _arguments,
)
PYTHON = Command(
    "python",
    "print the path of an environment's Python, built if it is not there",
    _saying(lambda environment: environment.python),
    _arguments,
)
