"""Reading one request: the arguments of ``@pytest.mark.env`` and of the ``isoenv`` factory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement

from pytest_isoenv import _matrix
from pytest_isoenv._config import HOST, Declarations, is_glob
from pytest_isoenv._fields import FIELDS, parse_layer
from pytest_isoenv._mentions import unite_requirements
from pytest_isoenv._shares import Layer
from pytest_isoenv._texts import is_bare_word, is_path, names_a_path
from pytest_isoenv._values import InvalidValueError, choices
from pytest_isoenv._values.requirements import requirement
from pytest_isoenv.errors import ConfigError, Problem
from pytest_isoenv.spec import EnvName, EnvSpec

# What a mark may have beside its positional arguments, in Python's spelling.
_KEYWORDS = ("id", "deps", *_matrix.KEYS, *(key.replace("-", "_") for key in FIELDS))


@dataclasses.dataclass(frozen=True)
class Request:
    """What one marker asks for.

    ``id`` is the part of node ids that tells variants apart, and the environment's name in
    reports. ``spec`` is None for :data:`~pytest_isoenv._config.HOST`: run it here.
    """

    name: EnvName
    spec: EnvSpec | None

    def __hash__(self) -> int:
        """The name's alone, for it is asked of every item, and a spec has a lot to it."""
        return hash(self.name)

    @property
    def id(self) -> str:
        """The variant's part of a node id."""
        return self.name


def read_requests(
    args: Sequence[Any], fields: Mapping[str, Any], where: str, declarations: Declarations
) -> tuple[list[Request], list[Problem]]:
    """Check a marker's arguments: what it asks for, or else everything that is wrong with them.

    A matrix, and a name that several declared environments share, ask for several.
    """
    reader = _Reader(where, declarations)
    requests = reader.requests(args, fields)
    return ([], reader.problems) if reader.problems else (requests, [])


def requested(
    args: Sequence[Any], fields: Mapping[str, Any], where: str, declarations: Declarations
) -> tuple[EnvName, EnvSpec]:
    """What a marker's arguments ask for where that must be one environment; raises ConfigError."""
    requests, problems = read_requests(args, fields, where, declarations)
    if problems:
        raise ConfigError(problems)
    if len(requests) > 1:
        names = ", ".join(request.name for request in requests)
        what = f"one environment is expected here, and these are {len(requests)}: {names}"
        raise ConfigError([Problem(where, what)])
    (request,) = requests
    if request.spec is None:
        what = "the host is no environment of its own; sys.executable is its Python"
        raise ConfigError([Problem(where, what)])
    return request.name, request.spec


