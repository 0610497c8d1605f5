"""Markers: what a test declares is where it runs."""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig

import pytest

from tests.packages import make_project, make_wheel

OLD, NEW = "lib-1.0", "lib-2.0"
WHEEL = "lib-1.1-py3-none-any.whl"


def test_a_marked_test_runs_with_the_version_it_declares(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest, sys

        @pytest.mark.env("lib==1.0")
        def test_it():
            import lib
            assert lib.__version__ == "1.0"
            assert "pytest-isoenv" in sys.prefix
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.tests == {"test_it.py::test_it": "passed"}
    assert outcome.environments[OLD]["packages"]["lib"] == "1.0"


def test_several_marks_are_variants_with_their_id_in_the_node_id(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        @pytest.mark.parametrize("case", ["a", "b"])
        def test_it(case, request):
            import lib
            assert request.node.name == f"test_it[{case}]"
            print(lib.__version__)
        """
    )
    outcome = run("-v")
    outcome.assert_outcomes(passed=4)
    assert outcome.environments["old"]["tests"] == {
        "test_it.py::test_it[old-a]": "passed",
        "test_it.py::test_it[old-b]": "passed",
    }
    assert outcome.environments["new"]["packages"]["lib"] == "2.0"


def test_the_closest_mark_wins_function_over_class_over_module(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        pytestmark = pytest.mark.env("lib==1.0")

        def test_module(): pass

        @pytest.mark.env("lib==2.0")
        class TestGroup:
            def test_class(self): pass

            @pytest.mark.env("other==1.0")
            def test_function(self): pass

            class TestNested:
                def test_nested(self): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=4)
    assert {name: {*env["tests"]} for name, env in outcome.environments.items()} == {
        OLD: {"test_it.py::test_module"},
        NEW: {
            "test_it.py::TestGroup::test_class",
            "test_it.py::TestGroup::TestNested::test_nested",
        },
        "other-1.0": {"test_it.py::TestGroup::test_function"},
    }


def test_a_list_of_marks_on_a_module_gives_its_tests_variants_in_the_lists_order(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        pytestmark = [pytest.mark.env("lib==2.0"), pytest.mark.env("lib==1.0")]

        def test_it(): pass

        class TestGroup:
            def test_it(self): pass
        """
    )
    outcome = run("-v")
    outcome.assert_outcomes(passed=4)
    nodes = ["test_it.py::test_it", "test_it.py::TestGroup::test_it"]
    assert outcome.tests == {
        f"{node}[{variant}]": "passed" for variant in (OLD, NEW) for node in nodes
    }
    assert list(outcome.environments) == [NEW, OLD]


def test_decorators_make_variants_in_the_order_in_which_they_are_read(pytester):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="first")
        @pytest.mark.env("lib==2.0", id="second")
        def test_it(): pass

        @pytest.mark.env("lib==1.0", id="first")
        @pytest.mark.env("lib==2.0", id="second")
        class TestGroup:
            def test_it(self): pass
        """
    )
    result = pytester.runpytest_subprocess("--collect-only", "-q")
    assert [line for line in result.outlines if "::" in line] == [
        "test_it.py::test_it[first]",
        "test_it.py::test_it[second]",
        "test_it.py::TestGroup::test_it[first]",
        "test_it.py::TestGroup::test_it[second]",
    ]


def test_methods_of_a_unittest_case_have_variants_too(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest, unittest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        class TestUnit(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.ready = True

            def test_version(self):
                import lib
                self.assertTrue(self.ready)
                self.assertEqual(lib.__version__, "1.0")

            @pytest.mark.env("other==1.0")
            def test_other(self):
                import other
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=2, failed=1)
    assert outcome.tests == {
        "test_it.py::TestUnit::test_version[old]": "passed",
        "test_it.py::TestUnit::test_version[new]": "failed",
        "test_it.py::TestUnit::test_other": "passed",
    }
    outcome.stdout.fnmatch_lines(["*AssertionError: '2.0' != '1.0'"])


def test_one_variant_of_a_unittest_method_can_be_run_alone(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest, unittest

        class TestUnit(unittest.TestCase):
            @pytest.mark.env("lib==1.0", id="old")
            @pytest.mark.env("lib==2.0", id="new")
            def test_version(self): pass
        """
    )
    outcome = run("test_it.py::TestUnit::test_version[new]")
    assert outcome.tests == {"test_it.py::TestUnit::test_version[new]": "passed"}


