"""Texts without the credentials of the URLs in them."""

from __future__ import annotations

import pytest

from pytest_isoenv._redact import redact


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://me:s3cret@example.org/x", "https://***@example.org/x"),
        ("https://t0ken@example.org/x", "https://***@example.org/x"),
        ("https://me:s3@cret@example.org/x", "https://***@example.org/x"),
        ("a https://u:p@h/ and git+ssh://u:q@h/", "a https://***@h/ and git+ssh://***@h/"),
        ("'https://u:p@h/simple'", "'https://***@h/simple'"),
        ("https://example.org/a@b", "https://example.org/a@b"),
        ("me@example.org", "me@example.org"),
        ("lib @ https://example.org/x", "lib @ https://example.org/x"),
    ],
)
def test_only_the_credentials_of_a_url_are_redacted(text, redacted):
    assert redact(text) == redacted
