"""Local trees and files that environments are made of: what they are, without building them."""

from __future__ import annotations

from pathlib import Path

from pytest_isoenv import _compiled
from pytest_isoenv._commands import Commands
from pytest_isoenv._files import content_digest, metadata_digest
from pytest_isoenv._settings import Settings
from pytest_isoenv._stores import Stores
from pytest_isoenv.backend import Backend, Wanted
from pytest_isoenv.pinned import Source


class Trees:
    """Looks at trees, and has wheels built of those that are installed as such."""

    def __init__(self, settings: Settings, stores: Stores, commands: Commands) -> None:
        self._settings = settings
        self._stores = stores
        self._commands = commands

    def source(
        self, backend: Backend, text: str, editable: bool, wanted: Wanted, *, build: bool
    ) -> Source:
        """A local tree or file, with its digest, and its wheel if there is to be one.

        Without ``build``, raises :exc:`~pytest_isoenv._wheels.NotBuilt` where that is not there.
        """
        path = (self._settings.root / Path(text).expanduser()).resolve()
        if editable:
            digests = filter(None, [metadata_digest(path), _compiled.sources_digest(path)])
            return Source(str(path), "-".join(digests), editable=True)
        digest = content_digest(path, self._settings.outputs)
        build_wheel = getattr(backend, "build_wheel", None)
        if path.is_file() or build_wheel is None or wanted.interpreter is None:
            return Source(str(path), digest)

        def into(directory: Path) -> None:
            build_wheel(path, wanted, directory, self._commands.building(directory))

        from pytest_isoenv._wheels import built, wheel_of  # only who has such a tree pays for it

        store = self._stores.of(wanted.spec)
        if store is not None and (store.writable or not build):
            wheel = wheel_of(store, digest, wanted.interpreter, into if build else None)
        else:
            wheel = built(into, self._stores.scratch.ephemeral())
        return Source(str(path), wheel.digest, wheel=str(wheel.path))
