"""The values of a declaration's fields: their rules, and what to say when one is broken."""

from __future__ import annotations

import dataclasses
import datetime
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from pytest_isoenv import _spans
from pytest_isoenv._files import with_named_files
from pytest_isoenv._reading import UnreadableError, read_yaml
from pytest_isoenv._redact import has_secrets, without_tokens
from pytest_isoenv._texts import is_path, names_a_path, package_of_match_spec
from pytest_isoenv._variables import HOST_ONLY
from pytest_isoenv.pinned import parse_pylock
from pytest_isoenv.spec import NEVER, PROJECT_CHOICES

_T = TypeVar("_T")

# What an environment.yml may have; a name and a prefix are for conda's own commands.
_CONDA_KEYS = frozenset({"name", "prefix", "channels", "dependencies"})

_Parsed = TypeVar("_Parsed")


class InvalidValueError(ValueError):
    """A value that breaks its field's rule; the message names the value, the rule, the choices.

    ``reasons`` are the messages of a value that breaks it in several places.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What the rules of some fields look at: where the file lies, and the project there.

    ``home`` is the file's directory, relative to the rootdir ``root``: relative paths start there.
    ``backends`` are the names of those that are installed. ``extras`` is None where the project
    computes them at build time, so nobody can say.
    """

    root: Path
    home: str = ""
    has_project: bool = False
    extras: frozenset[str] | None = frozenset()
    groups: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backends: frozenset[str] = frozenset({"uv"})

    @property
    def directory(self) -> Path:
        """Where relative paths of the file start."""
        return self.root / self.home

    def rooted(self, text: str) -> str:
        """A path of the file as one that starts from the rootdir."""
        if not self.home or text.startswith("~") or Path(text).is_absolute():
            return text
        path = posixpath.normpath(posixpath.join(self.home, text))
        return path if path.startswith(".") else f"./{path}"


def choices(value: str, known: Iterable[str]) -> str:
    """The known names for an error message, the nearest to ``value`` first."""
    import difflib  # only a mistake pays for it

    names = sorted(known)
    nearest = difflib.get_close_matches(value, names, n=3, cutoff=0.6)
    ordered = nearest + [name for name in names if name not in nearest]
    return ", ".join(ordered) or "(none)"


def _text(value: Any, around: Surroundings) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(f"{value!r} is not a text")
    return value.strip()


