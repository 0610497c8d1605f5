"""The commands of the backend for conda packages: somebody solves, and uv puts the rest on top.

What conda installed bounds what uv resolves, and uv installs nothing of it again.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pytest_isoenv._backends import records
from pytest_isoenv._backends import uv_commands as uv
from pytest_isoenv._backends.pylock_text import only_index, with_index
from pytest_isoenv._backends.stub_wheels import write_stub
from pytest_isoenv._files import read_json, write_atomically, write_json
from pytest_isoenv._interpreters import PROBE, described
from pytest_isoenv._prefixes import python_of
from pytest_isoenv._redact import redact
from pytest_isoenv._texts import is_path, package_of_match_spec, version_in
from pytest_isoenv.backend import Damage, Finding, Run, Wanted
from pytest_isoenv.errors import BuildError, CommandError, ResolutionError
from pytest_isoenv.pinned import Foreign, PinnedEnv, Resolution

__all__ = [
    "create",
    "diagnose",
    "examine",
    "forget",
    "resolve",
]

_DEFAULT_CHANNELS = ("conda-forge",)
# Who can do it without py-rattler, the fastest first.
_TOOLS = ("micromamba", "mamba", "conda")
_MISSING = (
    "the backend conda needs py-rattler (pip install 'pytest-isoenv[conda]'), or one of these on "
    f"PATH: {', '.join(_TOOLS)}"
)
_PROGRAM = Path(__file__).with_name("solve_conda.py")
# What of a record is needed to install the same file again.
_KEPT = ("name", "version", "build", "build_number", "subdir", "noarch", "depends", "sha256", "md5",
         "python_site_packages_path", "fn", "url", "channel")  # fmt: skip


def diagnose(environ: Mapping[str, str], run: Run) -> Iterator[Finding]:
    """Who would solve and install."""
    if importlib.util.find_spec("rattler") is not None:
        version = importlib.metadata.version("py-rattler")
        yield Finding("conda", True, f"py-rattler {version}")
    else:
        tool = _tool()
        yield Finding("conda", tool is not None, tool or "nothing installs conda packages",
                      "" if tool else _MISSING)  # fmt: skip


def _tool() -> str | None:
    return next(filter(None, map(shutil.which, _TOOLS)), None)


def resolve(wanted: Wanted, directory: Path, run: Run) -> Resolution:
    """Solve and install the conda packages; then let uv resolve the rest for what is there."""
    prefix = directory / "prefix"
    shutil.rmtree(prefix, ignore_errors=True)
    _solve(wanted, prefix, directory, run)
    records = [_record(file) for file in sorted(prefix.glob("conda-meta/*.json"))]
    python = python_of(prefix)
    answer = run(
        [python, "-I", "-c", PROBE],
        purpose="asking conda's Python what it is",
        failure=ResolutionError,
    )
    given = _given(_site_packages(prefix, run), directory / "given")
    index = wanted.spec.index
    links = dataclasses.replace(index, find_links=(*index.find_links, str(directory / "given")))
    on_top = dataclasses.replace(
        wanted,
        spec=dataclasses.replace(wanted.spec, index=links),
        interpreter=described(python, python.resolve(), json.loads(answer)),
        beneath={**wanted.beneath, **given},
    )
    resolution = uv.resolve(on_top, directory, run)
    shutil.rmtree(prefix)
    from_index = only_index(wanted.installer_environ, index)
    pylocks = tuple(with_index(text, from_index) for text in resolution.pylocks)
    return dataclasses.replace(resolution, pylocks=pylocks, foreign=tuple(records))


def _solve(wanted: Wanted, prefix: Path, directory: Path, run: Run) -> None:
    spec = wanted.spec
    channels = [_channel(text, wanted.root) for text in spec.conda.channels or _DEFAULT_CHANNELS]
    specs = list(spec.conda.dependencies)
    if spec.python is not None or "python" not in map(package_of_match_spec, specs):
        specs.append(_python_spec(spec.python))
    request = {
        "prefix": str(prefix),
        "channels": channels,
        "specs": specs,
        "exclude_newer": wanted.exclude_newer and wanted.exclude_newer.replace("Z", "+00:00"),
    }
    options = ["--override-channels"]
    options += [option for channel in channels for option in ("--channel", channel)]
    _fill(request, [*options, *specs], directory / "conda.json", run, ResolutionError)


def _channel(text: str, root: Path) -> str:
    if is_path(text):
        return (root / Path(text).expanduser()).resolve().as_uri()
    return text


def _python_spec(python: str | None) -> str:
    if python is None:
        python = "{}.{}".format(*sys.version_info)
    version = version_in(python)
    if version is None:
        return f"python {python.replace(' ', '')}"
    return f"python {version}" if version.count(".") == 2 else f"python {version}.*"


def _fill(
    request: Mapping[str, Any],
    arguments: Sequence[str | Path],
    file: Path,
    run: Run,
    failure: type[CommandError],
) -> None:
    """Create a prefix through py-rattler, or with a conda that gets ``arguments``."""
    purpose = "solving the conda packages" if failure is ResolutionError else "installing them"
    if _has_rattler():
        write_json(file, request)
        run([sys.executable, "-I", _PROGRAM, file], purpose=purpose, failure=failure)
        return
    tool = _tool()
    if tool is None:
        raise failure(purpose, "conda create", 127, _MISSING)
    options = ["--yes", "--quiet", "--prefix", request["prefix"]]
    run([tool, "create", *options, *arguments], purpose=purpose, failure=failure)


def _has_rattler() -> bool:
    return importlib.util.find_spec("rattler") is not None


def _record(file: Path) -> Foreign:
    """A package that conda installed, as it can be installed again."""
    written = json.loads(file.read_text(encoding="utf-8"))
    fields = {key: written.get(key) for key in _KEPT}
    fields["url"], fields["channel"] = redact(str(written["url"])), redact(str(written["channel"]))
    digest = f"{written['subdir']}/{written['build']}:{written['sha256']}"
    return Foreign(written["name"], written["version"], digest, json.dumps(fields, sort_keys=True))


def _site_packages(prefix: Path, run: Run) -> list[str]:
    code = "import json, sysconfig as s; "
    code += "print(json.dumps(sorted({s.get_path('purelib'), s.get_path('platlib')})))"
    purpose = "asking conda's Python where its packages are"
    command: list[str | Path] = [python_of(prefix), "-I", "-c", code]
    found: list[str] = json.loads(run(command, purpose=purpose, failure=ResolutionError))
    return found


def _given(site_packages: Iterable[str], stubs: Path) -> dict[str, str]:
    """The distributions that conda installed: name to version.

    For each, uv gets a wheel to resolve with that has metadata and nothing else. Some are on no
    index, or not in that version, or say other things of themselves there.
    """
    shutil.rmtree(stubs, ignore_errors=True)
    stubs.mkdir()
    given: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=list(site_packages)):
        try:
            version = Version(distribution.version)
        except (InvalidVersion, TypeError):
            continue  # no index could have it either
        name = str(canonicalize_name(distribution.metadata["Name"]))
        given[name] = str(version)
        write_stub(stubs, name, str(version), distribution)
    return given


def create(pinned: PinnedEnv, directory: Path, run: Run) -> None:
    """The pinned conda packages, then what uv has pinned."""
    records = [json.loads(package.text) for package in pinned.foreign]
    explicit = directory / "conda-explicit.txt"
    lines = ["@EXPLICIT", *(f"{record['url']}#{record['md5']}" for record in records)]
    write_atomically(explicit, "\n".join(lines) + "\n")
    request = {"prefix": str(directory), "records": records}
    _fill(request, ["--file", explicit], directory / "conda.json", run, BuildError)
    installed = {_record(file).digest for file in directory.glob("conda-meta/*.json")}
    changed = [package.name for package in pinned.foreign if package.digest not in installed]
    if changed:
        what = f"the channels gave others than the pinned files of: {', '.join(changed)}"
        raise BuildError("installing the conda packages", "conda create", 1, what)
    uv.fill(pinned, directory, python_of(directory), run)


def examine(
    directory: Path, facts: Mapping[str, Any], *, thoroughly: bool = True
) -> Iterator[Damage]:
    """Each file as conda's own records have it, and those of what uv installed on top."""
    files = _written(directory)
    yield from records.compare(directory, files, thoroughly=thoroughly)
    for damage in records.examine(directory, facts, thoroughly=thoroughly):
        if str(directory / damage.path) not in files:
            yield damage


