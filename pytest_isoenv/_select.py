"""Which items want which environment: marks on items -> requests, and variants of items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from pytest_isoenv._config import HOST, Declarations
from pytest_isoenv._reports import module_of
from pytest_isoenv._requests import Request, read_requests
from pytest_isoenv.errors import ConfigError, Problem

MARK = "env"
#: The parameter that tells the variants of a test function apart.
PARAMETER = "_isoenv_variant"
_REQUEST = pytest.StashKey[Request]()
_ID_THERE = pytest.StashKey[str]()


class Selector:
    """Reads the marks of one run's items, each distinct mark once; gathers what is wrong."""

    def __init__(self, declarations: Declarations) -> None:
        self.problems: dict[str, Problem] = {}
        self._declarations = declarations
        self._read: dict[str, list[Request]] = {}
        default = declarations.default
        #: Where unmarked tests run; nothing for the host.
        self.default = [] if default == HOST else self._requests((default,), {}, "default")

    def variants(self, node: pytest.Item) -> list[Request]:
        """The requests of the closest marks: a function's replace those of its class and module.

        Without marks they are the default's. Problems are kept in :attr:`problems`, for all of
        them to be raised at once.
        """
        marks = closest_marks(node)
        if not marks:
            return self._default_for(node)
        found = [request for mark in marks for request in self._of_mark(mark, node.nodeid)]
        self._check_distinct(found, node.nodeid)
        return found

    def _check_distinct(self, requests: Sequence[Request], where: str) -> None:
        ids = [request.id for request in requests]
        for name in sorted({name for name in ids if ids.count(name) > 1}):
            what = f"two variants have the id {name!r}; give one of them another with id="
            self.problems.setdefault(f"{where} {name}", Problem(where, what))

    def of_marks(self, marks: Sequence[Any], where: str) -> list[Request]:
        """The requests of marks that an environment's collection told of."""
        spot = f"{where}: @pytest.mark.{MARK}"
        found = [
            request for args, fields in marks for request in self._requests(args, fields, spot)
        ]
        return [request for request in found if request.spec is not None]

    def of_option(self, text: str) -> list[Request]:
        """What ``--in-env`` asks for: declared names, ``all`` of them, or a requirement."""
        names = self._declarations.names if text == "all" else [text]
        where = f"--in-env {text}"
        requests = [r for name in names for r in self._requests((name,), {}, where)]
        if not names:
            self.problems[where] = Problem(where, "no environment is declared")
        if any(request.spec is None for request in requests):
            self.problems[where] = Problem(where, "the host is what runs tests without the option")
        return requests

    def of_options(self, texts: Sequence[str]) -> list[Request]:
        """The same of several; raises :exc:`~pytest_isoenv.errors.ConfigError` for what is wrong.

        A request that two of them ask for is there once.
        """
        requests = [request for text in texts for request in self.of_option(text)]
        self.raise_problems()
        return list(dict.fromkeys(requests))

    def raise_problems(self) -> None:
        """Raise :exc:`~pytest_isoenv.errors.ConfigError` with all that was found, if any was."""
        if self.problems:
            raise ConfigError(list(self.problems.values()))

    def _of_mark(self, mark: pytest.Mark, where: str) -> list[Request]:
        return self._requests(mark.args, mark.kwargs, f"{where}: @pytest.mark.{MARK}")

    def _requests(self, args: Sequence[Any], fields: Any, where: str) -> list[Request]:
        key = repr((args, sorted(fields.items())))
        if key not in self._read:
            self._read[key], problems = read_requests(args, fields, where, self._declarations)
            # A mark on a module is met once for each of its tests, and said once.
            self.problems.update({str(problem): problem for problem in problems})
        return self._read[key]

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Make one call of a test function for each of its variants, if it has several."""
        variants = self.variants(metafunc.definition)
        if len(variants) > 1:
            metafunc.fixturenames.append(PARAMETER)
            ids = [request.id for request in variants]
            metafunc.parametrize(PARAMETER, variants, ids=ids, scope="function")

    def assign(self, item: pytest.Item) -> None:
        """Decide where an item runs; what was decided is read by :func:`request_of`."""
        if _REQUEST in item.stash:
            return
        variant = _parameter(item)
        if variant is not None and any(mark.name == MARK for mark in _parameter_marks(item)):
            what = "env on a pytest.param cannot stand beside several env marks on its function"
            self.problems.setdefault(f"{item.nodeid} param", Problem(item.nodeid, what))
        if variant is None:
            variants = self.variants(item)
            variant = variants[0] if variants else None
        if variant is not None and variant.spec is not None:
            place(item, variant, _id_without_variant(item, variant))

    def _default_for(self, node: pytest.Item) -> list[Request]:
        # A test that handles environments itself stays where their handles are.
        info = getattr(node, "_fixtureinfo", None)  # that of a definition, before there are items
        names: Sequence[str] = getattr(node, "fixturenames", getattr(info, "names_closure", ()))
        return [] if "isoenv" in names else self.default

    def expand(self, nodes: Iterable[pytest.Item | pytest.Collector]) -> list[Any]:
        """The nodes, and instead of items their variants."""
        return [
            variant
            for node in nodes
            for variant in (self._expanded(node) if isinstance(node, pytest.Item) else [node])
        ]

    def _expanded(self, item: pytest.Item) -> list[pytest.Item]:
        """The variants of an item that has no parameters to tell them apart (unittest, doctest)."""
        # One that an environment has collected has its place already.
        if _parameter(item) is not None or _REQUEST in item.stash:
            return [item]
        variants = self.variants(item)
        if len(variants) < 2:
            return [item]
        return [item if v.spec is None else Variant.of(item, v) for v in variants]


class Variant(pytest.Item):
    """Stands on the host for one environment's run of an item that cannot be parametrized."""

    original: pytest.Item

    @classmethod
    def of(cls, original: pytest.Item, request: Request) -> Variant:
        """The variant of ``original`` that runs as ``request`` says."""
        parent = original.parent
        assert parent is not None
        variant: Variant = cls.from_parent(parent, name=f"{original.name}[{request.id}]")
        variant.original = original
        variant.own_markers = list(original.own_markers)
        variant.keywords.update(
            {name: original.keywords[name] for name in original.keywords if name != original.name}
        )
        variant.extra_keyword_matches.update(original.extra_keyword_matches)
        place(variant, request, original.nodeid)
        return variant

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the original stands, under the variant's name."""
        path, line, domain = self.original.reportinfo()
        return path, line, f"{domain}[{self.stash[_REQUEST].id}]"

    def runtest(self) -> None:
        """Never called: a variant always runs in an environment."""
        raise AssertionError(f"{self.nodeid} was to run in an environment")


