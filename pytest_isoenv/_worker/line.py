"""A way between the worker and a child of it: frames, each with its length in front."""

from __future__ import annotations

import contextlib
import marshal
import os
import struct
from collections.abc import Iterator
from typing import Any

# Kept, for a test may replace them.
_read, _write = os.read, os.write
_dumps, _loads = marshal.dumps, marshal.loads
_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 16


class Line:
    """Both ends, until the fork: then each process keeps one."""

    def __init__(self) -> None:
        self._down, self._up = os.pipe(), os.pipe()
        self.incoming = self._outgoing = -1
        self._held = self._received = b""
        #: What no other process may hold open.
        self.descriptors: list[int] = []

    def take(self, *, child: bool) -> None:
        """After the fork: keep one end, close the other."""
        theirs, ours = (self._up, self._down) if child else (self._down, self._up)
        os.close(theirs[0])
        os.close(ours[1])
        self.incoming, self._outgoing = ours[0], theirs[1]
        self.descriptors = [self.incoming, self._outgoing]

    def close(self) -> None:
        """Close this end."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def tell(self, command: Any) -> None:
        """In the worker: say something to the child, which may have gone."""
        data = _dumps(command)
        self._held += _LENGTH.pack(len(data)) + data
        with contextlib.suppress(OSError):
            self.flush()

    def send(self, data: bytes) -> None:
        """In the child: send a frame; the end of a test is sent with the end of its process."""
        self._held += _LENGTH.pack(len(data)) + data
        event = _loads(data)
        if event.get("kind") not in ("test", "end") or event.get("over") is False:
            self.flush()

    def flush(self) -> None:
        """Send all that has been held back."""
        held, self._held = memoryview(self._held), b""
        while held:
            held = held[_write(self._outgoing, held) :]

    def received(self) -> list[bytes] | None:
        """The frames that have come, once there is something to read; None at the end."""
        data = _read(self.incoming, _CHUNK)
        self._received += data
        return list(self._frames()) if data else None

    def next_command(self) -> Any:
        """In the child: what the host says."""
        frames: list[bytes] = []
        while not frames:
            told = self.received()
            if told is None:
                raise EOFError
            frames = told
        return _loads(frames[0])

    def _frames(self) -> Iterator[bytes]:
        start = _LENGTH.size
        while len(self._received) >= start:
            end = start + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            frame, self._received = self._received[start:end], self._received[end:]
            yield frame
