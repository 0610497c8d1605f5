"""A backend in one module: environments that see the packages of the Python that they are built on.

For what no index has: bindings that came with the operating system, a driver's own package. What
is asked for goes in front of it. It runs uv as a program.
"""

from __future__ import annotations

import sys

from pytest_isoenv.environment import python_of
from pytest_isoenv.errors import BuildError, ResolutionError
from pytest_isoenv.pinned import Resolution

name = "system"
brings_python = False

UV = [sys.executable, "-m", "uv", "--no-config", "--no-progress"]


def unsupported(spec):
    """What it does not do is said while declarations are read, and not when a build has failed."""
    refused = {"project": spec.project != "none", "lock": spec.lock, "local": spec.local}
    return [key for key, asked in refused.items() if asked]


def index_inputs(environ):
    """Another index may give other files, so what is kept must hang on it."""
    return {key: environ[key] for key in ("UV_DEFAULT_INDEX",) if key in environ}


def resolve(wanted, directory, run):
    """Everything with its hash, as PEP 751; the last requirement of pytest fits the most."""
    asked = [*wanted.spec.requirements, wanted.pytest_requirements[-1]]
    (directory / "requirements.in").write_text("\n".join(asked) + "\n")
    lock = directory / "pylock.toml"
    lock.unlink(missing_ok=True)
    command = [*UV, "pip", "compile", "--no-header", "--python", wanted.base.executable]
    command += ["--output-file", lock, directory / "requirements.in"]
    run(command, purpose="resolving for the system's Python", failure=ResolutionError)
    return Resolution((lock.read_text(),))


def create(pinned, directory, run):
    """Build in an empty directory, which is the environment's place for good."""
    base = pinned.base.executable
    command = [*UV, "venv", "--system-site-packages", "--python", base, directory]
    run(command, purpose="creating the environment", failure=BuildError)
    for number, text in enumerate(pinned.pylocks):
        lock = directory / f"pylock.{number}.toml"
        lock.write_text(text)
        command = [*UV, "pip", "install", "--no-deps", "--python", python_of(directory), "-r", lock]
        run(command, purpose="installing the packages", failure=BuildError)


def check(directory, facts):
    """Asked on every hit: why it cannot be used any more, or None."""
    if not python_of(directory).exists():
        return f"its interpreter {facts['real_path']} is gone"
    return None
