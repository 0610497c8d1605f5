"""Items that an environment collected, shown on the host as items of its own session."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest.doctest import DoctestModule

from pytest_isoenv._requests import Request
from pytest_isoenv._select import MARK, place


class _Collected:
    """What proxies of collectors have in common: they show what was collected elsewhere."""

    name: str
    kind: str = "Node"
    children: list[pytest.Item | pytest.Collector]

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """What the environment has collected below it."""
        return self.children

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


class ProxyNode(_Collected, pytest.Collector):
    """A module or class of the environment's collection tree."""


class ProxyDirectory(_Collected, pytest.Directory):
    """A directory of it; ``-k`` does not look at the names of directories."""


class ProxyItem(pytest.Item):
    """A test of an environment: selected, ordered and reported here, run there."""

    kind: str = "Item"
    shown: tuple[str, int | None, str]
    why_not_here: str = "it was to run in an environment"

    def runtest(self) -> None:
        """Called only for a test that no environment claims, and that the host cannot have."""
        pytest.fail(self.why_not_here, pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the test stands, as its environment says."""
        return self.path, self.shown[1], self.shown[2]

    @property
    def location(self) -> tuple[str, int | None, str]:
        """As the environment gives it, with the environment's id."""
        return self.shown

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


# A node of the environment's tree: its type, its name, if it is a directory its path, and its
# docstring where that is to be shown.
_Node = tuple[str, str, str, str]


class Found(NamedTuple):
    """What an environment tells of an item that it has collected."""

    id: str
    key: str
    above: tuple[_Node, ...]
    node: _Node
    path: str
    location: tuple[str, int | None, str]
    environments: Sequence[Any]
    keywords: list[str]
    marks: list[pytest.Mark]


def read_items(event: Mapping[str, Any]) -> dict[str, Any]:
    """What an environment tells of its collection; there the items name their marks by number."""
    marks = _Marks(event["marks"])
    found = {
        which: [Found._make((*data, marks.of(numbers))) for *data, numbers in event[which]]
        for which in ("items", "deselected")
    }
    return {**event, **found}


class _Marks:
    """The marks of an environment's items, but ours."""

    def __init__(self, told: Iterable[tuple[str, Any, Any]]) -> None:
        self._marks = [
            pytest.Mark(name, tuple(args), dict(kwargs), _ispytest=True)
            for name, args, kwargs in told
        ]
        self._sets: dict[tuple[int, ...], list[pytest.Mark]] = {}

    def of(self, numbers: tuple[int, ...]) -> list[pytest.Mark]:
        """Those with these numbers; one list for all items that have the same."""
        if numbers not in self._sets:
            marks = [self._marks[number] for number in numbers]
            self._sets[numbers] = [mark for mark in marks if mark.name != MARK]
        return self._sets[numbers]


class Tree:
    """Builds proxies below a node of the host, sharing the nodes between them.

    ``root`` is the session, or the module that the environments have collected for the host;
    ``children`` are what then comes directly below it.
    """

    def __init__(self, root: pytest.Session | pytest.Module) -> None:
        self._root = root
        self._nodes: dict[tuple[_Node, ...], ProxyNode | ProxyDirectory] = {}
        self._paths: dict[str, Path] = {}
        self.children: list[pytest.Item | pytest.Collector] = []

    def item(self, found: Found, request: Request | None, *, alone: bool) -> ProxyItem:
        """The proxy of one item; ``alone`` says that no other environment runs it, too."""
        kind, name, _, doc = found.node
        shown = name if alone or request is None else with_variant(name, request.id)
        nodeid = found.id.removesuffix(name) + shown
        parent = self._parent(found.above, found)
        item: ProxyItem = ProxyItem.from_parent(parent, name=shown, nodeid=nodeid)
        item.kind = kind
        _document(item, doc)
        item.path = self._path(found.path)
        path, line, domain = found.location
        item.shown = (path, line, _with_name(domain, name, shown))
        item.own_markers = found.marks.copy()
        for mark in item.own_markers:
            item.keywords[mark.name] = mark
        item.extra_keyword_matches.update(found.keywords)
        if request is not None:
            place(item, request, found.key)
        self._below(parent).append(item)
        return item

    def _path(self, text: str) -> Path:
        """One for all items of a file."""
        if text not in self._paths:
            self._paths[text] = Path(text)
        return self._paths[text]

    def has_place_for(self, found: Found) -> bool:
        """Whether an item belongs here: a module's doctests are collected as a module of theirs."""
        doctest = any(kind == DoctestModule.__name__ for kind, *_ in found.above)
        return doctest == isinstance(self._root, DoctestModule)

    def stand_in(self, request: Request) -> ProxyItem:
        """Stands for an environment whose tests nobody knows, because it cannot be had."""
        name = f"environment[{request.id}]"
        nodeid = f"{self._root.nodeid}::{name}" if self._root.nodeid else name
        item: ProxyItem = ProxyItem.from_parent(self._root, name=name, nodeid=nodeid)
        item.shown = (self._root.nodeid or name, None, name)
        place(item, request, nodeid)
        self.children.append(item)
        return item

    def _below(self, parent: pytest.Collector) -> list[pytest.Item | pytest.Collector]:
        return parent.children if isinstance(parent, _Collected) else self.children

    def _parent(
        self, chain: tuple[_Node, ...], found: Found
    ) -> ProxyNode | ProxyDirectory | pytest.Session | pytest.Module:
        if not chain:
            return self._root
        if chain not in self._nodes:
            kind, name, directory, doc = chain[-1]
            file, *names = found.id.split("::")
            inside = names[: len(chain) - (len(found.above) + 1 - len(names))]
            nodeid = "::".join([file, *inside]) if inside or kind == "Module" else name
            if nodeid == self._root.nodeid:
                return self._root
            above = self._parent(chain[:-1], found)
            node: ProxyNode | ProxyDirectory
            if directory:
                path = Path(directory)
                node = ProxyDirectory.from_parent(above, path=path, name=name, nodeid=nodeid)
            else:
                node = ProxyNode.from_parent(above, name=name, nodeid=nodeid)
            node.kind = kind
            _document(node, doc)
            node.children = []
            self._below(above).append(node)
            self._nodes[chain] = node
        return self._nodes[chain]


def _document(node: pytest.Item | pytest.Collector, doc: str) -> None:
    """Where ``--collect-only -v`` looks for docstrings."""
    if doc:
        vars(node)["obj"] = types.SimpleNamespace(__doc__=doc)


def _with_name(domain: str, name: str, shown: str) -> str:
    """A location's words with the name that is shown; an item of a plugin may have others."""
    if shown == name:
        return domain
    if domain.endswith(name):
        return domain.removesuffix(name) + shown
    return f"{domain} {shown}"


def with_variant(name: str, variant: str) -> str:
    """``test_x[case]`` -> ``test_x[variant-case]``."""
    function, bracket, parameters = name.partition("[")
    return f"{function}[{variant}-{parameters}" if bracket else f"{function}[{variant}]"


def arguments_for(variant: str, variants: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """What of a command line is for one of several environments, in that environment's own words.

    ``test.py::test_x[variant-case]`` is for it alone; what names no variant is for all.
    """
    kept = []
    for argument in arguments:
        path, names, parameters = _split(argument)
        named = next((v for v in variants if _begins(parameters, v)), None)
        if named is None:
            kept.append(argument)
        elif named == variant:
            rest = parameters.removeprefix(variant).removeprefix("-")
            kept.append(f"{path}{names}" + (f"[{rest}]" if rest else ""))
    return kept


def _split(argument: str) -> tuple[str, str, str]:
    path, colons, names = argument.partition("::")
    names, _, parameters = names.partition("[")
    return path, colons + names, parameters.removesuffix("]")


def _begins(parameters: str, variant: str) -> bool:
    return parameters == variant or parameters.startswith(f"{variant}-")


def collect_reports(items: Iterable[pytest.Item]) -> list[pytest.CollectReport]:
    """Reports of what was collected, one for each file, so that plugins can count and show it."""
    files: dict[str, list[Any]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    return [
        pytest.CollectReport(nodeid=file, outcome="passed", longrepr=None, result=found)
        for file, found in files.items()
    ]
