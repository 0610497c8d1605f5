"""Which items want which environment; nothing here builds one."""

from __future__ import annotations

import pytest

# pytester forgets modules that a run in this process has imported, but their package does not: of
# some there would be two.
import pytest_isoenv._run  # noqa: F401
from tests.packages import Index

# Says of every selected test where it would run, and as what.
TELL = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    from pytest_isoenv._select import id_there, request_of

    for item in items:
        request = request_of(item)
        name = request.name if request else "host"
        print(f"WHERE {item.nodeid} | {name} | {id_there(item)}")
"""


@pytest.fixture
def collect(pytester, own_cache, wheels, monkeypatch):
    """Collect in this process: node id -> (environment, node id there)."""
    index = Index(wheels)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    pytester.makeconftest(TELL)

    def collect(*args, **files):
        if files:
            pytester.makepyfile(**files)
        result = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:xdist", *args)
        assert index.requests == []
        assert not own_cache.exists()
        found = [line[6:].split(" | ") for line in result.outlines if line.startswith("WHERE ")]
        collect.result = result
        return {nodeid: (name, there) for nodeid, name, there in found}

    yield collect
    index.close()


def environments(found):
    return {nodeid: name for nodeid, (name, _) in found.items()}


def test_collecting_provisions_nothing_and_touches_no_cache(collect):
    source = 'import pytest\n@pytest.mark.env("lib==1.0")\ndef test_it(): pass\n'
    assert environments(collect(test_a=source)) == {"test_a.py::test_it": "lib-1.0"}
    assert collect.result.ret == 0


def test_a_test_with_one_environment_keeps_its_plain_id(collect):
    source = """
        import pytest
        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.parametrize("x", [1, 2])
        def test_it(x): pass
        """
    assert collect(test_a=source) == {
        "test_a.py::test_it[1]": ("old", "test_a.py::test_it[1]"),
        "test_a.py::test_it[2]": ("old", "test_a.py::test_it[2]"),
    }


def test_variants_stand_first_in_the_id_in_the_order_they_are_read(collect):
    source = """
        import pytest
        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        @pytest.mark.env("host", id="here")
        @pytest.mark.parametrize("x", ["a", "b"])
        def test_it(x): pass
        """
    assert list(collect(test_a=source).items()) == [
        ("test_a.py::test_it[old-a]", ("old", "test_a.py::test_it[a]")),
        ("test_a.py::test_it[old-b]", ("old", "test_a.py::test_it[b]")),
        ("test_a.py::test_it[new-a]", ("new", "test_a.py::test_it[a]")),
        ("test_a.py::test_it[new-b]", ("new", "test_a.py::test_it[b]")),
        ("test_a.py::test_it[here-a]", ("host", "test_a.py::test_it[here-a]")),
        ("test_a.py::test_it[here-b]", ("host", "test_a.py::test_it[here-b]")),
    ]


@pytest.mark.parametrize("case", ["old", "old-old", "a-old-b", "[x]", "new", "a-b"])
def test_the_id_there_is_the_one_of_plain_pytest_whatever_other_parameters_say(collect, case):
    plain = f"""
        import pytest
        @pytest.mark.parametrize("x", [1], ids=[{case!r}])
        def test_it(x): pass
        """
    marks = '@pytest.mark.env("lib==1.0", id="old")\n        @pytest.mark.env("lib==2", id="new")'
    marked = plain.replace("@pytest", f"{marks}\n        @pytest", 1)
    (expected,) = collect(test_a=plain)
    found = collect(test_a=marked)
    assert len(found) == 2
    assert {there for _, there in found.values()} == {expected}


def test_the_id_there_is_right_where_the_id_of_a_variant_is_not_ascii(collect):
    source = """
        import pytest
        @pytest.mark.env("lib==1.0", id="größer")
        @pytest.mark.env("lib==2.0", id="new")
        def test_it(): pass
        """
    assert {there for _, there in collect(test_a=source).values()} == {"test_a.py::test_it"}


def test_marks_of_a_function_replace_those_of_its_class_and_module(collect):
    source = """
        import pytest
        pytestmark = pytest.mark.env("lib==1.0", id="module")

        def test_module(): pass

        @pytest.mark.env("lib==1.0", id="class")
        class TestIt:
            def test_class(self): pass

            @pytest.mark.env("lib==1.0", id="function")
            def test_function(self): pass
        """
    assert list(environments(collect(test_a=source)).values()) == ["module", "class", "function"]


def test_the_marks_of_a_module_are_a_list_in_its_order(collect):
    source = """
        import pytest
        pytestmark = [pytest.mark.env("lib==1.0", id="one"), pytest.mark.env("lib==2", id="two")]
        def test_it(): pass
        """
    assert list(collect(test_a=source)) == ["test_a.py::test_it[one]", "test_a.py::test_it[two]"]


def test_the_mark_of_a_parameter_is_closer_than_the_functions(collect):
    source = """
        import pytest
        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.parametrize(
            "x", [1, pytest.param(2, marks=pytest.mark.env("lib==2.0", id="new"))]
        )
        def test_it(x): pass
        """
    assert list(environments(collect(test_a=source)).values()) == ["old", "new"]


@pytest.mark.parametrize("others", ["", '@pytest.mark.env("lib==1.1", id="more")'])
def test_no_mark_of_a_parameter_is_silently_dropped(collect, others):
    marks = '[pytest.mark.env("lib==2.0", id="one"), pytest.mark.env("other==1", id="two")]'
    source = f"""
        import pytest
        @pytest.mark.env("lib==1.0", id="old")
        {others}
        @pytest.mark.parametrize("x", [pytest.param(1, marks={marks})])
        def test_it(x): pass
        """
    found = set(environments(collect(test_a=source)).values())
    refused = collect.result.ret == pytest.ExitCode.USAGE_ERROR
    assert refused or {"one", "two"} <= found


def test_unittest_methods_are_expanded_to_their_variants(collect):
    source = """
        import pytest, unittest
        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        class TestIt(unittest.TestCase):
            def test_it(self): pass
        """
    assert collect(test_a=source) == {
        "test_a.py::TestIt::test_it[old]": ("old", "test_a.py::TestIt::test_it"),
        "test_a.py::TestIt::test_it[new]": ("new", "test_a.py::TestIt::test_it"),
    }


def test_an_unmarked_test_runs_where_the_default_says(collect, pytester):
    (pytester.path / "isoenv.yaml").write_text("{environments: {old: {}}, default: old}")
    source = """
        import pytest
        def test_plain(): pass
        def test_handles(isoenv): pass
        @pytest.mark.env("host")
        def test_host(): pass
        """
    assert list(environments(collect(test_a=source)).values()) == ["old", "host", "host"]


def test_variants_are_selected_by_keyword_and_by_id(collect):
    source = """
        import pytest
        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        def test_it(): pass
        """
    assert list(collect("-k", "old", test_a=source)) == ["test_a.py::test_it[old]"]
    assert list(collect("test_a.py::test_it[new]")) == ["test_a.py::test_it[new]"]
    assert len(collect("-m", "env")) == 2


def test_everything_wrong_with_the_marks_is_said_at_once_and_once(collect):
    source = """
        import pytest
        pytestmark = pytest.mark.env("odl")
        def test_one(): pass
        def test_two(): pass

        @pytest.mark.env("lib==")
        @pytest.mark.env(python=3.9)
        def test_three(): pass
        """
    collect(test_a=source)
    errors = [line for line in collect.result.errlines if "isoenv: " in line]
    assert collect.result.ret == pytest.ExitCode.USAGE_ERROR
    assert sum("'odl' is not a declared environment" in line for line in errors) == 1
    assert sum("PEP 508" in line for line in errors) == 1
    assert sum("3.9 is a number" in line for line in errors) == 1


def test_two_variants_with_one_id_are_an_error(collect):
    source = """
        import pytest
        @pytest.mark.env("lib==1.0", id="same")
        @pytest.mark.env("lib==2.0", id="same")
        def test_it(): pass
        """
    collect(test_a=source)
    assert collect.result.ret == pytest.ExitCode.USAGE_ERROR
    collect.result.stderr.fnmatch_lines(["*two variants have the id 'same'*"])


def test_the_marker_is_registered_so_that_strict_markers_accept_it(collect):
    source = 'import pytest\n@pytest.mark.env("lib==1.0")\ndef test_it(): pass\n'
    collect("--strict-markers", test_a=source)
    assert collect.result.ret == 0
