"""Texts without secrets."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^/\s\"']+@")


def redact(text: str) -> str:
    """The text without the credentials of URLs (the userinfo of RFC 3986)."""
    return _CREDENTIALS.sub("***@", text)
