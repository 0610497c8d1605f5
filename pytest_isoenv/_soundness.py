"""Whether environments are sound: what is noted of a new one, and what it is compared with later.

A *glance* is taken at every hit. To *examine* an environment is to look at each of its files, which
is done on demand, and after a build for their sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_isoenv import _compiled, _whereabouts
from pytest_isoenv.errors import BrokenEnvironment

if TYPE_CHECKING:
    from pytest_isoenv.backend import Backend, Damage, Run

#: What the look at an environment, at least, must find in what was noted.
_NEEDED = frozenset({"installed", "interpreter_file", "packages", "python", "real_path"})


def noted(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be kept of a finished environment beside what it says of itself (``facts``)."""
    from pytest_isoenv._backends import health, records  # only a build pays for it

    return {
        **_whereabouts.noted(directory),
        **health.noted(directory, facts),
        **records.noted(directory, facts),
    }


def glance(backend: Backend, directory: Path, facts: Mapping[str, Any]) -> str | None:
    """Why an environment cannot be used any more; None if it can, as far as can be seen at once."""
    if not directory.is_dir():
        return f"its directory {directory} is gone"
    if not facts.keys() >= _NEEDED:
        return "what was noted of it is incomplete"
    return (
        _whereabouts.strange(directory)
        or _whereabouts.strange(directory.parent)
        or _whereabouts.moved(directory, facts)
        or backend.check(directory, facts)
        or _compiled.changed(facts)
    )


def refuse(directory: Path) -> None:
    """Raise BrokenEnvironment where a broken environment cannot be built again in safety.

    A new generation lies beside the old one, in a directory that both share: whoever owns that
    could put something else in its place at any time.
    """
    place = directory.parent
    reason = _whereabouts.strange(place)
    if reason is not None:
        raise BrokenEnvironment(
            str(directory),
            f"{reason}, who could change what runs in it, so it is neither used nor built again "
            f"there; remove {place}, or name another cache with --env-cache-dir",
        )


def examine(
    backend: Backend, directory: Path, facts: Mapping[str, Any], *, thoroughly: bool = True
) -> list[Damage]:
    """Every file that is not as it was installed; none where a backend has no way to tell."""
    look = getattr(backend, "examine", None)
    return [] if look is None else list(look(directory, facts, thoroughly=thoroughly))


def forget(backend: Backend, directory: Path, damages: Iterable[Damage], run: Run) -> bool:
    """Have the installer drop what it keeps of damaged packages; whether there was anything to.

    Its cache and the environment can be two names of one file. Made from that cache, the next
    environment would be as damaged as this one.
    """
    packages: Sequence[str] = sorted({damage.package for damage in damages} - {""})
    drop = getattr(backend, "forget", None)
    if drop is None or not packages:
        return False
    drop(directory, packages, run)
    return True
