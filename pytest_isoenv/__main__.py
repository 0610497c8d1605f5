"""``python -m pytest_isoenv``: the command ``isoenv``."""

from __future__ import annotations

from pytest_isoenv.cli.main import script

if __name__ == "__main__":
    script()
