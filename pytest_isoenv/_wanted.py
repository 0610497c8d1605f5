"""What a backend is asked to resolve: :class:`~pytest_isoenv.backend.Wanted`, and its key."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pytest_isoenv import _spans
from pytest_isoenv._files import content_digest, metadata_digest, with_named_files
from pytest_isoenv._layout import SCHEMA
from pytest_isoenv._settings import Settings
from pytest_isoenv._texts import is_path
from pytest_isoenv.backend import OLDEST_PYTEST, Backend, Wanted
from pytest_isoenv.pinned import IntentKey, Interpreter, digest_of
from pytest_isoenv.spec import EnvSpec


def wanted_of(
    spec: EnvSpec,
    interpreter: Interpreter | None,
    settings: Settings,
    beneath: Mapping[str, str] | None = None,
) -> Wanted:
    """What resolving ``spec`` for an interpreter of this machine needs to know."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return Wanted(
        spec,
        interpreter,
        pytest_requirements(spec, interpreter),
        settings.root,
        settings.installer_environ,
        newest_upload(spec.index.exclude_newer, now),
        beneath or {},
    )


def pytest_requirements(spec: EnvSpec, interpreter: Interpreter | None) -> list[str]:
    """What is asked of pytest itself, best first: the host's version, else any that a worker runs.

    A requirement of the user's own that excludes the host's version rules the first one out. Where
    versions are to be low, pytest's is, too, if somebody asks for it.
    """
    host_version, host_python = _host_pytest()
    anything = f"pytest>={OLDEST_PYTEST}"
    supported = SpecifierSet(host_python)
    own = [Requirement(text) for text in spec.requirements if not is_path(text)]
    asked = [r.specifier for r in own if canonicalize_name(r.name) == "pytest"]
    fits = all(specifier.contains(host_version, prereleases=True) for specifier in asked)
    wanted = [anything]
    version = interpreter.version if interpreter else None  # it may turn out to be too old
    if fits and (version is None or supported.contains(version, prereleases=True)):
        wanted.insert(0, f"pytest=={host_version}")
    return wanted if spec.resolution == "highest" else ["", *wanted]


@cache
def _host_pytest() -> tuple[str, str]:
    """The version of the pytest that runs here, and the Pythons that it is for."""
    host = importlib.metadata.distribution("pytest")
    return host.version, host.metadata["Requires-Python"] or ""


def intent_of(backend: Backend, wanted: Wanted) -> IntentKey:
    """Names everything that a resolution hangs on; equal intents share a kept resolution."""
    spec, root = wanted.spec, wanted.root
    inputs = {
        "schema": SCHEMA,
        "backend": backend.name,
        **(wanted.interpreter.key_inputs() if wanted.interpreter else _machine(spec)),
        **backend.index_inputs(wanted.installer_environ),
        "requirements": "\n".join(spec.requirements),
        "constraints": "\n".join(wanted.constraints),
        "overrides": "\n".join(spec.overrides),
        "mode": f"{spec.resolution} {spec.prerelease} {wanted.exclude_newer}",
        "index": repr(spec.index),
        "conda": repr(spec.conda),
        "pytest": "\n".join(wanted.pytest_requirements),
    }
    links = [links for links in spec.index.find_links if "://" not in links]
    named = [root / Path(text).expanduser() for text in (*filter(None, [spec.lock]), *links)]
    for text in spec.requirement_files:
        named += with_named_files(root / Path(text).expanduser())
    for path in named:
        inputs[f"file {path}"] = content_digest(path)
    if spec.project != "none":
        of_project = f"{spec.project} {wanted.project} {spec.extras}"
        inputs["project"] = f"{of_project} {metadata_digest(wanted.project)}"
    for text in filter(is_path, spec.requirements):
        path = root / Path(text.partition("[")[0]).expanduser()
        inputs[f"path {path}"] = metadata_digest(path)
    return IntentKey(digest_of(inputs))


def metadata_of(trees: Iterable[str]) -> dict[str, str]:
    """What decides the dependencies of source trees: digests by path.

    Which trees take part is known only once they were resolved, since a project names its
    neighbours in sources of its own, or its workspace does.
    """
    paths = [Path(tree) for tree in trees]
    found = {str(path): metadata_digest(path) for path in paths}
    above = {parent / "pyproject.toml" for path in paths for parent in path.parents}
    return found | {str(file): content_digest(file) for file in above if _is_workspace(file)}


def _is_workspace(pyproject: Path) -> bool:
    """Whether the sources of what lies below may be told there, as uv's workspaces do."""
    return pyproject.is_file() and b"workspace" in pyproject.read_bytes()


def _machine(spec: EnvSpec) -> dict[str, str]:
    """What stands for the interpreter where resolving will give one."""
    host = ".".join(platform.python_version_tuple()[:2])
    return {"python": spec.python or host, "machine": platform.platform()}


def newest_upload(text: str | None, now: datetime.datetime) -> str | None:
    """The moment that ``exclude-newer`` means: the end of a day, or a span before this midnight.

    In UTC, so that everybody resolves alike; a span moves once a day.
    """
    if text is None:
        return None
    if re.fullmatch(r"[\d-]+", text):
        moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)
        return _rfc3339(moment + datetime.timedelta(days=1))
    if _spans.is_span(text):
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return _rfc3339(midnight - datetime.timedelta(days=_spans.days_of(text)))
    moment = datetime.datetime.fromisoformat(re.sub("Z$", "+00:00", text))
    return _rfc3339(moment.astimezone(datetime.timezone.utc) if moment.tzinfo else moment)


def _rfc3339(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
