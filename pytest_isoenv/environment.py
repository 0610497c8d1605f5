"""An environment that is ready: :class:`Environment`, for tests on the host and for scripts."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_isoenv._prefixes import bin_directory, python_of
from pytest_isoenv._process import run_for_user, run_in_foreground
from pytest_isoenv.pinned import EnvKey
from pytest_isoenv.spec import EnvName, EnvSpec

__all__ = ["Environment", "activated", "python_of"]


@dataclasses.dataclass(frozen=True)
class Environment:
    """A directory with a Python and packages, ready to use.

    Attributes:
        name: what reports call it: a declared name, an ``id``, or one derived from requirements.
        path: the directory of the environment, its ``sys.prefix``.
        python: the path of its interpreter.
        version: that interpreter's full version, such as ``"3.12.5"``.
        packages: what is installed in it, normalised name to version.
        key: the hash of everything it was built from.
        provisioned: ``"cached"``, ``"built"`` or ``"ephemeral"``.
        seconds: how long building took in this run; 0.0 where nothing was built.
        why: what made building necessary, where something changed; else empty.
        environ: the variables that its processes run with.
        spec: the request that it answers.
        resolved: when its packages were resolved, in seconds since the epoch; None if nobody knows.
        note: what there is to say of that, or empty.
        forks_from: the directory of the runner layer that it shares with others, where a process
            of that may be forked instead of starting one of its own; else None.
    """

    name: EnvName
    path: Path
    python: Path
    version: str
    packages: Mapping[str, str]
    key: EnvKey
    provisioned: str
    seconds: float
    why: str
    environ: Mapping[str, str] = dataclasses.field(repr=False)
    spec: EnvSpec = dataclasses.field(repr=False)
    resolved: float | None = None
    note: str = ""
    forks_from: Path | None = dataclasses.field(default=None, repr=False)

    def run(self, args: Sequence[Any], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a command in the environment; :func:`subprocess.run` with its ``PATH`` and variables.

        ``args[0]`` is looked up on the environment's ``PATH`` first, so ``["python", "x.py"]``
        and the scripts of installed packages do what they do in an activated environment.
        ``options`` are those of :func:`subprocess.run`; an ``env`` there replaces the variables.
        """
        return run_for_user(self._command(args), self.environ, options)

    def _command(self, args: Sequence[Any]) -> list[str]:
        command, *rest = [os.fspath(arg) for arg in args]
        found = shutil.which(command, path=self.environ.get("PATH"))
        return [found or command, *rest]

    def run_in_foreground(self, args: Sequence[Any]) -> int:
        """Run a command in the environment in place of this process: its streams, its signals.

        Returns the exit status; below 0, the signal that ended it. Raises OSError for a command
        that is not there, or cannot be run.
        """
        return run_in_foreground(self._command(args), self.environ)


def activated(host: Mapping[str, str], prefix: Path, spec: EnvSpec, root: Path) -> dict[str, str]:
    """The variables of an environment's processes, as if it had been activated.

    On ``PATH`` stand the declared ``prepend-paths`` (relative ones start from ``root``), the
    environment's own executables, then the host's; declared variables are set last.
    """
    environ = dict(host)
    front = [str((root / Path(entry).expanduser()).absolute()) for entry in spec.prepend_paths]
    entries = [*front, str(bin_directory(prefix)), host.get("PATH", os.defpath)]
    environ["PATH"] = os.pathsep.join(entries)
    environ["VIRTUAL_ENV"] = str(prefix)
    if (prefix / "conda-meta").is_dir():
        environ["CONDA_PREFIX"] = str(prefix)
    environ.update(spec.variables)
    return environ
