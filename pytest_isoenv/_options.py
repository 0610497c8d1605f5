"""What of the host's command line a worker gets: every option but those that are the host's job."""

from __future__ import annotations

import argparse
import os
import sys
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv import _host

#: An option's name, for messages, and the arguments that pass its value on. It has no name if
#: nobody has asked for it: then it is not missed where no plugin knows it.
Option = tuple[str, list[str]]

# Destinations of options that the host acts on itself: it selects, remembers and reports.
_HOST_ONLY = frozenset(
    {
        # selecting and remembering
        "keyword", "markexpr", "deselect", "lf", "failedfirst", "last_failed_no_failures",
        "newfirst", "cacheclear", "cacheshow", "stepwise", "stepwise_skip", "stepwise_reset",
        "collectonly", "continue_on_collection_errors",
        # reporting
        "reportchars", "durations", "durations_min", "no_header", "no_summary", "xmlpath",
        "junitprefix", "color", "pastebin", "showfixtures", "show_fixtures_per_test", "help",
        "version", "markers", "fold_skipped", "force_short_summary", "debug", "traceconfig",
        "log_file", "log_file_mode", "htmlpath", "self_contained_html", "css",
        # set for each worker
        "basetemp", "file_or_dir", "in_env",
        # distributing
        "numprocesses", "maxprocesses", "maxworkerrestart", "dist", "distload", "tx", "px",
        "loadgroup", "testrunuid", "rsyncdir", "rsyncignore", "looponfail", "maxschedchunk",
        # measuring coverage
        "cov_source", "cov_report", "cov_config", "no_cov_on_fail", "no_cov", "cov_fail_under",
        "cov_append", "cov_branch", "cov_context", "cov_precision",
    }
)  # fmt: skip
_OURS = "env_"
_OUR_NAMES = ("isoenv", "pytest_isoenv.plugin")

# The destination that -v and -q share; --verbosity says its value in full.
_VERBOSITY = "verbose"
# Parsed into a module's name and a class's.
_DEBUGGER = "usepdb_cls"


def forwarded(config: pytest.Config) -> list[Option]:
    """The options of this run that its workers should have, written out as arguments.

    They are written anew from the parsed values, so whatever set them (the command line, the
    ini-file's ``addopts``, ``PYTEST_ADDOPTS``) has its effect exactly once.
    """
    options: list[Option] = []
    seen: set[str] = {"quiet"}  # what -q does stands in the verbosity
    for action in _argument_parser(config)._actions:
        if _is_for_the_host(action) or action.dest in seen:
            continue
        value = getattr(config.option, action.dest, None)
        value = _plugins(value or []) if action.dest == "plugins" else value
        if value is None or value == action.default:
            continue
        written = [(action.option_strings[-1], arguments) for arguments in _written(action, value)]
        options += written
        seen |= {action.dest} if written else set()
    return [*options, *_decided_here(config)]


def _is_for_the_host(action: argparse.Action) -> bool:
    positional = not action.option_strings
    return positional or action.dest in _HOST_ONLY or action.dest.startswith(_OURS)


def _decided_here(config: pytest.Config) -> Iterator[Option]:
    """Options that every worker gets: they keep it from deciding for itself."""
    yield "-o", ["--override-ini=addopts="]
    yield "--color", [f"--color={'yes' if _has_markup(config) else 'no'}"]
    yield "--continue-on-collection-errors", ["--continue-on-collection-errors"]
    yield "--rootdir", [f"--rootdir={config.rootpath}"]
    # It would clear what the host's stepwise remembers; the other way to say so is cacheprovider.
    yield "-p", ["-pno:stepwise"]
    # pytest 9 keeps these as ini values, which an older pytest there does not know.
    for name in ("strict_markers", "strict_config"):
        if f"{name}=true" in (config.option.override_ini or ()):
            option = f"--{name.replace('_', '-')}"
            yield option, [option]
    log_file = _log_file(config)
    if log_file:
        yield "--log-file", [f"--log-file={config.invocation_params.dir / log_file}"]
        # The host has begun the file; whoever comes later adds to it.
        yield "-o", ["--override-ini=log_file_mode=a"]
    asked = _host.required_plugins(config)
    required = [text for text in asked if not _names_us(text)]
    if len(required) != len(asked):
        yield "-o", [f"--override-ini=required_plugins={' '.join(required)}"]


