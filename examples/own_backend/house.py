"""A plugin that adds environments, one for each supported release, and a backend of its own."""

from __future__ import annotations

from pathlib import Path

SUPPORTED = Path(__file__).with_name("supported.txt")


def pytest_isoenv_environments(config):
    """Every release in supported.txt is an environment: dateutil-2.7.0 and so on."""
    return {
        f"dateutil-{version}": {
            "dependencies": [f"python-dateutil=={version}"],
            "backend": "system",
        }
        for version in SUPPORTED.read_text().split()
    }


def pytest_isoenv_backends(config):
    # Here and not at the top: this file is imported in environments, too, which have no plugin.
    import system_backend

    return [system_backend]