class _Reader:
    """Reads the arguments of one marker; what is wrong gathers in :attr:`problems`."""

    def __init__(self, where: str, declarations: Declarations) -> None:
        self.problems: list[Problem] = []
        self._where = where
        self._declarations = declarations

    def requests(self, args: Sequence[Any], fields: Mapping[str, Any]) -> list[Request]:
        """What is asked for; meaningless once something is wrong."""
        keywords = dict(fields)
        given_id = self._id(keywords.pop("id", None))
        matrix = {key: keywords.pop(key) for key in _matrix.KEYS if key in keywords}
        layer = self._layer(keywords)
        named, requirements = self._positional(args)
        if not args and not fields:
            self._problem("env() needs a requirement, a declared name, or a field")
        if HOST in named and (len(args) > 1 or keywords or matrix):
            self._problem(f"{HOST!r} stands alone: nothing can be added to it")
        if len(named) > 1:
            self._problem(f"one environment at a time, not {' and '.join(named)}")
        cells = self._cells(given_id or "".join(named), matrix)
        if self.problems:
            return []
        if named == [HOST]:
            return [Request(EnvName(given_id or HOST), None)]
        both = unite_requirements([*layer.requirements, *requirements])
        closer = dataclasses.replace(layer, requirements=both)
        found = self._chosen(named, given_id, closer, cells)
        for request in found:
            if request.spec is not None:
                self.problems += self._declarations.refusals(request.spec, self._where)
        return found

    def _chosen(
        self,
        named: Sequence[str],
        given_id: str | None,
        closer: Layer,
        cells: Sequence[tuple[str, Layer]],
    ) -> list[Request]:
        """A request for each environment that is named, and each cell of the marker's matrix."""
        names = self._declarations.select(named[0]) if named else [None]
        found = []
        for name in names:
            own = [] if name is None else [name]
            # Of several, what tells one apart follows the given id.
            ending = name.removeprefix(f"{named[0]}-") if name and len(names) > 1 else ""
            for cell, layer in cells:
                says_something = own or closer != Layer() or not cell
                first = given_id or (derive_name(own, closer) if says_something else "")
                parts = [first, ending if given_id else "", cell]
                spec = self._declarations.spec(name, closer, layer)
                found.append(Request(EnvName("-".join(filter(None, parts))), spec))
        return found

    def _problem(self, what: str, key: str = "") -> None:
        self.problems.append(Problem(f"{self._where}.{key}" if key else self._where, what))

    def _id(self, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not value or re.search(r"\s|::|[\[\]]", value):
            self._problem(f"{value!r} is not a text without spaces, '::', [ ]", "id")
            return None
        return value

    def _layer(self, keywords: Mapping[str, Any]) -> Layer:
        """The fields of a marker: those of the config, in Python's spelling."""
        config_spelling: dict[str, Any] = {}
        for key, value in keywords.items():
            known_as = "dependencies" if key == "deps" else key.replace("_", "-")
            if known_as in config_spelling:
                self._problem(f"{known_as!r} is given twice", key)
            if known_as in FIELDS:
                config_spelling[known_as] = value
            else:
                self._problem(f"unknown key {key!r}; the keys are: {choices(key, _KEYWORDS)}")
        layer, problems = parse_layer(config_spelling, self._where, self._declarations.around)
        self.problems += problems
        for name in layer.layers:
            if name not in self._declarations.stacks:
                known = choices(name, self._declarations.stacks)
                what = f"{name!r} is not a declared environment; there are: {known}"
                self._problem(what, "layers")
            elif self._declarations.unlocked(name).beneath:
                what = f"{name!r} has layers itself; only one fits below"
                self._problem(what, "layers")
        return layer

    def _cells(self, family: str, matrix: Mapping[str, Any]) -> list[tuple[str, Layer]]:
        if not matrix:
            return [("", Layer())]
        cells, problems = _matrix.cells(family, matrix, self._where)
        self.problems += problems
        found = []
        for cell in cells:
            spot = f"{self._where}.matrix"
            layer, problems = parse_layer(cell.fields, spot, self._declarations.around)
            self.problems += problems
            found.append((cell.name, layer))
        return found

    def _positional(self, args: Sequence[Any]) -> tuple[list[str], list[str]]:
        named, requirements = [], []
        for arg in args:
            if not isinstance(arg, str):
                self._problem(f"{arg!r} is neither a requirement nor a name")
            elif arg == HOST or self._declarations.select(arg):
                named.append(arg)
            elif is_bare_word(arg):
                self._problem(self._unknown_name(arg))
            else:
                try:
                    requirements.append(requirement(arg, self._declarations.around))
                except InvalidValueError as error:
                    self._problem(self._unknown_name(arg) if is_glob(arg) else str(error))
        return named, requirements

    def _unknown_name(self, word: str) -> str:
        known = choices(word, [*self._declarations.stacks, *self._declarations.families])
        if is_glob(word):
            return f"{word!r} fits no declared environment; declared are: {known}"
        return (
            f"{word!r} is not a declared environment; declared are: {known}. "
            f"For any version of a package of that name write deps=[{word!r}]"
        )


def derive_name(named: Sequence[str], layer: Layer) -> str:
    """A readable id from what was asked for: ``requests-2.28.2``, ``old+py3.9``."""
    parts = list(named)
    parts += [_label(text) for text in layer.requirements]
    parts += [_path_label(path) for path in layer.local]
    parts += [_path_label(layer.lock)] if layer.lock else []
    parts += [_python_label(layer.python)] if layer.python else []
    # Not the values: they may be secrets, and ids are everywhere.
    parts += [name for name, _ in layer.variables if not parts]
    return re.sub(r"\s|::|[\[\]]", "_", "+".join(parts)) or "env"


def _path_label(path: str) -> str:
    stem = path.partition("[")[0].replace("\\", "/").rstrip("/").rpartition("/")[2]
    if stem.endswith(".whl"):
        return "-".join(stem.split("-")[:2])  # PEP 427: name, version, then tags
    return stem.removesuffix(".toml").strip(".") or "here"


def _label(text: str) -> str:
    if is_path(text):
        return _path_label(text)
    parsed = Requirement(text)
    versions = str(parsed.specifier)
    if versions.startswith("==") and "," not in versions:
        versions = "-" + versions.removeprefix("==").removesuffix(".*")
    extras = f"({'+'.join(sorted(parsed.extras))})" if parsed.extras else ""
    return f"{parsed.name}{extras}{versions}"


def _python_label(python: str) -> str:
    if names_a_path(python):
        return _path_label(python)
    return python if python[0].isalpha() else f"py{python}"
