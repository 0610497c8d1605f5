"""What an installer's failure was, in our words, and what to do about it.

Installers tell the truth at length, and each in its own way. This module reads what uv, pip and
py-rattler write, and knows nothing else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from pytest_isoenv._redact import without_credentials

#: What to do where requirements contradict each other.
LOOSEN = "loosen one of the requirements named above, or give this environment another Python"

_ADDRESSES = "UV_DEFAULT_INDEX, PIP_INDEX_URL"
_NETWORK = (
    f"check the network and the index ({_ADDRESSES}), then run again; without them, environments "
    "that are in the cache can be used, and --env-offline builds from what was downloaded before"
)
_ADDRESS = f"check the index's address ({_ADDRESSES})"
_LATER = "run again later, or name another index"
_CREDENTIALS = (
    "give the index its credentials: UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD for an "
    "index called NAME, a netrc file, or a keyring (UV_KEYRING_PROVIDER)"
)
_ONLINE = (
    "run it once with a network, and without --env-offline (or UV_OFFLINE, PIP_NO_INDEX): what is "
    "downloaded then is there the next time"
)


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What happened, and the next step; either may be empty.

    ``passes`` is for what may be well a moment later. ``unreachable`` is for an index that cannot
    be asked at all, ``offline`` for one that was not to be asked.
    """

    happened: str = ""
    next_step: str = ""
    passes: bool = False
    unreachable: bool = False
    offline: bool = False


@dataclasses.dataclass(frozen=True)
class _Reason:
    """What signs in an installer's words (a pattern) say of an index."""

    signs: str
    words: str
    next_step: str
    passes: bool = False
    unreachable: bool = False


# The first that fits counts.
_REASONS = (
    _Reason(r"proxy|tunnel", "cannot be reached through the proxy",
            "check the proxy: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY", unreachable=True),
    _Reason(r"connection refused|10061", "refuses connections", _NETWORK, unreachable=True),
    _Reason(r"dns error|name or service not known|name resolution|nodename nor|getaddrinfo",
            "cannot be found: its host name has no address", _NETWORK, unreachable=True),
    _Reason(r"unreachable|no route to host", "cannot be reached", _NETWORK, unreachable=True),
    _Reason(r"timed out|timeout", "does not answer",
            "run again later, or wait longer: UV_HTTP_TIMEOUT, PIP_TIMEOUT (in seconds)",
            unreachable=True),
    _Reason(r"invalidcontenttype|wrong.version.number", "does not speak HTTPS",
            f"{_ADDRESS}: https where it is http?"),
    _Reason(r"certificate", "shows a certificate that is not trusted",
            "name the certificates that you trust (SSL_CERT_FILE; PIP_CERT for the backend venv), "
            "or let uv trust those of the system (UV_SYSTEM_CERTS=1)"),
    _Reason(r"\b401\b", "wants to know who asks (401)", _CREDENTIALS),
    _Reason(r"\b403\b", "refuses to answer (403)", f"{_ADDRESS}, and {_CREDENTIALS}"),
    _Reason(r"\b429\b", "wants to be asked less often (429)", _LATER, passes=True),
    _Reason(r"\b(5\d\d)\b", "fails ({0})", _LATER, passes=True),
    _Reason(r"redirects", "redirects in circles", _ADDRESS),
    _Reason(r"before message length|incomplete|reset|broken|decoding response body|disconnected",
            "breaks off in the middle", _LATER, passes=True),
    _Reason(r"content-type", "answers with something that is no page of an index",
            f"{_ADDRESS}: it often ends in /simple; or a page to log in stands before it"),
)  # fmt: skip
_UNKNOWN = _Reason("", "gives no answer that can be used", _NETWORK)

_NO_HTTPS = "The repository"
# How installers tell of a request that failed: the address, and why.
_REQUESTS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"Failed to fetch: `?(?P<url>[^\s`]+)`?(?P<why>(?:\n +cause: .*)*)",
        # One that has no such package is no trouble while another has it.
        r"^Could not fetch URL (?P<url>\S+): (?P<why>(?!404).*)",
        r"(?P<why>HTTP error \d+) while getting (?P<url>[^\s#]+)",
        r"An index(?: URL)? \((?P<url>[^\s)]+)\) (?P<why>.*)",
        r"(?P<why>(?:Unsupported|Missing) `Content-Type`).* for `(?P<url>[^\s`]+)`",
        r"Skipping page (?P<url>\S+) because (?P<why>.*)",
        rf"(?P<why>{_NO_HTTPS}) located at (?P<url>\S+) is not a trusted or secure host",
        r"OSError: (?P<url>)(?P<why>(?:HTTPS?ConnectionPool|Exceeded \d+ redirects).*)",
        r"Failed to download `(?P<url>)(?P<package>[^`]+)`"
        r"(?P<why>(?:\n +cause: .*)*\n +cause: error (?:decoding|reading).*)",
        r"error sending request for url \((?P<url>[^\s)]+)\)(?P<why>(?:\nCaused by: .*)+)",
    )
)
_UNTRUSTED_HOST = "let pip trust the index without HTTPS: PIP_TRUSTED_HOST"
_HASH = re.compile(r"Hash mismatch for `(\S+)`|DO NOT MATCH THE HASHES[^\n]*\n +(\S+) from ", re.M)
# What no index has. pip tells of no request where all went well.
_NOTHING = re.compile(
    r"Because (\S+) was not found in the package registry"
    r"|[Tt]here (?:is|are) no versions? of (?P<version>[^\s,]+)"
    r"|satisfies the requirement (\S+).* \(from versions: none\)"
)
_OFFLINE = re.compile(r"network was disabled|etwork connectivity is disabled|^offline: ", re.M)
_NOT_CACHED = re.compile(
    r"Because (\S+) (?:was not found in the cache|needs to be downloaded)"
    r"|Failed to download(?: and build)? `([^`]+)`(?:\n +cause: .*)*etwork connectivity is disabled"
    r"|^offline: GatewayError: no usable repodata cache for (\S+)"
    r"|^offline: InstallerError: failed to fetch (\S+)",
    re.M,
)
_NO_ROOM = re.compile(r"no space left on device|os error 28\b|disk quota exceeded", re.I)
_OTHERS = (
    (("no solution found", "no matching distribution found"), LOOSEN),
    (
        ("failed to build", "build backend"),
        "see what the build says above; a wheel for this Python, or a compiler, may be missing",
    ),
)


