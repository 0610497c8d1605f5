"""Declarations: what isoenv.yaml and [tool.isoenv] say is what environments are."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.packages import make_project, make_wheel

USES_NAMED = """
    import pytest

    @pytest.mark.env("named")
    def test_it():
        import importlib.metadata
        print("installed", sorted(
            f"{dist.name}=={dist.version}" for dist in importlib.metadata.distributions()
            if dist.name in ("lib", "other", "needs-lib", "project")
        ))
"""

USAGE_ERROR = pytest.ExitCode.USAGE_ERROR


@pytest.fixture
def declare(pytester):
    def declare(yaml: str = "", toml: str = "", test: str = USES_NAMED) -> None:
        if yaml:
            pytester.path.joinpath("isoenv.yaml").write_text(textwrap.dedent(yaml))
        if toml:
            with pytester.path.joinpath("pyproject.toml").open("a") as file:
                file.write(textwrap.dedent(toml))
        pytester.makepyfile(test_it=test)

    return declare


YAML = """
    environments:
      named: {dependencies: [lib==1.0]}
"""
TOML = """
    [tool.isoenv.environments.named]
    dependencies = ["lib==1.0"]
"""


@pytest.mark.parametrize("declaration", [{"yaml": YAML}, {"toml": TOML}], ids=["yaml", "toml"])
def test_an_environment_declared_in_either_file_can_be_named(declare, run, declaration):
    declare(**declaration)
    outcome = run("-rP")
    outcome.stdout.fnmatch_lines(["isoenv: declared named; cache *", "installed ?'lib==1.0'?"])
    assert outcome.environments["named"]["requirements"] == ["lib==1.0"]


def test_both_files_together_declare_the_union(declare, run):
    declare(
        yaml="environments: {one: {dependencies: [lib==1.0]}}",
        toml="""
        [tool.isoenv.environments]
        two = {dependencies = ["other==1.0"]}
        """,
        test="""
        import pytest

        @pytest.mark.env("one")
        @pytest.mark.env("two")
        def test_it(): pass
        """,
    )
    run().assert_outcomes(passed=2)


def test_one_name_with_the_same_content_in_both_files_is_fine(declare, run):
    declare(yaml=YAML, toml=TOML)
    run().assert_outcomes(passed=1)


def test_one_name_with_other_content_in_both_files_names_both(declare, run, own_cache):
    declare(
        yaml="environments: {named: {dependencies: [lib==2.0]}}\ndefault: named",
        toml=TOML + '[tool.isoenv]\ndefault = "host"\n',
    )
    outcome = run()
    assert outcome.ret == USAGE_ERROR
    outcome.stderr.fnmatch_lines_random(
        [
            "*isoenv.yaml.environments.named: 'named' is declared with other content in "
            "pyproject.toml ?tool.isoenv?",
            "*isoenv.yaml.default: 'named' contradicts 'host' in pyproject.toml*",
        ]
    )
    assert not own_cache.exists()


def test_the_environment_and_then_the_marker_win_over_base(declare, run):
    declare(
        yaml="""
        environments:
          base:
            dependencies: [lib==1.0, other==1.0]
            env: {A: base, B: base, C: base}
            prepend-paths: [from-base]
          named:
            dependencies: [lib==1.1]
            env: {B: named, C: named}
            prepend-paths: [from-named]
          bare: {dependencies: [lib]}
        """,
        test="""
        import os, pytest

        def values():
            import importlib.metadata
            versions = [importlib.metadata.version(name) for name in ("lib", "other")]
            return versions + [os.environ[name] for name in "ABC"]

        @pytest.mark.env("named")
        def test_named():
            assert values() == ["1.1", "1.0", "base", "named", "named"]
            first, second = os.environ["PATH"].split(os.pathsep)[:2]
            assert first == os.path.abspath("from-named")
            assert second == os.path.abspath("from-base")

        @pytest.mark.env("named", "lib==2.0", env={"C": "marker"})
        def test_marker():
            assert values() == ["2.0", "1.0", "base", "named", "marker"]

        @pytest.mark.env("bare")
        def test_a_bare_requirement_gives_way_to_a_pin():
            assert values() == ["1.0", "1.0", "base", "base", "base"]

        @pytest.mark.env("lib==1.0")
        def test_base_alone():
            assert values() == ["1.0", "1.0", "base", "base", "base"]
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=4)
    assert outcome.environments["named"]["requirements"] == ["lib==1.1", "other==1.0"]


