"""One test module, two major versions of pydantic.

The interpreter that runs pytest needs no pydantic at all: it only collects this module, so what
the environments bring is imported inside the tests.
"""

from __future__ import annotations

import pytest

# Every test of this module runs once in each.
pytestmark = [
    pytest.mark.env("pydantic==1.10.*", id="pydantic1"),
    pytest.mark.env("pydantic==2.*", id="pydantic2"),
]


def test_a_user_becomes_a_dict():
    from users import User, as_dict

    assert as_dict(User(name="Ada", age=36)) == {"name": "Ada", "age": 36}


def test_a_number_for_a_name():
    """Where the two differ: version 1 makes a text of a number, version 2 refuses it."""
    import pydantic
    from users import User

    if pydantic.VERSION.startswith("1."):
        assert User(name=1815).name == "1815"
    else:
        with pytest.raises(pydantic.ValidationError, match="valid string"):
            User(name=1815)


# The closest marks win: these replace the two of the module.
@pytest.mark.env("pydantic==2.*", "annotated-types==0.6.0", id="older-parts")
def test_a_dependency_of_a_dependency_is_pinned_like_any_other():
    from importlib.metadata import version

    assert version("annotated-types") == "0.6.0"
