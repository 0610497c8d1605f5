"""The source that runs inside environments.

Nothing here is imported by the rest of the plugin: ``main``'s source is sent over the gateway, and
with its request the sources of the parts that it loads (``session``, ``terminal`` and, where the
host measures it, ``coverage``). An environment so needs only pytest. The parts import nothing but
pytest and the standard library, and must run on Python 3.8 with pytest 7.0.
"""
