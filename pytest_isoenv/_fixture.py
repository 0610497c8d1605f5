"""What the ``isoenv`` fixture gives: a factory of environments, for tests that stay on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_isoenv.errors import IsoenvError

if TYPE_CHECKING:
    from pytest_isoenv._run import Run
    from pytest_isoenv.environment import Environment


def factory(run: Callable[[], Run]) -> Callable[..., Environment]:
    """Gives what a mark with the same arguments asks for; ``run`` is made when that is wanted."""

    def environment(*name_or_requirements: Any, **fields: Any) -> Environment:
        __tracebackhide__ = True
        try:
            return run().provide(*name_or_requirements, **fields)
        except IsoenvError as error:
            # What went wrong, it says itself. A traceback through our code would show the variables
            # that installers get, and with them credentials.
            raise error.with_traceback(None) from None

    return environment
