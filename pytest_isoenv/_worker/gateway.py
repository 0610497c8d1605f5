"""A gateway of execnet's that needs no thread, for the process that runs the tests.

A second thread would be seen: Python warns of a fork beside threads (from 3.12 on), and a test may
count them. Nothing has to be received while tests run, so receiving is done when it is waited for.
"""

from __future__ import annotations

from typing import Any


def serve(base: Any, io: Any) -> None:
    """Run the one piece of code that the other end sends; ``base`` has execnet's own names."""

    class Gateway(base.WorkerGateway):  # type: ignore[misc]
        task: Any = None
        compiled = staticmethod(compile)  # whoever forked this process may know it already

        def _local_schedulexec(self, channel: Any, sourcetask: bytes) -> None:
            self.task = (channel, base.loads_internal(sourcetask))

        def receive_one(self) -> None:
            """Wait for a message and handle it; EOFError says that there will be no more."""
            base.Message.from_io(self._io).received(self)

    gateway = Gateway(io, id="isoenv", _startcount=2)
    gateway._executetask_complete = None
    while gateway.task is None:
        gateway.receive_one()
    try:
        gateway.executetask(gateway.task)
    except KeyboardInterrupt:
        return  # the other end has been told
