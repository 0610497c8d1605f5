"""The last step of every build: linked with what lies beneath, compiled, and asked what it is."""

from __future__ import annotations

import ast
import os
import shlex
from collections.abc import Iterable
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_isoenv._prefixes import bin_directory, python_of

# The system cuts a first line of a script that is longer, and splits it at spaces.
_LONGEST = 127

#: Runs in the environment itself: links it with what lies beneath it, compiles it, and says what it
#: is. It imports next to nothing, since every environment that is built has to wait for it.
#:
#: Compiled, for where PYTHONDONTWRITEBYTECODE is set every run would do it again; once and last,
#: for bytecode of a module that a later step of the installation replaced could pass for its own.
#: Its arguments are its runner layer, or nothing, and the environments beneath it.
FINISH = r"""
import os, site, sys, sysconfig
from importlib.machinery import EXTENSION_SUFFIXES, SourceFileLoader
from importlib.util import find_spec

def places(prefix):
    found = sysconfig.get_paths(vars={"base": prefix, "platbase": prefix})
    return list(dict.fromkeys(found[kind] for kind in ("purelib", "platlib")))

def config(prefix):
    # What says which interpreter an environment has, and what it sees of it.
    with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8") as file:
        lines = [line.partition("=") for line in file]
    found = {key.strip().lower(): value.strip() for key, _, value in lines}
    return {key: found.get(key) for key in ("home", "executable", "include-system-site-packages")}

def modules(paths):
    return {name.split(".")[0] for path in paths for name in os.listdir(path)} - {"__pycache__"}

def is_like(runner):
    # Whether what is imported from the layer by its own Python is what is imported here: pytest
    # has a module py, of which there is another.
    if config(sys.prefix) != config(runner):
        return False
    return not modules(own) & modules(places(runner))

def code_at_start():
    # What runs whenever Python starts here, but for what all Pythons run.
    for path in own:
        for name in sorted(os.listdir(path)):
            if name.endswith(".pth"):
                with open(os.path.join(path, name), "rb") as file:
                    lines = [line.decode("utf-8", "replace").strip() for line in file]
                yield from (line for line in lines if line.startswith(("import ", "import\t")))
    for name in ("sitecustomize", "usercustomize"):
        if find_spec(name) is not None:
            yield name

def link(name, lines):
    with open(os.path.join(own[0], name), "w", encoding="utf-8") as file:
        file.writelines("%s\n" % line for line in lines)

def compile_in(path):
    files = [os.path.join(place, name) for place, _, names in os.walk(path) for name in names]
    files = [file for file in files if file.endswith(".py")]
    if len(files) > 50:  # to start other processes takes as long as to compile so many
        import compileall, re
        compileall.compile_dir(path, quiet=2, workers=0, rx=re.compile(seldom))
        return
    for file in files:
        try:
            SourceFileLoader("module", file).get_code("module")  # keeps it, as an import does
        except (SyntaxError, ValueError, RecursionError, OSError):
            pass  # it is for another Python, or a template

# Those of pygments take longer to compile than pytest, which imports two of them.
seldom = r"[/\\]pygments[/\\]lexers[/\\](?!(__init__|_mapping|diff|python)\.py$)"
runner, *beneath = sys.argv[1:]
own = places(sys.prefix)
if runner:
    # The first of all .pth files: an editable tree comes after what is installed.
    link("00-isoenv-runner.pth", places(runner))
    sys.path += places(runner)
if beneath:
    paths = [path for prefix in beneath for path in places(prefix)]
    link("isoenv-layers.pth", ["import site; site.addsitedir(%r)" % path for path in paths])
    for path in paths:
        site.addsitedir(path)
for path in own:
    compile_in(path)
real = os.path.realpath(sys.executable)
print(ascii({
    "python": sys.version.split()[0],
    "real_path": real,
    "interpreter_file": [os.stat(real).st_size, os.stat(real).st_mtime_ns],
    "installed": {path: sorted(set(os.listdir(path)) - {"__pycache__"}) for path in own},
    "stdlib": os.__file__,
    "path": sys.path,
    "runner": places(runner) if runner else [],
    "suffixes": EXTENSION_SUFFIXES,
    "starts": list(code_at_start()),
    "like_runner": bool(runner) and is_like(runner),
}))
"""


def facts_of(said: str) -> dict[str, Any]:
    """What is to be remembered of an environment, from what its last step has said of it.

    And where its ``runner`` layer has its packages, if it lies on one.
    """
    facts: dict[str, Any] = ast.literal_eval(said)
    packages = _versions(facts.pop("path"))
    return {**facts, "packages": packages, "own": sorted(_versions(facts["installed"]))}


def _versions(path: Iterable[str]) -> dict[str, str]:
    """The packages along a path, and their versions; of one name, the first counts."""
    found: dict[str, str] = {}
    for distribution in distributions(path=list(path)):
        header = _header(distribution)
        if header["Name"]:
            found.setdefault(str(canonicalize_name(header["Name"])), header["Version"])
    return found


def _header(distribution: Distribution) -> Message:
    """The core metadata without the description, which may be long."""
    files = ("METADATA", "PKG-INFO", "")  # the last: .egg-info may be a file itself
    text = next(filter(None, map(distribution.read_text, files)), "")
    return HeaderParser().parsestr(text)


def link_scripts(layer: Path, places: Iterable[str], directory: Path) -> None:
    """Give an environment the console scripts of its layer, started by its own Python.

    ``places`` are the directories in which the layer has its packages.
    """
    target = bin_directory(directory)
    start = _started_by(str(python_of(directory)))
    for distribution in distributions(path=list(places)):
        for entry in distribution.entry_points.select(group="console_scripts"):
            if not os.path.lexists(target / entry.name):
                program = _program(bin_directory(layer) / entry.name)
                (target / entry.name).write_text(f"{start}{program}", encoding="utf-8")
                (target / entry.name).chmod(0o755)


def _started_by(python: str) -> str:
    """The first lines of a script, as installers write them."""
    if len(f"#!{python}") < _LONGEST and " " not in python:
        return f"#!{python}\n"
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} \"$0\" \"$@\"\n' '''\n"


def _program(script: Path) -> str:
    """What a script does, without the lines that start it."""
    lines = script.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(lines[3:] if lines[0] == "#!/bin/sh\n" else lines[1:])
