"""What is asked for: :class:`EnvSpec`.

Pure data: no I/O, no environment variables. Relative paths stay relative (to the rootdir) until an
environment is resolved.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NewType, get_args

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
