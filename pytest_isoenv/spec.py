"""What is asked for: :class:`EnvSpec`, and the layers that it is combined from.

Pure data and pure functions: no I/O, no environment variables. Relative paths stay relative
(to the rootdir) until an environment is resolved.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NewType, TypeVar, get_args

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

_T = TypeVar("_T")

Project = Literal["editable", "wheel", "none"]
MissingInterpreter = Literal["error", "skip"]
Isolation = Literal["environment", "test"]
ResolutionMode = Literal["highest", "lowest-direct", "lowest"]
Prerelease = Literal["disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit"]

PROJECT_CHOICES: tuple[str, ...] = get_args(Project)
MISSING_INTERPRETER_CHOICES: tuple[str, ...] = get_args(MissingInterpreter)
ISOLATION_CHOICES: tuple[str, ...] = get_args(Isolation)
RESOLUTION_CHOICES: tuple[str, ...] = get_args(ResolutionMode)
PRERELEASE_CHOICES: tuple[str, ...] = get_args(Prerelease)

#: What a declaration says for no ``max-age``, where one that it inherits from has one.
NEVER = "never"

#: The name of an environment as users read it: a declared name, an ``id=``, or a derived id.
EnvName = NewType("EnvName", str)


@dataclasses.dataclass(frozen=True)
class Index:
    """Where packages come from, when it is not where the installer's variables say.

    ``default`` replaces the default index, ``extra`` are looked at before it, each perhaps as
    ``NAME=URL``; ``find_links`` are directories or pages of archives; ``exclude_newer`` hides what
    was uploaded later than that date, or than that long ago.
    """

    default: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    exclude_newer: str | None = None


@dataclasses.dataclass(frozen=True)
class Conda:
    """What the conda backend is asked for beside what every backend is.

    ``dependencies`` are conda match specs, one for each package.
    """

    channels: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Layer:
    """One place's share of a declaration: ``base``, a named environment, or a marker.

    ``None`` and empty mean "says nothing"; :func:`combine` lets the later layer win. ``home`` is
    the directory, relative to the rootdir, whose project its ``project`` and ``extras`` speak of.
    """

    home: str = ""
    python: str | None = None
    requirements: tuple[str, ...] = ()
    requirement_files: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    resolution: ResolutionMode | None = None
    prerelease: Prerelease | None = None
    index: str | None = None
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    exclude_newer: str | None = None
    project: Project | None = None
    extras: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    lock: str | None = None
    layers: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    pass_env: tuple[str, ...] | None = None
    prepend_paths: tuple[str, ...] = ()
    refresh: bool | None = None
    max_age: str | None = None
    backend: str | None = None
    channels: tuple[str, ...] = ()
    conda_dependencies: tuple[str, ...] = ()
    missing_interpreter: MissingInterpreter | None = None
    isolation: Isolation | None = None
    runner_layer: bool | None = None
    fork_worker: bool | None = None


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """An environment as it is asked for: hashable, so that equal requests share one worker.

    ``requirements`` are PEP 508 strings or paths, sorted by package; ``constraints`` bound and
    ``overrides`` replace what anybody asks of a package, as PEP 508 strings. ``local`` are wheels
    and source trees that go in last, without their dependencies; ``python`` is None for the
    host's own version; ``project_directory`` is where the project lies below the rootdir;
    ``beneath`` are the environments that lie under this one. ``variables`` are set for the tests,
    after ``prepend_paths`` and the environment's own executables have gone in front of ``PATH``.
    ``max_age`` is how old a resolution may be, as a span of time; None for any age.
    ``isolation`` says what has a process of its own: the environment's tests, or each of them.
    Where ``runner_layer`` allows it, pytest lies in a directory that others use as well, and where
    ``fork_worker`` does a process that has imported it from there is forked: always, never, or
    (None) if that is likely to be faster.
    """

    python: str | None = None
    requirements: tuple[str, ...] = ()
    requirement_files: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    resolution: ResolutionMode = "highest"
    prerelease: Prerelease | None = None
    index: Index = Index()
    project: Project = "none"
    project_directory: str = ""
    extras: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    lock: str | None = None
    beneath: tuple[tuple[EnvName, EnvSpec], ...] = ()
    variables: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    pass_env: tuple[str, ...] | None = None
    prepend_paths: tuple[str, ...] = ()
    refresh: bool = False
    max_age: str | None = None
    backend: str = "uv"
    conda: Conda = Conda()
    missing_interpreter: MissingInterpreter = "error"
    isolation: Isolation = "environment"
    runner_layer: bool = True
    fork_worker: bool | None = None

    @property
    def can_be_locked(self) -> bool:
        """Whether a PEP 751 document can hold all that it resolves to: not what conda installs."""
        return not self.conda.dependencies

    def installs_like(self, other: EnvSpec) -> bool:
        """Whether resolving it would give what resolving ``other`` does."""
        return self._installs == other._installs

    @property
    def _installs(self) -> EnvSpec:
        """The part that decides what is installed."""
        return dataclasses.replace(
            self,
            variables=(),
            pass_env=None,
            prepend_paths=(),
            refresh=False,
            max_age=None,
            missing_interpreter="error",
            isolation="environment",
            runner_layer=True,
            fork_worker=None,
        )

    def asked_for(self) -> str:
        """What a summary line says of this request, in the declaration's own words."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        parts = [f"the project{extras} ({self.project})"] * (self.project != "none")
        parts += self.requirements
        parts += [f"requirements {path}" for path in self.requirement_files]
        parts += self.conda.dependencies
        parts += [f"lock {self.lock}"] * bool(self.lock)
        parts += [f"local {path}" for path in self.local]
        parts += [f"on top of {name}" for name, _ in self.beneath]
        return ", ".join(parts) or "nothing but pytest"