def seed(config: pytest.Config) -> Iterator[Option]:
    """One for all sessions of pytest-randomly in a run, in all environments and processes.

    Each would choose its own, pytest-xdist's processes would have their tests in different orders,
    and one option could not repeat a run. A pytest-randomly here has chosen one already.
    """
    name = "--randomly-seed"
    asked = any(argument.startswith(name) for argument in _host.positional(config))
    if not asked and not hasattr(config.option, "randomly_seed"):
        workerinput: Mapping[str, Any] = getattr(config, "workerinput", {})
        run = workerinput.get("testrunuid") or uuid.uuid4().hex
        yield "", [f"{name}={zlib.crc32(run.encode())}"]


def _log_file(config: pytest.Config) -> str:
    if not config.pluginmanager.hasplugin("logging-plugin"):
        return ""
    return str(config.getoption("log_file", None) or config.getini("log_file") or "")


def _names_us(requirement: str) -> bool:
    return requirement.replace("_", "-").startswith("pytest-isoenv")


def _has_markup(config: pytest.Config) -> bool:
    return bool(config.get_terminal_writer().hasmarkup)


def _argument_parser(config: pytest.Config) -> argparse.ArgumentParser:
    parser: Any = config._parser
    found = getattr(parser, "optparser", None) or parser._getparser()  # pytest 9, pytest 8
    assert isinstance(found, argparse.ArgumentParser)
    return found


def _written(action: argparse.Action, value: Any) -> Iterator[list[str]]:
    """The arguments that make a parser arrive at ``value``; none if that cannot be said."""
    option = action.option_strings[-1]
    if action.dest == _VERBOSITY:
        yield [f"--verbosity={value}"]
    elif action.dest == _DEBUGGER:
        yield [f"{option}={':'.join(value)}"]
    elif action.nargs == 0:
        yield from _flag(action, option, value)
    elif isinstance(value, (list, tuple)):
        texts = [text for entry in value for text in _text(entry)]
        if isinstance(action, argparse._StoreAction):
            yield [option, *texts]
        else:
            yield from ([_joined(option, text)] for text in texts)
    else:
        yield from ([_joined(option, text)] for text in _text(value))


def _flag(action: argparse.Action, option: str, value: Any) -> Iterator[list[str]]:
    if isinstance(action, argparse._CountAction):
        yield [option] * int(value)
    elif value == action.const:
        yield [option]


def _plugins(names: Sequence[str]) -> list[str]:
    """What ``-p`` names, but for the plugin that has done its work here."""
    return [name for name in names if name.strip() not in _OUR_NAMES]


def _text(value: Any) -> Iterator[str]:
    if isinstance(value, (str, int, float, os.PathLike)):
        yield str(value)


def _joined(option: str, text: str) -> str:
    # As one argument: a parser that does not know the option must not take its value for a path.
    return f"{option}={text}" if option.startswith("--") else f"{option}{text}"


def failures_to_stop_at(config: pytest.Config) -> int:
    """After how many a worker stops by itself; 0 if it goes on.

    Only the host knows of ``--stepwise``, and hears of a failure when the next test may have run.
    """
    if not config.getoption("stepwise", False):
        return 0
    return 2 if config.getoption("stepwise_skip", False) else 1


def wanted_plugins(config: pytest.Config) -> list[str]:
    """Plugins that every environment must have.

    They are those of ``-p`` that are files of the project, and those that the host does not have.
    """
    local = [name for name in config.option.plugins if _is_below(name, config.rootpath)]
    return [*local, *_host.absent_plugins(config)]


def _is_below(module: str, root: Path) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return bool(file) and Path(str(file)).is_relative_to(root) and "site-packages" not in str(file)


def runs_as_module() -> bool:
    """Whether this is ``python -m pytest``, which puts the current directory on ``sys.path``."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name.partition(".")[0] in ("pytest", "pytest_isoenv")
