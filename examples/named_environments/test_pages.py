"""Tests that say by name which environment of isoenv.yaml they run in."""

from __future__ import annotations

import pytest
from site_pages import page


@pytest.mark.env("mistune-old")
@pytest.mark.env("mistune-new")
class TestWithMarkdown:
    def test_a_heading(self):
        from bs4 import BeautifulSoup

        soup = BeautifulSoup(page("# Moss"), "html.parser")
        assert soup.h1.text == "Moss"

    def test_the_title_comes_from_a_variable_of_base(self):
        from bs4 import BeautifulSoup

        assert BeautifulSoup(page("text"), "html.parser").title.text == "Field notes"


@pytest.mark.env("mistune-old")
def test_the_old_version_strikes_out_by_itself():
    assert "<del>lichen</del>" in page("~~lichen~~")


@pytest.mark.env("mistune-new")
def test_the_new_version_needs_a_plugin_for_that():
    assert "~~lichen~~" in page("~~lichen~~")


@pytest.mark.env("no-markdown")
def test_without_the_library_the_text_is_shown_as_it_is():
    assert "<pre># Moss</pre>" in page("# Moss")


@pytest.mark.env("no-markdown")
def test_an_environment_without_base_has_nothing_of_it():
    with pytest.raises(ImportError):
        import bs4  # noqa: F401
    assert "<title>Untitled</title>" in page("text")


def test_an_unmarked_test_stays_on_the_host():
    assert "<title>Untitled</title>" in page("text")
