"""Workers that are forked: they are what a fresh start gives."""

from __future__ import annotations

import json
import subprocess

import pytest

from pytest_isoenv._runner import _is_harmless
from tests.packages import make_project, make_wheel
from tests.parity.compare import pythons

# Everything that Python code can ask a process about itself, as text that can be compared.
STATE = r"""
import atexit, contextvars, faulthandler, gc, importlib.metadata, inspect, json, locale, logging
import os, pkgutil, platform, random, re, resource, signal, site, subprocess, sys, sysconfig
import tempfile, threading, time, tracemalloc, warnings

PLAIN = (str, bytes, int, float, bool, type(None), tuple, list, frozenset, os.PathLike)

def plain(value):
    if isinstance(value, (tuple, list)):
        return all(map(plain, value))
    return isinstance(value, PLAIN)

def stream(file):
    names = ("name", "mode", "encoding", "errors", "line_buffering", "write_through", "newlines")
    found = {name: repr(getattr(file, name, None)) for name in names}
    return {**found, "type": repr(type(file)), "buffer": repr(type(getattr(file, "buffer", None)))}

def opened(number):
    try:
        kind = os.readlink("/proc/self/fd/%d" % number)
    except OSError:
        return None  # what listed them
    is_pipe = kind.startswith("pipe:") or kind.endswith((".in (deleted)", ".out (deleted)"))
    is_file = "deleted" in kind or kind.startswith("/tmp")
    return ["a pipe" if is_pipe else "a file" if is_file else kind, os.get_inheritable(number)]

def status():
    with open("/proc/self/status") as file:
        told = dict(line.strip().split(":", 1) for line in file)
    names = ("Threads", "SigBlk", "SigIgn", "SigCgt", "SigQ", "NoNewPrivs", "Umask", "Groups")
    return {name: told[name].split("/")[0] for name in names if name in told and name != "SigQ"}

def named(value):
    return re.sub("0x[0-9a-f]+", "0x", repr(value))

def entry_points():
    found = [e for dist in importlib.metadata.distributions() for e in dist.entry_points]
    return sorted(repr((e.group, e.name, e.value)) for e in found)

def state():
    modules = {
        name: {key: repr(value) for key, value in list(vars(module).items()) if plain(value)}
        for name, module in list(sys.modules.items())
        if hasattr(module, "__dict__")
    }
    return {
        "sys": {name: repr(getattr(sys, name)) for name in dir(sys) if plain(getattr(sys, name))},
        "modules": sorted(sys.modules),
        "values": modules,
        "main": sorted(vars(sys.modules["__main__"])),
        "path hooks": list(map(named, sys.path_hooks)),
        "meta path": [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path],
        "importers": sorted(sys.path_importer_cache),
        "streams": list(map(stream, (sys.__stdin__, sys.__stdout__, sys.__stderr__))),
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.getdlopenflags()],
        "stack": [frame.function for frame in inspect.stack()],
        "site": [site.getsitepackages(), site.getusersitepackages(), site.getuserbase(),
                 site.ENABLE_USER_SITE, site.PREFIXES],
        "sysconfig": [sysconfig.get_paths(), sorted(sysconfig.get_config_vars().items(), key=str)],
        "warnings": [list(map(str, warnings.filters)), warnings.showwarning.__module__],
        "signals": [[int(n), named(signal.getsignal(n))] for n in signal.valid_signals()],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "status": status(),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count() > 0,
               len(gc.callbacks), len(gc.garbage)],
        "files": {number: opened(int(number)) for number in sorted(os.listdir("/proc/self/fd"))},
        "process": [os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid(), os.getcwd(),
                    os.getpriority(os.PRIO_PROCESS, 0), os.get_exec_path()],
        "environ": [item for item in os.environ.items() if item[0] != "PYTEST_ISOENV_RUN"],
        "real environ": sorted(
            line for line in subprocess.check_output(["env"]).decode().splitlines()
            if not line.startswith("PYTEST_ISOENV_RUN=")),
        "rlimits": [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource))
                    if name.startswith("RLIMIT_")],
        "threads": [[t.name, t.daemon, t.is_alive()] for t in threading.enumerate()],
        "ids": [threading.get_native_id() == os.getpid(), threading.main_thread() is
                threading.current_thread(), threading.main_thread().native_id == os.getpid()],
        "distributions": sorted(
            str(d.metadata["Name"]) for d in importlib.metadata.distributions()),
        "entry points": entry_points(),
        "hash": [sys.flags.hash_randomization, hash("lib")],
        "locale": [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(),
                   sys.getfilesystemencoding(), time.tzname],
        "logging": [logging.root.level, len(logging.root.handlers), 0 < time.time() -
                    logging._startTime / (1e9 if isinstance(logging._startTime, int) else 1) < 60],
        "atexit": atexit._ncallbacks(),
        "tools": [faulthandler.is_enabled(), tracemalloc.is_tracing(), sys.gettrace() is None,
                  sys.getprofile() is None, tempfile.tempdir],
        "modules found": sorted(module.name for module in pkgutil.iter_modules()),
        "child": subprocess.check_output(
            [sys.executable, "-c", "import sys; print(sys.prefix, sys.path, sys.flags)"]).decode(),
    }
"""

