"""The last step of every build, which runs in the environment itself."""

from __future__ import annotations

#: Compiles a finished environment and asks it, through itself, what it is. Compiled, for where
#: PYTHONDONTWRITEBYTECODE is set every run would do it again; once and last, for bytecode of
#: a module that a later step of the installation replaced could pass for its own.
#: Its arguments are the environments that lie beneath it.
FINISH = """
import compileall, json, os, platform, site, sys, sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import distributions
kinds = ("purelib", "platlib")
paths = {sysconfig.get_path(kind) for kind in kinds}
beneath = []
for prefix in sys.argv[1:]:
    found = sysconfig.get_paths(vars={"base": prefix, "platbase": prefix})
    beneath += [found[kind] for kind in kinds if found[kind] not in beneath]
if beneath:
    with open(os.path.join(sysconfig.get_path("purelib"), "isoenv-layers.pth"), "w") as file:
        file.writelines("import site; site.addsitedir(%r)\\n" % path for path in beneath)
for path in beneath:
    site.addsitedir(path)
for path in paths:
    compileall.compile_dir(path, quiet=2, workers=0)
packages = {}
for dist in distributions():
    if dist.metadata["Name"]:
        packages.setdefault(dist.metadata["Name"], dist.version)
real = os.path.realpath(sys.executable)
print(json.dumps({
    "python": platform.python_version(),
    "real_path": real,
    "interpreter_file": [os.stat(real).st_size, os.stat(real).st_mtime_ns],
    "installed": {path: sorted(set(os.listdir(path)) - {"__pycache__"}) for path in paths},
    "stdlib": os.__file__,
    "packages": packages,
    "suffixes": EXTENSION_SUFFIXES,
    "own": sorted({dist.metadata["Name"] for dist in distributions(path=list(paths))}),
}))
"""
