"""With ``--in-env``, what only the environments have does not stop the host.

The command line, the ini-file and the variables are then meant for the environments. The host
obeys what it can, and hands over the rest as it is written, for the environments to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.config import parse_warning_filter

_POSITIONAL = pytest.StashKey[list[str]]()
_ABSENT = pytest.StashKey[list[str]]()
_REQUIRED = pytest.StashKey[list[str]]()

# How pytest begins to say that it leaves out a filter whose module it cannot import.
_LEFT_OUT = "Failed to import filter module"


def prepare(config: pytest.Config) -> None:
    """While pytest loads plugins: those that cannot be had here are for the environments."""
    config.stash[_ABSENT] = []
    load = config.pluginmanager.import_plugin

    def import_plugin(modname: str, consider_entry_points: bool = False) -> None:
        try:
            load(modname, consider_entry_points)
        except Exception:  # noqa: BLE001 - like a conftest.py, it may fail here in any way
            config.stash[_ABSENT].append(modname)

    vars(config.pluginmanager)["import_plugin"] = import_plugin
    _relieve(config)
    # pytest 9.2 applies filters before plugins are loaded; we are here first only if started so.
    apply_filters: Any = getattr(config, "_capture_plugin_import_warnings", None)

    def relieve_and_apply_filters() -> Any:
        _relieve(config)
        return apply_filters()

    if apply_filters is not None:
        vars(config)["_capture_plugin_import_warnings"] = relieve_and_apply_filters


def _relieve(config: pytest.Config) -> None:
    """Ask nothing of the host that the environments must have; pytest edits such lists, too."""
    arguments = getattr(config, "known_args_namespace", None)
    if arguments is not None:
        _drop_foreign_filters(arguments.pythonwarnings or [], escape=True)
    try:
        required = config.getini("required_plugins")
    except ValueError:
        return  # the ini-file has not been read yet
    config.stash.setdefault(_REQUIRED, list(required))
    required.clear()
    _drop_foreign_filters(config.getini("filterwarnings"), escape=False)


def _drop_foreign_filters(filters: list[str], *, escape: bool) -> None:
    """Leave out filters that name what the host does not have, such as a library's warning."""
    filters[:] = [text for text in filters if _can_be_applied(text, escape=escape)]


def _can_be_applied(text: str, *, escape: bool) -> bool:
    try:
        parse_warning_filter(text, escape=escape)
    except (ImportError, pytest.UsageError):
        return False
    return True


def hand_over(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Leave conftest.py files, and options that only they can know, to the environments.

    What this pytest does not know leaves ``args``. :func:`positional` has it in its place among
    the paths, since only the environments can tell whether a path is such an option's value.
    """
    _relieve(config)
    _forget_filters_left_out(config)
    config.known_args_namespace.noconftest = True
    leave_settings(config)
    given = [_Argument(arg) for arg in args]
    known, unknown = parser.parse_known_and_unknown_args(given)
    left = _Left([*known.file_or_dir, *unknown])
    config.stash[_POSITIONAL] = left.in_order(given)
    args[:] = left.taken_from(given)


def leave_settings(config: pytest.Config) -> None:
    """Settings that no plugin here knows may be known to plugins of an environment.

    Each worker warns of those that are unknown there.
    """
    vars(config)["_get_unknown_ini_keys"] = set


def judge_settings(config: pytest.Config) -> None:
    """There will be no worker: warn here of settings that are unknown."""
    vars(config).pop("_get_unknown_ini_keys", None)
    config._validate_config_options()


class _Argument(str):
    """One word of the command line, which others may equal: the parser gives it back as it is."""

    __slots__ = ()


class _Left:
    """What the parser has made nothing of: paths, unknown options, and what may be their values."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._ids = {id(arg) for arg in arguments}

    def in_order(self, given: Sequence[str]) -> list[str]:
        """As it stands on the command line; at the end what ``@file`` has brought."""
        ids = {id(arg) for arg in given}
        added = [arg for arg in self._arguments if id(arg) not in ids]
        return [str(arg) for arg in [*filter(self._has, given), *added]]

    def taken_from(self, given: Sequence[str]) -> list[str]:
        """The rest, and the paths but for what follows an unknown option and names no file."""
        kept, follows = [], False
        for arg in given:
            left = self._has(arg)
            unknown = left and _is_option(arg)
            follows = unknown or (follows and left)
            if not unknown and not (follows and not _exists(arg)):
                kept.append(str(arg))
        return kept

    def _has(self, arg: str) -> bool:
        return id(arg) in self._ids


def _forget_filters_left_out(config: pytest.Config) -> None:
    """pytest has said so before it knew of us; the environments will say it, if it is so there."""
    history: list[Any] = getattr(config.hook.pytest_warning_recorded, "_call_history", None) or []
    history[:] = [
        call
        for call in history
        if not str(call[0]["warning_message"].message).startswith(_LEFT_OUT)
    ]


def _is_option(arg: str) -> bool:
    return arg.startswith("-")


def _exists(arg: str) -> bool:
    return Path(arg.partition("::")[0]).exists()


def positional(config: pytest.Config) -> list[str]:
    """The paths and ids of the command line, and in their places what the host does not know."""
    return config.stash.get(_POSITIONAL, None) or list(config.option.file_or_dir)


def names_a_path(arguments: Sequence[str]) -> bool:
    """Whether any of the arguments says what to collect."""
    return any(not _is_option(argument) and _exists(argument) for argument in arguments)


def required_plugins(config: pytest.Config) -> list[str]:
    """What ``required_plugins`` asks for."""
    required: list[str] = config.stash.get(_REQUIRED, []) or config.getini("required_plugins")
    return required


def absent_plugins(config: pytest.Config) -> list[str]:
    """Plugins that were asked for by name, and that the host does not have."""
    return config.stash.get(_ABSENT, [])
