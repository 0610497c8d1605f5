"""For the whole repository: plugins that the tests of plugins need, and the tests' own option."""

import pytest

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of the parity harness runs: it takes minutes, most of them for real suites."""
    parser.addoption(
        "--parity",
        choices=("few", "all", "write"),
        default="few",
        help="Real suites in tests/parity: a few (default), all, or all and write the page",
    )
    for option, what in (("with", "have this, even where it is of no use"), ("without", "lack it")):
        parser.addoption(
            f"--parity-{option}",
            choices=("runner-layer", "fork-worker"),
            action="append",
            default=[],
            help=f"Environments of tests/parity {what}; may be given several times",
        )