def combine(layers: Iterable[Layer], beneath: Iterable[tuple[EnvName, EnvSpec]] = ()) -> EnvSpec:
    """Unite layers, lowest precedence first: the last mention of a package or a value wins.

    ``beneath`` are the environments that the layers' ``layers`` name.
    """
    stack = list(layers)
    project, home = _project(stack)
    return EnvSpec(
        python=_last(layer.python for layer in stack),
        requirements=unite_requirements(r for layer in stack for r in layer.requirements),
        requirement_files=_each_once(layer.requirement_files for layer in stack),
        constraints=unite_requirements(r for layer in stack for r in layer.constraints),
        overrides=unite_requirements(r for layer in stack for r in layer.overrides),
        resolution=_last(layer.resolution for layer in stack) or "highest",
        prerelease=_last(layer.prerelease for layer in stack),
        index=_index(stack),
        project=project,
        project_directory=home,
        extras=tuple(
            sorted({extra for layer in stack for extra in layer.extras if layer.home == home})
        ),
        local=_each_once(layer.local for layer in stack),
        lock=_last(layer.lock for layer in stack),
        beneath=tuple(beneath),
        variables=tuple(sorted(dict(v for layer in stack for v in layer.variables).items())),
        pass_env=_pass_env(stack),
        # The closest declaration comes first on PATH.
        prepend_paths=_each_once(layer.prepend_paths for layer in reversed(stack)),
        refresh=bool(_last(layer.refresh for layer in stack)),
        max_age=_max_age(stack),
        backend=_last(layer.backend for layer in stack) or "uv",
        conda=_conda(stack),
        missing_interpreter=_last(layer.missing_interpreter for layer in stack) or "error",
        isolation=_last(layer.isolation for layer in stack) or "environment",
        runner_layer=_last(layer.runner_layer for layer in stack) is not False,
        fork_worker=_last(layer.fork_worker for layer in stack),
    )


def _project(stack: Sequence[Layer]) -> tuple[Project, str]:
    """How the project gets in, and whose it is: that of the declaration that speaks last of one."""
    for layer in reversed(stack):
        if layer.project is not None:
            return layer.project, layer.home if layer.project != "none" else ""
    return "none", ""


def _pass_env(stack: Sequence[Layer]) -> tuple[str, ...] | None:
    """An empty list passes nothing; only where nobody says anything, all is passed."""
    said = [layer.pass_env for layer in stack if layer.pass_env is not None]
    return _each_once(said) if said else None


def _index(stack: Sequence[Layer]) -> Index:
    return Index(
        default=_last(layer.index for layer in stack),
        # The closest declaration is looked at first.
        extra=_each_once(layer.extra_indexes for layer in reversed(stack)),
        find_links=_each_once(layer.find_links for layer in stack),
        exclude_newer=_last(layer.exclude_newer for layer in stack),
    )


