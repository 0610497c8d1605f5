"""What will be built -> a directory ready to use: installing, and the last look."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_isoenv import _compiled, _runner, _soundness
from pytest_isoenv._backends.records import told
from pytest_isoenv._commands import Commands
from pytest_isoenv._finish import FINISH, facts_of, link_scripts
from pytest_isoenv._prefixes import python_of
from pytest_isoenv._process import Processes
from pytest_isoenv._settings import Settings
from pytest_isoenv._steps import reached
from pytest_isoenv._stores import Stores
from pytest_isoenv.backend import Backend, Run
from pytest_isoenv.errors import BrokenEnvironment
from pytest_isoenv.pinned import PinnedEnv


class Builder:
    """Fills directories with what is pinned."""

    def __init__(
        self, settings: Settings, stores: Stores, processes: Processes, commands: Commands
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._processes = processes
        self._commands = commands

    def build(self, backend: Backend, pinned: PinnedEnv, directory: Path) -> Mapping[str, Any]:
        """Fill an empty directory; returns what is to be remembered of it."""
        facts = self._undamaged(backend, pinned, directory)
        if pinned.runner is not None and _runner.is_in_both(facts["own"], pinned.base):
            _empty(directory)
            facts = self._undamaged(backend, replace(pinned, runner=None), directory)
        if pinned.interpreter is not None and facts["python"] != pinned.interpreter.version:
            built_with = f"Python {facts['python']}, not {pinned.interpreter.version}"
            raise BrokenEnvironment(str(directory), f"it was built with {built_with}")
        if "pytest" not in facts["packages"]:
            raise BrokenEnvironment(str(directory), "pytest is not installed in it")
        trees = [source.path for source in pinned.sources if source.editable]
        return {**facts, "compiled": _compiled.modules(trees, facts["suffixes"])}

    def _undamaged(self, backend: Backend, pinned: PinnedEnv, directory: Path) -> dict[str, Any]:
        """Build it; if the installer had kept damaged files, once more without them."""
        facts = self._filled(backend, pinned, directory)
        damages = _soundness.examine(backend, directory, facts, thoroughly=False)
        if damages and _soundness.forget(backend, directory, damages, self._commands.run):
            _empty(directory)
            facts = self._filled(backend, pinned, directory)
            damages = _soundness.examine(backend, directory, facts, thoroughly=False)
        if damages:
            reason = f"it was only just built, and {told(damages)}"
            raise BrokenEnvironment(str(directory), reason)
        return facts

    def _filled(self, backend: Backend, pinned: PinnedEnv, directory: Path) -> dict[str, Any]:
        run: Run = self._commands.run
        if pinned.sources:
            run = self._commands.building(self._stores.scratch.ephemeral())
        installed = _runner.without_runner(pinned) if pinned.runner else pinned
        reached("create", directory)
        backend.create(installed, directory, run)
        reached("finish", directory)
        facts = self._finish(pinned, directory)
        return facts | _soundness.noted(directory, facts)

    def _finish(self, pinned: PinnedEnv, directory: Path) -> dict[str, Any]:
        runner = pinned.runner.path if pinned.runner else ""
        beneath = [layer.path for layer in pinned.beneath]
        answer = self._processes.run(
            [python_of(directory), "-I", "-c", FINISH, runner, *beneath],
            environ=self._settings.passed(pinned.spec.pass_env),
        )
        if answer.status != 0:
            raise BrokenEnvironment(str(directory), f"its Python does not run: {answer.output}")
        facts = facts_of(answer.stdout)
        link_scripts(Path(runner), facts.pop("runner"), directory)
        return facts


def _empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
