"""The standard library's dataclasses, quick to define.

:func:`dataclasses.dataclass` writes the source of up to six methods for every class and compiles
it: half a millisecond each time that the class's module is imported. A host imports thirty of them
before its first worker has started. Here the methods are written once, for all; whatever else a
dataclass is (its fields, ``replace``, ``asdict``) it is by the standard library.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # to type checkers it is no other
else:

    def dataclass(*, frozen=False, eq=True):
        """Like :func:`dataclasses.dataclass`; methods that a class has itself stay."""

        def finished(cls):
            cls = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
            fields = cls.__dataclass_fields__.values()
            compared = tuple(field.name for field in fields if field.compare)
            methods = {"__init__": _init, "__repr__": _repr, "__signature__": _Signature()}
            if eq:
                methods |= _comparing(compared, hashable=frozen)
            if frozen:
                methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
            for name, method in methods.items():
                if name not in vars(cls):
                    setattr(cls, name, method)
            return cls

        return finished

    def _init(self, *args, **kwargs):
        fields = self.__dataclass_fields__
        values = dict(zip(fields, args, strict=False))
        if (
            len(args) > len(fields)
            or kwargs.keys() & values.keys()
            or kwargs.keys() - fields.keys()
        ):
            type(self).__signature__.bind(*args, **kwargs)  # it knows best what to say
        values |= kwargs
        for name, field in fields.items():
            if name not in values:
                if field.default is not dataclasses.MISSING:
                    values[name] = field.default
                elif field.default_factory is not dataclasses.MISSING:
                    values[name] = field.default_factory()
                else:
                    type(self).__signature__.bind(*args, **kwargs)
        vars(self).update(values)

    def _repr(self):
        shown = [f.name for f in self.__dataclass_fields__.values() if f.repr]
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({inside})"

    def _comparing(names, *, hashable):
        def values_of(self):
            own = vars(self)
            return tuple([own[name] for name in names])

        def equal(self, other):
            if other.__class__ is not self.__class__:
                return NotImplemented
            return values_of(self) == values_of(other)

        def hashed(self):
            return hash(values_of(self))

        return {"__eq__": equal, "__hash__": hashed if hashable else None}

    def _refuse(self, name, *value):
        raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")

    class _Signature:
        """The parameters of a class, for those who ask: documentation, and messages of errors."""

        def __get__(self, instance, owner):
            import inspect

            empty = inspect.Parameter.empty

            def parameter(field):
                default = empty if field.default is dataclasses.MISSING else field.default
                if field.default_factory is not dataclasses.MISSING:
                    default = dataclasses._HAS_DEFAULT_FACTORY
                kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
                return inspect.Parameter(field.name, kind, default=default, annotation=field.type)

            return inspect.Signature(map(parameter, owner.__dataclass_fields__.values()))
