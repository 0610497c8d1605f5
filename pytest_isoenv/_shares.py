"""The shares that places have in a request, and the request that they are combined to.

What ``base``, a named environment, its cell of a matrix and a mark say is a :class:`Layer` each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeVar

from pytest_isoenv._mentions import unite_match_specs, unite_requirements
from pytest_isoenv.spec import (
    NEVER,
    Conda,
    EnvName,
    EnvSpec,
    Index,
    Isolation,
    MissingInterpreter,
    Prerelease,
    Project,
    ResolutionMode,
)

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One place's share of a declaration: ``base``, a named environment, or a marker.

    ``None`` and empty mean "says nothing"; :func:`combine` lets the later layer win. ``home`` is
    the directory, relative to the rootdir, whose project its ``project`` and ``extras`` speak of.
    """

    home: str = ""
    python: str | None = None
    requirements: tuple[str, ...] = ()
    requirement_files: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    resolution: ResolutionMode | None = None
    prerelease: Prerelease | None = None
    index: str | None = None
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    exclude_newer: str | None = None
    project: Project | None = None
    extras: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    lock: str | None = None
    layers: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    pass_env: tuple[str, ...] | None = None
    prepend_paths: tuple[str, ...] = ()
    refresh: bool | None = None
    max_age: str | None = None
    backend: str | None = None
    channels: tuple[str, ...] = ()
    conda_dependencies: tuple[str, ...] = ()
    missing_interpreter: MissingInterpreter | None = None
    isolation: Isolation | None = None
    runner_layer: bool | None = None
    fork_worker: bool | None = None


def combine(layers: Iterable[Layer], beneath: Iterable[tuple[EnvName, EnvSpec]] = ()) -> EnvSpec:
    """Unite layers, lowest precedence first: the last mention of a package or a value wins.

    ``beneath`` are the environments that the layers' ``layers`` name.
    """
    stack = list(layers)
    project, home = _project(stack)
    return EnvSpec(
        python=_last(layer.python for layer in stack),
        requirements=unite_requirements(r for layer in stack for r in layer.requirements),
        requirement_files=_each_once(layer.requirement_files for layer in stack),
        constraints=unite_requirements(r for layer in stack for r in layer.constraints),
        overrides=unite_requirements(r for layer in stack for r in layer.overrides),
        resolution=_last(layer.resolution for layer in stack) or "highest",
        prerelease=_last(layer.prerelease for layer in stack),
        index=_index(stack),
        project=project,
        project_directory=home,
        extras=tuple(
            sorted({extra for layer in stack for extra in layer.extras if layer.home == home})
        ),
        local=_each_once(layer.local for layer in stack),
        lock=_last(layer.lock for layer in stack),
        beneath=tuple(beneath),
        variables=tuple(sorted(dict(v for layer in stack for v in layer.variables).items())),
        pass_env=_pass_env(stack),
        # The closest declaration comes first on PATH.
        prepend_paths=_each_once(layer.prepend_paths for layer in reversed(stack)),
        refresh=bool(_last(layer.refresh for layer in stack)),
        max_age=_max_age(stack),
        backend=_last(layer.backend for layer in stack) or "uv",
        conda=_conda(stack),
        missing_interpreter=_last(layer.missing_interpreter for layer in stack) or "error",
        isolation=_last(layer.isolation for layer in stack) or "environment",
        runner_layer=_last(layer.runner_layer for layer in stack) is not False,
        fork_worker=_last(layer.fork_worker for layer in stack),
    )


def _project(stack: Sequence[Layer]) -> tuple[Project, str]:
    """How the project gets in, and whose it is: that of the declaration that speaks last of one."""
    for layer in reversed(stack):
        if layer.project is not None:
            return layer.project, layer.home if layer.project != "none" else ""
    return "none", ""


def _pass_env(stack: Sequence[Layer]) -> tuple[str, ...] | None:
    """An empty list passes nothing; only where nobody says anything, all is passed."""
    said = [layer.pass_env for layer in stack if layer.pass_env is not None]
    return _each_once(said) if said else None


def _index(stack: Sequence[Layer]) -> Index:
    return Index(
        default=_last(layer.index for layer in stack),
        # The closest declaration is looked at first.
        extra=_each_once(layer.extra_indexes for layer in reversed(stack)),
        find_links=_each_once(layer.find_links for layer in stack),
        exclude_newer=_last(layer.exclude_newer for layer in stack),
    )


def _conda(stack: Sequence[Layer]) -> Conda:
    return Conda(
        channels=_each_once(layer.channels for layer in reversed(stack)),
        dependencies=unite_match_specs(s for layer in stack for s in layer.conda_dependencies),
    )


def _max_age(stack: Sequence[Layer]) -> str | None:
    said = _last(layer.max_age for layer in stack)
    return None if said == NEVER else said


def _each_once(entries: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry for several in entries for entry in several))


def _last(values: Iterable[_T | None]) -> _T | None:
    found = None
    for value in values:
        found = value if value is not None else found
    return found
