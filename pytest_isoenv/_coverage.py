"""Coverage that the host measures is measured in environments, too, and becomes one with its own.

It does not matter who measures on the host, pytest-cov or ``coverage run``: whatever measurement
is under way (``coverage.Coverage.current()``) is carried on in the workers, and takes in what they
wrote before whoever began it saves or reports.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

from pytest_isoenv.environment import Environment
from pytest_isoenv.spec import EnvSpec

# The form of the data has been the same since.
_OLDEST = "5.0"
# What a measurement hangs on, by the names of coverage's configuration.
_OPTIONS = (
    "branch", "concurrency", "core", "cover_pylib", "include", "omit", "patch", "plugins",
    "relative_files", "source", "source_pkgs", "source_dirs", "timid",
)  # fmt: skip


class Measurement:
    """The host's measurement, and the data that workers add to it."""

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self._version = sys.modules["coverage"].__version__
        self._directory = Path(tempfile.mkdtemp(prefix="pytest-isoenv-coverage-"))
        self._options = self._said()

    @classmethod
    def under_way(cls) -> Measurement | None:
        """The measurement of this process; None if there is none."""
        module: Any = sys.modules.get("coverage")
        coverage = module.Coverage.current() if hasattr(module, "Coverage") else None
        return cls(coverage) if coverage is not None else None

    def _said(self) -> dict[str, Any]:
        """The configuration, said in full: an old coverage may not be able to read the file."""
        module: Any = sys.modules["coverage"]
        said = {}
        for name in (f"run:{option}" for option in _OPTIONS):
            try:
                value = self._coverage.get_option(name)
            except module.CoverageException:  # this version does not know it
                continue
            if value:
                said[name] = list(value) if isinstance(value, (tuple, set)) else value
        for plugin in said.get("run:plugins", ()):
            for key, value in self._coverage.config.get_plugin_options(plugin).items():
                said[f"{plugin}:{key}"] = value
        return said

    def tools(self, spec: EnvSpec, environment: Environment) -> list[EnvSpec]:
        """Environments that may lend their coverage to one that has none, best first."""
        if "coverage" in environment.packages:
            return []
        requirements = [f"coverage=={self._version}", f"coverage>={_OLDEST}"]
        return [EnvSpec(python=spec.python, requirements=(text,)) for text in requirements]

    @staticmethod
    def misfit(environment: Environment) -> str:
        """Why the environment's own coverage is of no use; empty if it is, or if it has none."""
        version = environment.packages.get("coverage", _OLDEST)
        if Version(version) >= Version(_OLDEST):
            return ""
        return f"it has coverage {version}, and {_OLDEST} is the oldest whose data fits"

    def request(
        self, environment: Environment, directory: Path | None, place: str
    ) -> Mapping[str, Any]:
        """What a worker is told: where coverage is, what to measure, and where to write it."""
        return {
            "environment": environment.name,
            "directory": str(directory) if directory is not None else None,
            "data_file": str(self._directory / f"coverage.{place}"),
            "options": self._options,
        }

    def take_in(self) -> None:
        """Add what the workers wrote to the host's own data, and forget it."""
        module: Any = sys.modules["coverage"]
        files = sorted(self._directory.iterdir())
        if files:  # what was not imported here was there, as with pytest-xdist's processes
            self._coverage._warn_no_data = self._coverage._warn_unimported_source = False
        data = self._coverage.get_data()
        for file in files:
            there = module.CoverageData(basename=str(file))
            there.read()
            data.update(there)
            there.close()
            file.unlink()

    def close(self) -> None:
        """Remove the directory of the workers' data."""
        shutil.rmtree(self._directory, ignore_errors=True)


def library_of(environment: Environment) -> Path | None:
    """The directory of an environment from which its coverage is imported."""
    places = [*environment.path.glob("lib/python*/site-packages"), environment.path / "Lib"]
    return next((place for place in places if (place / "coverage").is_dir()), None)
