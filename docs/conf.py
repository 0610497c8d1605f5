"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "pytest-isoenv"
author = "The pytest-isoenv developers"
copyright = "The pytest-isoenv developers"
release = installed_version("pytest-isoenv")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "pytest-isoenv"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
