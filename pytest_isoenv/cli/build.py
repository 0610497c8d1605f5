"""``isoenv build [NAME...]``: have environments there, several at once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

from pytest_isoenv._provision import Provisioner
from pytest_isoenv._redact import redact
from pytest_isoenv._requests import Request
from pytest_isoenv._spans import ago, is_old
from pytest_isoenv.cli.command import Command, UsageError, add_building, add_names, add_place
from pytest_isoenv.cli.console import Progress
from pytest_isoenv.cli.project import Project
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import InterpreterNotFound, IsoenvError


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_names(parser)
    parser.add_argument(
        "--env-jobs",
        "--jobs",
        type=_number,
        metavar="N",
        help="how many environments are built at once (default: the number of CPUs)",
    )
    add_building(parser)
    add_place(parser)


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _act(args: argparse.Namespace) -> int:
    project = Project(args)
    requests = project.requests(args.names)
    if not requests:
        raise UsageError(f"no environment is declared in {project.settings.root}")
    progress = Progress({request.name: _asked(request) for request in requests})
    try:
        with project.provisioner(progress.building) as provisioner:
            ended = list(_build(provisioner, requests, project.settings.jobs, progress))
    finally:
        progress.clear()
    return 0 if all(ended) else 1


def _asked(request: Request) -> str:
    assert request.spec is not None
    return redact(request.spec.asked_for())


def _build(
    provisioner: Provisioner, requests: list[Request], jobs: int, progress: Progress
) -> Iterator[bool]:
    """For each environment whether it is as it should be."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_build_one, provisioner, one, progress) for one in requests]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            provisioner.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _build_one(provisioner: Provisioner, request: Request, progress: Progress) -> bool:
    name, spec = request.name, request.spec
    assert spec is not None
    try:
        environment = provisioner.environment(name, spec)
    except InterpreterNotFound as error:
        if spec.missing_interpreter == "skip":
            progress.done(name, f"{name}: skipped: {error}")
            return True
        progress.done(name, error=f"environment {name!r}: {error}")
        return False
    except IsoenvError as error:
        progress.done(name, error=f"environment {name!r}: {redact(str(error))}")
        return False
    progress.done(name, *_lines(environment, _asked(request)))
    return True


def _lines(environment: Environment, asked: str) -> Iterator[str]:
    """The same words as in the summary of a test run."""
    how = environment.provisioned
    how = how if how == "cached" else f"{how} in {environment.seconds:.1f} s"
    if environment.resolved is not None and is_old(environment.resolved):
        how += f", resolved {ago(environment.resolved)}"
    yield f"{environment.name}: Python {environment.version}; {asked}; {how}"
    if environment.why:
        yield f"  rebuilding {environment.name}: {environment.why}"
    if environment.note:
        yield f"  {environment.note}"


COMMAND = Command("build", "build environments that are not there yet", _act, _arguments)