def test_base_false_inherits_nothing(declare, run):
    declare(
        yaml="""
        environments:
          base: {dependencies: [other==1.0], env: {A: base}}
          named: {base: false, dependencies: [lib==1.0]}
        """,
        test="""
        import os, pytest

        @pytest.mark.env("named")
        def test_it():
            assert "A" not in os.environ
            with pytest.raises(ImportError):
                import other
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["named"]["requirements"] == ["lib==1.0"]


def test_unmarked_tests_run_in_the_default_environment(declare, run):
    declare(
        yaml=YAML + "      other: {dependencies: [other==1.0]}\n    default: named",
        test="""
        import pytest, sys, unittest

        def test_unmarked():
            import lib

        class TestUnit(unittest.TestCase):
            def test_unit(self):
                import lib

        @pytest.mark.env("other")
        def test_marked():
            import other

        @pytest.mark.env("host")
        def test_host():
            assert "pytest-isoenv" not in sys.prefix

        def test_that_handles_environments(isoenv):
            assert "pytest-isoenv" not in sys.prefix
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=5)
    assert {name: {*env["tests"]} for name, env in outcome.environments.items()} == {
        "named": {"test_it.py::test_unmarked", "test_it.py::TestUnit::test_unit"},
        "other": {"test_it.py::test_marked"},
    }


def test_unmarked_tests_run_in_every_environment_of_a_default_matrix(declare, run):
    declare(
        yaml="""
        environments:
          lib: {base: false, matrix: {lib: {old: "1.0", new: "2.0"}}}
          other: {dependencies: [other==1.0]}
        default: lib
        """,
        test="""
        import pytest, unittest

        @pytest.mark.parametrize("case", ["a"])
        def test_unmarked(case):
            import lib

        class TestUnit(unittest.TestCase):
            def test_unit(self):
                import lib

        @pytest.mark.env("other")
        def test_marked():
            import other

        def test_that_handles_environments(isoenv): pass
        """,
    )
    outcome = run("-p", "no:cacheprovider")
    outcome.assert_outcomes(passed=6)
    assert {name: {*env["tests"]} for name, env in outcome.environments.items()} == {
        f"lib-{version}": {
            f"test_it.py::test_unmarked[lib-{version}-a]",
            f"test_it.py::TestUnit::test_unit[lib-{version}]",
        }
        for version in ("old", "new")
    } | {"other": {"test_it.py::test_marked"}}


def test_a_default_matrix_collects_what_the_host_cannot_import(declare, run):
    declare(
        yaml="""
        environments:
          lib: {base: false, matrix: {lib: {old: "1.0", new: "2.0"}}}
        default: lib
        """,
        test="""
        import lib, pytest, unittest

        def test_unmarked(): pass

        class TestUnit(unittest.TestCase):
            def test_unit(self): pass

        @pytest.mark.env("lib-old", id="mine")
        def test_marked(): pass
        """,
    )
    outcome = run()
    outcome.assert_outcomes(passed=5)
    unmarked = {
        version: {
            f"test_it.py::test_unmarked[lib-{version}]",
            f"test_it.py::TestUnit::test_unit[lib-{version}]",
        }
        for version in ("old", "new")
    }
    found = {name: {*env["tests"]} for name, env in outcome.environments.items()}
    assert {"test_it.py::test_marked", *unmarked["old"]} == {*found["lib-old"], *found["mine"]}
    assert found["lib-new"] == unmarked["new"]
    run("--in-env", "lib").assert_outcomes(passed=5)


def test_a_default_that_is_not_declared_is_a_usage_error(declare, run, own_cache):
    declare(yaml=YAML + "    default: nmaed")
    outcome = run()
    assert outcome.ret == USAGE_ERROR
    outcome.stderr.fnmatch_lines(
        ["*isoenv.yaml.default: 'nmaed' is not declared; there are: named, host"]
    )
    assert not own_cache.exists()