def trouble(output: str, indexes: Sequence[str] = (), *, offline: bool = False) -> Trouble:
    """What an installer's words tell; ``indexes`` are those that it was to ask, if not offline."""
    if _NO_ROOM.search(output):
        room = "make room on the disk that it names: isoenv prune does so in the cache"
        return Trouble("", room)
    nothing = _NOTHING.search(output)
    lacking = _first(nothing) if nothing else ""
    if _OFFLINE.search(output) or (offline and nothing):
        return not_cached(missing(output) or [lacking] * bool(lacking))
    asked = " and ".join(indexes)
    mismatch = _HASH.search(output)
    if mismatch:
        what = f"a file of {_first(mismatch)} is not the one that was pinned: its hash is another"
        return Trouble(f"{what} (index: {asked})" if asked else what, _RESOLVE_ANEW)
    failed = [match for request in _REQUESTS for match in request.finditer(output)]
    if failed:
        return _of_request(failed[0], asked, lacking)
    happened = f"{lacking} is on no index (asked: {asked})" if lacking and asked else ""
    unknown = nothing is not None and not nothing["version"]
    return Trouble(happened, _GONE if unknown else _other(output))


_RESOLVE_ANEW = (
    "run again; if it stays so, and you trust the index, resolve anew (--env-upgrade), or lock "
    "anew (isoenv lock)"
)


def is_of_index(output: str) -> bool:
    """Whether it tells of a request that an index did not answer as it should."""
    return any(request.search(output) for request in _REQUESTS)


def _other(output: str) -> str:
    text = output.lower()
    return next((words for signs, words in _OTHERS if any(sign in text for sign in signs)), "")


def missing(output: str) -> list[str]:
    """The packages that an installer says it has not cached: it names the first, and then ends."""
    return [_first(match) for match in _NOT_CACHED.finditer(output)]


def not_cached(names: Sequence[str]) -> Trouble:
    """There is no network, or it is not to be used, and these were never downloaded."""
    what = ", ".join(dict.fromkeys(names)) or "what is needed"
    happened = f"offline, and not in the installer's cache: {what}"
    return Trouble(happened, _ONLINE, offline=True)


def _of_request(match: re.Match[str], asked: str, lacking: str) -> Trouble:
    if match["why"] == _NO_HTTPS:
        host = f"{match['url']} (asked: {asked})" if asked else match["url"]
        return Trouble(f"pip does not trust {host}: that is not HTTPS", _UNTRUSTED_HOST)
    index, package = _place(match["url"]) if match["url"] else (asked, "")
    package = package or match.groupdict().get("package", "") or lacking
    why = match["why"]
    question = f"asked for {package}, " if package else ""
    if re.search(r"\b404\b", why):
        return Trouble(f"the index {index} does not have {package}", _GONE)
    reason, words = _reason(why)
    return Trouble(
        f"{question}the index {index} {words}", reason.next_step, reason.passes, reason.unreachable
    )


_GONE = (
    f"check its name and version, and the index ({_ADDRESSES}); if it was there before, resolve "
    "anew (--env-upgrade)"
)


def _reason(why: str) -> tuple[_Reason, str]:
    for reason in _REASONS:
        found = re.search(reason.signs, why, re.IGNORECASE)
        if found:
            return reason, reason.words.format(*found.groups())
    return _UNKNOWN, _UNKNOWN.words


def _place(url: str) -> tuple[str, str]:
    """An index, and what of it was asked for: a package's page, or a file."""
    parts = urlsplit(plain(url))
    above, _, last = parts.path.rstrip("/").rpartition("/")
    if parts.path.endswith("/"):
        return parts._replace(path=above, query="", fragment="").geturl(), last
    if "." in last:
        return f"{parts.scheme}://{parts.netloc}", last
    return parts.geturl(), ""


def plain(url: str) -> str:
    """An address without credentials, and without the name that uv knows it by."""
    return without_credentials(re.sub(r"^[\w.-]+=", "", url))


def _first(match: re.Match[str]) -> str:
    return next(filter(None, match.groups()), "")
