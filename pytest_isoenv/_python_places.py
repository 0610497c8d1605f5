"""Where Pythons lie on a machine: nothing is started here, only directories are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pytest_isoenv._files import children

# Where installers of conda put it if nobody says otherwise.
_CONDA_HOMES = ("miniforge3", "mambaforge", "miniconda3", "anaconda3", "micromamba")


def executables(environ: Mapping[str, str]) -> Iterator[Path]:
    """Every file that looks like a Python, each once; no shims.

    Those on PATH come first, then pyenv's, asdf's, rye's, uv's and the system's.
    """
    from findpython.providers import (
        ALL_PROVIDERS,
    )  # only a run that asks for another version pays for it

    providers = [provider_class.create() for provider_class in ALL_PROVIDERS.values()]
    found = (Path(p.executable) for each in providers if each for p in each.find_pythons())
    return _each_once(found, _in_prefixes(_uv_managed(environ)))


def conda_executables(environ: Mapping[str, str]) -> Iterator[Path]:
    """The Pythons of conda's installations and environments.

    They are for when nothing else will do: somebody's environment may change at any time.
    """
    return _each_once(_in_prefixes(_conda_prefixes(environ)))


def python_below(prefix: Path) -> Path:
    """The interpreter of an installation or environment, by its directory."""
    inside = ("bin/python3", "bin/python", "Scripts/python.exe", "python.exe", "bin/pypy3")
    candidates = [prefix / name for name in inside]
    return next((path for path in candidates if path.exists()), candidates[0])


def is_script(path: Path) -> bool:
    """Whether a file is one for another program to read, as the shims of pyenv are."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _each_once(*groups: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for group in groups:
        for path in group:
            try:
                real = path.resolve(strict=True)
                if real not in seen and not is_script(real):
                    yield path
                seen.add(real)
            except (OSError, RuntimeError):  # a link to nothing or to itself, or not for us
                continue


def _in_prefixes(prefixes: Iterable[Path]) -> Iterator[Path]:
    return map(python_below, prefixes)


def _uv_managed(environ: Mapping[str, str]) -> Iterator[Path]:
    """What ``uv python dir`` names; findpython looks elsewhere on some platforms."""
    own = environ.get("UV_PYTHON_INSTALL_DIR")
    data = environ.get("XDG_DATA_HOME") or "~/.local/share"
    roaming = environ.get("APPDATA")
    places = [own or f"{data}/uv/python", *([f"{roaming}/uv/data/python"] if roaming else [])]
    for place in places:
        yield from children(Path(place).expanduser())


def _conda_prefixes(environ: Mapping[str, str]) -> Iterator[Path]:
    for prefix in _conda_candidates(environ):
        if (prefix / "conda-meta").is_dir():
            yield prefix


def _conda_candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    homes = [Path("~", name).expanduser() for name in _CONDA_HOMES]
    homes += [
        Path(environ[name]) for name in ("MAMBA_ROOT_PREFIX", "CONDA_PREFIX") if name in environ
    ]
    if "CONDA_EXE" in environ:
        homes.append(Path(environ["CONDA_EXE"]).parent.parent)
    for home in homes:
        yield home
        yield from children(home / "envs")
    for name in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"):
        for directory in filter(None, environ.get(name, "").split(os.pathsep)):
            yield from children(Path(directory))
    yield from _listed_by_conda()


def _listed_by_conda() -> list[Path]:
    """The environments that conda has made, wherever they are."""
    try:
        text = Path("~/.conda/environments.txt").expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return [Path(line.strip()) for line in text.splitlines() if line.strip()]
