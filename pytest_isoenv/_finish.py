"""The last step of every build, which runs in the environment itself."""

from __future__ import annotations

#: Links a finished environment with what lies beneath it, compiles it and asks it, through itself,
#: what it is. Compiled, for where PYTHONDONTWRITEBYTECODE is set every run would do it again; once
#: and last, for bytecode of a module that a later step of the installation replaced could pass
#: for its own. Its arguments are its runner layer, or nothing, and the environments beneath it.
FINISH = r"""
import compileall, json, os, platform, shlex, site, sys, sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import distributions
from importlib.util import find_spec

def places(prefix):
    found = sysconfig.get_paths(vars={"base": prefix, "platbase": prefix})
    return list(dict.fromkeys(found[kind] for kind in ("purelib", "platlib")))

def started_by(python):
    # As installers write it: the system cuts a long line, and splits it at spaces.
    if len(python) < 126 and " " not in python:
        return "#!%s\n" % python
    return "#!/bin/sh\n'''exec' %s \"$0\" \"$@\"\n' '''\n" % shlex.quote(python)

def link_script(source, target):
    # The same program, started by the Python of this environment.
    with open(source, encoding="utf-8") as file:
        lines = file.readlines()
    program = lines[3:] if lines[0] == "#!/bin/sh\n" else lines[1:]
    with open(target, "w", encoding="utf-8") as file:
        file.writelines([started_by(sys.executable), *program])
    os.chmod(target, 0o755)

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

own = places(sys.prefix)
runner, *beneath = sys.argv[1:]
if runner:
    # The first of all .pth files: an editable tree comes after what is installed.
    with open(os.path.join(own[0], "00-isoenv-runner.pth"), "w", encoding="utf-8") as file:
        file.writelines("%s\n" % path for path in places(runner))
    sys.path += places(runner)
    scripts = os.path.relpath(os.path.dirname(sys.executable), sys.prefix)
    for dist in distributions(path=places(runner)):
        for entry in dist.entry_points:
            source = os.path.join(runner, scripts, entry.name)
            target = os.path.join(sys.prefix, scripts, entry.name)
            if entry.group == "console_scripts" and not os.path.lexists(target):
                link_script(source, target)
if beneath:
    paths = [path for prefix in beneath for path in places(prefix)]
    with open(os.path.join(own[0], "isoenv-layers.pth"), "w", encoding="utf-8") as file:
        file.writelines("import site; site.addsitedir(%r)\n" % path for path in paths)
    for path in paths:
        site.addsitedir(path)
for path in own:
    count = sum(name.endswith(".py") for _, _, names in os.walk(path) for name in names)
    # To start other processes takes as long as to compile so many.
    compileall.compile_dir(path, quiet=2, workers=0 if count > 50 else 1)
packages = {}
for dist in distributions():
    if dist.metadata["Name"]:
        packages.setdefault(dist.metadata["Name"], dist.version)
real = os.path.realpath(sys.executable)
print(json.dumps({
    "python": platform.python_version(),
    "real_path": real,
    "interpreter_file": [os.stat(real).st_size, os.stat(real).st_mtime_ns],
    "installed": {path: sorted(set(os.listdir(path)) - {"__pycache__"}) for path in own},
    "stdlib": os.__file__,
    "packages": packages,
    "suffixes": EXTENSION_SUFFIXES,
    "starts": list(code_at_start()),
    "like_runner": bool(runner) and is_like(runner),
    "own": sorted({dist.metadata["Name"] for dist in distributions(path=own)}),
}))
"""
