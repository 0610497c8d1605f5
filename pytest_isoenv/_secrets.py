"""What is secret among a process's variables, and texts without it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

from pytest_isoenv._redact import credentials, redact, without_tokens

# Variables whose names say that their values are secret, by the ends of those names.
_TELLING = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|PASS|TOKEN|SECRET|CREDENTIALS|APIKEY"
    r"|(?:API|ACCESS|PRIVATE|SECRET|ACCOUNT|ENCRYPTION|SIGNING)_KEY)$",
    re.IGNORECASE,
)
_USERNAME = re.compile(r"UV_INDEX_(\w+)_USERNAME$")
# What a switch is set to, though its name may sound like more.
_SWITCH = re.compile(r"\d{0,3}|true|false|yes|no|on|off|none|auto", re.IGNORECASE)
# What stands for a user, or a password, where the other of the two is the secret.
_FORMAL = frozenset({"", "x-oauth-basic", "x-access-token", "oauth2", "oauth2accesstoken"})
_NOBODY = _FORMAL | {"__token__", "git"}
# What a program may leave as it is when it writes a secret into a URL.
_LEFT_AS_THEY_ARE = ("", "/", "!$&'()*+,;=:@")
# A name is seldom so long; a token that stands in its place is.
_LONG = 20
# Shorter ones turn up within words by chance.
_SHORT = 8


def hide(text: str, environ: Mapping[str, str]) -> str:
    """The text without credentials of URLs, and without any secret of the variables.

    A secret is struck out wherever it turns up: by itself, in the form that it has in a URL, in
    an HTTP header, or in what Python or JSON print of it.
    """
    shown = without_tokens(redact(text))
    # The longest first: one may be a part of another.
    for secret in sorted(secrets_of(environ), key=len, reverse=True):
        if secret in shown:
            shown = _struck_out(secret, shown)
    return shown


def _struck_out(secret: str, text: str) -> str:
    if len(secret) >= _SHORT:
        return text.replace(secret, "***")
    return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", "***", text)


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Every form in which a secret of the variables could be printed."""
    return {
        form
        for name, value in environ.items()
        for user, password in (*credentials(value), *_of_variable(name, value, environ))
        for form in _of_pair(user, password)
    }


def _of_variable(name: str, value: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if _TELLING.search(name) and not _SWITCH.fullmatch(value):
        yield "", value
        yield from (("", line) for line in value.splitlines() if len(line) >= _SHORT)
    index = _USERNAME.match(name)
    if index is not None:
        # Without a password it is the secret itself, unless somebody else has the password.
        password = environ.get(f"UV_INDEX_{index[1]}_PASSWORD", "")
        if password or not environ.get("UV_KEYRING_PROVIDER"):
            yield value, password


def _of_pair(user: str, password: str) -> Iterator[str]:
    if password not in _FORMAL:
        yield from _forms(password)
    if user not in _NOBODY and (password in _FORMAL or len(user) >= _LONG):
        yield from _forms(user)
    if user and password:
        header = f"{unquote(user)}:{unquote(password)}".encode("utf-8", "surrogateescape")
        yield base64.b64encode(header).decode()


def _forms(written: str) -> Iterator[str]:
    """As it was written, perhaps for a URL; as it is; and as it is printed."""
    for secret in {written, unquote(written)}:
        yield from (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])
        # What is around it may have been a reason to quote it, too.
        yield secret.replace("\\", r"\\").replace("'", r"\'")
        yield secret.replace("'", "'\"'\"'")  # a shell's way
        yield from (quote(secret, safe, errors="surrogateescape") for safe in _LEFT_AS_THEY_ARE)
