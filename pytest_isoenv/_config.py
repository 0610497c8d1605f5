"""What a project declares, checked: :class:`Declarations`, and how to get them.

Everything wrong is gathered and raised at once, before anything is built.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._fields import Surroundings, choices
from pytest_isoenv._gather import HOST, Gatherer
from pytest_isoenv._inherit import Inheritance, implied_base
from pytest_isoenv.errors import ConfigError, Problem
from pytest_isoenv.spec import EnvName, EnvSpec, Layer, combine

__all__ = ["HOST", "Declarations", "is_glob", "load"]


@dataclasses.dataclass(frozen=True)
class Declarations:
    """Everything a project declares; a valid instance is the proof that it was checked.

    ``stacks`` holds each environment that can be built: the layers that it is made of, lowest
    precedence first, without ``base``. ``families`` holds the names of a matrix's environments
    by the name of their declaration. ``origins`` says for each name which file declares it,
    ``parts`` what each of its layers is called.
    """

    around: Surroundings
    base: Layer
    stacks: Mapping[str, tuple[Layer, ...]]
    standalone: frozenset[str]
    families: Mapping[str, tuple[EnvName, ...]] = dataclasses.field(default_factory=dict)
    default: str = HOST
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> list[EnvName]:
        """The names of the declared environments, in the order of their declaration."""
        return [EnvName(name) for name in self.stacks]

    def select(self, text: str) -> list[EnvName]:
        """The environments that a name, the beginning of names up to a ``-``, or a glob means."""
        if text in self.stacks:
            return [EnvName(text)]
        if text in self.families:
            return list(self.families[text])
        if is_glob(text):
            return [name for name in self.names if fnmatch.fnmatchcase(name, text)]
        return [name for name in self.names if name.startswith(f"{text}-")]

    def spec(self, name: str | None, *closer: Layer) -> EnvSpec:
        """The environment ``name`` (None: base alone) with closer layers, a marker's, on top."""
        layers = [] if name in self.standalone else [self.base]
        layers += [*self.stacks[name]] if name is not None else []
        layers += closer
        beneath = dict.fromkeys(entry for layer in layers for entry in layer.layers)
        return combine(layers, [self.spec(entry) for entry in beneath])


def is_glob(text: str) -> bool:
    """Whether a text has signs that stand for others."""
    return any(sign in text for sign in "*?[")


def load(
    root: Path, backends: Iterable[str] = ("uv",), from_plugins: Iterable[Any] = ()
) -> Declarations:
    """Read the declarations of the project at ``root``.

    ``backends`` are the names of those installed, ``from_plugins`` tables of environments that
    plugins declare.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` with every problem of every file.
    """
    gathered = Gatherer(root, frozenset(backends))
    gathered.read_directory()
    for environments in from_plugins:
        gathered.add("a plugin", gathered.around, {"environments": environments})
    inherited = Inheritance(gathered.declared)
    inherited.read()
    implied, problems = implied_base(gathered.around) if inherited.base is None else (None, [])
    declarations = Declarations(
        around=gathered.around,
        base=inherited.base or implied or Layer(),
        stacks=inherited.stacks,
        standalone=frozenset(inherited.standalone),
        families=inherited.families,
        default=gathered.default[0],
        origins=inherited.origins,
        parts=inherited.parts,
    )
    problems = [*gathered.problems, *inherited.problems, *problems]
    problems += _unknown_default(declarations, gathered.default[1])
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return declarations


def _unknown_default(declarations: Declarations, where: str) -> list[Problem]:
    default = declarations.default
    if default == HOST or declarations.select(default):
        return []
    known = choices(default, [HOST, *declarations.stacks, *declarations.families])
    return [Problem(f"{where}.default", f"{default!r} is not declared; there are: {known}")]