TEST = """
import json, os, pathlib, pytest

pytestmark = [
    pytest.mark.env({asked}, id="forked", fork_worker=True),
    pytest.mark.env({asked}, id="fresh", fork_worker=False),
]

def test_it(record_property, pytestconfig):
    from state import state
    name = "forked" if os.getppid() != int(os.environ["HOST"]) else "fresh"
    pathlib.Path(os.environ["STATES"], name + ".json").write_text(json.dumps(state(), default=repr))
"""

# The host says who it is.
CONFTEST = "import os\nos.environ.setdefault('HOST', str(os.getpid()))\n"

# What differs from process to process, however it was started: module and name.
VOLATILE = {("logging", "_startTime")}


@pytest.fixture
def states(pytester, run, monkeypatch, tmp_path):
    """Run one test forked and fresh in one environment; what each said of its process."""

    def states(asked='"lib==1.0"', *args, **variables):
        monkeypatch.setenv("STATES", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(test_it=TEST.format(asked=asked), state=STATE)
        pytester.makeconftest(CONFTEST)
        outcome = run(*args)
        outcome.assert_outcomes(passed=2)
        return [json.loads((tmp_path / f"{n}.json").read_text()) for n in ("forked", "fresh")]

    return states


def differences(forked, fresh):
    """Where they are not the same, in a form that can be read."""
    found = []
    for key in sorted({*forked, *fresh}):
        if key == "values":
            continue
        if forked[key] != fresh[key]:
            found.append((key, forked[key], fresh[key]))
    for name in sorted(set(forked["values"]) & set(fresh["values"])):
        one, two = forked["values"][name], fresh["values"][name]
        for key in sorted({*one, *two}):
            if (name, key) not in VOLATILE and one.get(key) != two.get(key):
                found.append((f"{name}.{key}", one.get(key), two.get(key)))
    return found


def test_a_fork_is_what_a_fresh_start_gives(states):
    assert differences(*states(PYTHONHASHSEED="7")) == []


@pytest.mark.parametrize("args", [("-s",), ("-W", "error::DeprecationWarning")])
def test_so_is_one_with_other_streams_or_variables(states, args, tmp_path):
    (tmp_path / "more").mkdir()
    variables = {"LC_ALL": "C", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore::ImportWarning"}
    assert differences(*states('"lib==1.0"', *args, PYTHONHASHSEED="7", **variables)) == []


def test_so_is_one_in_an_environment_with_an_editable_project(pytester, states):
    make_project(pytester.path, "app")
    asked = '"lib==1.0", project="editable", env={"PYTHONPATH": "more", "TZ": "Asia/Tokyo"}'
    forked, fresh = states(asked, PYTHONHASHSEED="7")
    assert str(pytester.path / "src") in forked["sys"]["path"]
    assert str(pytester.path / "more") in forked["sys"]["path"]
    assert differences(forked, fresh) == []


@pytest.mark.network
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_so_is_one_of_another_python(states, python):
    if python not in pythons():
        pytest.skip(f"no Python {python} on this machine")
    path = pythons()[python]
    find = "import importlib.util as u; print(u.find_spec('sitecustomize'))"
    if subprocess.check_output([path, "-I", "-c", find]) != b"None\n":
        pytest.skip("its start runs code of the system's, so nothing is forked")
    asked = f'"six==1.16.0", python={path!r}, project="none"'
    assert differences(*states(asked, PYTHONHASHSEED="7")) == []


FORKED = """
import os, pytest, random

{marks}

def test_it():
    with open("said.txt", "a") as file:
        print(os.getppid() != int(os.environ["HOST"]), random.random(), os.getppid(), file=file)
"""


@pytest.fixture
def said(pytester, run):
    """Run a test; for each environment whether it was forked, a random number, and its parent."""

    def said(*marks, **variables):
        listed = "".join(f"    pytest.mark.env({mark}),\n" for mark in marks)
        pytester.makepyfile(test_it=FORKED.format(marks=f"pytestmark = [\n{listed}]"))
        pytester.makeconftest(CONFTEST)
        (pytester.path / "said.txt").unlink(missing_ok=True)
        run().assert_outcomes(passed=len(marks))
        lines = (pytester.path / "said.txt").read_text().splitlines()
        return [(line.startswith("True"), *line.split()[1:]) for line in sorted(lines)]

    return said


def test_many_environments_have_their_workers_from_one_process(said):
    one, two, three = said('"lib==1.0"', '"lib==1.1"', '"lib==2.0"')
    assert [one[0], two[0], three[0]] == [True, True, True]
    assert one[2] == two[2] == three[2]
    assert len({one[1], two[1], three[1]}) == 3  # each draws its own random numbers


def test_one_alone_is_started_afresh_and_so_is_what_says_so(said):
    assert [one[0] for one in said('"lib==1.0"')] == [False]
    never = 'id="a", fork_worker=False', 'id="b", fork_worker=False'
    assert [one[0] for one in said(*(f'"lib==1.0", {how}' for how in never))] == [False, False]


@pytest.mark.parametrize(
    "how",
    [
        "runner_layer=False",
        'env={"PYTHONDEVMODE": "1"}',
        'env={"COVERAGE_PROCESS_START": "x"}',
        'local=["starts-1-py3-none-any.whl"]',
        'local=["customizes-1-py3-none-any.whl"]',
        'local=["another-1-py3-none-any.whl"]',
    ],
)
def test_what_a_fork_could_not_make_up_for_is_started_afresh(pytester, said, how):
    for name, modules in {
        "starts": {"starts.pth": "import sys; sys.started = 'pytest' in sys.modules\n"},
        "customizes": {"sitecustomize.py": ""},
        "another": {"py/__init__.py": "from . import path\n", "py/path.py": "local = object\n"},
    }.items():
        make_wheel(pytester.path, name, "1", modules=modules)
    found = said(f'"lib==1.0", {how}, fork_worker=True, id="it"')
    assert [one[0] for one in found] == [False]


def test_a_process_that_does_not_fork_any_more_is_done_without(pytester, run):
    pytester.makeconftest(
        CONFTEST
        + """
import signal

def pytest_runtest_logreport(report):
    if report.when == "call":
        for line in open("parent.txt"):
            try:
                os.kill(int(line), signal.SIGKILL)
            except ProcessLookupError:
                pass
"""
    )
    pytester.makepyfile(
        """
        import os, pytest, signal

        @pytest.mark.env("lib==1.0", fork_worker=True, id="it")
        @pytest.mark.parametrize("number", range(3))
        def test_it(number):
            if number == 0:
                with open("parent.txt", "w") as file:
                    file.write(str(os.getppid()))
                os.kill(os.getppid(), signal.SIGKILL)
                signal.pause()
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, failed=1)
    assert "killed by signal SIGKILL" in outcome.stdout.str()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("os._exit(3)", "exited with code 3"),
        ("os.kill(os.getpid(), 11)", "killed by signal SIGSEGV"),
        ("os.kill(os.getpid(), 11)", "Fatal Python error: Segmentation fault"),
        ("os.killpg(0, 9)", "killed by signal SIGKILL"),
    ],
)
def test_how_a_fork_ends_is_known(pytester, run, how, words):
    pytester.makepyfile(
        f"""
        import os, pytest

        pytestmark = pytest.mark.env("lib==1.0", fork_worker=True, id="it")

        def test_dies(): {how}
        def test_goes_on(): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1, failed=1)
    assert words in outcome.stdout.str()


@pytest.mark.parametrize(
    ("line", "harmless"),
    [
        ("import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == "
         "'local'; enabled and __import__('_distutils_hack').add_shim();", True),
        ("import __editable___app_1_0_finder; __editable___app_1_0_finder.install()", True),
        ("import __editable___app_finder; __editable___other_finder.install()", False),
        ("import sys; exec('import os\\n\\nif os.getenv(\"COVERAGE_PROCESS_START\") or "
         "os.getenv(\"COVERAGE_PROCESS_CONFIG\"):\\n try:\\n  import coverage\\n except:\\n  "
         "pass\\n else:\\n  coverage.process_startup(slug=\"pth\")')", True),
        ("import anything", False),
        ("sitecustomize", False),
    ],
)  # fmt: skip
def test_of_code_that_runs_at_start_what_tools_write_does_no_harm(line, harmless):
    assert _is_harmless(line) == harmless
