"""The code under test: it runs on Python 3.8, and uses what newer Pythons have."""

import datetime


def parse_time(text):
    """A point in time from ISO 8601; before 3.11 Python itself does not know the letter Z."""
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        if not text.endswith("Z"):
            raise
        return datetime.datetime.fromisoformat(text[:-1] + "+00:00")
