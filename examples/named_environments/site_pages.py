"""The code under test: a page from Markdown, if there is a Markdown library."""

from __future__ import annotations

import html
import os


def page(text: str) -> str:
    title = html.escape(os.environ.get("SITE_TITLE", "Untitled"))
    return f"<title>{title}</title>\n{body(text)}"


def body(text: str) -> str:
    try:
        import mistune
    except ImportError:
        return f"<pre>{html.escape(text)}</pre>"
    return mistune.markdown(text)
