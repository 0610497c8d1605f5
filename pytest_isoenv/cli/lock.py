"""``isoenv lock [NAME...]``: write down what declared environments resolve to."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from pytest_isoenv import _locks
from pytest_isoenv._files import write_atomically
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._redact import redact
from pytest_isoenv._requests import Request
from pytest_isoenv.cli.command import Command, UsageError, add_names, add_place
from pytest_isoenv.cli.console import Progress, complain, say
from pytest_isoenv.cli.project import Project
from pytest_isoenv.errors import IsoenvError
from pytest_isoenv.pinned import parse_pylock
from pytest_isoenv.spec import EnvName, EnvSpec


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_names(parser)
    parser.add_argument(
        "--upgrade",
        nargs="?",
        action="append",
        const="",
        metavar="PACKAGE",
        help="take the newest version of this package that fits (repeatable), or of all",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail where a lock is missing or no longer fits its declaration",
    )
    add_place(parser)


def _act(args: argparse.Namespace) -> int:
    project = Project(args)
    specs = dict(_specs(project, args.names))
    if not specs:
        raise UsageError(f"no environment is declared in {project.settings.root}")
    root = project.settings.root
    if args.check:
        fit = [_fits(name, spec, root) for name, spec in specs.items()]
        return 0 if all(fit) else 1
    progress = Progress({name: redact(spec.asked_for()) for name, spec in specs.items()})
    try:
        with project.provisioner(progress.building) as provisioner:
            lock = _Lock(provisioner, root, args.upgrade or (), progress)
            written = [lock.write(name, spec) for name, spec in _from_below(specs)]
            unknown = lock.unknown
    finally:
        progress.clear()
    for package in unknown:
        complain(f"--upgrade {package}: no package of that name is in what was locked")
    return 0 if all(written) and not unknown else 1


def _specs(project: Project, names: Sequence[str]) -> Iterator[tuple[EnvName, EnvSpec]]:
    """The environments that can have locks, as they are declared; others only if not named."""
    for request in project.requests(names):
        spec = project.declarations.unlocked(_declared(project, request))
        if spec.lock is None and spec.can_be_locked:
            yield request.name, spec
        elif request.name in names and spec.lock is not None:
            raise UsageError(f"{request.name!r} has a lock of yours, {spec.lock}: make that anew")
        elif request.name in names:
            raise UsageError(f"{request.name!r} has packages of conda, which no lock file can hold")


def _from_below(specs: Mapping[EnvName, EnvSpec]) -> list[tuple[EnvName, EnvSpec]]:
    """Those first that lie beneath others: their locks bound what lies above."""
    beneath = {name for spec in specs.values() for name, _ in spec.beneath}
    return sorted(specs.items(), key=lambda item: item[0] not in beneath)


def _declared(project: Project, request: Request) -> EnvName:
    if request.name in project.declarations.stacks:
        return request.name
    raise UsageError(f"{request.name!r} is not declared; only declared environments have locks")


def _fits(name: EnvName, spec: EnvSpec, root: Path) -> bool:
    file = _locks.file_of(name)
    if not (root / file).is_file():
        complain(f"{name}: it has no lock {file}")
        return False
    changes = _locks.changes((root / file).read_text(encoding="utf-8"), spec, root)
    if changes:
        complain(f"{name}: {file} no longer fits: {', '.join(changes)}")
    return not changes


class _Lock:
    """Writes locks, and says what is different in them."""

    def __init__(
        self, provisioner: Provisioner, root: Path, upgrade: Sequence[str], progress: Progress
    ) -> None:
        self._provisioner = provisioner
        self._root = root
        self._upgrade = [package for package in upgrade if package]
        self._anew = "" in upgrade
        self._progress = progress
        self._met: set[str] = set()

    @property
    def unknown(self) -> list[str]:
        """What was to be upgraded, and is in no lock."""
        return [name for name in self._upgrade if canonicalize_name(name) not in self._met]

    def write(self, name: EnvName, spec: EnvSpec) -> bool:
        """Whether there is a lock that fits, now."""
        path = self._root / _locks.file_of(name)
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        self._progress.building(name)
        try:
            spec = self._with_locks_beneath(spec)
            text = self._provisioner.lock(spec, "" if self._anew else old, self._upgrade)
        except IsoenvError as error:
            self._progress.done(name, error=f"environment {name!r}: {redact(str(error))}")
            return False
        self._progress.done(name)
        self._met |= {*_versions(old), *_versions(text)}
        if text != old:
            write_atomically(path, text)
        say(f"{name}: {path.name} {_summary(old, text)}")
        return True

    def _with_locks_beneath(self, spec: EnvSpec) -> EnvSpec:
        """With the locks that are there now, some of which may have been written just before."""
        found = _locks.found(self._root, [name for name, _ in spec.beneath])
        beneath = [
            (name, dataclasses.replace(below, lock=below.lock or found.get(name)))
            for name, below in spec.beneath
        ]
        return dataclasses.replace(spec, beneath=tuple(beneath))


def _summary(old: str, new: str) -> str:
    """What a lock has become, in packages."""
    before, after = _versions(old), _versions(new)
    if not old:
        return f"written, {len(after)} packages"
    changed = [
        f"{package} {before.get(package, '(new)')} -> {after.get(package, '(gone)')}"
        for package in sorted(before.keys() | after.keys())
        if before.get(package) != after.get(package)
    ]
    return f"changed: {', '.join(changed)}" if changed else "is up to date"


def _versions(text: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for package in parse_pylock(text).packages if text else ():
        found.setdefault(package.name, []).append(str(package.version))
    return {name: " and ".join(versions) for name, versions in found.items()}


COMMAND = Command("lock", "write lock files for declared environments", _act, _arguments)
