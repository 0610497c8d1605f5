"""What plugins add to declarations and backends, asked without a test run.

Hooks are pytest's business, and they get its ``config``: so where somebody may implement ours,
pytest is started just far enough to ask. Where nobody does, which is cheap to tell, it is not even
imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._settings import Settings
from pytest_isoenv.backend import Backend
from pytest_isoenv.errors import ConfigError, Problem

_HOOK = b"pytest_isoenv_"
_DEPENDS_ON_US = re.compile(r"pytest[-_.]isoenv\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Additions:
    """What the hooks gave: backends, and tables of environments."""

    backends: list[Backend] = dataclasses.field(default_factory=list)
    environments: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)


def additions(settings: Settings) -> Additions:
    """What the rootdir's conftest.py and installed plugins add.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` if pytest cannot start here to ask them.
    """
    if not (_conftest_may_add(settings.root) or _plugins_may_add()):
        return Additions()
    return _ask(settings.root)


def _conftest_may_add(root: Path) -> bool:
    try:
        return _HOOK in (root / "conftest.py").read_bytes()
    except OSError:
        return False


def _plugins_may_add() -> bool:
    """Whether an installed plugin of pytest says that it depends on this one."""
    entries = importlib.metadata.entry_points(group="pytest11")
    distributions = [entry.dist for entry in entries if entry.dist is not None]
    requirements = [text for dist in distributions for text in dist.requires or ()]
    return any(_DEPENDS_ON_US.match(text) for text in requirements)


def _ask(root: Path) -> Additions:
    import pytest

    found: list[Additions] = []

    class Asker:
        """Asks the hooks instead of running tests."""

        @pytest.hookimpl(tryfirst=True)
        def pytest_cmdline_main(self, config: Any) -> int:
            found.append(_asked(config))
            return 0

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        # What is printed meanwhile must come to us, and not to the file descriptors.
        pytest.main(["--capture=sys", f"--rootdir={root}", str(root)], plugins=[Asker()])
    if not found:
        what = f"pytest could not start to ask the plugins:\n{said.getvalue().strip()}"
        raise ConfigError([Problem(str(root), what)])
    return found[0]


def _asked(config: Any) -> Additions:
    from pytest_isoenv import hookspecs

    if not config.pluginmanager.has_plugin("isoenv-hookspecs"):
        config.pluginmanager.register(hookspecs, "isoenv-hookspecs")
        config.pluginmanager.add_hookspecs(hookspecs)
    backends = config.hook.pytest_isoenv_backends(config=config)
    return Additions(
        [backend for found in backends for backend in found],
        config.hook.pytest_isoenv_environments(config=config),
    )
