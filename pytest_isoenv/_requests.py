"""Reading one request: the arguments of ``@pytest.mark.env`` and of the ``isoenv`` factory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement

from pytest_isoenv import _matrix
from pytest_isoenv._config import HOST, Declarations, is_glob
from pytest_isoenv._fields import InvalidValueError, choices, parse_layer, requirement
from pytest_isoenv._python_request import names_a_path
from pytest_isoenv.errors import ConfigError, Problem
from pytest_isoenv.spec import EnvName, EnvSpec, Layer, is_bare_word, is_path, unite_requirements


@dataclasses.dataclass(frozen=True)
class Request:
    """What one marker asks for.

    ``id`` is the part of node ids that tells variants apart, and the environment's name in
    reports. ``spec`` is None for :data:`~pytest_isoenv._config.HOST`: run it here.
    """

    name: EnvName
    spec: EnvSpec | None

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
    keywords = dict(fields)
    problems: list[Problem] = []
    given_id = _read_id(keywords.pop("id", None), where, problems)
    matrix = {key: keywords.pop(key) for key in _matrix.KEYS if key in keywords}
    layer = _read_layer(keywords, where, declarations, problems)
    named, requirements = _read_positional(args, where, declarations, problems)
    if not args and not fields:
        problems.append(Problem(where, "env() needs a requirement, a declared name, or a field"))
    if HOST in named and (len(args) > 1 or keywords or matrix):
        problems.append(Problem(where, f"{HOST!r} stands alone: nothing can be added to it"))
    if len(named) > 1:
        problems.append(Problem(where, f"one environment at a time, not {' and '.join(named)}"))
    cells = _read_cells(given_id or "".join(named), matrix, where, declarations, problems)
    if problems:
        return [], problems
    if named == [HOST]:
        return [Request(EnvName(given_id or HOST), None)], []
    closer = dataclasses.replace(
        layer, requirements=unite_requirements([*layer.requirements, *requirements])
    )
    chosen = declarations.select(named[0]) if named else [None]
    parts = [
        _Part(name, given_id if len(chosen) == 1 else _in_family(given_id, named, name), *cell)
        for name in chosen
        for cell in cells
    ]
    requests = [part.request(declarations, closer) for part in parts]
    problems = [
        problem
        for request in requests
        if request.spec is not None
        for problem in declarations.refusals(request.spec, where)
    ]
    return ([], problems) if problems else (requests, [])


def _in_family(given_id: str | None, named: Sequence[str], name: str | None) -> str | None:
    """The id of one of several environments: what tells it apart follows the given id."""
    if given_id is None or name is None:
        return given_id
    return f"{given_id}-{name.removeprefix(f'{named[0]}-')}"


@dataclasses.dataclass(frozen=True)
class _Part:
    """One of the environments that a marker asks for: of a name, with an id, of a matrix's cell."""

    name: EnvName | None
    given_id: str | None
    cell: str
    layer: Layer

    def request(self, declarations: Declarations, closer: Layer) -> Request:
        spec = declarations.spec(self.name, closer, self.layer)
        named = [self.name] if self.name is not None else []
        says_something = named or closer != Layer() or not self.cell
        derived = derive_name(named, closer) if says_something else ""
        first = self.given_id if self.given_id is not None else derived
        return Request(EnvName("-".join(filter(None, [first, self.cell]))), spec)


def _read_cells(
    family: str,
    matrix: Mapping[str, Any],
    where: str,
    declarations: Declarations,
    problems: list[Problem],
) -> list[tuple[str, Layer]]:
    if not matrix:
        return [("", Layer())]
    cells, wrong = _matrix.cells(family, matrix, where)
    problems += wrong
    found = []
    for cell in cells:
        layer, wrong = parse_layer(cell.fields, f"{where}.matrix", declarations.around)
        problems += wrong
        found.append((cell.name, layer))
    return found


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


def _read_id(value: Any, where: str, problems: list[Problem]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or re.search(r"\s|::|[\[\]]", value):
        problems.append(
            Problem(f"{where}.id", f"{value!r} is not a text without spaces, '::', [ ]")
        )
        return None
    return value


def _read_layer(
    keywords: dict[str, Any], where: str, declarations: Declarations, problems: list[Problem]
) -> Layer:
    """The fields of a marker: those of the config, in Python's spelling."""
    config_spelling: dict[str, Any] = {}
    for key, value in keywords.items():
        known_as = "dependencies" if key == "deps" else key.replace("_", "-")
        if known_as in config_spelling:
            problems.append(Problem(f"{where}.{key}", f"{known_as!r} is given twice"))
        config_spelling[known_as] = value
    layer, found = parse_layer(config_spelling, where, declarations.around, ("id", *_matrix.KEYS))
    for name in layer.layers:
        if name not in declarations.stacks:
            known = choices(name, declarations.stacks)
            what = f"{name!r} is not a declared environment; there are: {known}"
            found.append(Problem(f"{where}.layers", what))
    problems += found
    return layer


def _read_positional(
    args: Sequence[Any], where: str, declarations: Declarations, problems: list[Problem]
) -> tuple[list[str], list[str]]:
    named, requirements = [], []
    for arg in args:
        if not isinstance(arg, str):
            problems.append(Problem(where, f"{arg!r} is neither a requirement nor a name"))
        elif arg == HOST or declarations.select(arg):
            named.append(arg)
        elif is_bare_word(arg):
            problems.append(Problem(where, _unknown_name(arg, declarations)))
        else:
            try:
                requirements.append(requirement(arg, declarations.around))
            except InvalidValueError as error:
                what = _unknown_name(arg, declarations) if is_glob(arg) else str(error)
                problems.append(Problem(where, what))
    return named, requirements


def _unknown_name(word: str, declarations: Declarations) -> str:
    known = choices(word, [*declarations.stacks, *declarations.families])
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
