"""The stores of one run: what is kept, what its processes share, and what goes with it."""

from __future__ import annotations

import contextlib
import time

from pytest_isoenv._settings import Settings
from pytest_isoenv._store import Store
from pytest_isoenv._tidy import tidy
from pytest_isoenv.errors import StoreError
from pytest_isoenv.spec import EnvSpec

# How long the end of a run may take longer for what others have left (seconds).
_PATIENCE = 2.0


class Stores:
    """Where the environments of a run are.

    ``kept`` is the user's cache. ``scratch`` is where things are made that go with the run: the
    cache as well, unless it can only be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.kept = Store(settings.cache)
        self.scratch = self.kept if self.kept.writable else Store(settings.scratch)
        self._fresh = Store(settings.shared) if settings.shared else None

    def is_ephemeral(self, spec: EnvSpec) -> bool:
        """Whether it goes with the run."""
        return self._settings.refresh or spec.refresh

    def of(self, spec: EnvSpec) -> Store | None:
        """Where it is kept; None if it is ephemeral, and no other process is to have it."""
        return self._fresh if self.is_ephemeral(spec) else self.kept

    def stop(self) -> None:
        """Let nobody wait any longer: the run was interrupted."""
        for store in filter(None, (self.kept, self._fresh)):
            store.stop()

    def close(self, *, clean: bool) -> None:
        """Give back what was used; then the cache cleans itself, if it is time to.

        What processes of this run have left that were killed, as pytest-xdist's may be after
        Ctrl-C, need not wait for the next run.
        """
        for store in filter(None, {self.kept, self.scratch, self._fresh}):
            store.close()
        with contextlib.suppress(StoreError):
            self.scratch.sweep(time.monotonic() + _PATIENCE)
        if clean:
            tidy(Store(self._settings.cache))
