"""Running what backends ask for, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytest_isoenv._files import write_atomically
from pytest_isoenv._process import Processes
from pytest_isoenv._settings import Settings
from pytest_isoenv._steps import reached
from pytest_isoenv.backend import Backend, Run
from pytest_isoenv.errors import CommandError


class Commands:
    """What backends run, see :class:`pytest_isoenv.backend.Run`."""

    def __init__(
        self, settings: Settings, processes: Processes, backends: Iterable[Backend]
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._backends = list(backends)

    def run(
        self,
        args: Sequence[str | Path],
        *,
        purpose: str,
        failure: Any,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """The output of a command; raises ``failure``, a CommandError, if it fails."""
        settings = self._settings
        environ = {**settings.installer_environ, **settings.network_environ, **(environ or {})}
        reached("run a command", purpose)
        ended = self._processes.run(args, environ={**environ, **settings.first_try}, cwd=cwd)
        if ended.status == 0:
            return ended.stdout
        from pytest_isoenv._hints import trouble  # only a failure pays for it

        if settings.first_try and trouble(ended.output).passes:
            ended = self._processes.run(args, environ=environ, cwd=cwd)
        if ended.status != 0:
            told = trouble(ended.output, self._asked(args, environ), offline=settings.offline)
            error: CommandError = failure(
                purpose,
                ended.command,
                ended.status,
                ended.output,
                told.next_step,
                told.happened,
                told.offline,
            )
            raise error
        return ended.stdout

    def _asked(self, args: Sequence[str | Path], environ: Mapping[str, str]) -> list[str]:
        """The indexes that a command asks; the backend whose it is knows."""
        knowing = [getattr(backend, "indexes_of", None) for backend in self._backends]
        return [index for of in knowing if of is not None for index in of(args, environ)]

    def building(self, scratch: Path) -> Run:
        """Runs commands that may build source trees, and leaves nothing of it in the trees.

        setuptools keeps what it builds in a tree and packs it again, modules that were deleted
        since as well; but it can be told of another place, which no other backend looks at.
        """
        config = scratch / "setuptools.cfg"
        place = str(scratch / "build").replace("%", "%%")
        write_atomically(config, f"[build]\nbuild_base = {place}\n[build_ext]\nforce = 1\n")
        return partial(self.run, environ={"DIST_EXTRA_CONFIG": str(config)})
