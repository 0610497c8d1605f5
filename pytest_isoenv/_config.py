"""What a project declares in pyproject.toml and ``isoenv.yaml``, read and checked.

The only module that reads YAML and project TOML. Everything wrong is gathered and raised at once,
before anything is built.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.dependency_groups import DependencyGroupResolver
from packaging.errors import ExceptionGroup
from packaging.utils import canonicalize_name

from pytest_isoenv._fields import Surroundings, choices, parse_layer
from pytest_isoenv.errors import ConfigError, Problem
from pytest_isoenv.spec import EnvName, EnvSpec, Layer, combine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The reserved name for "run it here, in the interpreter that runs pytest".
HOST = "host"
BASE = "base"
YAML_NAME = "isoenv.yaml"
_TOP_KEYS = ("environments", "default")


@dataclasses.dataclass(frozen=True)
class Declarations:
    """Everything a project declares; a valid instance is the proof that it was checked.

    ``layers`` holds each declared environment by name without ``base``, which ``base`` holds.
    ``origins`` says for each name which file declares it.
    """

    around: Surroundings
    base: Layer
    layers: Mapping[str, Layer]
    standalone: frozenset[str]
    default: str
    origins: Mapping[str, str]

    @property
    def names(self) -> list[EnvName]:
        """The names of the declared environments, in the order of their declaration."""
        return [EnvName(name) for name in self.layers]

    def spec(self, name: str | None, *closer: Layer) -> EnvSpec:
        """The environment ``name`` (None: base alone) with closer layers, a marker's, on top."""
        layers = [] if name in self.standalone else [self.base]
        layers += [self.layers[name]] if name is not None else []
        return combine([*layers, *closer])


def load(
    root: Path, backends: Iterable[str] = ("uv",), from_plugins: Iterable[Any] = ()
) -> Declarations:
    """Read the declarations of the project at ``root``.

    ``backends`` are the names of those installed, ``from_plugins`` tables of environments that
    plugins declare.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` with every problem of every file.
    """
    problems: list[Problem] = []
    pyproject = _read_toml(root / "pyproject.toml", problems)
    around = _surroundings(root, pyproject, frozenset(backends), problems)
    tool = _table(pyproject, "tool", "pyproject.toml", problems)
    tables = [
        ("pyproject.toml [tool.isoenv]", tool.get("isoenv", {})),
        (YAML_NAME, _read_yaml(root / YAML_NAME, problems)),
    ]
    tables += [("a plugin", {"environments": environments}) for environments in from_plugins]
    declared = _Declared(around)
    for where, table in tables:
        declared.add(where, table)
    declarations = declared.finish()
    problems += declared.problems
    if problems:
        raise ConfigError(problems)
    return declarations


class _Declared:
    """Gathers the tables of several files into one, and what is wrong with them."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.problems: list[Problem] = []
        self.raw: dict[str, Any] = {}
        self.layers: dict[str, Layer] = {}
        self.origins: dict[str, str] = {}
        self.standalone: set[str] = set()
        self.default: tuple[str, str] = (HOST, "")

    def add(self, where: str, table: Any) -> None:
        if not isinstance(table, Mapping):
            self._problem(where, f"{table!r} is not a mapping of keys to values")
            return
        for key in table:
            if key not in _TOP_KEYS:
                self._problem(where, f"unknown key {key!r}; the keys are: {', '.join(_TOP_KEYS)}")
        if "default" in table:
            self._add_default(where, table["default"])
        environments = {} if table.get("environments") is None else table["environments"]
        if not isinstance(environments, Mapping):
            what = f"{environments!r} is not a mapping of names to declarations"
            self._problem(f"{where}.environments", what)
            return
        for name, fields in environments.items():
            self._add_environment(where, name, {} if fields is None else fields)

    def _add_default(self, where: str, value: Any) -> None:
        if not isinstance(value, str):
            self._problem(f"{where}.default", f"{value!r} is not the name of an environment")
            return
        if self.default[1] and self.default[0] != value:
            other = f"{self.default[0]!r} in {self.default[1]}"
            self._problem(f"{where}.default", f"{value!r} contradicts {other}")
        self.default = (value, where)

    def _add_environment(self, where: str, name: Any, fields: Any) -> None:
        spot = f"{where}.environments.{name}"
        if not isinstance(name, str) or not _is_name(name):
            self._problem(spot, f"{name!r} is not a name made of letters, digits, '.', '_', '-'")
        elif name == HOST:
            self._problem(spot, f"{HOST!r} is reserved for the interpreter that runs pytest")
        elif not isinstance(fields, Mapping):
            self._problem(spot, f"{fields!r} is not a mapping of keys to values")
        elif name in self.raw and self.raw[name] != fields:
            other = self.origins[name]
            self._problem(spot, f"{name!r} is declared with other content in {other}")
        else:
            self._parse(where, spot, name, dict(fields))

    def _parse(self, where: str, spot: str, name: str, fields: dict[str, Any]) -> None:
        self.raw[name] = dict(fields)
        self.origins[name] = where
        if name != BASE and "base" in fields:
            inherits = fields.pop("base")
            if inherits is not False:
                what = f"{inherits!r}: base is inherited; say false, or drop the key"
                self._problem(f"{spot}.base", what)
            self.standalone.add(name)
        layer, problems = parse_layer(fields, spot, self.around)
        self.layers[name] = layer
        self.problems += problems

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))

    def finish(self) -> Declarations:
        layers = {name: layer for name, layer in self.layers.items() if name != BASE}
        default, where = self.default
        if default != HOST and default not in layers:
            known = choices(default, [HOST, *layers])
            self._problem(f"{where}.default", f"{default!r} is not declared; there are: {known}")
        base = self.layers[BASE] if BASE in self.layers else self._implied_base()
        return Declarations(
            around=self.around,
            base=base,
            layers=layers,
            standalone=frozenset(self.standalone),
            default=default,
            origins={name: self.origins[name] for name in layers},
        )

    def _implied_base(self) -> Layer:
        """What every environment has where no ``base`` is declared: the project and its tests'."""
        if not self.around.has_project:
            return Layer()
        groups = {str(canonicalize_name(group)): group for group in self.around.groups}
        for name in ("test", "tests"):
            if name in groups:
                where = "pyproject.toml [dependency-groups]"
                layer, problems = parse_layer({"groups": [groups[name]]}, where, self.around)
                self.problems += problems
                return dataclasses.replace(layer, project="editable")
            if name in (self.around.extras or ()):
                return Layer(project="editable", extras=(name,))
        return Layer(project="editable")


