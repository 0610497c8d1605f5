"""What declarations inherit from each other -> the layers of every environment that there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from packaging.utils import canonicalize_name

from pytest_isoenv import _matrix
from pytest_isoenv._fields import parse_layer
from pytest_isoenv._gather import Declared
from pytest_isoenv._shares import Layer
from pytest_isoenv._values import Surroundings, choices
from pytest_isoenv.errors import Problem
from pytest_isoenv.spec import EnvName

BASE = "base"
# Keys of a declaration that say how it relates to others; the rest are fields.
_RELATIONS = ("base", "extends", *_matrix.KEYS)


class Inheritance:
    """All declarations of all files: what each inherits, and the environments that there are."""

    def __init__(self, declared: Mapping[str, Declared]) -> None:
        self.problems: list[Problem] = []
        self.base: Layer | None = None
        self.stacks: dict[str, tuple[Layer, ...]] = {}
        self.families: dict[str, tuple[EnvName, ...]] = {}
        self.standalone: set[str] = set()
        self.origins: dict[str, str] = {}
        self.parts: dict[str, tuple[str, ...]] = {}
        self._declared = declared
        self._own: dict[str, Layer] = {}

    def _problem(self, name: str, key: str, what: str) -> None:
        self.problems.append(Problem(f"{self._declared[name].spot}.{key}", what))

    def read(self) -> None:
        """Fill in everything."""
        for name, declaration in self._declared.items():
            self._own[name] = self._layer(name, declaration)
        self.base = self._own.get(BASE)
        for name in self._declared:
            if name != BASE:
                self._add(name)
        for name in self._declared:
            self._check_layers(name)

    def _layer(self, name: str, declaration: Declared) -> Layer:
        fields = {k: v for k, v in declaration.fields.items() if k not in _RELATIONS}
        for key in set(declaration.fields) & set(_RELATIONS) if name == BASE else ():
            self._problem(name, key, f"{BASE!r} is what others inherit; it cannot have this key")
        layer, problems = parse_layer(fields, declaration.spot, declaration.around, _RELATIONS)
        self.problems += problems
        return layer

    def _add(self, name: str) -> None:
        chain = self._chain(name, ())
        stack = tuple(self._own[entry] for entry in chain)
        alone = any(self._is_standalone(entry) for entry in chain)
        if not self._declared[name].is_family:
            self._add_one(name, name, stack, chain, alone)
            return
        cells = self._cells(name)
        for cell, layer in cells.items():
            self._add_one(cell, name, (*stack, layer), (*chain, cell), alone)
        self.families[name] = tuple(map(EnvName, cells))

    def _add_one(
        self,
        name: str,
        declared: str,
        stack: tuple[Layer, ...],
        parts: Sequence[str],
        alone: bool,
    ) -> None:
        if name != declared and (name in self._declared or name in self.stacks):
            what = f"another environment is called {name!r}, too; give a value another id"
            self._problem(declared, "matrix", what)
        self.stacks[name] = stack
        self.parts[name] = tuple(parts)
        self.origins[name] = self._declared[declared].where
        if alone:
            self.standalone.add(name)

    def _cells(self, name: str) -> dict[str, Layer]:
        declaration = self._declared[name]
        cells, problems = _matrix.cells(name, declaration.fields, declaration.spot)
        self.problems += problems
        found: dict[str, Layer] = {}
        for cell in cells:
            spot = f"{declaration.spot}.matrix"
            layer, wrong = parse_layer(cell.fields, spot, declaration.around)
            self.problems += wrong
            if f"{name}-{cell.name}" in found:
                self._problem(name, "matrix", f"two of its combinations are called {cell.name!r}")
            found[f"{name}-{cell.name}"] = layer
        return found

    def _is_standalone(self, name: str) -> bool:
        if "base" not in self._declared[name].fields:
            return False
        inherits = self._declared[name].fields["base"]
        if inherits is not False:
            what = f"{inherits!r}: base is inherited; say false, or drop the key"
            self._problem(name, "base", what)
        return True

    def _chain(self, name: str, below: Sequence[str]) -> list[str]:
        """A name and what it extends, the furthest first."""
        chain: list[str] = []
        for parent in self._extended(name):
            if parent in (*below, name):
                self._draw_circle([*below, name][[*below, name].index(parent) :])
                continue
            chain += [e for e in self._chain(parent, (*below, name)) if e not in chain]
        return [*chain, name]

    def _draw_circle(self, names: Sequence[str]) -> None:
        start = names.index(min(names))  # whoever finds it, it is the same circle
        drawn = [*names[start:], *names[:start], names[start]]
        self._problem(names[start], "extends", f"goes in a circle: {' -> '.join(drawn)}")

    def _extended(self, name: str) -> list[str]:
        value = self._declared[name].fields.get("extends", ())
        parents = [value] if isinstance(value, str) else value
        if not isinstance(parents, (list, tuple)) or not all(isinstance(p, str) for p in parents):
            self._problem(name, "extends", f"{value!r} is not a declared name")
            return []
        known = [other for other in self._declared if other not in (BASE, name)]
        unknown = [parent for parent in parents if parent not in (*known, name)]
        for parent in unknown:
            what = f"{parent!r} is not declared; there are: {choices(parent, known)}"
            if parent == BASE:
                what = f"{BASE!r} is inherited without being named"
            self._problem(name, "extends", what)
        return [parent for parent in parents if parent not in unknown]

    def _check_layers(self, name: str) -> None:
        for beneath in self._own[name].layers:
            if beneath not in self.stacks or beneath == name:
                known = choices(beneath, [other for other in self.stacks if other != name])
                what = f"{beneath!r} is not another declared environment; there are: {known}"
                self._problem(name, "layers", what)
            elif any(layer.layers for layer in self.stacks[beneath]):
                self._problem(name, "layers", f"{beneath!r} has layers itself; only one fits below")
            elif name == BASE and beneath not in self.standalone:
                what = f"{beneath!r} inherits {BASE}, and so itself; give it base: false"
                self._problem(name, "layers", what)


def implied_base(around: Surroundings) -> tuple[Layer, list[Problem]]:
    """What every environment has where no ``base`` is declared: the project and its tests'."""
    if not around.has_project:
        return Layer(), []
    groups = {str(canonicalize_name(group)): group for group in around.groups}
    for name in ("test", "tests"):
        if name in groups:
            where = "pyproject.toml [dependency-groups]"
            layer, problems = parse_layer({"groups": [groups[name]]}, where, around)
            return dataclasses.replace(layer, project="editable"), problems
        if name in (around.extras or ()):
            return Layer(project="editable", extras=(name,)), []
    return Layer(project="editable"), []
