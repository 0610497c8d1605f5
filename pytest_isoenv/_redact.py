"""Texts without secrets."""

from __future__ import annotations

import re

# The userinfo of RFC 3986. A password should have its "/" encoded; one that has not must be seen
# as well, and told from a port.
_USERINFO = r"://(?P<userinfo>[^/\s{0}]+|[^/\s{0}@:]+:(?!\d*[/?#])[^\s{0}]*?)@"
# A text may have several URLs, as JSON writes them; an apostrophe may be a part of one.
_CREDENTIALS = re.compile(_USERINFO.format('"'))
_CREDENTIALS_OF_URL = re.compile(_USERINFO.format(""))
# Values in a URL's query whose names tell what they are.
_TELLING = re.compile(
    r"(?P<name>[?&][\w.-]*(?:token|secret|password|signature|api_?key))=(?P<value>[^&#\s\"']+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text without the credentials of URLs (the userinfo of RFC 3986).

    The user of ``ssh://git@example.org`` is none: a key opens that door.
    """
    return _CREDENTIALS.sub(lambda match: match[0] if _is_a_name(match) else "://***@", text)


def _is_a_name(match: re.Match[str]) -> bool:
    return ":" not in match["userinfo"] and match.string[: match.start()].endswith("ssh")


def without_tokens(text: str) -> str:
    """The text without the values in URLs' queries that are called a token, a password …"""
    return _TELLING.sub(r"\g<name>=***", text)


def without_credentials(url: str) -> str:
    """A URL that leads to the same place for those who have credentials of their own."""
    bare = _CREDENTIALS_OF_URL.sub(lambda match: match[0] if _is_a_name(match) else "://", url)
    return bare.partition("?")[0] if _TELLING.search(bare) else bare


def has_secrets(text: str) -> bool:
    """Whether a URL in the text has credentials, or a token in its query."""
    return redact(text) != text or without_tokens(text) != text


def credentials(text: str) -> list[tuple[str, str]]:
    """The users and passwords of URLs with spaces between them, as they are written.

    A token in a query is a password without a user.
    """
    found = [m["userinfo"] for m in _CREDENTIALS_OF_URL.finditer(text) if not _is_a_name(m)]
    pairs = [(user, password) for user, _, password in (info.partition(":") for info in found)]
    return pairs + [("", match["value"]) for match in _TELLING.finditer(text)]
