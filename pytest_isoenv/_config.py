"""What a project declares, checked: :class:`Declarations`, and how to get them.

Everything wrong is gathered and raised at once, before anything is built.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_isoenv import _locks
from pytest_isoenv._gather import HOST, Gatherer
from pytest_isoenv._inherit import Inheritance, implied_base
from pytest_isoenv._values import Surroundings, choices
from pytest_isoenv.errors import ConfigError, Problem
from pytest_isoenv.spec import EnvName, EnvSpec, Layer, combine

__all__ = ["HOST", "Declarations", "is_glob", "load"]


#: Tells what of an environment its backend cannot do.
Unsupported = Callable[[EnvSpec], Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Declarations:
    """Everything a project declares; a valid instance is the proof that it was checked.

    ``stacks`` holds each environment that can be built: the layers that it is made of, lowest
    precedence first, without ``base``. ``families`` holds the names of a matrix's environments
    by the name of their declaration, ``locks`` the lock file of each that has one. ``origins``
    says for each name which file declares it, ``parts`` what each of its layers is called.
    """

    around: Surroundings
    base: Layer
    stacks: Mapping[str, tuple[Layer, ...]]
    standalone: frozenset[str]
    families: Mapping[str, tuple[EnvName, ...]] = dataclasses.field(default_factory=dict)
    locks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    default: str = HOST
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unsupported: Unsupported = lambda spec: ()
    _declared: dict[str | None, EnvSpec] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

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
        """The environment ``name`` (None: base alone) with closer layers, a marker's, on top.

        Its lock holds where those ask for nothing else to be installed.
        """
        spec = self.unlocked(name, *closer)
        path = self.locks.get(name or "")
        if path is None or spec.lock is not None:
            return spec
        asked_alike = not closer or spec.installs_like(self.unlocked(name))
        return dataclasses.replace(spec, lock=path) if asked_alike else spec

    def refusals(self, spec: EnvSpec, where: str) -> list[Problem]:
        """What of an environment cannot be done, as problems of the place ``where``.

        Its backend may not be able to; or its lock leads out of the project.
        """
        by_backend = [
            f"the backend {spec.backend!r} cannot do this: {what}"
            for what in self.unsupported(spec)
        ]
        by_lock = _locks.refusals(spec.lock, spec, self.around.root) if spec.lock else []
        return [Problem(where, what) for what in (*by_backend, *by_lock)]

    def unlocked(self, name: str | None, *closer: Layer) -> EnvSpec:
        """The environment as it is declared, whether or not it has been locked."""
        if closer:
            return self._combined(name, *closer)
        if name not in self._declared:
            self._declared[name] = self._combined(name)
        return self._declared[name]

    def _combined(self, name: str | None, *closer: Layer) -> EnvSpec:
        layers = [] if name in self.standalone else [self.base]
        layers += [*self.stacks[name]] if name is not None else []
        layers += closer
        beneath = dict.fromkeys(name for layer in layers for name in layer.layers)
        return combine(layers, [(EnvName(name), self.spec(name)) for name in beneath])


def is_glob(text: str) -> bool:
    """Whether a text has signs that stand for others."""
    return any(sign in text for sign in "*?[")


def load(
    root: Path,
    backends: Iterable[str] = ("uv",),
    from_plugins: Iterable[Any] = (),
    *,
    locked: bool = False,
    unsupported: Unsupported = lambda spec: (),
) -> Declarations:
    """Read the declarations of the project at ``root``.

    ``backends`` are the names of those installed, ``from_plugins`` tables of environments that
    plugins declare. With ``locked`` every environment must have a lock that fits it.
    ``unsupported`` tells what of an environment its backend cannot do.

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
        locks=_locks.found(root, inherited.stacks),
        default=gathered.default[0],
        origins=inherited.origins,
        parts=inherited.parts,
        unsupported=unsupported,
    )
    problems = [*gathered.problems, *inherited.problems, *problems]
    problems += _unknown_default(declarations, gathered.default[1])
    problems = problems or _refusals(declarations)
    problems = problems or _problems_with_locks(declarations, locked)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return declarations


def _refusals(declarations: Declarations) -> list[Problem]:
    return [
        problem
        for name in declarations.names
        for problem in declarations.refusals(
            declarations.unlocked(name), f"{declarations.origins[name]}.environments.{name}"
        )
    ]


def _problems_with_locks(declarations: Declarations, locked: bool) -> list[Problem]:
    root = declarations.around.root
    problems = []
    for name in declarations.names:
        spec = declarations.unlocked(name)
        if name in declarations.locks and spec.lock is None:
            problems += _locks.problems_with(declarations.locks[name], name, spec, root, locked)
        elif locked and spec.lock is None and spec.can_be_locked:
            what = f"it has no lock {_locks.file_of(name)}; make one with: isoenv lock {name}"
            problems.append(Problem(f"{declarations.origins[name]}.environments.{name}", what))
    return problems


def _unknown_default(declarations: Declarations, where: str) -> list[Problem]:
    default = declarations.default
    if default == HOST or declarations.select(default):
        return []
    known = choices(default, [HOST, *declarations.stacks, *declarations.families])
    return [Problem(f"{where}.default", f"{default!r} is not declared; there are: {known}")]
