"""What is made of an installer's words; tests/test_index_troubles.py has those of bad indexes."""

from __future__ import annotations

import pytest

from pytest_isoenv._hints import LOOSEN, trouble

INDEX = "https://packages.example.com/simple"
UV = (
    f"error: Failed to fetch: {INDEX}/lib/\n  cause: error sending request for url ({INDEX}/lib/)\n"
)
PIP = f"Could not fetch URL {INDEX}/lib/: connection error: Max retries exceeded"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (f"{UV}  cause: Network is unreachable (os error 101)", "cannot be reached"),
        (f"{UV}  cause: Temporary failure in name resolution", "cannot be found"),
        (f"{UV}  cause: tunnel error: failed to create\n  cause: Connection refused", "the proxy"),
        (f"{PIP} (Caused by ProxyError('Cannot connect to proxy.'))", "the proxy"),
        (f"{PIP} (Caused by NewConnectionError('[Errno 113] No route to host'))", "be reached"),
        (f"{PIP} (Caused by ReadTimeoutError('Read timed out.'))", "does not answer"),
        (f"{UV}  cause: a word that nobody knows", "gives no answer that can be used"),
    ],
)
def test_an_index_that_cannot_be_asked_is_named_with_the_package(output, words):
    told = trouble(output)
    assert told.happened.startswith(f"asked for lib, the index {INDEX} ")
    assert words in told.happened
    assert told.next_step


@pytest.mark.parametrize(
    ("output", "missing"),
    [
        (
            "error: Failed to download and build `x @ git+https://example.com/x@main`\n"
            "  cause: Git operation failed\n"
            "  cause: Remote Git fetches are not allowed because network connectivity is disabled",
            "x @ git+https://example.com/x@main",
        ),
        (
            "  cause: Because lib was not found in the cache and you require lib, we\n"
            "hint: Packages were unavailable because the network was disabled.",
            "lib",
        ),
        ("hint: Packages were unavailable because the network was disabled.", "what is needed"),
    ],
)
def test_what_was_not_to_be_downloaded_is_named(output, missing):
    told = trouble(output)
    assert told.happened == f"offline, and not in the installer's cache: {missing}"
    assert told.offline
    assert not told.passes


def test_no_credentials_of_an_index_are_in_what_is_said():
    output = UV.replace("https://", "https://me:secret@") + "  cause: Connection refused"
    told = trouble(output, ["https://packages.example.com/simple"])
    assert told.happened == f"asked for lib, the index {INDEX} refuses connections"


def test_an_index_without_https_that_pip_passes_over_is_named():
    output = "WARNING: The repository located at i.example.com is not a trusted or secure host and"
    told = trouble(output, ["http://i.example.com/simple"])
    assert "pip does not trust i.example.com (asked: http://i.example.com/simple)" in told.happened
    assert "PIP_TRUSTED_HOST" in told.next_step


def test_a_package_that_one_of_two_indexes_lacks_is_no_trouble_of_that_index():
    output = (
        "ERROR: No matching distribution found for lib==9\n"
        f"Could not fetch URL {INDEX}/lib/: 404 Client Error: Not Found"
    )
    assert trouble(output) == trouble("No matching distribution found for lib==9")
    assert trouble(output).next_step == LOOSEN


@pytest.mark.parametrize(
    "output",
    [
        "error: Failed to build `mine`\n  The build backend said: Connection refused, timed out",
        "setup.py: urllib.error.HTTPError: HTTP Error 503: Service Unavailable",
    ],
)
def test_words_of_a_build_are_no_words_of_an_index(output):
    told = trouble(output, [INDEX])
    assert (told.happened, told.passes, told.unreachable) == ("", False, False)


def test_a_full_disk_is_no_trouble_of_an_index():
    output = f"{UV}  cause: No space left on device (os error 28)"
    assert trouble(output).next_step.startswith("make room on the disk")
