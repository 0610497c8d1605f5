"""What the texts of a declaration mean by their look."""

from __future__ import annotations

import pytest

from pytest_isoenv._texts import is_bare_word, is_path


@pytest.mark.parametrize("word", ["requests", "old", "my-env", "py3.12", "a_b"])
def test_a_word_without_a_version_is_a_name(word):
    assert is_bare_word(word)


@pytest.mark.parametrize(
    "text",
    [
        "lib==1.0",
        "lib<2",
        "lib[extra]",
        "lib @ https://example.org/lib.tar.bz2",
        "lib; python_version < '3.9'",
        "./lib",
        "../lib",
        "/opt/lib",
        "~/lib",
        "dist/lib-1.0-py3-none-any.whl",
        "two words",
        "",
    ],
)
def test_anything_but_a_single_word_is_never_a_name(text):
    assert not is_bare_word(text)


@pytest.mark.parametrize(
    "text", [".", "./lib", "../lib[extra]", "/opt/lib", "~/lib", "x/lib-1.0.tar.gz", "a\\b"]
)
def test_a_path_is_recognised_by_its_look_alone(text):
    assert is_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "lib @ https://example.org/lib-1.0-py3-none-any.whl",
        "lib@https://example.org/lib-1.0.tar.gz",
        "lib @ file:///opt/lib-1.0-py3-none-any.whl",
    ],
)
def test_a_requirement_with_a_url_is_no_path_even_where_the_url_ends_like_a_file(text):
    assert not is_path(text)
