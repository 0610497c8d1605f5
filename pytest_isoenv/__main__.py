"""``python -m pytest_isoenv``: pytest, with this plugin there before anything else is read.

pytest loads most plugins after it has looked for those that ``-p`` names and, from pytest 9.2 on,
for the categories of warning filters. Where only the environments of ``--in-env`` have these, a
plugin that comes later cannot help.
"""

from __future__ import annotations

import pytest

if __name__ == "__main__":
    raise SystemExit(pytest.main(plugins=["isoenv"]))
