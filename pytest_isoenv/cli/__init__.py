"""The command ``isoenv``: a module for each of its commands, listed in :mod:`.commands`.

Nothing else of the package imports it.
"""
