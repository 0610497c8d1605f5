"""Texts without secrets: the credentials of URLs, and the secrets of a process's variables."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest

from pytest_isoenv._hints import plain
from pytest_isoenv._redact import has_secrets, redact, without_credentials
from pytest_isoenv._secrets import hide, secrets_of


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://me:s3cret@example.org/x", "https://***@example.org/x"),
        ("https://t0ken@example.org/x", "https://***@example.org/x"),
        ("https://me:s3@cret@example.org/x", "https://***@example.org/x"),
        ("https://me:s3/cret@example.org/x", "https://***@example.org/x"),
        ("a https://u:p@h/ and git+ssh://u:q@h/", "a https://***@h/ and git+ssh://***@h/"),
        ("'https://u:p@h/simple'", "'https://***@h/simple'"),
        ("https://me:s3'cret@example.org/x", "https://***@example.org/x"),
        ('["https://example.org","me@h"]', '["https://example.org","me@h"]'),
        ("https://example.org/a@b", "https://example.org/a@b"),
        ("https://example.org:8080/a@b", "https://example.org:8080/a@b"),
        ("me@example.org", "me@example.org"),
        ("lib @ https://example.org/x", "lib @ https://example.org/x"),
        ("lib @ git+ssh://git@example.org/x", "lib @ git+ssh://git@example.org/x"),
    ],
)
def test_only_the_credentials_of_a_url_are_redacted(text, redacted):
    assert redact(text) == redacted
    assert has_secrets(text) == (redacted != text)


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "X-Amz-Signature"])
def test_what_a_query_calls_a_token_is_a_secret(name):
    url = f"https://example.org/simple?page=2&{name}=t0ken"
    assert has_secrets(url)
    assert "t0ken" not in hide(f"see {url} or t0ken", {"UV_INDEX": url})
    assert without_credentials(url) == "https://example.org/simple"


@pytest.mark.parametrize("password", ["s3'cret", 's3"cret', "s3@cret", "s3/cret", "s3:cret"])
def test_a_password_that_nobody_has_encoded_is_one_all_the_same(password):
    url = f"https://me:{password}@example.org/simple"
    assert password not in hide(f"{url} and {password}", {"UV_DEFAULT_INDEX": url})
    assert without_credentials(url) == "https://example.org/simple"


@pytest.mark.parametrize("secret", ["me:s3cret@", "s3'cret@", "***@"])
def test_an_index_is_named_without_what_opens_it(secret):
    url = f"corp=https://{secret}example.org/simple?token=t0ken"
    assert plain(url) == "https://example.org/simple"


def test_the_rest_of_a_query_is_none():
    url = "https://me:s3cret@example.org/simple?page=2"
    assert not has_secrets("https://example.org/simple?page=2")
    assert without_credentials(url) == "https://example.org/simple?page=2"


SECRET = "p/w d'\"@\\ü"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="@"),
        quote_plus(SECRET).replace("+", "%20"),
        repr({"a": SECRET}),
        repr({"a": f"'{SECRET}\""}),
        shlex.quote(SECRET),
        json.dumps({"a": SECRET}),
        f"[{SECRET}]",
    ],
)
@pytest.mark.parametrize(
    "environ",
    [
        {"UV_INDEX_CORP_PASSWORD": SECRET},
        {"UV_DEFAULT_INDEX": f"https://me:{quote(SECRET, safe='')}@example.org/simple"},
        {"UV_INDEX": f"https://a.org/simple corp=https://{quote(SECRET, safe='')}@b.org/simple"},
        {"HTTPS_PROXY": f"http://me:{quote(SECRET, safe='')}@proxy:3128"},
        {"SERVICE_TOKEN": SECRET},
    ],
    ids=" ".join,
)
def test_a_secret_is_struck_out_in_every_form(environ, shown):
    hidden = hide(f"it was {shown}, they said", environ)
    assert hidden.startswith("it was ")
    assert hidden.endswith(", they said")
    for form in (SECRET, quote(SECRET), quote(SECRET, safe=""), repr(SECRET)[1:-1], "p/w", "ü"):
        assert form not in hidden


def test_a_secret_is_struck_out_of_an_http_header():
    header = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    url = f"https://me:{quote(SECRET, safe='')}@example.org/simple"
    assert hide(f"Authorization: {header}", {"UV_INDEX": url}) == "Authorization: Basic ***"
    apart = {"UV_INDEX_CORP_USERNAME": "me", "UV_INDEX_CORP_PASSWORD": SECRET}
    assert hide(header, apart) == "Basic ***"


def test_a_secret_of_several_lines_is_struck_out_line_by_line():
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"
    assert "MIIEvQIBADANBg" not in hide("read: MIIEvQIBADANBg", {"DEPLOY_PRIVATE_KEY": key})


def test_what_is_no_secret_stays():
    environ = {
        "UV_INDEX_CORP_USERNAME": "me",
        "UV_INDEX_CORP_PASSWORD": "s3cret-w0rd",
        "UV_INDEX": "https://__token__:s3cret@a.org/simple",
        "USE_TOKEN": "1",
        "DB_PASSWORD": "",
        "HOME": "/home/me",
        "TOKENIZERS_PARALLELISM": "false",
    }
    text = "some 1 said false of __token__ and me in /home/me"
    assert hide(text, environ) == text


def test_the_name_alone_is_none_where_a_keyring_has_the_password():
    assert secrets_of({"UV_INDEX_CORP_USERNAME": "token-in-place-of-a-name"})
    by_keyring = {"UV_INDEX_CORP_USERNAME": "me", "UV_KEYRING_PROVIDER": "subprocess"}
    assert secrets_of(by_keyring) == set()


def test_a_short_secret_is_struck_out_where_it_stands_alone():
    environ = {"UV_INDEX_CORP_PASSWORD": "lib"}
    assert hide("lib, 'lib' and library", environ) == "***, '***' and library"


def test_a_secret_that_is_a_part_of_another_leaves_nothing_of_it():
    environ = {"A_TOKEN": "s3cret-one", "B_TOKEN": "s3cret-one-and-two"}
    assert hide(shlex.join(environ.values()), environ) == "*** ***"
