"""Pythons that uv downloads, where whoever runs this has allowed it."""

from __future__ import annotations

import threading
from pathlib import Path

from pytest_isoenv._process import Finished, Processes
from pytest_isoenv._python_request import PythonRequest
from pytest_isoenv._settings import Settings

# The values of UV_PYTHON_DOWNLOADS that say yes. Unset would be one for uv; here it is not, for a
# run of tests must not fetch a hundred megabytes that nobody asked it for.
_YES = frozenset({"automatic", "auto", "true", "1"})


class Downloads:
    """Asks uv for a Python, for each request once in a run; uv's own lock keeps runs apart."""

    def __init__(self, settings: Settings, processes: Processes) -> None:
        self._settings = settings
        self._processes = processes
        self._answers: dict[str, Path | str] = {}
        self._lock = threading.Lock()

    def fetch(self, request: PythonRequest) -> Path | str:
        """The path of a Python that uv has installed, or why there is none.

        The reason is ``"off"`` where downloading is not allowed, ``"offline"`` where the run
        is, ``""`` where it would not help.
        """
        if not request.can_be_had:
            return ""
        if self._settings.environ.get("UV_PYTHON_DOWNLOADS", "").lower() not in _YES:
            return "off"
        if self._settings.offline:
            return "offline"
        with self._lock:
            if request.text not in self._answers:
                self._answers[request.text] = self._install(request.text)
            return self._answers[request.text]

    def _install(self, text: str) -> Path | str:
        installed = self._uv("install", text)
        if installed.status != 0:
            return _last_line(installed)
        found = self._uv("find", "--system", "--managed-python", "--no-python-downloads",
                         "--no-project", text)  # fmt: skip
        return Path(found.stdout.strip()) if found.status == 0 else _last_line(found)

    def _uv(self, command: str, *args: str) -> Finished:
        from pytest_isoenv._backends import uv

        # It is for this run alone: nothing is put on the user's PATH or into the registry.
        aside = {"UV_PYTHON_INSTALL_BIN": "0", "UV_PYTHON_INSTALL_REGISTRY": "0"}
        return self._processes.run(
            [
                uv.program(),
                "python",
                command,
                "--no-config",
                "--no-progress",
                "--color=never",
                *args,
            ],
            environ={**self._settings.installer_environ, **aside},
        )


def _last_line(ended: Finished) -> str:
    return (ended.output.splitlines() or [f"exit status {ended.status}"])[-1].strip()
