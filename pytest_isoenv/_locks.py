"""Committed lock files: their names, what they were made for, and whether that still holds.

``isoenv lock`` writes PEP 751 documents, one for each environment. What was declared when it did
stands in their ``[tool.isoenv]`` table, so that a change can be told by name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._files import content_digest, metadata_digest, with_named_files
from pytest_isoenv._reading import UnreadableError, read_toml
from pytest_isoenv._redact import redact
from pytest_isoenv.errors import LockError, Problem
from pytest_isoenv.pinned import Interpreter, explain, parse_pylock
from pytest_isoenv.spec import EnvName, EnvSpec

_TABLE = "declaration"
_NEIGHBOUR = "neighbour"


def file_of(name: EnvName) -> str:
    """The file that an environment's lock stands in; PEP 751 allows no further dots in it."""
    return f"pylock.{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.toml"


def found(root: Path, names: Iterable[str]) -> dict[str, str]:
    """The lock files that are there, by the names of the environments that they are for."""
    files = {name: file_of(EnvName(name)) for name in names}
    return {name: file for name, file in files.items() if (root / file).is_file()}


def problems_with(
    path: str, name: EnvName, spec: EnvSpec, root: Path, locked: bool
) -> list[Problem]:
    """Whether a lock can be read, and if it has to, whether it fits what is declared."""
    from pytest_isoenv._outside import outside  # only projects with lock files pay for it

    try:
        text = (root / path).read_text(encoding="utf-8")
        parse_pylock(text)
        reasons = outside(path, spec, root)
        # Whether it fits takes a look at the project and its neighbours: only if somebody asks.
        changed = changes(text, spec, root) if locked else []
    except (OSError, ValueError) as error:
        what = f"is no lock file (PEP 751) that can be read: {error}; delete it, and lock it again"
        return [Problem(path, f"{what} with: isoenv lock {name}")]
    if redact(text) != text:
        return [Problem(path, "has credentials in its URLs; make it without them")]
    if reasons:
        again = f"else delete it, and lock it again with: isoenv lock {name}"
        return [Problem(path, f"{reason}; {again}") for reason in reasons]
    if changed:
        again = f"lock it again with: isoenv lock {name}"
        return [Problem(path, f"no longer fits {name!r} ({', '.join(changed)}); {again}")]
    return []


def refusals(path: str, spec: EnvSpec, root: Path) -> list[str]:
    """What of a lock that a declaration names, and that can be read, leads out of the project."""
    from pytest_isoenv._outside import outside  # only projects with lock files pay for it

    try:
        return [f"{path!r}: {reason}" for reason in outside(path, spec, root)]
    except (OSError, ValueError):
        return []  # whoever reads it next will say why it cannot be


def inputs_of(spec: EnvSpec, root: Path, trees: Iterable[str] = ()) -> dict[str, str]:
    """What a lock hangs on, by name.

    ``trees`` are the source trees, as seen from the rootdir, that were found when it was resolved:
    what a neighbour of the project asks for counts as well.
    """
    inputs = {f"requirement {text}": "asked for" for text in spec.requirements}
    inputs |= {f"constraint {text}": "asked for" for text in spec.constraints}
    inputs |= {f"override {text}": "asked for" for text in spec.overrides}
    for path in spec.requirement_files:
        inputs |= _of_file(root, path)
    for name, value in {
        "python": spec.python,
        "resolution": spec.resolution,
        "prerelease": spec.prerelease,
        "index": spec.index.default,
        "extra indexes": " ".join(spec.index.extra),
        "find-links": " ".join(spec.index.find_links),
        "exclude-newer": spec.index.exclude_newer,
    }.items():
        if value:
            inputs[name] = value
    # Not which packages lie beneath, which may hang on the day: what is declared there.
    for name, below in spec.beneath:
        of_layer = inputs_of(below, root)
        inputs |= {f"layer {name}, {key}": value for key, value in of_layer.items()}
    if spec.project != "none":
        inputs |= _of_project(root / spec.project_directory, spec.extras)
    for tree in trees:
        if (root / tree).resolve() != (root / spec.project_directory).resolve():
            inputs[f"{_NEIGHBOUR} {tree}"] = "found"
            told = _of_project(root / tree, ())
            inputs |= {f"{tree}: {name}": value for name, value in told.items()}
    return inputs