# Options by which pytest's own plugins select and order items, and hooks by which others do.
_OPTIONS = ("keyword", "markexpr", "deselect", "lf", "failedfirst", "newfirst", "stepwise")
_INERT = ("_pytest.", "pytest_isoenv.")
_HOOKS = ("pytest_collection_modifyitems", "pytest_collection_finish", "pytest_runtestloop")


def wants_all(config: pytest.Config) -> bool:
    """Whether the host will run all items of an environment in their order, whatever they are."""
    if config.option.collectonly or any(config.getoption(name, None) for name in _OPTIONS):
        return False
    implemented = [impl for name in _HOOKS for impl in getattr(config.hook, name).get_hookimpls()]
    return all(module_of(impl.plugin).startswith(_INERT) for impl in implemented)


def request_of(item: pytest.Item) -> Request | None:
    """The environment that an item runs in; None for the host."""
    return item.stash.get(_REQUEST, None)


def place(item: pytest.Item, request: Request, id_there: str) -> None:
    """Let an item run in an environment, which knows it by the node id ``id_there``."""
    item.stash[_REQUEST] = request
    item.stash[_ID_THERE] = id_there


def id_there(item: pytest.Item) -> str:
    """What the test is called where it runs: by its node id in plain pytest, without the variant.

    A number follows where several items have the same id.
    """
    return item.stash.get(_ID_THERE, item.nodeid)


def tell_apart(items: Sequence[pytest.Item]) -> None:
    """Number those items of an environment that have the same id; the worker counts alike."""
    seen: Counter[tuple[Request, str]] = Counter()
    for item in items:
        request, key = request_of(item), id_there(item)
        if request is not None:
            seen[request, key] += 1
            if seen[request, key] > 1:
                place(item, request, f"{key} (#{seen[request, key]})")


def _id_without_variant(item: pytest.Item, request: Request) -> str:
    if _parameter(item) is None:
        return item.nodeid
    function, _, parameters = item.name.partition("[")
    # pytest writes what is not ASCII in parameters as escapes.
    variant = request.id.encode("unicode_escape").decode("ascii")
    others = _without(variant, parameters.removesuffix("]"))
    name = f"{function}[{others}]" if others else function
    return item.nodeid.removesuffix(item.name) + name


def _without(variant: str, parameters: str) -> str:
    """``old-case1`` -> ``case1``: ours is the first, unless another plugin came before."""
    if parameters == variant:
        return ""
    if parameters.startswith(f"{variant}-"):
        return parameters[len(variant) + 1 :]
    if parameters.endswith(f"-{variant}"):
        return parameters[: -len(variant) - 1]
    return parameters.replace(f"-{variant}-", "-", 1)


def closest_marks(node: pytest.Item) -> list[pytest.Mark]:
    """The env marks of the innermost node that has any, in the order in which they are read.

    Decorators are applied bottom up, but read top down; a module's ``pytestmark`` is a list.
    """
    parameter_marks = [mark for mark in _parameter_marks(node) if mark.name == MARK]
    if parameter_marks:
        return parameter_marks
    for holder, marks in _marks_by_node(node):
        return marks if isinstance(holder, pytest.Module) else marks[::-1]
    return []


def _marks_by_node(node: pytest.Item) -> Iterator[tuple[Any, list[pytest.Mark]]]:
    for holder in reversed(node.listchain()):
        marks = [mark for mark in holder.own_markers if mark.name == MARK]
        if marks:
            yield holder, marks


def _parameter_marks(node: pytest.Item) -> Sequence[pytest.Mark]:
    """The marks of ``pytest.param(..., marks=...)``, which are closer than the function's."""
    callspec = getattr(node, "callspec", None)
    return getattr(callspec, "marks", ())


def _parameter(item: pytest.Item) -> Request | None:
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get(PARAMETER) if callspec is not None else None
    return found if isinstance(found, Request) else None