def test_a_mark_of_one_parameter_is_closer_than_the_functions_own(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        @pytest.mark.parametrize(
            "expected", ["1.0", pytest.param("2.0", marks=pytest.mark.env("lib==2.0"))]
        )
        def test_it(expected):
            import lib
            assert lib.__version__ == expected

        there = pytest.param("there", marks=pytest.mark.env("lib==1.0"))

        @pytest.mark.parametrize("x", ["here", there])
        def test_only_one(x):
            import sys
            assert ("pytest-isoenv" in sys.prefix) == (x == "there")
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=4)
    assert outcome.environments[OLD]["tests"] == {
        "test_it.py::test_it[1.0]": "passed",
        "test_it.py::test_only_one[there]": "passed",
    }
    assert outcome.environments[NEW]["tests"] == {"test_it.py::test_it[2.0]": "passed"}


def test_deps_says_on_purpose_that_any_version_will_do(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(deps=["lib"])
        def test_it():
            import lib
            assert lib.__version__ == "2.0"
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["lib"]["requirements"] == ["lib"]


def test_python_chooses_the_interpreter_by_version_or_path(pytester, run):
    base = getattr(sys, "_base_executable", sys.executable)
    version = sysconfig.get_python_version()
    pytester.makepyfile(
        test_it=f"""
        import pytest, sys

        @pytest.mark.env("lib==1.0", python={version!r})
        def test_version():
            assert "{version}" == "%d.%d" % sys.version_info[:2]

        @pytest.mark.env("lib==1.0", python={base!r}, id="path")
        def test_path():
            import os
            assert os.path.realpath(sys.executable) == os.path.realpath({base!r})
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=2)
    assert list(outcome.environments) == [f"lib-1.0+py{version}", "path"]


def test_env_sets_variables_there_and_only_there(pytester, run, monkeypatch):
    monkeypatch.setenv("FROM_HOST", "reaches it")
    pytester.makepyfile(
        test_it="""
        import os, pytest

        @pytest.mark.env("lib==1.0", env={"COLOUR": "green"})
        def test_there():
            assert os.environ["COLOUR"] == "green"
            assert os.environ["FROM_HOST"] == "reaches it"

        def test_here():
            assert "COLOUR" not in os.environ
        """
    )
    run().assert_outcomes(passed=2)


def test_path_has_prepended_directories_then_the_environments_own(pytester, run):
    tools = pytester.mkdir("tools")
    pytester.makepyfile(
        test_it="""
        import os, pytest, shutil, sys

        @pytest.mark.env("lib==1.0", prepend_paths=["tools"])
        def test_it():
            path = os.environ["PATH"].split(os.pathsep)
            assert path[:2] == [os.path.abspath("tools"), os.path.dirname(sys.executable)]
            assert shutil.which("pytest") == os.path.join(sys.prefix, "bin", "pytest")
        """
    )
    assert tools.is_dir()
    run().assert_outcomes(passed=1)


def test_nothing_of_the_hosts_environment_reaches_the_tests(pytester, run, monkeypatch):
    leak = pytester.mkdir("leak")
    leak.joinpath("leaked.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(leak))
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    pytester.makepyfile(
        test_it="""
        import importlib.util, os, pytest, sys

        @pytest.mark.env("lib==1.0")
        def test_it():
            assert os.environ["VIRTUAL_ENV"] == sys.prefix
            assert "PYTHONPATH" not in os.environ
            for name in ("leaked", "pytest_isoenv", "yaml", "filelock"):
                assert importlib.util.find_spec(name) is None, name
        """
    )
    run().assert_outcomes(passed=1)


def test_local_wheels_go_in_last_and_again_when_their_content_changes(pytester, run):
    dist = pytester.mkdir("dist")
    wheel = make_wheel(dist, "lib", "1.0", modules={"lib.py": "__version__ = 'mine'"})
    pytester.makepyfile(
        test_it=f"""
        import pytest

        @pytest.mark.env("needs-lib==1.0", local=["dist/{wheel.name}"])
        def test_it():
            import lib
            print("version", lib.__version__)
        """
    )
    first = run("-rP")
    first.stdout.fnmatch_lines(["version mine"])
    make_wheel(dist, "lib", "1.0", modules={"lib.py": "__version__ = 'edited'"})
    second = run("-rP")
    second.stdout.fnmatch_lines(["version edited"])
    keys = {env["key"] for it in (first, second) for env in it.environments.values()}
    assert len(keys) == 2


def test_a_source_tree_is_built_and_installed_as_it_is_now(pytester, run):
    make_project(pytester.path / "libs" / "tree", "tree", code="VALUE = 1")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(local=["libs/tree"])
        def test_it():
            import tree
            print("value", tree.VALUE)
        """
    )
    run("-rP").stdout.fnmatch_lines(["value 1"])
    (pytester.path / "libs" / "tree" / "src" / "tree.py").write_text("VALUE = 2")
    run("-rP").stdout.fnmatch_lines(["value 2"])


def test_a_relative_path_is_the_tree_there_and_never_the_package_of_that_name(pytester, run):
    make_project(pytester.path / "lib", "lib", version="1.0", code="VALUE = 'tree'")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("./lib")
        def test_it():
            import lib
            assert lib.VALUE == "tree"
        """
    )
    run().assert_outcomes(passed=1)


def test_a_lock_file_says_what_is_installed(pytester, run, index, wheels):
    digest = hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest()
    pytester.path.joinpath("pylock.frozen.toml").write_text(
        f"""
        lock-version = "1.0"
        created-by = "by hand"

        [[packages]]
        name = "lib"
        version = "1.1"
        wheels = [{{url = "{index.url}/{WHEEL}", hashes = {{sha256 = "{digest}"}}}}]
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(lock="pylock.frozen.toml")
        def test_it():
            import lib
            assert lib.__version__ == "1.1"
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["pylock.frozen"]["packages"]["lib"] == "1.1"


def test_a_lock_files_hashes_are_enforced(pytester, run, index):
    pytester.path.joinpath("pylock.toml").write_text(
        f"""
        lock-version = "1.0"
        created-by = "by hand"

        [[packages]]
        name = "lib"
        version = "1.1"
        wheels = [{{url = "{index.url}/{WHEEL}", hashes = {{sha256 = "{"0" * 64}"}}}}]
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env(lock="pylock.toml")
        def test_it(): pass
        """
    )
    outcome = run()
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines(
        ["*Hash mismatch*", "next step: run again; if it stays so, *lock anew (isoenv lock)"]
    )


def test_a_bare_word_is_the_name_of_a_declared_environment(pytester, run):
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments: {old: {dependencies: [lib==1.0]}}"
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("old")
        def test_named():
            import lib
            assert lib.__version__ == "1.0"

        @pytest.mark.env("old", "other==1.0")
        def test_named_and_more():
            import lib, other
            assert lib.__version__ == "1.0"

        @pytest.mark.env("old", "lib==2.0", id="overridden")
        def test_the_marker_wins():
            import lib
            assert lib.__version__ == "2.0"
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=3)
    assert list(outcome.environments) == ["old", "old+other-1.0", "overridden"]


