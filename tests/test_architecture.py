"""What the code promises about itself: imports run one way, and each effect has one home."""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_isoenv

PACKAGE = Path(pytest_isoenv.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
NAMES = sorted(TREES)

# Module -> who may import it. What is not named here, anybody may.
HOMES = {
    "platformdirs": {"_settings"},
    "yaml": {"_reading"},
    "tomllib": {"_reading", "pinned"},
    "tomli": {"_reading", "pinned"},
    # The next for the types that it hands on, and never to start anything: see below. The last
    # is a program of its own, and changes what pip starts.
    "subprocess": {"_process", "environment", "_backends.start_pip"},
    "filelock": {"_file_locks"},
    "execnet": {"_gateway"},
    "findpython": {"_python_places"},
    # A program of its own, which a backend starts: its docstring says why.
    "rattler": {"_backends.solve_conda"},
}


def short(name):
    return name.removeprefix("pytest_isoenv.")


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def statements(tree, *, inside_functions=True):
    """Every node that can run: not what stands below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if is_function and not inside_functions:
            continue
        yield node
        yield from statements(node, inside_functions=inside_functions)


def imported(tree, **options):
    """The names of the modules that a module imports."""
    for node in statements(tree, **options):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            whole = {f"{node.module}.{alias.name}" for alias in node.names} & set(TREES)
            yield from whole or {node.module}


@functools.cache
def siblings(name, **options):
    """What a module imports of ours."""
    found = {module for module in imported(TREES[name], **options) if module in TREES}
    return found - {name, "pytest_isoenv"}


def each(names=NAMES):
    return pytest.mark.parametrize("name", names, ids=short)


# Imports


def test_imports_among_our_modules_have_no_cycle():
    graph = {name: siblings(name) for name in TREES}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_the_entry_module_imports_no_sibling_when_it_is_loaded():
    assert siblings("pytest_isoenv.plugin", inside_functions=False) == set()
    assert siblings("pytest_isoenv", inside_functions=False) == set()


def test_nothing_imports_the_entry_module():
    assert [name for name in TREES if "pytest_isoenv.plugin" in siblings(name)] == []


def test_the_worker_imports_nothing_of_ours_and_nobody_imports_it():
    parts = {name for name in TREES if name.startswith("pytest_isoenv._worker")}
    assert len(parts) > 3
    assert [part for part in parts if siblings(part)] == []
    assert [name for name in TREES if parts & siblings(name)] == []


def test_the_command_is_at_the_end_of_the_chain():
    parts = {name for name in TREES if name.startswith("pytest_isoenv.cli")}
    assert len(parts) > 10
    users = {name for name in set(TREES) - parts if parts & siblings(name)}
    assert users == {"pytest_isoenv.__main__"}


def test_the_command_imports_pytest_only_where_it_cannot_do_without():
    parts = [name for name in TREES if name.startswith("pytest_isoenv.cli")]
    loaded = {module for part in parts for module in {part, *reachable(part)}}
    users = {n for n in loaded if "pytest" in imported(TREES[n], inside_functions=False)}
    # The hooks' specifications are imported by the function that starts pytest to ask them.
    assert users <= {"pytest_isoenv.hookspecs"}


@each(["pytest_isoenv.errors", "pytest_isoenv.spec", "pytest_isoenv.pinned"])
def test_the_types_of_the_chain_import_nothing_but_types_and_pure_functions(name):
    types = {"pytest_isoenv.errors", "pytest_isoenv.spec", "pytest_isoenv.pinned"}
    for module in reachable(name) - types:
        assert siblings(module) == set()
        assert set(imported(TREES[module])) <= {"__future__", "hashlib", "pathlib", "re"}


def test_what_is_asked_for_is_data_and_imports_nothing_of_ours():
    assert siblings("pytest_isoenv.spec") == set()


def reachable(name):
    found, new = set(), {name}
    while new:
        found |= new
        new = set().union(*(siblings(module) for module in new)) - found
    return found - {name}


def test_the_store_knows_neither_backends_nor_environments():
    known = {short(name) for name in reachable("pytest_isoenv._store")}
    its_own = {"_file_locks", "_layout", "_process", "_root", "_runs", "_steps", "_trash"}
    assert known <= its_own | {"_files", "_redact", "_secrets", "errors", "pinned", "spec"}


@each([name for name in NAMES if name.startswith("pytest_isoenv._backends.")])
def test_a_backend_reaches_neither_the_store_nor_the_session(name):
    assert not {"_store", "_session", "_run", "_gateway"} & {short(n) for n in reachable(name)}


@each(["pytest_isoenv.manager", "pytest_isoenv._provision", "pytest_isoenv._upkeep"])
def test_what_scripts_use_needs_no_pytest(name):
    modules = {name, *reachable(name)}
    assert [n for n in modules if "pytest" in set(imported(TREES[n]))] == []


def test_a_run_that_uses_no_environment_imports_nothing_of_ours_but_the_entry_module(tmp_path):
    (tmp_path / "test_plain.py").write_text("def test_it(): pass\n")
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    ours = [name for name in sys.modules if name.startswith('pytest_isoenv')]\n"
        "    heavy = {'execnet', 'yaml', 'filelock', 'platformdirs'} & set(sys.modules)\n"
        "    print('loaded:', *sorted(ours), *sorted(heavy))\n"
    )
    # Other plugins may import what they like.
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_isoenv.plugin"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in ended.stdout
    assert "loaded: pytest_isoenv pytest_isoenv.plugin\n" in ended.stdout


def test_a_run_that_uses_environments_imports_no_http_and_no_ssl():
    code = "import sys, pytest_isoenv._run; print(sorted({'http', 'ssl'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


# Effects


@pytest.mark.parametrize("module", HOMES)
def test_each_effect_has_one_home(module):
    users = {
        short(name)
        for name, tree in TREES.items()
        if any(found.partition(".")[0] == module for found in imported(tree))
    }
    assert users <= HOMES[module]
    assert users or module == "tomli"


def attributes(tree, module):
    """The attributes of a module that are used: ``os.environ`` gives ``environ``."""
    for node in statements(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == module:
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            yield from (alias.name for alias in node.names)


# The plugin reads one: PYTEST_ADDOPTS is part of the command line. What runs in other processes has
# no settings: one sets a variable for pip, and one finds the cache of py-rattler.
ELSEWHERE = ("_settings", "plugin", "_backends.start_pip", "_backends.solve_conda")


@each([n for n in NAMES if short(n) not in ELSEWHERE and "_worker." not in n])
def test_only_the_settings_read_the_hosts_variables(name):
    asked = {"environ", "environb", "getenv", "putenv", "unsetenv", "expandvars"}
    assert not asked & set(attributes(TREES[name], "os"))


# A program of its own has nothing else to do.
@each([n for n in NAMES if short(n) not in ("_process", "_worker.forks")])
def test_only_one_module_starts_processes(name):
    starting = {"Popen", "run", "call", "check_call", "check_output", "getoutput"}
    calls = {node.func for node in statements(TREES[name]) if isinstance(node, ast.Call)}
    called = {
        node.attr
        for node in calls
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "subprocess"
    }
    assert not called
    from_it = {
        alias.name
        for node in statements(TREES[name])
        if isinstance(node, ast.ImportFrom) and node.module == "subprocess"
        for alias in node.names
    }
    assert not from_it & starting
    assert not {"system", "popen", "fork", "execv", "execve", "posix_spawn", "startfile"} & set(
        attributes(TREES[name], "os")
    )


# What starts a shell, by the module that has it.
SHELLS = {
    "os": {"system", "popen"},
    "subprocess": {"getoutput", "getstatusoutput"},
    "asyncio": {"create_subprocess_shell"},
    "asyncio.subprocess": {"create_subprocess_shell"},
    "pty": {"spawn"},
    "commands": set(),
}


def constants(nodes):
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


def shells_in(tree):
    """What of a module starts a shell, or could: ``shell=`` is not even given as False."""
    for node in statements(tree):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            yield node.arg
        if isinstance(node, ast.Dict):
            yield from {"shell"} & constants(node.keys)
        if isinstance(node, ast.List) and constants(node.elts[:1]) & {"sh", "bash", "cmd"}:
            yield "a list that starts with a shell"
    for module, names in SHELLS.items():
        yield from names & set(attributes(tree, module))


@each()
def test_no_command_goes_through_a_shell(name):
    assert list(shells_in(TREES[name])) == []


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run('ls', **{'shell': True})",
        "import subprocess\nsubprocess.run(['sh', '-c', 'ls'])",
        "from subprocess import getoutput\ngetoutput('ls')",
        "import os\nos.system('ls')",
        "from os import popen\npopen('ls')",
    ],
)
def test_a_shell_would_be_seen(code):
    assert list(shells_in(ast.parse(code)))


# Habits


@each()
def test_every_module_says_what_it_is_for(name):
    assert ast.get_docstring(TREES[name])


@each([n for n in NAMES if not n.startswith("pytest_isoenv._backends")])
def test_no_module_asks_which_backend_it_has(name):
    names = {"uv", "venv", "conda"}
    compared = {
        constant.value
        for node in statements(TREES[name])
        if isinstance(node, ast.Compare)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }
    assert not compared & names


@each()
def test_no_module_has_a_name_that_says_nothing(name):
    assert not {"utils", "util", "helpers", "common", "misc"} & set(
        name.replace("_", ".").split(".")
    )


@each()
def test_no_function_changes_a_module_from_within(name):
    assert not [node for node in statements(TREES[name]) if isinstance(node, ast.Global)]


def test_every_name_that_is_public_can_be_imported():
    for name in pytest_isoenv.__all__:
        assert getattr(pytest_isoenv, name).__name__ == name
    with pytest.raises(AttributeError, match="Nothing"):
        _ = pytest_isoenv.Nothing
