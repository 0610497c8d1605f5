"""What the host needs to know of items to select, order and show them.

It is told where the session finds its tests for itself; all of it at once, so what many items have
in common is sent once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import plugins

# A node's type, its name, if it is a directory its path, and if they are shown its docs.
_Node = Tuple[str, str, str, str]


def found(
    config: Any, here: dict[str, Any], deselected: dict[str, Any], *, docs: bool
) -> dict[str, Any]:
    """The event that tells what has been collected, by what the host calls it."""
    descriptions = _Descriptions(docs)
    return {
        "kind": "items",
        "items": [descriptions.of(key, item) for key, item in here.items()],
        "deselected": [descriptions.of(key, item) for key, item in deselected.items()],
        "marks": descriptions.marks.told,
        "markers": config.getini("markers"),
        "plugins": _plugins(config),
    }


def _plugins(config: Any) -> list[str]:
    """The modules of plugins beside pytest's own, which have had their say on the items."""
    there = filter(plugins.is_foreign, config.pluginmanager.get_plugins())
    return sorted(set(map(plugins.module_of, there)))


class _Marks:
    """The marks of all items, each once: one of ``parametrize`` may hold thousands of values."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, Any]] = []
        self._numbers: dict[int, int] = {}

    def numbers(self, marks: list[Any]) -> tuple[int, ...]:
        """Where the marks stand in ``told``."""
        for mark in marks:
            if id(mark) not in self._numbers:
                self._numbers[id(mark)] = len(self.told)
                self.told.append((mark.name, mark.args, mark.kwargs))
        return tuple(self._numbers[id(mark)] for mark in marks)


class _Above(NamedTuple):
    """What the items below a node have in common; marshal sends an object once."""

    chain: tuple[_Node, ...] = ()
    marks: tuple[int, ...] = ()
    environments: Sequence[Any] = ()


class _Descriptions:
    """What the host needs to know of items to select, order and show them."""

    def __init__(self, docs: bool) -> None:
        self.marks = _Marks()
        self._docs = docs
        self._above: dict[Any, _Above] = {}
        self._keywords: dict[Any, list[str]] = {}
        self._files: dict[str, str] = {}

    def of(self, key: str, item: Any) -> tuple[Any, ...]:
        """The description of one item; the host's ``Found`` says what is where."""
        above = self._down_to(item.parent)
        marks, environments = self._marks_of(item, above)
        file, line, words = item.location
        return (
            item.nodeid,
            key,
            above.chain,
            _node(item, self._docs),
            str(item.path),
            (self._files.setdefault(file, file), line, words),
            environments,
            self._keywords_of(item, marks),
            marks,
        )

    def _down_to(self, node: Any) -> _Above:
        """What is known of the nodes from the session down to this one."""
        if node in self._above:
            return self._above[node]
        above = _Above() if node.parent is None else self._down_to(node.parent)
        itself = () if node.parent is None else (_node(node, self._docs),)
        found = _Above((*above.chain, *itself), *self._marks_of(node, above))
        self._above[node] = found
        return found

    def _marks_of(self, node: Any, above: _Above) -> tuple[tuple[int, ...], Sequence[Any]]:
        """The numbers of its marks, the closest first, and the closest ``env`` marks."""
        own = node.own_markers
        if not own:
            return above.marks, above.environments
        marks = (*self.marks.numbers(own), *above.marks)
        ours = [(mark.args, mark.kwargs) for mark in own if mark.name == "env"]
        if not isinstance(node, pytest.Module):
            ours.reverse()
        return marks, ours or above.environments

    def _keywords_of(self, item: Any, marks: tuple[int, ...]) -> list[str]:
        """The same for all items of which it does not matter here which one it is."""
        if item.extra_keyword_matches:
            return _keywords(item)
        function = getattr(item, "function", None)
        like = (item.parent, marks, function if getattr(function, "__dict__", None) else None)
        if like not in self._keywords:
            self._keywords[like] = _keywords(item)
        return self._keywords[like]


def _keywords(item: Any) -> list[str]:
    """What ``-k`` looks at here, beside the names that the host is told anyway."""
    added = {*item.listextrakeywords(), *(mark.name for mark in item.iter_markers())}
    try:
        from _pytest.mark import KeywordMatcher

        names = set(KeywordMatcher.from_item(item)._names)
    except (ImportError, AttributeError):  # it has moved
        names = added
    return sorted(names - {node.name for node in item.listchain()} | (added & {item.name}))


def _node(node: Any, docs: bool) -> _Node:
    """What a node is to the host."""
    doc = inspect.getdoc(getattr(node, "obj", None)) if docs and hasattr(node, "obj") else ""
    return type(node).__name__, node.name, _directory(node), doc or ""


def _directory(node: Any) -> str:
    is_one = isinstance(node, getattr(pytest, "Directory", ()))
    return str(node.path) if is_one else ""