def _written(directory: Path) -> dict[str, list[records.Written]]:
    """What conda wrote down of its files; links may lead anywhere, or nowhere."""
    found: dict[str, list[records.Written]] = {}
    for file in sorted(directory.glob("conda-meta/*.json")):
        package = read_json(file)
        for path in ((package or {}).get("paths_data") or {}).get("paths", ()):
            name, digest = path["_path"], path.get("sha256_in_prefix") or ""
            # The size is the one before the prefix went into it.
            size = None if path.get("prefix_placeholder") else path.get("size_in_bytes")
            if path.get("path_type") == "hardlink" and not name.endswith((".pyc", ".pyo")):
                encoded = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode()
                written = records.Written(package["name"], size, "sha256", encoded)
                found.setdefault(str(directory / name), []).append(written)
    return found


def forget(directory: Path, packages: Sequence[str], run: Run) -> None:
    """Remove the unpacked packages that files here are linked to, and what uv keeps of others."""
    for name in packages:
        for file in directory.glob(f"conda-meta/{name}-*.json"):
            package = read_json(file) or {}
            unpacked = Path(package.get("extracted_package_dir") or "nowhere")
            if package.get("name") == name and (unpacked / "info" / "index.json").is_file():
                shutil.rmtree(unpacked, ignore_errors=True)
    uv.forget(directory, packages, run)