def _of_file(root: Path, path: str) -> dict[str, str]:
    """A requirements file and those that it names, called as seen from the rootdir."""
    return {
        f"file {os.path.relpath(file, root).replace(os.sep, '/')}": content_digest(file)
        for file in with_named_files(root / Path(path).expanduser())
    }


def _of_project(directory: Path, extras: tuple[str, ...]) -> dict[str, str]:
    """What the project asks for; where it computes that when it is built, what it computes from."""
    table = _project_table(directory)
    if table is None or {"dependencies", "optional-dependencies"} & set(table.get("dynamic", ())):
        return {"project": metadata_digest(directory), "extras": " ".join(extras)}
    optional = table.get("optional-dependencies", {})
    asked = [*table.get("dependencies", ()), *(r for e in extras for r in optional.get(e, ()))]
    inputs = {f"project's requirement {text}": "asked for" for text in asked}
    return {**inputs, "extras": " ".join(extras)}


def _project_table(directory: Path) -> Mapping[str, Any] | None:
    try:
        table = read_toml(directory / "pyproject.toml").get("project")
    except UnreadableError:
        return None
    return table if isinstance(table, Mapping) else None


def marked(text: str, inputs: Mapping[str, str]) -> str:
    """The document, with what it was made for."""
    lines = [f"{json.dumps(name)} = {json.dumps(inputs[name])}" for name in sorted(inputs)]
    return "\n".join([text.rstrip(), "", f"[tool.isoenv.{_TABLE}]", *lines, ""])


def changes(text: str, spec: EnvSpec, root: Path) -> list[str]:
    """How a declaration differs from the one that a lock was made for; empty if it fits.

    Raises ValueError for what is no lock.
    """
    told = (parse_pylock(text).tool or {}).get("isoenv", {})
    then = told.get(_TABLE) if isinstance(told, Mapping) else None
    if not isinstance(then, Mapping):
        return ["it does not say what it was made for"]
    before = {str(name): str(value) for name, value in then.items()}
    trees = [name.partition(" ")[2] for name in before if name.startswith(f"{_NEIGHBOUR} ")]
    return explain(before, inputs_of(spec, root, trees))


def lowest_python(spec: EnvSpec, root: Path, interpreter: Interpreter) -> str:
    """The oldest Python (major.minor) that a lock of ``spec`` must hold for.

    It is the declared one, the lower bound of a declared range, or of the project's own
    ``requires-python``; else the Python that runs the tests.
    """
    own = ".".join(interpreter.version.split(".")[:2])
    text = spec.python or ""
    if not text and spec.project != "none":
        table = _project_table(root / spec.project_directory) or {}
        text = str(table.get("requires-python", ""))
    if not text or text[0] not in "<>=~!":
        return own
    from packaging.specifiers import SpecifierSet  # only locking pays for it

    bounds = [s.version for s in SpecifierSet(text) if s.operator in (">=", "~=", "==", ">")]
    numbers = [re.findall(r"\d+", bound)[:2] for bound in bounds]
    complete = [tuple(map(int, pair)) for pair in numbers if len(pair) == 2]
    return ".".join(map(str, max(complete))) if complete else own


def check_python(path: str, text: str, interpreter: Interpreter) -> None:
    """Refuse a lock that was made for other Pythons or platforms; raises LockError."""
    from packaging.markers import Marker  # only resolving pays for it

    lock = parse_pylock(text)
    if lock.requires_python is not None and not lock.requires_python.contains(
        interpreter.version, prereleases=True
    ):
        raise LockError(path, f"it is for Python {lock.requires_python}", interpreter.version)
    markers = [Marker(str(marker)) for marker in lock.environments or ()]
    if markers and not any(m.evaluate(interpreter.marker_environment) for m in markers):
        kinds = " or ".join(map(str, markers))
        raise LockError(path, f"it is for environments with {kinds}", interpreter.version)
