"""Matrices: ``matrix``, ``exclude`` and ``include`` of a declaration -> one declaration a cell.

Pure: it works on what was written in the file or the mark, before any field is read.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_isoenv.errors import Problem

#: The keys of a declaration that are read here.
KEYS = ("matrix", "exclude", "include")

# Axes that are fields of one value. Others are lists with one entry each, variables, packages.
_FIELDS = ("python", "resolution", "project", "backend", "lock")
_ENTRIES = {"group": "groups", "extra": "extras"}
_VARIABLE = "env."
_IN_A_NAME = re.compile(r"[\w.+<>=!~,-]+")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination: its part of the environment's name, and the fields it stands for."""

    name: str
    fields: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class _Value:
    """One value of an axis; ``label`` tells it apart in names."""

    axis: str
    raw: Any
    label: str

    def is_meant_by(self, text: Any) -> bool:
        return text in (self.raw, self.label)


_Row = tuple[_Value, ...]


def cells(family: str, declared: Mapping[str, Any], where: str) -> tuple[list[Cell], list[Problem]]:
    """The cells of ``declared``'s matrix, in its order, and what is wrong with it.

    ``family`` is the environment that has the matrix: an axis of that name needs no other.
    """
    matrix = _Matrix(family, where)
    if "matrix" not in declared:
        for key in sorted(set(declared) & set(KEYS)):
            matrix.problem(key, "there is no matrix beside it")
        return [], matrix.problems
    rows = matrix.rows(declared.get("matrix"))
    rows = matrix.without(rows, declared.get("exclude", ()))
    rows += matrix.more(declared.get("include", ()))
    if not rows and not matrix.problems:
        matrix.problem("matrix", "it has no combination left")
    return [_cell(row) for row in rows], matrix.problems


class _Matrix:
    def __init__(self, family: str, where: str) -> None:
        self.problems: list[Problem] = []
        self._family = canonicalize_name(family)
        self._where = where
        self._axes: dict[str, list[_Value]] = {}

    def problem(self, key: str, what: str) -> None:
        self.problems.append(Problem(f"{self._where}.{key}", what))

    def rows(self, axes: Any) -> list[_Row]:
        if not isinstance(axes, Mapping) or not axes:
            self.problem("matrix", f"{axes!r} is not a mapping of axes to lists of values")
            return []
        for axis, values in axes.items():
            self._axes[str(axis)] = self._values(str(axis), values)
        return list(itertools.product(*self._axes.values()))

    def _values(self, axis: str, values: Any) -> list[_Value]:
        spot = f"matrix.{axis}"
        if isinstance(values, Mapping):
            pairs: Iterable[tuple[Any, Any]] = values.items()
        elif isinstance(values, (list, tuple)):
            pairs = [(None, value) for value in values]
        else:
            pairs = ()
        found = [self._value(axis, raw, label, spot) for label, raw in pairs]
        if not found:
            what = f"{values!r} is neither a list of values nor a mapping of ids to values"
            self.problem(spot, what)
        labels = [value.label for value in found if value is not None]
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            self.problem(spot, f"two values have the id {label!r}; write {{id: value, ...}}")
        return [value for value in found if value is not None]

    def _value(self, axis: str, raw: Any, label: Any, spot: str) -> _Value | None:
        if not isinstance(raw, str) or not raw.strip():
            what = f"{raw!r} is not a text; a version is written in quotes: '3.10'"
            self.problem(spot, what)
            return None
        if not self._is_readable(axis, raw, spot):
            return None
        text = self._label(axis, raw.strip()) if label is None else str(label)
        if not _IN_A_NAME.fullmatch(text):
            what = f"{text!r} cannot stand in a name; give it an id: {{id: {raw!r}}}"
            self.problem(spot, what)
            return None
        return _Value(axis, raw.strip(), text)

    def _is_readable(self, axis: str, raw: str, spot: str) -> bool:
        if axis in _FIELDS or axis in _ENTRIES or axis.startswith(_VARIABLE):
            return True
        try:
            Requirement(axis)  # the name of a package, perhaps with extras
            Requirement(_requirement(axis, raw))
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            known = ", ".join([*_FIELDS, *_ENTRIES, f"{_VARIABLE}NAME"])
            what = f"{raw!r} is no version of a package {axis!r} ({reason}); other axes: {known}"
            self.problem(spot, what)
            return False
        return True

    def _label(self, axis: str, raw: str) -> str:
        if axis == "python":
            return f"py{raw}" if raw[0].isdigit() else raw
        if axis in _FIELDS or axis in _ENTRIES or axis.startswith(_VARIABLE):
            return raw
        version = raw.removeprefix("==").removesuffix(".*")
        if canonicalize_name(axis.partition("[")[0]) == self._family:
            return version
        return f"{axis.partition('[')[0]}{version}"

    def without(self, rows: Sequence[_Row], exclude: Any) -> list[_Row]:
        kept = list(rows)
        for pattern in self._entries("exclude", exclude):
            chosen = self._chosen("exclude", pattern)
            if chosen is None:
                continue
            excluded = [row for row in rows if set(chosen) <= set(row)]
            if not excluded:
                self.problem("exclude", f"{dict(pattern)!r} is no combination of the matrix")
            kept = [row for row in kept if row not in excluded]
        return kept

    def _chosen(self, key: str, pattern: Mapping[Any, Any]) -> list[_Value] | None:
        """The values that a pattern names, by themselves or by their ids."""
        chosen = []
        for axis, text in pattern.items():
            values = self._axes.get(str(axis), [])
            fitting = [value for value in values if value.is_meant_by(text)]
            if not fitting:
                known = ", ".join(value.label for value in values)
                what = f"{text!r} is not in the matrix; there are: {known}"
                if not values:
                    what = f"{axis!r} is no axis of the matrix; these are: {', '.join(self._axes)}"
                self.problem(f"{key}.{axis}", what)
                return None
            chosen += fitting
        return chosen

    def more(self, include: Any) -> list[_Row]:
        rows = []
        for entry in self._entries("include", include):
            row = [self._included(str(axis), text) for axis, text in entry.items()]
            if None not in row:
                rows.append(tuple(value for value in row if value is not None))
        return rows

    def _included(self, axis: str, text: Any) -> _Value | None:
        for value in self._axes.get(axis, ()):
            if value.is_meant_by(text):
                return value
        return self._value(axis, text, None, f"include.{axis}")

    def _entries(self, key: str, value: Any) -> list[Mapping[Any, Any]]:
        if isinstance(value, (list, tuple)) and all(isinstance(e, Mapping) and e for e in value):
            return list(value)
        self.problem(key, f"{value!r} is not a list of mappings of axes to values")
        return []


def _requirement(axis: str, raw: str) -> str:
    if raw.startswith("@"):
        return f"{axis} {raw}"
    if raw == "*":
        return axis
    return f"{axis}{raw}" if raw[0] in "<>=!~" else f"{axis}=={raw}"


def _cell(row: _Row) -> Cell:
    fields: dict[str, Any] = {}
    for value in row:
        if value.axis in _FIELDS:
            fields[value.axis] = value.raw
        elif value.axis in _ENTRIES:
            fields.setdefault(_ENTRIES[value.axis], []).append(value.raw)
        elif value.axis.startswith(_VARIABLE):
            fields.setdefault("env", {})[value.axis.removeprefix(_VARIABLE)] = value.raw
        else:
            requirement = _requirement(value.axis, value.raw)
            fields.setdefault("dependencies", []).append(requirement)
    return Cell("-".join(value.label for value in row), fields)