def test_host_is_a_variant_that_stays_here(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest, sys, unittest

        @pytest.mark.env("host")
        @pytest.mark.env("lib==1.0", id="old")
        def test_it(request):
            assert ("pytest-isoenv" in sys.prefix) == (request.node.name == "test_it")

        @pytest.mark.env("host")
        @pytest.mark.env("lib==1.0", id="old")
        class TestUnit(unittest.TestCase):
            def test_unit(self):
                print("in", sys.prefix)
        """
    )
    outcome = run("-v")
    outcome.assert_outcomes(passed=4)
    outcome.stdout.fnmatch_lines(["test_it.py::test_it?host? PASSED*"])
    assert outcome.tests == {
        "test_it.py::test_it[old]": "passed",
        "test_it.py::TestUnit::test_unit[old]": "passed",
    }


def test_an_unknown_word_is_a_usage_error_with_the_nearest_names_first(pytester, run, own_cache):
    names = ("alpha", "modern", "oldest", "zeta")
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments:\n" + "".join(f"  {name}: {{}}\n" for name in names)
    )
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("oldst")
        def test_it(): pass

        @pytest.mark.env("lib==1.0")
        def test_good(): pass
        """
    )
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    message = re.sub(r"\s+", " ", outcome.stderr.str())
    assert "'oldst' is not a declared environment; declared are: oldest, alpha, modern" in message
    assert "deps=['oldst']" in message
    assert not own_cache.exists()


