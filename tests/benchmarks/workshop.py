"""The temporary directory in which everything is made: tools, hosts, packages, projects.

Tools come from the index that this machine is set up for, once. What the measured commands install
comes from an index of our own on the loopback interface, so that no network is measured.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from uv import find_uv_bin

from tests.benchmarks.suites import PART, Suite
from tests.packages import Index, make_wheel

ROOT = Path(__file__).parent.parent.parent
# How many versions of the package there are, from 1.0 on; the last is for caches to be made ready.
VERSIONS = [f"{number}.0" for number in range(1, 52)]
SPARE = VERSIONS[-1]
#: The newest pytest that pytest-forked (1.7.5) can pass on the reports of.
OLDER = "8.4.2"
# What the measured commands must not be told by the shell that we were started in.
_UNTOLD = ("PYTHON", "PYTEST", "PIP_", "UV_", "TOX", "NOX", "HATCH", "VIRTUAL_ENV", "XDG_", "CI")


class CannotInstallError(Exception):
    """A tool cannot be had on this machine."""


class _CachedIndex(Index):
    """An index whose answers may be kept for a while, as PyPI's may."""

    @staticmethod
    def _send(handler: object, data: bytes, kind: str) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.send_header("Content-Type", kind)  # type: ignore[attr-defined]
        handler.send_header("Content-Length", str(len(data)))  # type: ignore[attr-defined]
        handler.send_header("Cache-Control", "max-age=3600, public")  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        if handler.command == "GET":  # type: ignore[attr-defined]
            handler.wfile.write(data)  # type: ignore[attr-defined]


class Workshop:
    """Makes what jobs need below ``root``, each thing once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = Path(sys.base_exec_prefix, "bin", f"python3.{sys.version_info.minor}")
        self.uv = find_uv_bin()
        self.pytest = version("pytest")
        self.versions = {"pytest": self.pytest, "uv": version("uv")}
        root.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Serve packages no longer."""
        if "_index" in vars(self):
            self._index.close()

    def suite(self, tests: int, environments: int, pytest: str = "") -> Suite:
        """A project of so many tests and environments, with the host's pytest or another."""
        versions = tuple(VERSIONS[:environments])
        return Suite(tests, versions, pytest or self.pytest, platform.python_version())

    # What the measured commands see

    @cached_property
    def environ(self) -> dict[str, str]:
        """The variables of every measured command."""
        # Of its own: pytest removes there what earlier runs have left, whoever's they were.
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_UNTOLD)}
        told = {
            "PATH": os.pathsep.join([str(Path(self.uv).parent), kept.get("PATH", os.defpath)]),
            "UV_CACHE_DIR": str(self.root / "cache" / "uv"),
            "UV_DEFAULT_INDEX": self._index.url,
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_INDEX_URL": self._index.url,
            "PIP_CACHE_DIR": str(self.root / "cache" / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "XDG_CACHE_HOME": str(self.root / "cache" / "xdg"),
            "XDG_DATA_HOME": str(self.root / "cache" / "data"),
            "XDG_CONFIG_HOME": str(self.root / "cache" / "config"),
            "TMPDIR": str(temporary),
            "HATCH_ENV_TYPE_VIRTUAL_UV_PATH": self.uv,
            "NO_COLOR": "1",
        }
        return {**kept, **told}

    @cached_property
    def _index(self) -> Index:
        return _CachedIndex(self._wheels)

    @cached_property
    def _wheels(self) -> Path:
        """pytest as it was released, with what it needs, and the package in all its versions."""
        wheels = self.root / "wheels"
        if not (wheels / "complete").is_file():
            pip = self._made("pip", ["pip"]) / "bin" / "pip"
            for number in (self.pytest, OLDER):
                wanted = [f"pytest=={number}", "pytest-forked", "pytest-xdist"]
                _run([pip, "download", "--quiet", "--dest", wheels, *wanted])
            for number in VERSIONS:
                make_wheel(wheels, PART, number)
            (wheels / "complete").touch()
        return wheels

    # Tools

    def tool(self, name: str, *requirements: str) -> Path:
        """The executable of a tool, in an environment of its own, as its users install it.

        Raises CannotInstallError.
        """
        bin_dir = self._made(name, requirements or (name,)) / "bin"
        for requirement in requirements or (name,):
            self._note_version(bin_dir / "python", requirement.partition("[")[0])
        return bin_dir / name.partition("-")[0]

    def _note_version(self, python: Path, distribution: str) -> None:
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        asked = [python, "-I", "-c", code, distribution]
        self.versions[distribution] = _run(asked).strip()

    def _made(self, name: str, requirements: Iterable[str]) -> Path:
        """An environment of tools, from the index of this machine."""
        return self._venv(self.root / "tools" / name, list(requirements), _clean_environ())

    def host(self) -> Path:
        """An environment with pytest and this plugin, as it is now, and nothing else."""
        directory = self.root / "hosts" / "ours"
        if "pytest-isoenv" not in self.versions:
            environ = _clean_environ()
            self._venv(directory, [f"pytest=={self.pytest}"], environ)
            python = directory / "bin" / "python"
            again = ["--reinstall-package", "pytest-isoenv", "--refresh-package", "pytest-isoenv"]
            install = [self.uv, "pip", "install", "-q", "--compile-bytecode", "-p", python]
            _run([*install, *again, ROOT], environ)
            self._note_version(python, "pytest-isoenv")
        return directory / "bin" / "pytest"

    def bare_host(self) -> Path:
        """An environment with pytest alone."""
        wanted = [f"pytest=={self.pytest}"]
        return self._venv(self.root / "hosts" / "bare", wanted, _clean_environ()) / "bin" / "pytest"

    # Environments made by hand

    def by_hand(self, suite: Suite, number: str, *more: str) -> Path:
        """The directory of an environment for one version, made by uv as a user would."""
        label = "-".join([suite.pytest, number, *more])
        wanted = [*suite.requirements(number), *more]
        made = self._venv(self.root / "by-hand" / label, wanted, self.environ)
        for plugin in more:
            self._note_version(made / "bin" / "python", plugin)
        return made

    def _venv(self, directory: Path, wanted: list[str], environ: Mapping[str, str]) -> Path:
        made, wish = directory / "made.json", json.dumps([str(self.python), *wanted])
        if not made.is_file() or made.read_text() != wish:
            shutil.rmtree(directory, ignore_errors=True)
            python = directory / "bin" / "python"
            try:
                _run([self.uv, "venv", "-q", "-p", self.python, directory], environ)
                _run([self.uv, "pip", "install", "-q", "-p", python, *wanted], environ)
            except subprocess.CalledProcessError as error:
                raise CannotInstallError(f"{' '.join(wanted)}: {error.output[-500:]}") from error
            made.write_text(wish)
        return directory

    # Projects

    def project(self, name: str, suite: Suite) -> Path:
        """A project of its own: what one tool leaves in it, no other finds."""
        directory = self.root / "projects" / name
        shutil.rmtree(directory, ignore_errors=True)
        return suite.write(directory)


def _clean_environ() -> dict[str, str]:
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: text for name, text in os.environ.items() if name not in unwanted}


def _run(command: Iterable[object], environ: Mapping[str, str] | None = None) -> str:
    """What a command prints; raises subprocess.CalledProcessError."""
    ended = subprocess.run(
        list(map(str, command)),
        env=environ or _clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return ended.stdout