def test_every_problem_of_a_file_is_said_at_once_before_anything_is_built(declare, run, own_cache):
    declare(
        yaml="""
        enviroments: {}
        environments:
          host: {}
          "two words": {}
          number: {python: 3.10}
          list: [lib==1.0]
          text: {dependencies: lib==1.0}
          bad: {dependencies: ["lib=>1"], refresh: "yes", project: editable, colour: green}
          variables: {env: {A: 1}}
          absent: {local: [nowhere.whl], lock: pylock.toml}
          choice: {missing-interpreter: maybe, backend: pip}
          group: {groups: [test], extras: [test]}
          inherits: {base: true}
        """,
        test="""
        import pytest

        @pytest.mark.env("lib==1.0")
        def test_it(): pass
        """,
    )
    outcome = run()
    assert outcome.ret == USAGE_ERROR
    lines = outcome.stderr.str()
    for where, words in [
        ("", "unknown key 'enviroments'; the keys are: environments, default"),
        (".environments.host", "'host' is reserved"),
        (".environments.two words", "'two words' is not a name"),
        (".environments.number.python", "3.1 is a number"),
        (".environments.list", "['lib==1.0'] is not a mapping"),
        (".environments.text.dependencies", "'lib==1.0' is not a list of texts"),
        (".environments.bad.dependencies", "'lib=>1' is not a PEP 508 requirement"),
        (".environments.bad.refresh", "'yes' is neither true nor false"),
        (".environments.bad.project", "'editable' needs a project"),
        (".environments.bad", "unknown key 'colour'; the keys are: "),
        (".environments.variables.env", "the value of A is not a text: int"),
        (".environments.absent.local", "'nowhere.whl' does not exist below"),
        (".environments.absent.lock", "'pylock.toml' does not exist below"),
        (".environments.choice.missing-interpreter", "'maybe' is not one of: error, skip"),
        (".environments.choice.backend", "'pip' is not one of: conda, uv, venv"),
        (".environments.group.groups", "'test' is no dependency group; there are: (none)"),
        (".environments.group.extras", "'test' is no extra of the project"),
        (".environments.inherits.base", "True: base is inherited"),
    ]:
        assert f"isoenv: isoenv.yaml{where}: {words}" in lines, lines
    assert not own_cache.exists()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("isoenv.yaml", "environments: [", "isoenv.yaml: is not valid YAML: "),
        ("isoenv.yaml", "- a\n- b", "isoenv.yaml: ['a', 'b'] is not a mapping"),
        ("isoenv.yaml", "default: host\ndefault: host", "the key 'default' stands twice"),
        ("isoenv.yaml", b"environments: {\xff: {}}", "isoenv.yaml: cannot be read: "),
        ("isoenv.yaml", "environments: 7", "isoenv.yaml.environments: 7 is not a mapping"),
        ("pyproject.toml", "[tool.isoenv]\nenvironments = 7", "environments: 7 is not a mapping"),
    ],
    ids=["not-yaml", "a-list", "a-key-twice", "not-utf-8", "a-number", "toml"],
)
def test_a_file_that_cannot_be_understood_is_a_usage_error(pytester, run, file, text, words):
    data = text if isinstance(text, bytes) else text.encode()
    pytester.path.joinpath(file).write_bytes(data)
    pytester.makepyfile("def test_it(): pass")
    outcome = run()
    assert outcome.ret == USAGE_ERROR
    assert words in outcome.stderr.str()
    assert "Traceback" not in outcome.stderr.str()


@pytest.mark.slow
def test_refresh_true_builds_a_throw_away_environment_for_each_run(declare, run):
    declare(yaml="environments: {named: {dependencies: [lib==1.0], refresh: true}}")
    paths = []
    for _ in range(2):
        outcome = run()
        outcome.assert_outcomes(passed=1)
        assert outcome.environments["named"]["provisioned"] == "ephemeral"
        paths.append(outcome.environments["named"]["path"])
    assert len({*paths}) == 2
    assert not any(Path(path).exists() for path in paths)


# The project under test

USES_PROJECT = """
    import pytest

    @pytest.mark.env("named")
    def test_it():
        import project
        print("value", project.VALUE)
"""


def declared(project: str, more: str = "") -> str:
    return f"environments: {{named: {{project: {project}{more}}}}}"


def test_without_a_base_the_project_is_editable_with_its_test_group(pytester, declare, run):
    make_project(
        pytester.path,
        "project",
        requires=["other"],
        pyproject="[dependency-groups]\ntest=['lib<2']",
    )
    declare(
        test="""
        import pytest

        @pytest.mark.env("other==1.0")
        def test_it():
            import lib, other, project
            assert lib.__version__ == "1.1"
            assert "site-packages" not in project.__file__
        """
    )
    run().assert_outcomes(passed=1)


def test_without_a_group_the_projects_test_extra_is_taken(pytester, declare, run):
    make_project(pytester.path, "project", extras={"test": ["lib==1.0"], "docs": ["absent"]})
    declare(
        test="""
        import pytest

        @pytest.mark.env("other==1.0")
        def test_it():
            import lib, project
        """
    )
    run().assert_outcomes(passed=1)


def test_groups_and_extras_bring_their_requirements(pytester, declare, run):
    make_project(
        pytester.path,
        "project",
        extras={"more": ["other==1.0"]},
        pyproject="""
        [dependency-groups]
        libs = ["lib==1.0"]
        all = [{include-group = "libs"}]
        """,
    )
    declare(
        yaml="""
        environments:
          base: {project: none}
          named: {project: editable, groups: [all], extras: [more]}
          newer: {groups: [all], dependencies: [lib==2.0]}
        """,
        test="""
        import pytest

        @pytest.mark.env("named")
        def test_it():
            import lib, other, project
            assert lib.__version__ == "1.0"

        @pytest.mark.env("newer")
        def test_dependencies_win_over_groups():
            import lib
            assert lib.__version__ == "2.0"
            with pytest.raises(ImportError):
                import project
        """,
    )
    run().assert_outcomes(passed=2)


