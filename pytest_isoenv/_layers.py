"""Environments on top of others: what must fit, and what must not be in both.

A thin environment sees the packages of the one beneath it through a ``.pth`` file. A package in
both would shadow the one that its neighbours there were built for, so there is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pytest_isoenv._mentions import applicable
from pytest_isoenv._texts import is_path
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import LayerError
from pytest_isoenv.pinned import Beneath, Interpreter
from pytest_isoenv.spec import EnvSpec


def fitted(spec: EnvSpec, above: EnvSpec) -> EnvSpec:
    """What lies beneath, for the Python of what lies above if it does not ask for one itself."""
    return dataclasses.replace(
        spec, python=spec.python or above.python, refresh=spec.refresh or above.refresh
    )


def check(spec: EnvSpec, interpreter: Interpreter | None, layers: Iterable[Environment]) -> None:
    """Whether what is asked for can lie on top of these; raises LayerError."""
    known: dict[str, tuple[str, str]] = {}
    layers = list(layers)
    if interpreter is None or not layers:
        return  # what brings a Python lies on nothing: its backend has refused
    asked = applicable(spec.requirements, interpreter.marker_environment)
    for layer in layers:
        if layer.version != interpreter.version:
            what = f"it has Python {layer.version}, not {interpreter.version}"
            raise LayerError(layer.name, what)
        for requirement in (Requirement(text) for text in asked if not is_path(text)):
            _check_requirement(requirement, layer)
        for package, version in layer.packages.items():
            other, theirs = known.setdefault(package, (layer.name, version))
            if theirs != version:
                what = f"it has {package} {version}, and {other!r} has {package} {theirs}"
                raise LayerError(layer.name, what)


def _check_requirement(requirement: Requirement, layer: Environment) -> None:
    version = layer.packages.get(str(canonicalize_name(requirement.name)))
    if version is None:
        return
    if requirement.url or not requirement.specifier.contains(version, prereleases=True):
        raise LayerError(layer.name, f"{requirement} is asked for, and it has version {version}")


def packages(layers: Iterable[Environment]) -> dict[str, str]:
    """What lies beneath, name to version."""
    return {package: version for layer in layers for package, version in layer.packages.items()}


def beneath(layers: Iterable[Environment]) -> tuple[Beneath, ...]:
    """The layers as a part of what is pinned."""
    return tuple(Beneath(layer.name, str(layer.path), layer.key) for layer in layers)


def refuse_overlaps(own: Iterable[str], layers: Iterable[Environment]) -> None:
    """Raise LayerError if a package was installed that lies beneath as well."""
    for layer in layers:
        both = sorted(set(map(canonicalize_name, own)) & set(layer.packages))
        if both:
            raise LayerError(layer.name, f"both have {', '.join(both)}")
