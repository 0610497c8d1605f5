"""Environments for scripts: :class:`EnvManager`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pytest_isoenv import _config, _settings
from pytest_isoenv._backends import builtin, unsupported_by
from pytest_isoenv._provision import Provisioner
from pytest_isoenv._requests import requested
from pytest_isoenv.environment import Environment
from pytest_isoenv.errors import IsoenvError


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
        offline: leave the network alone; with ``upgrade``, a ConfigError.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        cache_dir: str | Path | None = None,
        ephemeral: bool = False,
        upgrade: bool = False,
        offline: bool = False,
    ) -> None:
        settings = _settings.gather(
            Path(root or Path.cwd()).resolve(),
            cache=Path(cache_dir) if cache_dir else None,
            refresh=ephemeral,
            upgrade=upgrade,
            offline=offline,
        )
        backends = builtin()
        self._declarations = _config.load(
            settings.root,
            {backend.name for backend in backends},
            unsupported=partial(unsupported_by, backends),
        )
        self._provisioner = Provisioner(settings, backends)

    def environment(self, *name_or_requirements: str, **fields: Any) -> Environment:
        """The environment that the same arguments of ``@pytest.mark.env`` would give.

        Raises :exc:`~pytest_isoenv.errors.ConfigError` for arguments that break a rule, and the
        other errors of :mod:`pytest_isoenv.errors` where it cannot be provided.
        """
        name, spec = requested(name_or_requirements, fields, "isoenv", self._declarations)
        try:
            return self._provisioner.environment(name, spec)
        except IsoenvError as error:
            # See the fixture: a traceback through our code can show the variables of installers.
            raise error.with_traceback(None) from None

    def close(self) -> None:
        """Remove ephemeral environments; cached ones stay."""
        self._provisioner.close()

    def __enter__(self) -> EnvManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
