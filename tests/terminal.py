"""Running a command on a pseudo-terminal, as a user at a keyboard does."""

from __future__ import annotations

import dataclasses
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence


@dataclasses.dataclass
class Conversation:
    """What was on the screen in the end, and how the command ended."""

    screen: str
    status: int


class Terminal:
    """A pseudo-terminal with a command on it; everything waits for words, never for a time."""

    def __init__(self, *args: str, patience: float = 60) -> None:
        self._screen = ""
        self._seen = 0
        self._deadline = time.monotonic() + patience
        self._user, inside = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:xdist", "--color=no", *args],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(inside)

    def wait_for(self, words: str) -> None:
        """Return when the words are on the screen, after all that was waited for before."""
        while words not in self._screen[self._seen :]:
            assert self._read(), f"{words!r} never came:\n{self._screen}"
        self._seen = self._screen.index(words, self._seen) + len(words)

    def type(self, keys: str) -> None:
        os.write(self._user, keys.encode())

    def type_until(self, keys: str, words: str) -> None:
        """Type again and again, as one does who presses Ctrl-C before anybody listens to it."""
        while words not in self._screen[self._seen :]:
            self.type(keys)
            if select.select([self._user], [], [], 1)[0]:
                assert self._read(), f"{words!r} never came:\n{self._screen}"
        self.wait_for(words)

    def _read(self) -> bool:
        if not select.select([self._user], [], [], max(0.0, self._deadline - time.monotonic()))[0]:
            self.process.kill()
            return False
        try:
            data = os.read(self._user, 65536)
        except OSError:  # the last process has left the terminal
            return False
        self._screen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def end(self) -> Conversation:
        """Read the rest of what comes, and wait for the command."""
        while self._read():
            continue
        os.close(self._user)
        return Conversation(self._screen, self.process.wait())

    def hang_up(self) -> int:
        """Close the terminal's window; the command's exit status."""
        os.close(self._user)
        return self.process.wait()


def _take_terminal() -> None:
    import fcntl
    import termios

    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def converse(steps: Sequence[tuple[str, str]], *args: str) -> Conversation:
    """Run pytest with ``args``; type each answer when its words have come."""
    terminal = Terminal(*args)
    for words, keys in steps:
        terminal.wait_for(words)
        terminal.type(keys)
    return terminal.end()
