"""What a backend must do: the Protocol that ``uv`` satisfies, and that third parties can."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pytest_isoenv.pinned import Interpreter, PinnedEnv, Resolution
from pytest_isoenv.spec import EnvSpec

#: The oldest pytest that a worker runs.
OLDEST_PYTEST = "7.0"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a backend resolves: a spec, the interpreter it is for, and what it needs to run tests.

    ``pytest_requirements`` are tried in turn, each together with everything else: the host's own
    pytest first, any version that fits last; an empty one asks for none, and will do if something
    else asks for pytest. ``root`` is what relative paths start from. ``installer_environ`` are the
    host's variables that an installer may see. ``exclude_newer`` is the moment (RFC 3339) after
    which nothing may have been uploaded. ``beneath`` are the packages, name to version, of the
    environments that will lie under this one: they bound it, and are not installed again.
    ``interpreter`` is None for a backend that brings its own.
    """

    spec: EnvSpec
    interpreter: Interpreter | None
    pytest_requirements: Sequence[str]
    root: Path
    installer_environ: Mapping[str, str] = dataclasses.field(repr=False)
    exclude_newer: str | None = None
    beneath: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def base(self) -> Interpreter:
        """The interpreter, for a backend that does not bring its own."""
        assert self.interpreter is not None
        return self.interpreter

    @property
    def constraints(self) -> list[str]:
        """What bounds everybody's requirements: the declared constraints, and what is given."""
        given = [f"{name}=={version}" for name, version in self.beneath.items()]
        return [f"pytest>={OLDEST_PYTEST}", *self.spec.constraints, *given]

    @property
    def project(self) -> Path:
        """Where the project under test lies."""
        return self.root / self.spec.project_directory


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, what was found, and what mends it."""

    what: str
    well: bool
    said: str
    mend: str = ""


@dataclasses.dataclass(frozen=True)
class Damage:
    """A file of an environment that is not as it was installed.

    ``path`` starts from the environment's directory; ``package`` is the distribution that it
    belongs to, or empty.
    """

    path: str
    what: str
    package: str = ""

    def __str__(self) -> str:
        of = f" of {self.package}" if self.package else ""
        return f"{self.path}{of} {self.what}"


class Run(Protocol):
    """Runs an installer's command with the variables an installer may see.

    Raises the :class:`~pytest_isoenv.errors.CommandError` given as ``failure`` (a class) for an
    exit status other than 0, with the command and its output.
    """

    def __call__(
        self, args: Sequence[str | Path], *, purpose: str, failure: Any, cwd: Path | None = None
    ) -> str:
        """Run ``args`` and return its standard output."""
        ...


class Backend(Protocol):
    """Resolves and creates environments. A module with these names satisfies it, too.

    A backend keeps no state and takes no locks: the store decides when it is called. ``name`` is
    the value of the key ``backend`` that selects it. One that ``brings_python`` installs an
    interpreter itself; for the others one of this machine is looked for.

    It may have a function ``build_wheel(tree, wanted, directory, run)`` that builds a source tree
    into a directory: trees are then built once for each content, and :meth:`create` gets wheels.

    It may have a function ``diagnose(environ, run)`` as well, which gives a :class:`Finding` for
    everything that it needs (its program, its indexes): ``isoenv doctor`` shows them.

    ``indexes_of(command, environ)`` may give the addresses (without credentials) that a command of
    its own asks, and none for another's: what is said of a failure names them. Where the network is
    to be left alone, ``run`` says so to installers by variables of theirs: ``UV_OFFLINE``,
    ``PIP_NO_INDEX``, ``CONDA_OFFLINE`` and ``MAMBA_OFFLINE``.

    ``examine(directory, facts, *, thoroughly)`` may give every :class:`Damage` of a finished
    environment, found by looking at each file; without ``thoroughly`` sizes will do. It is asked
    by ``isoenv doctor --deep``, and after every build. ``forget(directory, packages, run)`` may
    drop what the installer keeps of these packages: files of an environment can be hard links to
    it, so what was damaged here is damaged there.
    """

    name: str
    brings_python: bool

    def unsupported(self, spec: EnvSpec) -> Sequence[str]:
        """What of a declaration it cannot do, such as ``resolution: lowest``; empty if all.

        Asked while declarations are read, so it looks at nothing else.
        """
        ...

    def index_inputs(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What of the installer's variables decides where packages come from, for the key."""
        ...

    def resolve(self, wanted: Wanted, directory: Path, run: Run) -> Resolution:
        """Pin everything; ``directory`` is kept, and is the place for input and output files.

        Raises :exc:`~pytest_isoenv.errors.ResolutionError`.
        """
        ...

    def create(self, pinned: PinnedEnv, directory: Path, run: Run) -> None:
        """Build the environment in an empty directory.

        Raises :exc:`~pytest_isoenv.errors.BuildError`.
        """
        ...

    def check(self, directory: Path, facts: Mapping[str, Any]) -> str | None:
        """Why a finished environment cannot be used any more; None if it can.

        Called on every hit, so it starts no process. ``facts`` are what was recorded through the
        environment when it was built.
        """
        ...
