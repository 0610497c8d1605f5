"""The source that runs inside environments.

Nothing here is imported by the rest of the plugin: ``main``'s source is sent over the gateway, and
with its request the sources of the parts that it loads. An environment so needs only pytest. All of
it imports nothing but pytest and the standard library, and must run on Python 3.8 with pytest 7.0.

Every session needs ``plugins``, ``reports``, ``reporter``, ``session``, ``terminal`` and ``words``;
``descriptions`` comes where it finds its tests for itself, ``junit`` where the host writes such a
report, ``coverage`` where that is measured, and ``apart`` with ``line``, ``forked`` and ``child``
where each test has a process of its own. Processes begin with ``gateway``, some with ``forks``.

Each part has the others that are there by their names, as if it had imported them.
"""