def test_everything_wrong_in_the_marks_is_said_at_once(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("no-such-name")
        def test_word(): pass

        @pytest.mark.env("lib=>1")
        def test_requirement(): pass

        @pytest.mark.env("lib==1.0", colour="green")
        def test_key(): pass

        @pytest.mark.env("lib==1.0", python=3.10)
        def test_number(): pass

        @pytest.mark.env(7)
        def test_type(): pass

        @pytest.mark.env()
        def test_empty(): pass

        @pytest.mark.env("./nowhere")
        def test_path(): pass

        @pytest.mark.env("host", "lib==1.0")
        def test_host(): pass

        @pytest.mark.env("lib==1.0", id="two words")
        def test_id(): pass

        @pytest.mark.env("lib==1.0", deps="other")
        def test_not_a_list(): pass

        @pytest.mark.env("lib==1.0", lock="absent.toml", project="maybe", env={"A": 1})
        def test_several(): pass

        @pytest.mark.env("lib==1.0", project="editable")
        def test_no_project(): pass
        """
    )
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    message = outcome.stderr.str()
    for test, words in {
        "test_word": "'no-such-name' is not a declared environment; declared are: (none)",
        "test_requirement": "'lib=>1' is not a PEP 508 requirement",
        "test_key": "unknown key 'colour'; the keys are: ",
        "test_number": "write it as a text: '3.10'",
        "test_type": "7 is neither a requirement nor a name",
        "test_empty": "env() needs a requirement, a declared name, or a field",
        "test_path": "'./nowhere' does not exist below ",
        "test_host": "'host' stands alone",
        "test_id": "'two words' is not a text without spaces",
        "test_not_a_list": "'other' is not a list of texts",
        "test_several": "'maybe' is not one of: editable, wheel, none",
        "test_no_project": "'editable' needs a project",
    }.items():
        assert re.search(f"test_it.py::{test}: .*{re.escape(words)}", message), (test, message)
    assert "'absent.toml' does not exist below" in message
    assert "the value of A is not a text: int" in message
    assert not own_cache.exists()


def test_two_variants_with_one_id_are_a_usage_error(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import pytest, unittest

        @pytest.mark.env("lib==1.0", id="same")
        @pytest.mark.env("lib==2.0", id="same")
        def test_function(): pass

        @pytest.mark.env("lib==1.0", id="twice")
        @pytest.mark.env("lib==2.0", id="twice")
        class TestUnit(unittest.TestCase):
            def test_unit(self): pass
        """
    )
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    for where, name in [("test_function", "same"), ("TestUnit::test_unit", "twice")]:
        expected = f"*test_it.py::{where}: two variants have the id '{name}'; *another with id=*"
        outcome.stderr.fnmatch_lines([expected])
    assert not own_cache.exists()


def test_tests_of_one_id_but_other_requirements_run_apart(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="mine")
        def test_old():
            import lib
            assert lib.__version__ == "1.0"

        @pytest.mark.env("lib==2.0", id="mine")
        def test_new():
            import lib
            assert lib.__version__ == "2.0"
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=2)
    assert [env["name"] for env in outcome.report["environments"]] == ["mine", "mine"]


def test_markers_lists_the_marker_with_its_meaning(pytester):
    result = pytester.runpytest_subprocess("--markers")
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.env(*requirements_or_name, id=None, ??fields): run the test in *"
            "deps, python, groups, extras, project, local, lock, env, prepend_paths, refresh*"
        ]
    )


def test_strict_markers_accept_the_mark_on_the_host_and_in_the_environment(pytester, run):
    pytester.makeini("[pytest]\naddopts = --strict-markers --strict-config")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """
    )
    run("-W", "error").assert_outcomes(passed=1)


def test_collect_only_provisions_nothing(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        def test_it(): pass
        """
    )
    outcome = run("--collect-only", "-q")
    assert outcome.outlines[:2] == ["test_it.py::test_it[old]", "test_it.py::test_it[new]"]
    assert outcome.ret == 0
    assert not own_cache.exists()