def _conda(stack: Sequence[Layer]) -> Conda:
    return Conda(
        channels=_each_once(layer.channels for layer in reversed(stack)),
        dependencies=unite_match_specs(s for layer in stack for s in layer.conda_dependencies),
    )


def _max_age(stack: Sequence[Layer]) -> str | None:
    said = _last(layer.max_age for layer in stack)
    return None if said == NEVER else said


def _each_once(entries: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry for several in entries for entry in several))


def _last(values: Iterable[_T | None]) -> _T | None:
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


def names_a_path(python: str) -> bool:
    """Whether a Python is asked for by where it lies."""
    return not python.startswith("~=") and (is_path(python) or "/" in python)


def version_in(python: str) -> str | None:
    """The version, at most a patch, that a request for a Python names: ``3.12`` of python3.12."""
    match = re.match(r"(?:python)?(\d+(?:\.\d+){0,2})$", python)
    return match[1] if match else None


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
    """What remains of all mentions of each package, sorted by name; the last mention wins.

    A bare ``pkg`` does not displace an earlier ``pkg==X``, though its extras are added. A mention
    with an environment marker displaces an earlier one with the same marker; beside others it
    stands, after them, for :func:`applicable` to choose once the interpreter is known.
    """
    united: dict[str, list[Requirement | str]] = {}
    for text in requirements:
        mention: Requirement | str = text if is_path(text) else Requirement(text)
        name = _package(mention)
        united[name] = _with(united.get(name, []), mention)
    return tuple(str(mention) for name in sorted(united) for mention in united[name])


def unite_match_specs(specs: Iterable[str]) -> tuple[str, ...]:
    """What remains of all mentions of each conda package, sorted by name; the last mention wins.

    A bare name does not displace an earlier mention that says more.
    """
    united: dict[str, str] = {}
    for text in specs:
        name = package_of_match_spec(text)
        if name not in united or text.strip().lower() != name:
            united[name] = text
    return tuple(united[name] for name in sorted(united))


def package_of_match_spec(text: str) -> str:
    """The package that a conda match spec such as ``conda-forge::numpy >=1.26`` speaks of."""
    return re.split(r"[\s=<>!~\[]", text.rpartition("::")[2].strip(), maxsplit=1)[0].lower()


def applicable(requirements: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """The requirements that hold in a marker environment (PEP 508), one for each package.

    The last one that holds wins, as among mentions without markers.
    """
    holding = [text for text in requirements if _holds(text, environment)]
    return list(unite_requirements(map(_without_marker, holding)))


def _holds(text: str, environment: Mapping[str, str]) -> bool:
    marker = None if is_path(text) else Requirement(text).marker
    return marker is None or marker.evaluate({**environment, "extra": ""})


def _without_marker(text: str) -> str:
    if is_path(text):
        return text
    requirement = Requirement(text)
    requirement.marker = None
    return str(requirement)


def _package(mention: Requirement | str) -> str:
    """What a mention speaks of: a normalised name, or for a tree its path."""
    if isinstance(mention, Requirement):
        return str(canonicalize_name(mention.name))
    return _name_of_archive(mention) or mention


def _name_of_archive(path: str) -> str | None:
    """The package in a wheel or source archive, by its file's name (PEP 427, PEP 625)."""
    file = path.partition("[")[0].strip().replace("\\", "/").rpartition("/")[2]
    try:
        if file.endswith(".whl"):
            return str(parse_wheel_filename(file)[0])
        if file.endswith((".tar.gz", ".zip")):
            return str(parse_sdist_filename(file)[0])
    except (InvalidWheelFilename, InvalidSdistFilename):
        pass  # it may be anything: the installer will say
    return None


def _with(mentions: list[Requirement | str], new: Requirement | str) -> list[Requirement | str]:
    marker = str(new.marker or "") if isinstance(new, Requirement) else ""
    same = [old for old in mentions if not marker or _marker(old) == marker]
    says_something = not isinstance(new, Requirement) or bool(new.specifier or new.url)
    if says_something or not same:
        return [*(old for old in mentions if old not in same), new]
    for old in same:
        if isinstance(old, Requirement) and isinstance(new, Requirement):
            old.extras |= new.extras
    # Where no mention without a marker stands yet, a bare one still asks for the package.
    always = not marker and all(_marker(old) for old in same)
    return [new, *mentions] if always else mentions


def _marker(mention: Requirement | str) -> str:
    return str(mention.marker or "") if isinstance(mention, Requirement) else ""
