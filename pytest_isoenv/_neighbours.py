"""Plugins of the host that would draw wrong conclusions from tests which they have not seen run."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

# syrupy's options, by their destinations.
_UPDATE = "update_snapshots"
_KEEP_UNUSED = "disable_unused_snapshots"


def check(config: pytest.Config) -> None:
    """Raise UsageError where such a plugin would destroy something, and cannot be kept from it."""
    if config.getoption(_UPDATE, False) and not hasattr(config.option, _KEEP_UNUSED):
        raise pytest.UsageError(
            "--snapshot-update: the syrupy installed beside pytest-isoenv is too old to be kept "
            "from deleting the snapshots of tests that run in environments; update it to 6 or newer"
        )


def hold_back(config: pytest.Config, here: Iterable[pytest.Item]) -> None:
    """Tests have run in environments: a plugin there has judged what they did.

    To the host's own syrupy, snapshots that they use look unused. If no test ``here``, on the
    host, has to do with snapshots, syrupy has nothing to say.
    """
    if not hasattr(config.option, _UPDATE):
        return
    if any("snapshot" in getattr(item, "fixturenames", ()) for item in here):
        setattr(config.option, _KEEP_UNUSED, True)
        config.option.warn_unused_snapshots = True
    elif config.pluginmanager.hasplugin("syrupy"):
        config.pluginmanager.unregister(name="syrupy")