def test_an_editable_projects_edit_is_seen_without_a_rebuild(pytester, declare, run):
    make_project(pytester.path, "project", code="VALUE = 1")
    declare(yaml=declared("editable"), test=USES_PROJECT)
    first = run("-rP")
    first.stdout.fnmatch_lines(["value 1"])
    pytester.path.joinpath("src", "project.py").write_text("VALUE = 22")
    second = run("-rP")
    second.stdout.fnmatch_lines(["value 22"])
    assert second.environments["named"]["provisioned"] == "cached"
    assert second.environments["named"]["path"] == first.environments["named"]["path"]


def test_an_edit_of_a_project_installed_as_a_wheel_is_seen_by_the_next_run(pytester, declare, run):
    make_project(pytester.path, "project", code="VALUE = 1", requires=["lib==1.0"])
    declare(yaml=declared("wheel"), test=USES_PROJECT)
    run("-rP").stdout.fnmatch_lines(["value 1"])
    pytester.path.joinpath("src", "project.py").write_text("VALUE = 2")
    second = run("-rP")
    second.stdout.fnmatch_lines(["value 2", "*rebuilding named: * other content"])


def test_an_unchanged_project_is_cached_as_a_wheel_whatever_the_run_writes(pytester, declare, run):
    declare(yaml=declared("wheel"), test=USES_PROJECT)
    app = make_project(pytester.mkdir("app"), "project", code="VALUE = 1", requires=["lib==1.0"])
    for file in (*pytester.path.glob("*.yaml"), *pytester.path.glob("test_*.py")):
        file.rename(app / file.name)
    # Not at the top, where pytester itself keeps the output of its runs.
    args = (f"--rootdir={app}", str(app), "--junitxml=app/junit.xml", "--log-file=app/run.log")
    run(*args).assert_outcomes(passed=1)
    again = run(*args)
    assert (app / "junit.xml").is_file()
    assert again.environments["named"]["provisioned"] == "cached"


def test_a_changed_dependency_of_the_project_is_seen_by_the_next_run(pytester, declare, run):
    make_project(pytester.path, "project", requires=["lib==1.0"])
    declare(yaml=declared("editable"), test=USES_NAMED)
    assert run().environments["named"]["packages"]["lib"] == "1.0"
    make_project(pytester.path, "project", requires=["lib==2.0"])
    second = run()
    assert second.environments["named"]["packages"]["lib"] == "2.0"
    second.stdout.fnmatch_lines(["*rebuilding named: *lib 1.0 -> 2.0*"])


def test_project_none_leaves_the_project_out(pytester, declare, run):
    make_project(pytester.path, "project")
    declare(yaml=declared("none"), test=USES_PROJECT)
    outcome = run()
    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines(["E *ModuleNotFoundError: No module named 'project'"])


def test_local_paths_of_the_config_start_at_the_rootdir(pytester, declare, run, monkeypatch):
    pytester.mkdir("dist")
    wheel = make_wheel(pytester.path / "dist", "own", "3.0", requires=["absent-from-the-index"])
    declare(
        yaml=f"environments: {{named: {{local: [dist/{wheel.name}], dependencies: [lib==1.0]}}}}",
        test="""
        import pytest

        @pytest.mark.env("named")
        def test_it():
            import lib, own
            assert own.__version__ == "3.0"
        """,
    )
    monkeypatch.chdir(pytester.mkdir("elsewhere"))
    outcome = run("--rootdir", str(pytester.path), "../test_it.py")
    outcome.assert_outcomes(passed=1)


def test_a_project_that_cannot_be_built_says_what_the_build_says(pytester, declare, run):
    make_project(pytester.path, "project")
    pytester.path.joinpath("backend.py").write_text("raise SystemExit('the build says no')")
    declare(yaml=declared("wheel"), test=USES_PROJECT + "\n    def test_here(): pass\n")
    outcome = run()
    outcome.assert_outcomes(passed=1, errors=1)
    outcome.stdout.fnmatch_lines(["*the build says no*", "to repeat it: *uv*"])


def test_plugins_can_declare_environments_and_clash_like_files(pytester, declare, run):
    pytester.makeconftest(
        """
        def pytest_isoenv_environments(config):
            return {"named": {"dependencies": ["lib==1.0"]}}
        """
    )
    declare(test=USES_NAMED)
    outcome = run()
    outcome.assert_outcomes(passed=1)
    assert outcome.environments["named"]["packages"]["lib"] == "1.0"
    declare(yaml="environments: {named: {dependencies: [lib==2.0]}}")
    clash = run()
    assert clash.ret == USAGE_ERROR
    clash.stderr.fnmatch_lines(["*'named' is declared with other content in isoenv.yaml"])
