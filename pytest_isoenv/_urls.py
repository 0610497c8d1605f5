"""What URLs say of files of this machine."""

from __future__ import annotations


def path_of(url_path: str) -> str:
    """The path of a file, from the part of its ``file:`` URL that names it."""
    # With it come http and ssl, which take longer to import than all of ours; few need it.
    from urllib.request import url2pathname

    return url2pathname(url_path)
