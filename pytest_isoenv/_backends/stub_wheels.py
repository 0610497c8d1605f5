"""Wheels that have metadata and no code, for a resolver to know what is already there."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path

_WHEEL = "Wheel-Version: 1.0\nGenerator: isoenv\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_SAID = ("Requires-Dist", "Requires-Python", "Provides-Extra")


def write_stub(directory: Path, name: str, version: str, installed: Distribution) -> None:
    """Write a wheel that says of itself what an installed distribution does."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = Message()
    metadata["Metadata-Version"], metadata["Name"], metadata["Version"] = "2.1", name, version
    for key in _SAID:
        for value in installed.metadata.get_all(key) or ():
            metadata[key] = value
    files = {"METADATA": metadata.as_string(), "WHEEL": _WHEEL}
    record = "".join(_line(f"{stem}.dist-info/{file}", text) for file, text in files.items())
    files["RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n"
    with zipfile.ZipFile(directory / f"{stem}-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(f"{stem}.dist-info/{file}", text)


def _line(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"{path},sha256={digest.decode()},{len(text.encode())}\n"