def _is_name(name: str) -> bool:
    return bool(name) and all(letter.isalnum() or letter in "._-" for letter in name)


def _surroundings(
    root: Path, pyproject: Mapping[str, Any], backends: frozenset[str], problems: list[Problem]
) -> Surroundings:
    project = _table(pyproject, "project", "pyproject.toml", problems)
    optional = _table(project, "optional-dependencies", "pyproject.toml [project]", problems)
    groups = _table(pyproject, "dependency-groups", "pyproject.toml", problems)
    dynamic = project.get("dynamic", [])
    if not isinstance(dynamic, list):
        problems.append(Problem("pyproject.toml [project] dynamic", f"{dynamic!r} is not a list"))
        dynamic = []
    try:
        DependencyGroupResolver(groups)
    except ExceptionGroup as error:
        reasons = "; ".join(str(reason) for reason in error.exceptions)
        problems.append(Problem("pyproject.toml [dependency-groups]", reasons))
        groups = {}
    computed = "project" not in pyproject or "optional-dependencies" in dynamic
    has_project = (
        "project" in pyproject or "build-system" in pyproject or (root / "setup.py").is_file()
    )
    return Surroundings(
        root=root,
        has_project=has_project,
        extras=None
        if computed and has_project
        else frozenset(str(canonicalize_name(name)) for name in optional),
        groups=groups,
        backends=backends,
    )


def _table(
    parent: Mapping[str, Any], key: str, where: str, problems: list[Problem]
) -> Mapping[str, Any]:
    value = parent.get(key, {})
    if isinstance(value, Mapping):
        return value
    problems.append(Problem(f"{where} {key}", f"{value!r} is not a table"))
    return {}


def _read_toml(path: Path, problems: list[Problem]) -> dict[str, Any]:
    text = _read(path, problems)
    try:
        loaded: dict[str, Any] = tomllib.loads(text)
        return loaded
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(path.name, f"is not valid TOML: {error}"))
        return {}


def _read_yaml(path: Path, problems: list[Problem]) -> Any:
    text = _read(path, problems)
    if not text.strip():
        return {}
    import yaml  # only projects that have the file pay for it

    class UniqueKeys(yaml.SafeLoader):
        """YAML 1.1 lets a later key silently replace an earlier one; a declaration must not."""

        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            keys = [self.construct_object(key, deep=True) for key in own]
            for key in keys:
                if keys.count(key) > 1:
                    line = node.start_mark.line + 1
                    raise yaml.YAMLError(f"the key {key!r} stands twice below line {line}")
            return super().construct_mapping(node, deep=deep)

    try:
        loaded = yaml.load(text, Loader=UniqueKeys)
    except yaml.YAMLError as error:
        problems.append(Problem(path.name, f"is not valid YAML: {' '.join(str(error).split())}"))
        return {}
    return {} if loaded is None else loaded


def _read(path: Path, problems: list[Problem]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(path.name, f"cannot be read: {error}"))
        return ""
