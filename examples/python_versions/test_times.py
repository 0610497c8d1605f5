"""One test on every Python from 3.8 to 3.13 that this machine has.

The module is imported by each of them, so it is written for the oldest.
"""

import datetime
import sys

import pytest
from times import parse_time

PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]

pytestmark = [pytest.mark.env(python=version, missing_interpreter="skip") for version in PYTHONS]


def test_utc_is_understood():
    expected = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
    assert parse_time("2024-02-29T12:30:00Z") == expected


def test_why_the_module_has_a_branch_of_its_own():
    if sys.version_info >= (3, 11):
        assert datetime.datetime.fromisoformat("2024-02-29T12:30:00Z")
    else:
        with pytest.raises(ValueError, match="Invalid isoformat string"):
            datetime.datetime.fromisoformat("2024-02-29T12:30:00Z")
