"""Faults that strike at every step of work in the cache, by name: ``python -m tests.faults``.

A job is one ``isoenv`` command in a project, with an index and a cache of its own (:mod:`.world`).
It is done in a process of its own (:mod:`.child`), which is struck down as it reaches a step
(:mod:`.walk`), or at any moment (:mod:`.kills`). Afterwards the next run must give what it always
gives, and after one prune nothing may be left that is no use to anybody (:mod:`.state`).
"""
