"""The fields of a declaration: their names, and what each fills in.

Config files and markers share this one table, so a key means the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_isoenv._shares import Layer
from pytest_isoenv._values import (
    InvalidValueError,
    Surroundings,
    choices,
    conda,
    indexes,
    one_of,
    paths,
    process,
    read_backend,
    read_flag,
    read_texts,
    requirements,
)
from pytest_isoenv.errors import Problem
from pytest_isoenv.spec import (
    ISOLATION_CHOICES,
    MISSING_INTERPRETER_CHOICES,
    PRERELEASE_CHOICES,
    RESOLUTION_CHOICES,
)


def parse_layer(
    fields: Mapping[str, Any], where: str, around: Surroundings, also: Iterable[str] = ()
) -> tuple[Layer, list[Problem]]:
    """Read one declaration's fields; what is wrong comes back as problems, all of them.

    ``also`` are keys that may stand beside them, for the message about one that may not.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    # What the declaration says itself of a package wins over its groups and its conda file.
    for key, value in sorted(fields.items(), key=lambda field: field[0] not in _FIRST):
        if key not in FIELDS:
            known = choices(str(key), [*FIELDS, *also])
            called = _CALLED_ELSEWHERE.get(str(key).replace("_", "-"))
            hint = f" (here that is {called!r})" if called else ""
            problems.append(Problem(where, f"unknown key {key!r}{hint}; the keys are: {known}"))
            continue
        attribute, parse = FIELDS[key]
        try:
            parsed = parse(value, around)
        except InvalidValueError as error:
            problems += [Problem(f"{where}.{key}", reason) for reason in error.reasons]
            continue
        filled = {attribute: parsed} if attribute else parsed
        for name, several in filled.items():
            values[name] = _joined(name, values.get(name), several)
    return Layer(home=around.home, **values), problems


def _joined(attribute: str, before: Any, value: Any) -> Any:
    """What several keys of one declaration say, in the order in which it counts."""
    if attribute not in _SHARED or before is None:
        return value
    # Of channels the first counts most; of the mentions of a package, the last.
    return value + before if attribute == "channels" else before + value


# What other tools, and older habits, call a key.
_CALLED_ELSEWHERE = {
    "base-python": "python",
    "basepython": "python",
    "deps": "dependencies",
    "dependency-groups": "groups",
    "env-vars": "env",
    "environment": "env",
    "factors": "matrix",
    "features": "extras",
    "inherit": "extends",
    "installer": "backend",
    "index-url": "index",
    "local-packages": "local",
    "lockfile": "lock",
    "package": "project",
    "packages": "dependencies",
    "passenv": "pass-env",
    "path": "prepend-paths",
    "python-version": "python",
    "requires": "dependencies",
    "set-env": "env",
    "setenv": "env",
    "template": "extends",
    "variables": "env",
    "venv-backend": "backend",
}

# Keys that are read before others, and the attributes that several keys fill.
_FIRST = frozenset({"groups", "conda-environment"})
_SHARED = frozenset({"requirements", "channels", "conda_dependencies"})

#: Key of the config -> (attribute of the layer, its parser). ``groups`` are requirements; where
#: no attribute is named, the parser says which it fills.
FIELDS: Mapping[str, tuple[str, Callable[[Any, Surroundings], Any]]] = {
    "python": ("python", process.read_python),
    "dependencies": ("requirements", requirements.read_requirements),
    "groups": ("requirements", requirements.read_groups),
    "requirements": ("requirement_files", requirements.read_files),
    "constraints": ("constraints", requirements.read_bounds),
    "overrides": ("overrides", requirements.read_bounds),
    "resolution": ("resolution", one_of(*RESOLUTION_CHOICES)),
    "prerelease": ("prerelease", one_of(*PRERELEASE_CHOICES)),
    "index": ("index", indexes.read_url),
    "extra-indexes": ("extra_indexes", indexes.read_urls),
    "find-links": ("find_links", indexes.read_links),
    "exclude-newer": ("exclude_newer", indexes.read_moment),
    "max-age": ("max_age", indexes.read_max_age),
    "extras": ("extras", requirements.read_extras),
    "project": ("project", requirements.read_project),
    "local": ("local", paths.read_paths),
    "lock": ("lock", requirements.read_lock),
    "layers": ("layers", read_texts),
    "env": ("variables", process.read_variables),
    "pass-env": ("pass_env", process.read_passed),
    "prepend-paths": ("prepend_paths", process.read_directories),
    "refresh": ("refresh", read_flag),
    "backend": ("backend", read_backend),
    "channels": ("channels", conda.read_channels),
    "conda-dependencies": ("conda_dependencies", conda.read_match_specs),
    "conda-environment": ("", conda.read_conda_environment),
    "fork-worker": ("fork_worker", read_flag),
    "runner-layer": ("runner_layer", read_flag),
    "isolation": ("isolation", one_of(*ISOLATION_CHOICES)),
    "missing-interpreter": ("missing_interpreter", one_of(*MISSING_INTERPRETER_CHOICES)),
}
