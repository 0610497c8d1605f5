"""``isoenv pytest ARGS...``: pytest, with this plugin there before anything else is.

pytest 9.2 applies ``filterwarnings`` before it loads plugins. With ``--in-env`` a filter may name
a category that only the environments have; here the plugin can see to it.
"""

from __future__ import annotations

import argparse

from pytest_isoenv.cli.command import Command


def _act(args: argparse.Namespace) -> int:
    import pytest

    return int(pytest.main(args.arguments, plugins=["isoenv"]))


COMMAND = Command(
    "pytest",
    "run pytest with this plugin loaded first; all arguments are pytest's",
    _act,
    takes_all=True,
)
