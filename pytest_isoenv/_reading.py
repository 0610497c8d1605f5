"""Reading the files that declarations stand in: YAML and TOML, safely, as plain data."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    import yaml

# Aliases can make a short text mean a huge one (a "billion laughs"); nobody declares so much.
_MOST_NODES = 100_000


class UnreadableError(ValueError):
    """A file whose content cannot be had; the message says why."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; none if there is no such file. Raises UnreadableError."""
    try:
        loaded: dict[str, Any] = tomllib.loads(_text(path))
        return loaded
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"is not valid TOML: {error}") from None


def read_yaml(path: Path) -> Any:
    """What a YAML file says, an empty mapping if there is none. Raises UnreadableError.

    A key that stands twice is an error: YAML 1.1 would let the later one win without a word.
    """
    text = _text(path)
    if not text.strip():
        return {}
    import yaml  # only projects that have the file pay for it

    try:
        loaded = _loaded(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date or number
        raise UnreadableError(f"is not valid YAML: {_reason(error)}") from None
    except RecursionError:
        raise UnreadableError("is not valid YAML: it is nested too deeply") from None
    return {} if loaded is None else loaded


def _reason(error: Exception) -> str:
    """Why and where, without the line itself: a variable there may be set to a secret."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return " ".join(str(error).split())
    context = getattr(error, "context", None)
    what = ", ".join(filter(None, (context, problem)))
    return f"{what} (line {mark.line + 1}, column {mark.column + 1})"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"cannot be read: {error}") from None


def _loaded(text: str) -> Any:
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            keys = [self.construct_object(key, deep=True) for key in own]
            for key in keys:
                if keys.count(key) > 1:
                    line = node.start_mark.line + 1
                    raise yaml.YAMLError(f"the key {key!r} stands twice below line {line}")
            return super().construct_mapping(node, deep=deep)

    loader = UniqueKeys(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_NODES:,} values")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are below a node if each alias is written out."""
    import yaml

    if id(node) not in known:
        known[id(node)] = _MOST_NODES + 1  # for an alias of a node that is above itself
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        else:
            children = node.value if isinstance(node, yaml.SequenceNode) else []
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]
