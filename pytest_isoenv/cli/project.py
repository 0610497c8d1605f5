"""The project that a command is about: its settings, what it declares, how it gets environments."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from pytest_isoenv import _config, _settings
from pytest_isoenv._backends import builtin, unsupported_by
from pytest_isoenv._config import HOST, Declarations, is_glob
from pytest_isoenv._provision import Notify, Provisioner
from pytest_isoenv._requests import Request, read_requests
from pytest_isoenv._settings import Settings
from pytest_isoenv._store import Store
from pytest_isoenv._texts import is_bare_word
from pytest_isoenv._values import choices
from pytest_isoenv.backend import Backend
from pytest_isoenv.cli import plugins, rootdir
from pytest_isoenv.cli.command import UsageError
from pytest_isoenv.errors import ConfigError, Problem

# Where the names stand that were given: the first word of what is said about them.
_COMMAND = "isoenv"


def settings_of(args: argparse.Namespace) -> Settings:
    """What the options and the machine say."""
    given: Path | None = getattr(args, "rootdir", None)
    if given is not None and not given.is_dir():
        raise UsageError(f"--rootdir {given}: there is no such directory")
    return _settings.gather(
        given.resolve() if given is not None else rootdir.find(Path.cwd()),
        cache=args.env_cache_dir,
        jobs=getattr(args, "env_jobs", None),
        refresh=getattr(args, "env_refresh", False),
        upgrade=getattr(args, "env_upgrade", False),
        offline=getattr(args, "env_offline", False),
    )


def store_of(args: argparse.Namespace) -> Store:
    """The cache, for commands to which no project matters."""
    return Store(settings_of(args).cache)


class Project:
    """What is declared, and who makes it.

    Raises :exc:`~pytest_isoenv.errors.ConfigError` where declarations are wrong.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.settings = settings_of(args)
        added = plugins.additions(self.settings)
        self.backends = [*builtin(), *added.backends]
        names = {backend.name for backend in self.backends}
        self.declarations: Declarations = _config.load(
            self.settings.root,
            names,
            added.environments,
            locked=getattr(args, "env_locked", False),
            unsupported=partial(unsupported_by, self.backends),
        )

    def requests(self, texts: Sequence[str]) -> list[Request]:
        """The environments that texts mean, each once; without a text, all that are declared."""
        problems: list[Problem] = []
        found: list[Request] = []
        for text in texts or self.declarations.names:
            requests, wrong = self._read(text)
            found += requests
            problems += wrong
        if problems:
            raise ConfigError(problems)
        return list(dict.fromkeys(found))

    def request(self, text: str) -> Request:
        """The one environment that a text means."""
        found = self.requests([text])
        if len(found) > 1:
            names = ", ".join(request.name for request in found)
            what = f"{text!r} means {len(found)} environments, and one is needed here: {names}"
            raise ConfigError([Problem(_COMMAND, what)])
        return found[0]

    def _read(self, text: str) -> tuple[list[Request], list[Problem]]:
        declared = self.declarations
        if text == HOST:
            return [], [Problem(_COMMAND, "the host is no environment of its own")]
        if not declared.select(text) and (is_bare_word(text) or is_glob(text)):
            known = choices(text, [*declared.stacks, *declared.families])
            what = f"{text!r} is not a declared environment; declared are: {known}"
            return [], [Problem(_COMMAND, what)]
        return read_requests((text,), {}, _COMMAND, declared)

    @contextlib.contextmanager
    def provisioner(self, notify: Notify = lambda name: None) -> Iterator[Provisioner]:
        """Makes the environments of the project."""
        with provisioning(self.settings, self.backends, notify) as provisioner:
            yield provisioner


@contextlib.contextmanager
def provisioning(
    settings: Settings, backends: Iterable[Backend], notify: Notify = lambda name: None
) -> Iterator[Provisioner]:
    """Makes environments; in the end nothing that it started runs on."""
    provisioner = Provisioner(settings, backends, notify)
    try:
        yield provisioner
    except BaseException:
        provisioner.stop()
        raise
    finally:
        provisioner.close()