def read_python(value: Any, around: Surroundings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidValueError(
            f"{value!r} is a number, so 3.10 would be read as 3.1; write it as a text: '3.10'"
        )
    text = _text(value, around)
    if names_a_path(text):
        return _existing(text, around) if is_path(text) else around.rooted(text)
    if text[0] in "<>=!~":
        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            raise InvalidValueError(
                f"{text!r} is no range of versions such as '>=3.10,<3.13' (PEP 440)"
            ) from None
    return text


def read_flag(value: Any, around: Surroundings) -> bool:
    if not isinstance(value, bool):
        raise InvalidValueError(f"{value!r} is neither true nor false")
    return value


def one_of(*allowed: str) -> Callable[[Any, Surroundings], str]:
    def parse(value: Any, around: Surroundings) -> str:
        if value not in allowed:
            raise InvalidValueError(f"{value!r} is not one of: {', '.join(allowed)}")
        return str(value)

    return parse


def read_backend(value: Any, around: Surroundings) -> str:
    return one_of(*sorted(around.backends))(value, around)


def read_project(value: Any, around: Surroundings) -> str:
    choice = one_of(*PROJECT_CHOICES)(value, around)
    if choice != "none" and not around.has_project:
        raise InvalidValueError(
            f"{choice!r} needs a project, but {around.directory} has no pyproject.toml with a "
            f"[project] or [build-system] table, and no setup.py"
        )
    return choice


def read_texts(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(value, around, _text)


def _each(
    value: Any, around: Surroundings, parse: Callable[[str, Surroundings], _Parsed]
) -> tuple[_Parsed, ...]:
    """A list of texts, each read by ``parse``; what is wrong with any of them is said."""
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise InvalidValueError(f"{value!r} is not a list of texts")
    found: list[_Parsed] = []
    reasons: list[str] = []
    for entry in value:
        try:
            found.append(parse(_text(entry, around), around))
        except InvalidValueError as error:
            reasons += error.reasons
    if reasons:
        raise InvalidValueError(*dict.fromkeys(reasons))
    return tuple(found)


def read_requirements(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(value, around, requirement)


def requirement(text: str, around: Surroundings) -> str:
    """A PEP 508 requirement, normalised, or the path of something that can be installed."""
    if is_path(text):
        path, bracket, extras = text.partition("[")
        return f"{_existing(path, around)}{bracket}{extras}"
    _without_credentials(text)
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise InvalidValueError(
            f"{text!r} is not a PEP 508 requirement such as 'attrs>=23': {reason}"
        ) from None


def read_paths(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(value, around, _existing)


def _existing(text: str, around: Surroundings) -> str:
    """The path as it is written: without its "./" it might be the name of a package."""
    try:
        path = around.directory / Path(text.strip()).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InvalidValueError(f"{text!r}: {error}") from None
    if not path.exists():
        raise InvalidValueError(f"{text!r} does not exist below {around.directory}")
    return around.rooted(text.strip())


def read_directories(value: Any, around: Surroundings) -> tuple[str, ...]:
    return tuple(around.rooted(text) for text in read_texts(value, around))


def _without_credentials(text: str) -> str:
    if has_secrets(text):
        raise InvalidValueError(
            f"{without_tokens(text)!r} has credentials in its URL, which would be kept; give them "
            f"to the installer by a netrc file, a keyring, or the variables of its index"
        )
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{str(path)!r} cannot be read: {error}") from None


def _file(value: Any, around: Surroundings) -> str:
    """A file whose text will be given to an installer, and kept."""
    path = _existing(_text(value, around), around)
    _without_credentials_inside(around.root / Path(path).expanduser(), str(value))
    return path


def _without_credentials_inside(file: Path, called: str) -> None:
    text = _read(file)
    if has_secrets(text):
        raise InvalidValueError(f"{called!r} has credentials in its URLs; make it without them")


def read_files(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Requirements files; what they name in turn is read as well."""
    return _each([value] if isinstance(value, str) else value, around, _requirements_file)


def _requirements_file(text: str, around: Surroundings) -> str:
    path = _file(text, around)
    for file in with_named_files(around.root / Path(path).expanduser())[1:]:
        _without_credentials_inside(file, os.path.relpath(file, around.directory))
    return path


def read_lock(value: Any, around: Surroundings) -> str:
    path = _file(value, around)
    name = Path(path).name
    if not (name == "pylock.toml" or (name.startswith("pylock.") and name.endswith(".toml"))):
        raise InvalidValueError(
            f"{str(value)!r} is not named pylock.toml or pylock.<name>.toml, as PEP 751 asks; "
            f"files with requirements are named by requirements:"
        )
    try:
        parse_pylock(_read(around.root / Path(path).expanduser()))
    except ValueError as error:
        raise InvalidValueError(f"{str(value)!r} is no lock file (PEP 751): {error}") from None
    return path


def read_bounds(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Constraints or overrides: requirements, and files with one on each line."""
    several = _each(value, around, _bounds_of)
    return tuple(bound for bounds in several for bound in bounds)


def _bounds_of(text: str, around: Surroundings) -> tuple[str, ...]:
    if not is_path(text) and not text.endswith((".txt", ".in")):
        return (_bound(text, around),)
    path = _file(text, around)
    lines = _read(around.root / Path(path).expanduser()).splitlines()
    stripped = [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
    return _each([line for line in stripped if line], around, _bound)


def _bound(text: str, around: Surroundings) -> str:
    if is_path(text):
        raise InvalidValueError(f"{text!r} is a path; a version of a package is expected here")
    return requirement(text, around)


def read_url(value: Any, around: Surroundings) -> str:
    text = _without_credentials(_text(value, around))
    if not re.match(r"([\w.-]+=)?(https?|file)://", text):
        raise InvalidValueError(f"{text!r} is not the URL of an index, nor NAME=URL")
    return text


def read_urls(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(value, around, read_url)


def read_links(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(
        value, around, lambda text, _: (read_url if "://" in text else _existing)(text, around)
    )


def read_channels(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Conda channels: names, URLs, and directories of this machine."""
    return _each(value, around, _channel)


def _channel(text: str, around: Surroundings) -> str:
    return _existing(text, around) if is_path(text) else _without_token(text)


def _without_token(text: str) -> str:
    """A channel, or what names one, without the token that conda takes in a path: ``/t/TOKEN/``."""
    if re.search(r"://[^/\s]+/t/[^/\s]+", text):
        raise InvalidValueError(
            f"{re.sub('/t/[^/ ]+', '/t/***', text)!r} has a token in its URL, which would be kept; "
            f"give it to the installer by a file of credentials (RATTLER_AUTH_FILE)"
        )
    return _without_credentials(text)


def read_match_specs(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(value, around, _match_spec)


def _match_spec(text: str, around: Surroundings) -> str:
    _without_token(text)
    if not re.fullmatch(r"[a-z0-9_][\w.-]*", package_of_match_spec(text)):
        raise InvalidValueError(f"{text!r} is not a conda match spec such as 'gdal>=3.8'")
    return text


def read_conda_environment(value: Any, around: Surroundings) -> dict[str, tuple[str, ...]]:
    """What an environment.yml asks for: channels, conda packages, and what its pip section has."""
    path = around.root / Path(_file(value, around)).expanduser()
    try:
        declared = read_yaml(path)
        if not isinstance(declared, Mapping):
            raise InvalidValueError(f"{declared!r} is not a mapping")
        there = dataclasses.replace(around, home=_home_of(path, around.root))
        return _read_conda(declared, there)
    except (UnreadableError, InvalidValueError) as error:
        raise InvalidValueError(f"{str(value)!r} is no conda environment: {error}") from None


def _home_of(path: Path, root: Path) -> str:
    home = os.path.relpath(path.resolve().parent, root.resolve()).replace(os.sep, "/")
    return "" if home == "." else home


def _list_of(declared: Mapping[str, Any], key: str) -> list[Any]:
    value = declared.get(key)
    if value is not None and not isinstance(value, list):
        raise InvalidValueError(f"{key}: {value!r} is not a list")
    return value or []


def _read_conda(declared: Mapping[str, Any], around: Surroundings) -> dict[str, tuple[str, ...]]:
    unknown = sorted(set(map(str, declared)) - _CONDA_KEYS)
    if unknown:
        known = ", ".join(sorted(_CONDA_KEYS))
        raise InvalidValueError(f"unknown key {unknown[0]!r}; the keys are: {known}")
    specs: list[Any] = []
    requirements: list[Any] = []
    for entry in _list_of(declared, "dependencies"):
        if isinstance(entry, Mapping) and set(entry) == {"pip"}:
            requirements += read_texts(entry["pip"], around)
        else:
            specs.append(entry)
    # conda ignores its pseudo-channel as well: it says that only the channels named here count.
    channels = [text for text in _list_of(declared, "channels") if text != "nodefaults"]
    return {
        "channels": read_channels(channels, around),
        "conda_dependencies": read_match_specs(specs, around),
        "requirements": read_requirements(requirements, around),
    }


def read_moment(value: Any, around: Surroundings) -> str:
    if isinstance(value, datetime.date):  # YAML and TOML know dates
        return value.isoformat()
    text = _text(value, around)
    try:
        datetime.datetime.fromisoformat(re.sub("Z$", "+00:00", text))
    except ValueError:
        if not _spans.is_span(text):
            raise InvalidValueError(
                f"{text!r} is neither a date such as '2026-01-31', a moment such as "
                f"'2026-01-31T12:00:00Z', nor a span such as '30 days'"
            ) from None
    return text


def read_max_age(value: Any, around: Surroundings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidValueError(f"{value!r} has no unit; write days, for instance, as '{value}d'")
    text = _text(value, around)
    if text == NEVER:
        return text
    if not _spans.is_span(text):
        raise InvalidValueError(
            f"{text!r} is neither a span of time such as '30d', '12 hours' or 'P30D', nor {NEVER!r}"
        )
    if not _spans.days_of(text):
        raise InvalidValueError(
            f"{text!r} is no time at all; refresh: true builds an environment from scratch each "
            f"time, and --env-upgrade resolves anew"
        )
    return text


def read_variables(value: Any, around: Surroundings) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        kind = type(value).__name__  # not the value: it may be a secret
        raise InvalidValueError(f"a {kind} is not a mapping of variable names to texts")
    reasons = []
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            reasons.append(f"{name!r} is not the name of an environment variable")
        elif not isinstance(text, str) or "\0" in text:
            # Not the value: it may be a secret.
            reasons.append(f"the value of {name} is not a text: {type(text).__name__}")
    if reasons:
        raise InvalidValueError(*reasons)
    return tuple(sorted(value.items()))


def read_passed(value: Any, around: Surroundings) -> tuple[str, ...]:
    """Names and globs of variables of the host."""
    return _each(value, around, _passed)


def _passed(text: str, around: Surroundings) -> str:
    name, equals, _ = text.partition("=")
    if equals:  # not what follows: it may be a secret
        raise InvalidValueError(f"{name!r} is given a value, which is what env: is for")
    if re.search(r"[\s\0]", text):
        raise InvalidValueError(
            f"{text!r} is neither the name of an environment variable nor a glob such as 'AWS_*'"
        )
    if text in HOST_ONLY:
        raise InvalidValueError(
            f"{text!r} speaks of the host's own environment, and is never passed; where the "
            f"environment needs one of that name, declare it by env:"
        )
    return text


def read_extras(value: Any, around: Surroundings) -> tuple[str, ...]:
    return _each(value, around, _extra)


def _extra(text: str, around: Surroundings) -> str:
    name = str(canonicalize_name(text))
    if around.extras is not None:
        _must_be_known(name, around.extras, "extra of the project")
    return name


def read_groups(value: Any, around: Surroundings) -> tuple[str, ...]:
    several = _each(value, around, _group)
    return tuple(requirement for group in several for requirement in group)


def _group(name: str, around: Surroundings) -> tuple[str, ...]:
    known = [str(canonicalize_name(group)) for group in around.groups]
    _must_be_known(str(canonicalize_name(name)), known, "dependency group")
    # Only projects with groups pay for it.
    from packaging.dependency_groups import DependencyGroupResolver
    from packaging.errors import ExceptionGroup

    try:
        found = DependencyGroupResolver(around.groups).resolve(name)
    except ExceptionGroup as error:
        reasons = "; ".join(str(reason) for reason in error.exceptions)
        raise InvalidValueError(f"dependency group {name!r}: {reasons}") from None
    return tuple(str(entry) for entry in found)


def _must_be_known(name: str, known: Iterable[str], kind: str) -> None:
    if name not in known:
        raise InvalidValueError(f"{name!r} is no {kind}; there are: {choices(name, known)}")
