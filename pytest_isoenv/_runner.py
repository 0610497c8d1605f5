"""The runner layer: pytest and what it needs, installed and compiled once, beneath environments.

The pins of an environment decide what lies in its layer: these very artefacts, hash for hash, and
nothing else. So a layer is never in the way of a pin; other pins have another layer. Where it could
be, since a package is built of a source tree or comes without a hash, pytest is installed into the
environment like anything else.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from pytest_isoenv._backends.pylock_text import divided
from pytest_isoenv.pinned import Beneath, Interpreter, PinnedEnv
from pytest_isoenv.spec import EnvName, EnvSpec

# What pytest imports, and what those import on a Python older than 3.11.
_NEEDED = frozenset({"pytest", "iniconfig", "packaging", "pluggy", "pygments"})
_NEEDED_BEFORE = frozenset({"exceptiongroup", "tomli", "typing-extensions"})
_BEFORE = (3, 11)
# The Pythons whose start is known, and repeated, by the process that forks workers (see
# ``_worker.forks``), and the oldest pytest of which all that it needs lies in the layer.
_FORKED = ((3, 10), (3, 14))
_FORKED_PYTEST = Version("7.3")
# Lines of .pth files, as tools write them, that do the same before pytest is imported and after.
_HARMLESS = (
    # coverage, which starts if it is told so by variables: then none is forked.
    r"""import sys; exec\('import os\\n\\nif os\.getenv\("COVERAGE_PROCESS_START"\) or [^']+'\)""",
    # setuptools: finders for distutils, and for what is installed editable.
    r"import os; ?var = 'SETUPTOOLS_USE_DISTUTILS'; .*__import__\('_distutils_hack'\)[^']*",
    r"import (__editable___\w+_finder); \1\.install\(\)",
)


def layer_of(pinned: PinnedEnv) -> PinnedEnv | None:
    """The layer that an environment can lie on, as an environment itself; None if on none."""
    # Elsewhere an environment's scripts are programs, which name its Python in their own way.
    if not pinned.spec.runner_layer or pinned.interpreter is None or os.name != "posix":
        return None
    names = _names(pinned.interpreter)
    taken = tuple(artefact for artefact in pinned.artefacts if artefact.name in names)
    if "pytest" not in {artefact.name for artefact in taken}:
        return None
    # One of a source tree is no artefact at all.
    if not all(artefact.hashed for artefact in taken):
        return None
    spec = EnvSpec(
        index=pinned.spec.index, backend=pinned.spec.backend, refresh=pinned.spec.refresh
    )
    pylocks = tuple(divided(text, names)[0] for text in pinned.pylocks)
    return PinnedEnv(spec, pinned.interpreter, pylocks, (), read=taken)


def _names(interpreter: Interpreter) -> frozenset[str]:
    return _NEEDED | _NEEDED_BEFORE if interpreter.release < _BEFORE else _NEEDED


def name_of(layer: PinnedEnv) -> EnvName:
    """What to call a layer, where somebody lists what there is."""
    versions = {artefact.name: artefact.version for artefact in layer.artefacts}
    return EnvName(f"pytest {versions['pytest']} for Python {layer.base.label}")


def on_top_of(pinned: PinnedEnv, layer: PinnedEnv, directory: Path) -> PinnedEnv:
    """The environment, on its layer."""
    beneath = Beneath(name_of(layer), str(directory), layer.key())
    return dataclasses.replace(pinned, runner=beneath)


def without_runner(pinned: PinnedEnv) -> PinnedEnv:
    """What is to be installed into an environment that lies on a layer."""
    names = _names(pinned.base)
    pylocks = tuple(divided(text, names)[1] for text in pinned.pylocks)
    return dataclasses.replace(pinned, pylocks=pylocks, read=None)


def is_in_both(own: Iterable[str], interpreter: Interpreter) -> Sequence[str]:
    """What of an environment's own packages a layer may have, too.

    A local tree is one of them, whose name nobody knew before it was built.
    """
    return sorted(set(map(str, map(canonicalize_name, own))) & _names(interpreter))


def forks_from(pinned: PinnedEnv, facts: Mapping[str, Any]) -> Path | None:
    """The layer whose process may fork this environment's workers; None if none may.

    A fork has imported pytest before its environment's own start is made up for.
    """
    if Version(facts["packages"]["pytest"]) < _FORKED_PYTEST:
        return None
    if not facts.get("like_runner") or not all(map(_is_harmless, facts["starts"])):
        return None
    return may_fork_from(pinned)


def may_fork_from(pinned: PinnedEnv) -> Path | None:
    """The same, as far as one can tell before the environment is built."""
    interpreter = pinned.interpreter
    if pinned.runner is None or interpreter is None or pinned.spec.fork_worker is False:
        return None
    oldest, newest = _FORKED
    is_known = interpreter.implementation == "cpython" and not interpreter.free_threaded
    is_known = is_known and oldest <= interpreter.release < newest
    return Path(pinned.runner.path) if is_known else None


def _is_harmless(line: str) -> bool:
    return any(re.fullmatch(pattern, line) for pattern in _HARMLESS)
