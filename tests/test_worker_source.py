"""The source that runs in environments: what it needs there, and what it can send."""

from __future__ import annotations

import ast
import collections
import dis
import enum
import graphlib
import marshal
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from pytest_isoenv import _gateway, _settings, _sources
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv._worker import main as worker
from pytest_isoenv.errors import InterpreterNotFound
from pytest_isoenv.pinned import OLDEST

PARTS = [part for part in Path(worker.__file__).parent.glob("*.py") if part.stem != "__init__"]
SOURCES = {part.stem: part.read_text(encoding="utf-8") for part in PARTS}
# Requests, as far as it depends on them which parts are sent.
EVERYTHING = {"junit_family": "xunit2", "ids": None, "coverage": {}, "isolation": "test"}
NOTHING = {"junit_family": None, "ids": [], "coverage": None, "isolation": None}
ALL = _sources.parts(EVERYTHING)

each_part = pytest.mark.parametrize("part", sorted(SOURCES))


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "misleading"


class Opaque:
    def __repr__(self):
        return "<opaque>"


@each_part
def test_the_source_parses_on_the_oldest_target_python(part):
    ast.parse(SOURCES[part], feature_version=OLDEST)


def test_the_sources_load_on_a_real_interpreter_of_the_oldest_version(tmp_path):
    version = ".".join(map(str, OLDEST))
    try:
        settings = _settings.gather(tmp_path, cache=tmp_path)
        python = Interpreters(settings, Processes(), tmp_path / "memory.json").find(version)
    except InterpreterNotFound:
        pytest.skip(f"there is no Python {version} on this machine")
    # Stands in for pytest: what else is imported and annotated must work there.
    (tmp_path / "pytest.py").write_text("def hookimpl(*a, **k):\n    return lambda f: f\n")
    for part, source in SOURCES.items():
        (tmp_path / f"isoenv_{part}.py").write_text(source)
    imports = "".join(f"import isoenv_{part}; " for part in SOURCES)
    code = f"import sys; sys.path.insert(0, sys.argv[1]); {imports}print(isoenv_main.PROTOCOL)"
    ended = subprocess.run(
        [python.executable, "-I", "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    assert ended.stdout == f"{worker.PROTOCOL}\n", ended.stderr


def nodes(tree):
    """What can run there: not what stands below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield node
            yield from nodes(node)


@each_part
def test_the_source_needs_nothing_but_the_standard_library_and_pytest(part):
    found = set()
    for node in nodes(ast.parse(SOURCES[part])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    tops = {name.partition(".")[0] for name in found}
    assert tops - sys.stdlib_module_names <= {"pytest", "_pytest"}


def used(part):
    """The other parts that a part takes for imported: what only type checkers see."""
    return {
        alias.name
        for node in ast.walk(ast.parse(SOURCES[part]))
        if isinstance(node, ast.ImportFrom) and node.module == "pytest_isoenv._worker"
        for alias in node.names
    }


def test_parts_use_each_other_one_way():
    graph = {part: used(part) for part in SOURCES}
    assert list(graphlib.TopologicalSorter(graph).static_order())
    assert graph["main"] == graph["gateway"] == graph["forks"] == set()
    assert graph["session"]


@each_part
def test_no_part_has_a_name_of_its_own_for_which_it_would_get_another_part(part):
    code = compile(SOURCES[part], part, "exec")
    own = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_NAME"}
    assert "annotations" in own
    assert own & set(ALL) == used(part)


# What a part uses where the request that brings it brings the other, too.
IF_SENT = {("session", "descriptions"), ("session", "apart")}


@pytest.mark.parametrize("isolation", [None, "test"])
@pytest.mark.parametrize("rest", [True, False], ids=["all else", "nothing else"])
def test_a_request_brings_what_its_parts_use(isolation, rest):
    sent = _sources.parts({**(EVERYTHING if rest else NOTHING), "isolation": isolation})
    assert len(set(sent)) == len(sent)
    assert set(sent) <= set(SOURCES)
    missing = {(part, other) for part in sent for other in used(part) - set(sent)}
    assert missing <= IF_SENT
    for part in sent:
        taken = set(re.findall(r'\bothers(?:\[|\.get\()"(\w+)"', SOURCES[part]))
        assert taken & set(sent) <= set(sent[: sent.index(part)]), "these are made later"


def test_all_that_is_not_a_beginning_is_a_part_for_some_request():
    assert set(ALL) == set(SOURCES) - {"main", "gateway", "forks"}


def test_importing_the_source_starts_nothing():
    assert worker.__name__ != "__channelexec__"


def test_both_sides_speak_of_the_same_protocol():
    assert worker.PROTOCOL == _gateway.PROTOCOL


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "hello", "path": ["a", "b"], "n": 1, "f": 0.5, "none": None, "yes": True},
        {"kind": "test", "reports": [{"outcome": "passed", "sections": [("out", "text")]}]},
        {"text": "\ud800 lone surrogate", "bytes": b"\xff", "big": 2**100},
        {},
    ],
)
def test_plain_data_arrives_as_it_was_sent(event):
    assert marshal.loads(worker._encode(event)) == event


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Text("text"), "text"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (PurePosixPath("a/b"), "a/b"),
        (Opaque(), "<opaque>"),
        (collections.OrderedDict(a=Text("x")), {"a": "x"}),
        (collections.defaultdict(list, a=[Opaque()]), {"a": ["<opaque>"]}),
        (collections.namedtuple("Pair", "a b")(1, Opaque()), (1, "<opaque>")),
        ({"nested": [(Opaque(), {"deep": PurePosixPath("p")})]}, None),
        ({PurePosixPath("key"): 1}, {"key": 1}),
        ({Opaque()}, ["<opaque>"]),
        (ValueError("wrong"), "ValueError('wrong')"),
        (type, "<class 'type'>"),
    ],
    ids=repr,
)
def test_what_marshal_cannot_carry_arrives_as_the_nearest_plain_data(value, arrives):
    if arrives is None:
        arrives = {"nested": [("<opaque>", {"deep": "p"})]}
    assert marshal.loads(worker._encode({"value": value})) == {"value": arrives}


@pytest.mark.parametrize("value", [Text("text"), Level.HIGH, Color.RED])
def test_a_subclass_becomes_its_plain_type(value):
    assert type(worker._plain(value)) in (str, int)


def test_what_is_plain_already_stays_what_it_is():
    value = {"a": [1, 2.5, None, True, b"x", ("t",)]}
    assert worker._plain(value) == value
    assert worker._plain(True) is True


def test_a_value_that_cannot_even_be_shown_does_not_stop_the_worker():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

    assert "value" in marshal.loads(worker._encode({"value": Broken()}))


def test_a_value_that_holds_itself_does_not_stop_the_worker():
    loop = []
    loop.append(loop)
    assert "value" in marshal.loads(worker._encode({"value": loop}))