SELECTABLE = """
    import pytest

    @pytest.mark.env("lib==1.0", id="old")
    @pytest.mark.env("lib==2.0", id="new")
    def test_versions():
        import lib
        assert lib.__version__ == "1.0"

    @pytest.mark.env("broken-needs==1.0", id="impossible")
    @pytest.mark.special
    def test_elsewhere(): pass
"""


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (["-k", "old"], {"old": {"test_it.py::test_versions[old]": "passed"}}),
        (["-m", "not special"], None),
        (["test_it.py::test_versions[new]"], {"new": {"test_it.py::test_versions[new]": "failed"}}),
        (["test_it.py::test_versions"], None),
        (["--deselect", "test_it.py::test_elsewhere"], None),
    ],
    ids=["-k", "-m", "an-id", "an-id-without-variant", "--deselect"],
)
def test_only_environments_of_selected_tests_are_provisioned(pytester, run, selection, expected):
    pytester.makeini("[pytest]\nmarkers = special")
    pytester.makepyfile(test_it=SELECTABLE)
    outcome = run(*selection)
    both = {
        "old": {"test_it.py::test_versions[old]": "passed"},
        "new": {"test_it.py::test_versions[new]": "failed"},
    }
    found = {name: env["tests"] for name, env in outcome.environments.items()}
    assert found == (expected or both)


def test_last_failed_selects_the_variant_that_failed(pytester, run):
    pytester.makeini("[pytest]\nmarkers = special")
    pytester.makepyfile(test_it=SELECTABLE)
    run("-m", "not special").assert_outcomes(passed=1, failed=1)
    again = run("--lf", "-m", "not special")
    assert again.tests == {"test_it.py::test_versions[new]": "failed"}
    assert list(again.environments) == ["new"]


def test_a_run_that_selects_local_tests_only_provisions_nothing(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_there(): pass

        def test_here(): pass
        """
    )
    outcome = run("-k", "here and not there")
    outcome.assert_outcomes(passed=1, deselected=1)
    assert outcome.environments == {}
    assert not own_cache.exists()


def test_fixtures_of_marked_tests_are_set_up_there_and_not_here(pytester, run):
    pytester.makeconftest(
        """
        import pytest, sys

        @pytest.fixture(scope="session", autouse=True)
        def started(tmp_path_factory):
            with open("started.txt", "a") as file:
                file.write("there\\n" if "pytest-isoenv" in sys.prefix else "here\\n")
        """
    )
    pytester.makepyfile(
        test_it="""
        import pytest
        pytestmark = pytest.mark.env("lib==1.0")

        def test_one(): pass
        def test_two(): pass
        """
    )
    run().assert_outcomes(passed=2)
    assert pytester.path.joinpath("started.txt").read_text() == "there\n"


def test_doctests_of_a_marked_module_run_in_its_environment(pytester, run):
    pytester.makepyfile(
        test_it='''
        """
        >>> import lib
        >>> lib.__version__
        '1.0'
        """
        import pytest
        pytestmark = pytest.mark.env("lib==1.0")

        def test_it(): pass
        '''
    )
    outcome = run("--doctest-modules", "-p", "no:python")
    assert outcome.tests == {"test_it.py::test_it": "passed"}


def test_values_of_other_parameters_may_look_like_the_variants_id(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        @pytest.mark.parametrize("env", ["old", "a-new-b", "new"])
        def test_it(env, request):
            assert request.node.name == f"test_it[{env}]"
        """
    )
    outcome = run()
    assert outcome.tests == {
        f"test_it.py::test_it[{variant}-{value}]": "passed"
        for variant in ("new", "old")
        for value in ("a-new-b", "new", "old")
    }


def test_a_class_with_indirect_parameters_has_variants(pytester, run):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture
        def number(request):
            return request.param * 10

        @pytest.mark.env("lib==1.0", id="old")
        @pytest.mark.env("lib==2.0", id="new")
        @pytest.mark.parametrize("number", [1, 2], indirect=True)
        class TestGroup:
            def test_it(self, number):
                assert number in (10, 20)
        """
    )
    outcome = run()
    outcome.assert_outcomes(passed=4)
    assert "test_it.py::TestGroup::test_it[new-2]" in outcome.tests
