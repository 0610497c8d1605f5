"""What lies where in an environment's directory."""

from __future__ import annotations

from pathlib import Path


def bin_directory(prefix: Path) -> Path:
    """Where an environment keeps its executables: ``bin``, or ``Scripts`` on Windows."""
    scripts = prefix / "Scripts"
    return scripts if scripts.is_dir() else prefix / "bin"


def python_of(prefix: Path) -> Path:
    """An environment's interpreter."""
    directory = bin_directory(prefix)
    # On Windows conda has it in the prefix itself.
    windows = [directory / "python.exe", prefix / "python.exe"]
    return next((path for path in windows if path.exists()), directory / "python")
