"""The whole plugin is in house.py; a plugin of its own would have an entry point instead."""

pytest_plugins = ["house"]
