"""The env marks of a test file that cannot be imported here, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


def env_marks(file: Path) -> list[tuple[list[Any], dict[str, Any]]]:
    """The arguments of every ``pytest.mark.env(...)`` in a file whose arguments are literals.

    Empty for a file that has none, or is no valid Python.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_env(node.func)]
    return [arguments for call in calls if (arguments := _arguments(call)) is not None]


def _is_env(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "env"
        and (getattr(function.value, "attr", None) or getattr(function.value, "id", None)) == "mark"
    )


def _arguments(call: ast.Call) -> tuple[list[Any], dict[str, Any]] | None:
    try:
        args = [ast.literal_eval(arg) for arg in call.args]
        fields = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords if word.arg}
    except ValueError:  # computed at import, so only an import could say
        return None
    return args, fields
