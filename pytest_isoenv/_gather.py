"""The files that declare environments -> what each name is declared to be, unread."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_isoenv import _matrix
from pytest_isoenv._fields import FIELDS
from pytest_isoenv._reading import UnreadableError, read_toml, read_yaml
from pytest_isoenv._values import Surroundings
from pytest_isoenv.errors import Problem

#: The reserved name for "run it here, in the interpreter that runs pytest".
HOST = "host"
YAML_NAME = "isoenv.yaml"
_TOML_NAME = "pyproject.toml"
_TOP_KEYS = ("environments", "default", "include")


@dataclasses.dataclass(frozen=True)
class Declared:
    """One name's declaration: the file that it stands in, what lies around that, its fields."""

    name: str
    where: str
    around: Surroundings
    fields: Mapping[str, Any]

    @property
    def spot(self) -> str:
        """Where it stands, for messages."""
        return f"{self.where}.environments.{self.name}"

    @property
    def is_family(self) -> bool:
        """Whether it stands for several environments."""
        return any(key in self.fields for key in _matrix.KEYS)


class Gatherer:
    """Gathers the tables of several files into one, and what is wrong with them."""

    def __init__(self, root: Path, backends: frozenset[str]) -> None:
        self.problems: list[Problem] = []
        self._root = root
        self._backends = backends
        self._surroundings: dict[str, Surroundings] = {}
        self._read: set[Path] = set()
        self.declared: dict[str, Declared] = {}
        self.default: tuple[str, str] = (HOST, "")
        self.around = self._around("")

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    # Files

    def read_directory(self) -> None:
        """What the rootdir's own two files declare, and the files that they include."""
        self._read_file(self._root / _TOML_NAME)
        self._read_file(self._root / YAML_NAME)

    def _read_file(self, path: Path) -> None:
        if path.resolve() in self._read:
            return
        self._read.add(path.resolve())
        home = os.path.relpath(path.parent, self._root).replace(os.sep, "/")
        where = os.path.relpath(path, self._root).replace(os.sep, "/")
        around = self._around("" if home == "." else home)
        if path.suffix == ".toml":
            tool = self._table(self._toml(path, where), "tool", where)
            if path.name != _TOML_NAME and "isoenv" not in tool:
                # A project's own file may well declare nothing; this one was meant to.
                self._problem(where, "it has no table [tool.isoenv]")
            self.add(f"{where} [tool.isoenv]", around, tool.get("isoenv", {}))
        else:
            self.add(where, around, self._content(read_yaml, path, where))

    def _content(self, read: Callable[[Path], Any], path: Path, where: str) -> Any:
        try:
            return read(path)
        except UnreadableError as error:
            self._problem(where, str(error))
            return {}

    def _toml(self, path: Path, where: str) -> dict[str, Any]:
        loaded: dict[str, Any] = self._content(read_toml, path, where)
        return loaded

    def _around(self, home: str) -> Surroundings:
        if home not in self._surroundings:
            where = f"{home}/{_TOML_NAME}".removeprefix("/")
            known = len(self.problems)
            pyproject = self._toml(self._root / where, where)
            self._surroundings[home] = self._project_of(home, where, pyproject)
            if len(self.problems) > known and not pyproject:
                self._read.add((self._root / where).resolve())  # it is unreadable, and that is said
        return self._surroundings[home]

    def _project_of(self, home: str, where: str, pyproject: Mapping[str, Any]) -> Surroundings:
        project = self._table(pyproject, "project", where)
        optional = self._table(project, "optional-dependencies", f"{where} [project]")
        groups = self._table(pyproject, "dependency-groups", where)
        dynamic = project.get("dynamic", [])
        if not isinstance(dynamic, list):
            self._problem(f"{where} [project] dynamic", f"{dynamic!r} is not a list")
            dynamic = []
        reasons = _wrong_with(groups) if groups else ""
        if reasons:
            self._problem(f"{where} [dependency-groups]", reasons)
            groups = {}
        computed = "project" not in pyproject or "optional-dependencies" in dynamic
        has_project = (
            "project" in pyproject
            or "build-system" in pyproject
            or (self._root / home / "setup.py").is_file()
        )
        known = frozenset(str(canonicalize_name(name)) for name in optional)
        return Surroundings(
            root=self._root,
            home=home,
            has_project=has_project,
            extras=None if computed and has_project else known,
            groups=groups,
            backends=self._backends,
        )

    def _table(self, parent: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
        value = parent.get(key, {})
        if isinstance(value, Mapping):
            return value
        self._problem(f"{where} {key}", f"{value!r} is not a table")
        return {}

    # Tables

    def add(self, where: str, around: Surroundings, table: Any) -> None:
        if not isinstance(table, Mapping):
            self._problem(where, f"{table!r} is not a mapping of keys to values")
            return
        for key in table:
            if key not in _TOP_KEYS:
                known = ", ".join(_TOP_KEYS)
                inside = f" outside an environment ({where}.environments.NAME.{key})"
                told = f"unknown key {key!r}{inside if key in FIELDS else ''}"
                self._problem(where, f"{told}; the keys are: {known}")
        if "default" in table:
            self._add_default(where, table["default"])
        environments = {} if table.get("environments") is None else table["environments"]
        if isinstance(environments, Mapping):
            for name, fields in environments.items():
                self._add_environment(where, around, name, {} if fields is None else fields)
        else:
            what = f"{environments!r} is not a mapping of names to declarations"
            self._problem(f"{where}.environments", what)
        self._include(where, around, table.get("include", ()))

    def _include(self, where: str, around: Surroundings, patterns: Any) -> None:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        if not isinstance(patterns, (list, tuple)):
            self._problem(f"{where}.include", f"{patterns!r} is not a list of globs")
            return
        for pattern in patterns:
            for path in self._included(f"{where}.include", around, pattern):
                self._read_file(path)

    def _included(self, where: str, around: Surroundings, pattern: Any) -> list[Path]:
        if not isinstance(pattern, str):
            self._problem(where, f"{pattern!r} is not a relative glob")
            return []
        try:
            found = sorted(around.directory.glob(pattern))
        except (ValueError, NotImplementedError) as error:  # empty, or absolute
            self._problem(where, f"{pattern!r} is not a relative glob: {error}")
            return []
        if not found:
            self._problem(where, f"{pattern!r} matches no file below {around.directory}")
        strange = [path for path in found if path.suffix not in (".yaml", ".yml", ".toml")]
        for path in strange:
            what = f"{str(path.relative_to(around.directory))!r} is neither a YAML nor a TOML file"
            self._problem(where, what)
        return [path for path in found if path not in strange]

    def _add_default(self, where: str, value: Any) -> None:
        if not isinstance(value, str):
            self._problem(f"{where}.default", f"{value!r} is not the name of an environment")
            return
        if self.default[1] and self.default[0] != value:
            other = f"{self.default[0]!r} in {self.default[1]}"
            self._problem(f"{where}.default", f"{value!r} contradicts {other}")
        self.default = (value, where)

    def _add_environment(self, where: str, around: Surroundings, name: Any, fields: Any) -> None:
        spot = f"{where}.environments.{name}"
        known = self.declared.get(name) if isinstance(name, str) else None
        if not isinstance(name, str) or not _is_name(name):
            self._problem(spot, f"{name!r} is not a name made of letters, digits, '.', '_', '-'")
        elif name == HOST:
            self._problem(spot, f"{HOST!r} is reserved for the interpreter that runs pytest")
        elif not isinstance(fields, Mapping):
            self._problem(spot, f"{fields!r} is not a mapping of keys to values")
        elif known is None:
            self.declared[name] = Declared(name, where, around, fields)
        elif known.fields != fields:
            self._problem(spot, f"{name!r} is declared with other content in {known.where}")


def _wrong_with(groups: Mapping[str, Any]) -> str:
    # Only projects with groups pay for it.
    from packaging.dependency_groups import DependencyGroupResolver
    from packaging.errors import ExceptionGroup

    try:
        DependencyGroupResolver(groups)
    except ExceptionGroup as error:
        return "; ".join(str(reason) for reason in error.exceptions)
    return ""


def _is_name(name: str) -> bool:
    return bool(name) and all(letter.isalnum() or letter in "._-" for letter in name)
