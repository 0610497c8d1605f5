"""What is asked for: :class:`EnvSpec`, and the layers that it is combined from.

Pure data and pure functions: no I/O, no environment variables. Relative paths stay relative
(to the rootdir) until an environment is resolved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Literal, NewType, TypeVar, get_args

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_T = TypeVar("_T")

Project = Literal["editable", "wheel", "none"]
MissingInterpreter = Literal["error", "skip"]

PROJECT_CHOICES: tuple[str, ...] = get_args(Project)
MISSING_INTERPRETER_CHOICES: tuple[str, ...] = get_args(MissingInterpreter)

#: The name of an environment as users read it: a declared name, an ``id=``, or a derived id.
EnvName = NewType("EnvName", str)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One place's share of a declaration: ``base``, a named environment, or a marker.

    ``None`` and empty mean "says nothing"; :func:`combine` lets the later layer win.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()
    project: Project | None = None
    extras: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    lock: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    prepend_paths: tuple[str, ...] = ()
    refresh: bool | None = None
    backend: str | None = None
    missing_interpreter: MissingInterpreter | None = None


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """An environment as it is asked for: hashable, so that equal requests share one worker.

    ``requirements`` are PEP 508 strings or paths, one for each package, sorted; ``local`` are
    wheels and source trees that go in last, without their dependencies; ``python`` is None for
    the host's own version; ``variables`` are set for the tests, after ``prepend_paths`` and the
    environment's own executables have gone in front of ``PATH``.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()
    project: Project = "none"
    extras: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    lock: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    prepend_paths: tuple[str, ...] = ()
    refresh: bool = False
    backend: str = "uv"
    missing_interpreter: MissingInterpreter = "error"

    def asked_for(self) -> str:
        """What a summary line says of this request, in the declaration's own words."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        parts = [f"the project{extras} ({self.project})"] * (self.project != "none")
        parts += self.requirements
        parts += [f"lock {self.lock}"] * bool(self.lock)
        parts += [f"local {path}" for path in self.local]
        return ", ".join(parts) or "nothing but pytest"


def combine(layers: Iterable[Layer]) -> EnvSpec:
    """Unite layers, lowest precedence first: the last mention of a package or a value wins."""
    stack = list(layers)
    return EnvSpec(
        python=_last(layer.python for layer in stack),
        requirements=unite_requirements(r for layer in stack for r in layer.requirements),
        project=_last(layer.project for layer in stack) or "none",
        extras=tuple(sorted({extra for layer in stack for extra in layer.extras})),
        local=tuple(dict.fromkeys(path for layer in stack for path in layer.local)),
        lock=_last(layer.lock for layer in stack),
        variables=tuple(sorted(dict(v for layer in stack for v in layer.variables).items())),
        # The closest declaration comes first on PATH.
        prepend_paths=tuple(
            dict.fromkeys(path for layer in reversed(stack) for path in layer.prepend_paths)
        ),
        refresh=bool(_last(layer.refresh for layer in stack)),
        backend=_last(layer.backend for layer in stack) or "uv",
        missing_interpreter=_last(layer.missing_interpreter for layer in stack) or "error",
    )


def _last(values: Iterator[_T | None]) -> _T | None:
    found = None
    for value in values:
        found = value if value is not None else found
    return found


def is_path(text: str) -> bool:
    """Whether a requirement string names a file or directory instead of a package."""
    if "://" in text or " @ " in text:  # a URL requirement (PEP 508), whatever its file is called
        return False
    head = text.partition("[")[0].strip()
    return head.startswith((".", "/", "~")) or head.endswith((".whl", ".tar.gz")) or "\\" in head


def is_bare_word(text: str) -> bool:
    """Whether a string is only a name: no version, extra, URL, environment marker or path.

    Such a word names a declared environment, never a package: a typo must not fetch a
    stranger's package.
    """
    if is_path(text):
        return False
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    return not (
        requirement.specifier or requirement.extras or requirement.url or requirement.marker
    )


def unite_requirements(requirements: Iterable[str]) -> tuple[str, ...]:
    """One requirement for each package, sorted by name; the last mention wins.

    A bare ``pkg`` does not displace an earlier ``pkg==X``, though its extras are added. The same
    package under different environment markers counts as different packages.
    """
    united: dict[tuple[str, str], Requirement | str] = {}
    for text in requirements:
        if is_path(text):
            united[text, ""] = text
            continue
        requirement = Requirement(text)
        key = canonicalize_name(requirement.name), str(requirement.marker or "")
        united[key] = _closer(united.get(key), requirement)
    return tuple(str(united[key]) for key in sorted(united))


def _closer(old: Requirement | str | None, new: Requirement) -> Requirement:
    if isinstance(old, Requirement) and not (new.specifier or new.url):
        old.extras |= new.extras
        return old
    return new
