"""Environments for scripts: :class:`EnvManager`."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from pytest_isoenv import _config, _settings
from pytest_isoenv._backends import builtin
from pytest_isoenv._config import Declarations
from pytest_isoenv._process import Processes
from pytest_isoenv._provision import Notify, Provisioner
from pytest_isoenv._requests import read_request
from pytest_isoenv._settings import Settings
from pytest_isoenv._store import Store
from pytest_isoenv.backend import Backend
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import ConfigError, Problem
from pytest_isoenv.spec import EnvName, EnvSpec


class EnvManager:
    """Gives environments to a script, as markers give them to tests.

    ::

        with EnvManager() as manager:
            old = manager.environment("requests==2.28.2")
            old.run(["python", "write_cache.py"], check=True)

    Args:
        root: the project whose declarations count; the current directory by default.
        cache_dir: the cache to use; the user's own by default.
        ephemeral: build every environment from scratch, and remove it on :meth:`close`.
        upgrade: resolve requirements anew instead of using kept resolutions.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        cache_dir: str | Path | None = None,
        ephemeral: bool = False,
        upgrade: bool = False,
    ) -> None:
        settings = _settings.gather(
            Path(root or Path.cwd()).resolve(),
            cache=Path(cache_dir) if cache_dir else None,
            refresh=ephemeral,
            upgrade=upgrade,
        )
        self._provisioning = Provisioning(settings, _config.load(settings.root))

    def environment(self, *name_or_requirements: str, **fields: Any) -> Environment:
        """The environment that the same arguments of ``@pytest.mark.env`` would give.

        Raises :exc:`~pytest_isoenv.errors.ConfigError` for arguments that break a rule, and the
        other errors of :mod:`pytest_isoenv.errors` where it cannot be provided.
        """
        return self._provisioning.environment(*name_or_requirements, **fields)

    def close(self) -> None:
        """Remove ephemeral environments; cached ones stay."""
        self._provisioning.close()

    def __enter__(self) -> EnvManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Provisioning:
    """Everything that turns declarations into environments, for one run or one manager."""

    def __init__(
        self,
        settings: Settings,
        declarations: Declarations,
        backends: tuple[Backend, ...] = (),
        notify: Notify = lambda name: None,
    ) -> None:
        self.settings = settings
        self.declarations = declarations
        self.processes = Processes()
        self.store = Store(settings.cache)
        self.backends = {backend.name: backend for backend in (*builtin(), *backends)}
        self.provisioner = Provisioner(settings, self.store, self.processes, self.backends, notify)

    def request(self, *args: Any, **fields: Any) -> tuple[EnvName, EnvSpec]:
        """What the arguments of a marker ask for, checked; raises ConfigError."""
        request, problems = read_request(args, fields, "isoenv", self.declarations)
        if request is None:
            raise ConfigError(problems)
        if request.spec is None:
            what = "the host is no environment of its own; sys.executable is its Python"
            raise ConfigError([Problem("isoenv", what)])
        return request.name, request.spec

    def environment(self, *args: Any, **fields: Any) -> Environment:
        """The environment that a marker with these arguments asks for."""
        return self.provisioner.environment(*self.request(*args, **fields))

    def stop(self) -> None:
        """End what is being built: the run was interrupted."""
        self.store.stop()
        self.processes.stop()

    def close(self) -> None:
        """Remove what was ephemeral."""
        self.store.close()
