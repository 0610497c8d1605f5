"""A program of its own, the end of which is added where it is written: starts a Python's pip.

It must run on the oldest Python that an environment can have, and imports nothing of ours.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import runpy
import subprocess
import sys
import tarfile
from typing import Any

# A pip within pip, which installs what a build needs.
_RUNNER = "__pip-runner__.py"
_CREDENTIALS = re.compile(r"://[^/]*@")


def main(unpacked: str, wheel: str) -> None:
    """Be the pip that was unpacked from a wheel; a command must run again when that is gone.

    Unpacked it starts in a third of the time. Its configuration files count for nothing: two users
    with one key would get two environments.
    """
    os.environ["PIP_CONFIG_FILE"] = os.devnull
    sys.path.insert(0, unpacked if os.path.isdir(unpacked) else wheel)  # noqa: PTH112
    _keep_credentials_from_command_lines()
    _refuse_to_write_through_links()
    unanswered = _listen()
    try:
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            sys.stderr.writelines(f"{line}\n" for line in unanswered.lines)
        raise


class Unanswered(logging.Handler):
    """What pip says of requests that an index did not answer, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it if it is about that."""
        text = record.getMessage()
        if text.startswith("Could not fetch URL"):
            self.lines[text] = None


def _listen() -> Unanswered:
    """pip says it only to those who ask for all it does: an index that is down is to everybody else
    one that has no such package.
    """
    asking = logging.getLogger("pip._internal.index.collector")
    asking.setLevel(logging.DEBUG)
    handler = Unanswered()
    asking.addHandler(handler)
    return handler


def _keep_credentials_from_command_lines() -> None:
    """Let nobody see them who lists processes: the variables, which are inherited, say the same."""
    start = subprocess.Popen.__init__

    def started(self: Any, args: Any, *more: Any, **options: Any) -> None:
        start(self, without_credentials(args), *more, **options)

    subprocess.Popen.__init__ = started  # type: ignore[method-assign]


def without_credentials(command: Any) -> Any:
    """The command of a pip within pip without those of its options that have credentials."""
    if isinstance(command, str) or not any(str(word).endswith(_RUNNER) for word in command):
        return command
    kept: list[Any] = []
    options = True
    for word in command:
        options = options and word != "--"
        if options and _CREDENTIALS.search(str(word)):
            kept.pop()  # the name of the option
        else:
            kept.append(word)
    return kept


def _refuse_to_write_through_links() -> None:
    """An archive of sources may have links; pip would write through one that leads elsewhere."""
    listed = tarfile.TarFile.getmembers

    def getmembers(self: tarfile.TarFile) -> list[tarfile.TarInfo]:
        members = listed(self)
        through = written_through_a_link(members)
        if through is not None:
            raise OSError(f"{self.name!r} is refused: it would write {through!r} through a link")
        return members

    tarfile.TarFile.getmembers = getmembers  # type: ignore[method-assign]


def written_through_a_link(members: list[tarfile.TarInfo]) -> str | None:
    """The member, if any, whose path leads over a link that was unpacked before it."""
    links: set[str] = set()
    for member in members:
        path = posixpath.normpath(member.name)
        parts = path.split("/")
        if any("/".join(parts[:number]) in links for number in range(1, len(parts) + 1)):
            return member.name
        if member.issym():
            links.add(path)
    return None
