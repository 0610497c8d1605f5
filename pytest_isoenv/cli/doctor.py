"""``isoenv doctor``: what environments need, looked at; each trouble with what mends it."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping

from pytest_isoenv._backends import builtin
from pytest_isoenv._backends.records import told
from pytest_isoenv._disk import remarks
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._store import Store
from pytest_isoenv._upkeep import Kept, contents
from pytest_isoenv._wheels import damaged, disown
from pytest_isoenv.backend import Damage, Finding
from pytest_isoenv.cli.command import Command, add_json, add_place
from pytest_isoenv.cli.console import say, say_json, size
from pytest_isoenv.cli.project import Project, provisioning, settings_of, store_of
from pytest_isoenv.errors import ConfigError, InterpreterNotFound, StoreError
from pytest_isoenv.spec import EnvName, EnvSpec

#: Below this many bytes on the cache's disk, builds are likely to fail.
_LITTLE = 1_000_000_000


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deep",
        action="store_true",
        help="compare every file of every environment in the cache with what was installed",
    )
    parser.add_argument(
        "--mend",
        action="store_true",
        help="have what is broken in the cache built again when it is needed next",
    )
    add_json(parser)
    add_place(parser)


def _act(args: argparse.Namespace) -> int:
    findings = []
    for finding in _look(args):
        findings.append(finding)
        if not args.json:
            say(*_text(finding))
            sys.stdout.flush()
    if args.json:
        say_json(findings=[dataclasses.asdict(finding) for finding in findings])
    return 0 if all(finding.well for finding in findings) else 1


def _text(finding: Finding) -> Iterator[str]:
    word = "ok " if finding.well else "BAD"
    first, *more = finding.said.splitlines() or [""]
    yield f"{word}  {finding.what}: {first}"
    yield from (f"     {line}" for line in more)
    if finding.mend:
        yield f"     -> {finding.mend}"


def _look(args: argparse.Namespace) -> Iterator[Finding]:
    settings = settings_of(args)
    try:
        store_of(args)
    except StoreError as error:
        mend = "name another with --env-cache-dir or XDG_CACHE_HOME, or make this one yours alone"
        yield Finding("cache", False, error.reason, f"{mend}: {error.path}")
        return
    try:
        project = Project(args)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("declarations", False, str(problem), "correct it there")
        backends, specs = builtin(), {}
    else:
        backends = project.backends
        specs = {name: project.declarations.spec(name) for name in project.declarations.names}
        said = f"{len(specs)} environments in {settings.root}"
        mend = "" if specs else "declare some in isoenv.yaml, or name requirements in marks"
        yield Finding("declarations", True, said, mend)
    with provisioning(settings, backends) as provisioner:
        yield from _pythons(specs, provisioner)
        used = [spec.backend for spec in (EnvSpec(), *specs.values())]
        yield from provisioner.diagnose(dict.fromkeys(used))
        yield from _cache(args, provisioner)


def _pythons(specs: Mapping[EnvName, EnvSpec], provisioner: Provisioner) -> Iterator[Finding]:
    askers: dict[tuple[str | None, str], dict[str, EnvSpec]] = {}
    for name, spec in specs.items():
        askers.setdefault((spec.python, spec.backend), {})[name] = spec
    for alike in askers.values() or [{"": EnvSpec()}]:
        yield from _python(alike, provisioner)


def _python(alike: Mapping[str, EnvSpec], provisioner: Provisioner) -> Iterator[Finding]:
    """The Python of those that ask for the same one of the same backend."""
    spec = next(iter(alike.values()))
    what = f"Python {spec.python}" if spec.python else "Python of the host"
    for_whom = f", for {', '.join(alike)}" if any(alike) else ""
    try:
        found = provisioner.interpreter_for(spec, download=False)
    except InterpreterNotFound as error:
        skipped = all(spec.missing_interpreter == "skip" for spec in alike.values())
        there = ", ".join(error.found) or "none"
        said = f"not found{for_whom}; there are: {there}"
        mend = f"install it, for instance by: uv python install {spec.python}; or ask for another"
        yield Finding(what, skipped, said, mend)
    else:
        if found is not None:
            yield Finding(what, True, f"{found.version} ({found.executable}){for_whom}")


def _cache(args: argparse.Namespace, provisioner: Provisioner) -> Iterator[Finding]:
    store = store_of(args)
    free = shutil.disk_usage(store.root).free
    mend = "" if free > _LITTLE else "make room: isoenv prune --max-size SIZE"
    yield Finding("cache", free > _LITTLE, f"{store.root}, {size(free)} free on its disk", mend)
    for remark in remarks(store.root):
        yield Finding("cache", False, remark, "name another with --env-cache-dir")
    things = contents(store)
    environments = [kept for kept in things if kept.kind == "environment"]
    broken = 0
    for kept in environments:
        finding = _environment(store, kept, provisioner, deep=args.deep, mend=args.mend)
        if finding is not None:
            broken += 1
            yield finding
    if args.deep:
        yield from _wheels(store, things, mend=args.mend)
    remains = sum(kept.kind == "remains" for kept in things)
    how = ", each file looked at" if args.deep else ""
    yield Finding(
        "cache",
        True,
        f"{len(environments)} environments{how}, {broken} of them broken; "
        f"{remains} remains of builds",
        "isoenv prune removes remains" if remains else "",
    )


_BUILT_AGAIN = "it is built again when it is needed next"


def _environment(
    store: Store, kept: Kept, provisioner: Provisioner, *, deep: bool, mend: bool
) -> Finding | None:
    """What is wrong with an environment of the cache; None if nothing is."""
    backend = kept.inputs.get("backend", "")
    reason = provisioner.check(backend, kept.path, kept.facts)
    seen_at_once = reason is not None
    damages: list[Damage] = []
    if deep and not seen_at_once:
        damages = provisioner.examine(backend, kept.path, kept.facts)
    if reason is None and not damages:
        return None
    known = ", ".join(f"{name} in {root}" for root, name in kept.known_as)
    said = f"environment {kept.name}{f' ({known})' if known else ''} is broken: "
    said += reason or told(damages)
    if mend:
        provisioner.forget(backend, kept.path, damages)
        done = store.condemn(kept.path)
        return Finding("cache", False, said, _BUILT_AGAIN if done else "it was built again already")
    if seen_at_once:
        how = f"nothing: {_BUILT_AGAIN}; or isoenv prune removes it unused"
    else:
        how = f"isoenv doctor --deep --mend: then {_BUILT_AGAIN}"
    return Finding("cache", False, said, how)


def _wheels(store: Store, things: Iterable[Kept], *, mend: bool) -> Iterator[Finding]:
    for kept in things:
        for wheel in damaged(kept.path) if kept.kind == "wheels" else ():
            if mend:
                disown(store, kept.name, wheel)
            how = _BUILT_AGAIN if mend else f"isoenv doctor --deep --mend: then {_BUILT_AGAIN}"
            yield Finding("cache", False, f"the wheel {wheel} is not the one that was built", how)


COMMAND = Command("doctor", "look for trouble, and say what mends it", _act, _arguments)
