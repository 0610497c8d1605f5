"""``isoenv list``: the declared environments, what each resolves to, and whether it is there."""

from __future__ import annotations

import argparse
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_isoenv._provision import Outlook, Provisioner
from pytest_isoenv._redact import redact
from pytest_isoenv._requests import Request
from pytest_isoenv._spans import ago, is_old
from pytest_isoenv._texts import is_path
from pytest_isoenv.cli.command import Command, add_json, add_names, add_place
from pytest_isoenv.cli.console import say, say_json, say_table
from pytest_isoenv.cli.project import Project
from pytest_isoenv.errors import InterpreterNotFound
from pytest_isoenv.pinned import PinnedEnv
from pytest_isoenv.spec import EnvSpec


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_names(parser)
    parser.add_argument("--names", dest="only_names", action="store_true", help="only the names")
    add_json(parser)
    add_place(parser)


def _act(args: argparse.Namespace) -> int:
    project = Project(args)
    requests = project.requests(args.names)
    if args.only_names:
        say(*(request.name for request in requests))
        return 0
    with project.provisioner() as provisioner:
        found = [_described(project, provisioner, request) for request in requests]
    if args.json:
        say_json(rootdir=str(project.settings.root), environments=found)
    elif not found:
        say(f"no environment is declared in {project.settings.root}")
    else:
        say_table(_row(one) for one in found)
    return 0


def _described(project: Project, provisioner: Provisioner, request: Request) -> dict[str, Any]:
    spec = request.spec
    assert spec is not None
    try:
        outlook = provisioner.look(request.name, spec)
    except InterpreterNotFound as error:
        outlook, missing = None, str(error)
    else:
        missing = ""
    pinned = outlook.pinned if outlook else None
    entry = outlook.entry if outlook else None
    return {
        "name": request.name,
        "declared_in": project.declarations.origins.get(request.name),
        "asked": redact(spec.asked_for()),
        "python": outlook.python[0] if outlook and outlook.python else None,
        "state": state(spec, outlook),
        "why": missing or (outlook.broken if outlook else ""),
        "key": pinned.key() if pinned else None,
        "path": str(entry.directory) if entry else None,
        "resolved": pinned.resolved if pinned else None,
        "outdated": outlook.outdated if outlook else False,
        "resolves_to": chosen(spec, pinned),
        "requested_python": spec.python,
    }


def state(spec: EnvSpec, outlook: Outlook | None) -> str:
    """One word or two for how far an environment is."""
    if outlook is None:
        return "no Python"
    if spec.refresh:
        return "always built"
    if outlook.entry is not None:
        return "cached"
    if outlook.broken:
        return "broken"
    return "not built" if outlook.pinned else "not resolved"


def when(resolved: float, *, outdated: bool) -> str:
    """How old a resolution is, and what comes of it."""
    return ago(resolved) + ", longer than its max-age: it is resolved anew" * outdated


def chosen(spec: EnvSpec, pinned: PinnedEnv | None) -> dict[str, str]:
    """The versions of those packages that the request names."""
    if pinned is None:
        return {}
    named = {
        canonicalize_name(Requirement(text).name) for text in spec.requirements if not is_path(text)
    }
    return {pin.name: pin.version for pin in pinned.artefacts if pin.name in named}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    version = one["python"] or one["requested_python"]
    python = f"Python {version}" if version else "Python of its own"
    versions = ", ".join(f"{name} {version}" for name, version in one["resolves_to"].items())
    asked = one["asked"] + f" -> {versions}" * bool(versions)
    is_told = one["resolved"] is not None and (one["outdated"] or is_old(one["resolved"]))
    age = f" (resolved {when(one['resolved'], outdated=one['outdated'])})" if is_told else ""
    return one["name"], python, one["state"], asked + age


COMMAND = Command("list", "list the declared environments", _act, _arguments)
