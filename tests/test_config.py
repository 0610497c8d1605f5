"""What a project declares, and everything that can be wrong with it."""

from __future__ import annotations

import textwrap

import pytest

from pytest_isoenv import _config
from pytest_isoenv._fields import _CALLED_ELSEWHERE, FIELDS, parse_layer
from pytest_isoenv._texts import is_path
from pytest_isoenv._values import Surroundings, choices
from pytest_isoenv.errors import ConfigError

LOCK = "lock-version = '1.0'\ncreated-by = 'by hand'\npackages = []\n"
PROJECT = "[project]\nname = 'app'\nversion = '1'\n"


@pytest.fixture
def declare(tmp_path):
    """Write the project's files, and load what they declare."""

    def declare(yaml="", toml="", plugins=(), backends=("uv",)):
        if yaml:
            (tmp_path / "isoenv.yaml").write_text(textwrap.dedent(yaml), encoding="utf-8")
        if toml:
            (tmp_path / "pyproject.toml").write_text(textwrap.dedent(toml), encoding="utf-8")
        return _config.load(tmp_path, backends, plugins)

    return declare


@pytest.fixture
def wrong(declare):
    """Load what is wrong, and give the lines of the error."""

    def wrong(*args, **kwargs):
        with pytest.raises(ConfigError) as caught:
            declare(*args, **kwargs)
        return str(caught.value).splitlines()

    return wrong


def fields(around, **given):
    layer, problems = parse_layer({k.replace("_", "-"): v for k, v in given.items()}, "x", around)
    assert problems == []
    return layer


def broken(around, **given):
    _, problems = parse_layer({k.replace("_", "-"): v for k, v in given.items()}, "x", around)
    return [str(problem) for problem in problems]


@pytest.fixture
def around(tmp_path):
    (tmp_path / "pylock.toml").write_text(LOCK)
    (tmp_path / "other.toml").touch()
    (tmp_path / "sub" / "tree").mkdir(parents=True)
    (tmp_path / "tree").mkdir()
    return Surroundings(
        tmp_path,
        has_project=True,
        extras=frozenset({"fast", "slow"}),
        groups={"test": ["lib==1.0"], "all": [{"include-group": "test"}, "other"]},
        backends=frozenset({"uv", "conda"}),
    )


# Loading


def test_a_project_that_declares_nothing_has_no_environments(declare):
    declared = declare()
    assert declared.names == []
    assert declared.default == "host"


def test_yaml_and_toml_mean_the_same(declare, tmp_path):
    of_yaml = declare(yaml="environments: {old: {dependencies: ['lib==1.0'], python: '3.9'}}")
    (tmp_path / "isoenv.yaml").unlink()
    of_toml = declare(
        toml="""
        [tool.isoenv.environments.old]
        dependencies = ["lib==1.0"]
        python = "3.9"
        """
    )
    assert of_yaml.spec("old") == of_toml.spec("old")


def test_declarations_of_both_files_and_of_plugins_are_united(declare):
    declared = declare(
        yaml="environments: {old: {dependencies: ['lib==1.0']}}",
        toml="[tool.isoenv.environments.new]\ndependencies = ['lib==2.0']",
        plugins=[{"given": {"dependencies": ["other==1.0"]}}],
    )
    assert sorted(declared.names) == ["given", "new", "old"]
    assert declared.spec("given").requirements == ("other==1.0",)


def test_names_keep_the_order_of_their_declaration(declare):
    assert declare(yaml="environments: {z: {}, a: {}, m: {}}").names == ["z", "a", "m"]


def test_an_environment_without_fields_is_one_all_the_same(declare):
    assert declare(yaml="environments:\n  plain:\n").names == ["plain"]


def test_every_environment_inherits_base(declare):
    declared = declare(
        yaml="""
        environments:
          base: {dependencies: ['lib==1.0', other], python: '3.9'}
          new: {dependencies: ['lib==2.0']}
        """
    )
    assert declared.spec("new").requirements == ("lib==2.0", "other")
    assert declared.spec("new").python == "3.9"
    assert declared.names == ["new"]


def test_an_environment_that_says_base_false_inherits_nothing(declare):
    declared = declare(
        yaml="""
        environments:
          base: {dependencies: [other]}
          alone: {base: false, dependencies: ['lib==2.0']}
        """
    )
    assert declared.spec("alone").requirements == ("lib==2.0",)


def test_a_marker_is_closer_than_the_environment_that_it_names(declare, around):
    declared = declare(yaml="environments: {old: {dependencies: ['lib==1.0']}}")
    closer = fields(around, dependencies=["lib==1.1"])
    assert declared.spec("old", closer).requirements == ("lib==1.1",)


def test_without_a_declared_base_the_project_goes_in_editable(declare):
    assert declare(toml=PROJECT).spec(None).project == "editable"


def test_a_rootdir_without_a_project_puts_none_in(declare):
    assert declare(toml="[tool.other]\n").spec(None).project == "none"


@pytest.mark.parametrize("name", ["test", "tests"])
def test_the_implied_base_has_the_projects_test_group(declare, name):
    spec = declare(toml=f"{PROJECT}[dependency-groups]\n{name} = ['lib==1.0']\n").spec(None)
    assert (spec.project, spec.requirements) == ("editable", ("lib==1.0",))


@pytest.mark.parametrize("name", ["test", "tests"])
def test_the_implied_base_has_the_projects_test_extra(declare, name):
    toml = f"{PROJECT}[project.optional-dependencies]\n{name} = ['lib==1.0']\n"
    spec = declare(toml=toml).spec(None)
    assert (spec.project, spec.extras) == ("editable", (name,))


def test_a_declared_base_replaces_the_implied_one(declare):
    declared = declare(yaml="environments: {base: {python: '3.9'}}", toml=PROJECT)
    assert declared.spec(None).project == "none"


def test_the_same_declaration_twice_is_no_contradiction(declare):
    same = {"dependencies": ["lib==1.0"]}
    assert declare(plugins=[{"old": same}, {"old": same}]).names == ["old"]


def test_one_name_with_different_content_names_both_files(wrong):
    (line,) = wrong(
        yaml="environments: {old: {dependencies: ['lib==1.0']}}",
        toml="[tool.isoenv.environments.old]\ndependencies = ['lib==1.1']",
    )
    assert "'old' is declared with other content" in line
    assert "isoenv.yaml.environments.old" in line
    assert "pyproject.toml [tool.isoenv]" in line


def test_the_default_can_be_a_declared_environment(declare):
    assert declare(yaml="{environments: {old: {}}, default: old}").default == "old"


def test_two_files_that_contradict_each_other_on_the_default_are_an_error(wrong):
    lines = wrong(
        yaml="{environments: {old: {}}, default: old}", toml="[tool.isoenv]\ndefault = 'host'"
    )
    assert any("contradicts" in line and "pyproject.toml" in line for line in lines)


# Everything wrong is said, with its place, the rule and the choices


def test_an_undeclared_default_lists_the_declared_names_nearest_first(wrong):
    (line,) = wrong(yaml="{environments: {aa: {}, older: {}}, default: old}")
    assert "isoenv.yaml.default: 'old' is not declared; there are: older" in line


def test_an_undeclared_default_is_said_together_with_the_other_problems(wrong):
    lines = wrong(yaml="{environments: {old: {pyton: '3.9'}}, default: odl}")
    assert len(lines) == 2


def test_every_problem_of_every_file_is_said_at_once(wrong):
    lines = wrong(
        yaml="{environments: {old: {pyton: '3.9', refresh: maybe}}, defualt: host}",
        toml="[tool.isoenv.environments.new]\nbackend = 'vu'",
    )
    assert len(lines) == 4


def test_every_entry_of_a_list_that_is_wrong_is_said(wrong, tmp_path):
    (tmp_path / "bounds.txt").write_text("-r more.txt\nlib<2\n--pre\n")
    lines = wrong(
        """
        environments:
          old:
            dependencies: [3, './nowhere', lib]
            constraints: [bounds.txt, ' ']
            env: {A: 1, 2: b}
            conda-dependencies: ['!', gdal, '?']
        """
    )
    where = "isoenv: isoenv.yaml.environments.old"
    assert [line.removeprefix(where).partition(" ")[::2] for line in lines] == [
        (".dependencies:", "3 is not a text"),
        (".dependencies:", f"'./nowhere' does not exist below {tmp_path}"),
        (".constraints:", _no_requirement("-r more.txt")),
        (".constraints:", _no_requirement("--pre")),
        (".constraints:", "' ' is not a text"),
        (".env:", "the value of A is not a text: int"),
        (".env:", "2 is not the name of an environment variable"),
        (".conda-dependencies:", "'!' is not a conda match spec such as 'gdal>=3.8'"),
        (".conda-dependencies:", "'?' is not a conda match spec such as 'gdal>=3.8'"),
    ]


def _no_requirement(text):
    reason = "Expected package name at the start of dependency specifier"
    return f"{text!r} is not a PEP 508 requirement such as 'attrs>=23': {reason}"


def test_an_unknown_key_lists_the_keys_nearest_first(wrong):
    (line,) = wrong(yaml="environments: {old: {pyton: '3.9'}}")
    assert "isoenv.yaml.environments.old: unknown key 'pyton'; the keys are: python" in line


def test_an_unknown_key_at_the_top_lists_the_keys(wrong):
    (line,) = wrong(yaml="environment: {}")
    assert "unknown key 'environment'" in line
    assert "environments" in line


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        (
            "dependencies: [lib]",
            "isoenv.yaml: unknown key 'dependencies' outside an environment "
            "(isoenv.yaml.environments.NAME.dependencies); the keys are: environments, default",
        ),
        (
            "environments: {a: {deps: [lib]}}",
            "unknown key 'deps' (here that is 'dependencies'); the",
        ),
        (
            "environments: {a: {set_env: {}}}",
            "unknown key 'set_env' (here that is 'env'); the keys",
        ),
    ],
)
def test_a_key_from_elsewhere_is_told_its_place_and_its_name(wrong, yaml, words):
    (line,) = wrong(yaml=yaml)
    assert words in line


def test_what_other_tools_call_a_key_is_none_of_ours():
    assert set(_CALLED_ELSEWHERE) & set(FIELDS) == set()
    assert set(_CALLED_ELSEWHERE.values()) <= {*FIELDS, "matrix", "extends"}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("dependencies", ["lib=>1", 3, "lib"], ["'lib=>1' is not a PEP 508", "3 is not a text"]),
        ("groups", ["tset", "test", "al"], ["'tset' is no", "'al' is no"]),
        ("extras", ["fsat", "fast", "no"], ["'fsat' is no", "'no' is no"]),
        ("local", ["a.whl", "b.whl"], ["'a.whl' does not exist", "'b.whl' does not exist"]),
        ("requirements", ["a.txt", "b.txt"], ["'a.txt' does not exist", "'b.txt' does not exist"]),
        ("constraints", ["lib<", "./a"], ["'lib<' is not a PEP 508", "'./a' does not exist"]),
        ("overrides", ["lib<", "./tree"], ["'lib<' is not a PEP 508", "cannot be read"]),
        ("extra-indexes", ["a", "b"], ["'a' is not the URL", "'b' is not the URL"]),
        ("find-links", ["a", "x://b"], ["'a' does not exist", "'x://b' is not the URL"]),
        ("env", {"A": 1, "B=": "b"}, ["the value of A is not a text", "'B=' is not the name"]),
        ("channels", ["./a", "./b"], ["'./a' does not exist", "'./b' does not exist"]),
        ("conda-dependencies", ["<1", "=2"], ["'<1' is not a conda", "'=2' is not a conda"]),
    ],
)
def test_every_entry_of_a_list_that_breaks_a_rule_is_said(around, key, value, words):
    said = broken(around, **{key: value})
    assert len(said) == len(words)
    for line, expected in zip(said, words, strict=True):
        assert line.startswith(f"x.{key}: ")
        assert expected in line


def test_host_cannot_be_declared(wrong):
    (line,) = wrong(yaml="environments: {host: {}}")
    assert "'host' is reserved" in line


@pytest.mark.parametrize("name", ["'two words'", "'a::b'", "'a[b]'", "''", "3", "true"])
def test_a_name_that_cannot_stand_in_a_node_id_is_an_error(wrong, name):
    (line,) = wrong(yaml=f"environments: {{{name}: {{}}}}")
    assert "is not a name" in line


def test_base_can_only_be_declined(wrong):
    (line,) = wrong(yaml="environments: {old: {base: true}}")
    assert "isoenv.yaml.environments.old.base" in line


@pytest.mark.parametrize(
    "yaml",
    [
        "just text",
        "[a, list]",
        "environments: [old]",
        "environments: []",
        "environments: false",
        "environments: {old: [lib]}",
        "default: [old]",
        "default: 3",
        "default: {a: b}",
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_with_its_place(wrong, yaml):
    lines = wrong(yaml=yaml)
    assert all(line.startswith("isoenv: isoenv.yaml") for line in lines)


@pytest.mark.parametrize(
    "toml",
    [
        "tool = 1",
        "tool.isoenv = 1",
        "project = 1",
        "dependency-groups = 1",
        f"{PROJECT}optional-dependencies = 1",
        f"{PROJECT}dynamic = 1",
        f"{PROJECT}[dependency-groups]\na-b = []\na_b = []",
    ],
)
def test_a_malformed_pyproject_is_a_config_error_that_names_the_file(wrong, toml):
    lines = wrong(toml=toml, yaml="environments: {old: {groups: [test]}}")
    assert any("pyproject.toml" in line for line in lines)


@pytest.mark.parametrize("group", ["'lib'", "3", "[{include-group = 'test'}]", "['two words']"])
def test_a_malformed_group_is_an_error_of_whoever_names_it(wrong, group):
    toml = f"{PROJECT}[dependency-groups]\ntest = {group}\n"
    lines = wrong(toml=toml, yaml="environments: {base: {groups: [test]}}")
    assert lines[0].startswith("isoenv: isoenv.yaml.environments.base.groups: ")
    assert "'test'" in lines[0]


@pytest.mark.parametrize("group", ["'lib'", "3", "[{include-group = 'test'}]", "['two words']"])
def test_a_malformed_test_group_of_the_implied_base_is_an_error(wrong, group):
    lines = wrong(toml=f"{PROJECT}[dependency-groups]\ntest = {group}\n")
    assert "dependency-groups" in lines[0]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"yaml": "environments: ["}, "isoenv.yaml: is not valid YAML"),
        ({"toml": "environments = ["}, "pyproject.toml: is not valid TOML"),
        ({"yaml": "environments: !!python/object:os.system {}"}, "is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_named(wrong, files, said):
    assert said in wrong(**files)[0]


def test_a_file_that_is_not_utf8_is_named(tmp_path, wrong):
    (tmp_path / "isoenv.yaml").write_bytes(b"default: \xff\n")
    assert wrong()[0].startswith("isoenv: isoenv.yaml: cannot be read")


def test_a_key_that_stands_twice_in_yaml_is_an_error_and_not_silently_the_last(wrong):
    (line,) = wrong(yaml="environments:\n  old: {python: '3.9'}\n  old: {python: '3.12'}\n")
    assert "'old' stands twice" in line


def test_yaml_merge_keys_are_understood(declare):
    declared = declare(
        yaml="""
        environments:
          one: &one {dependencies: ['lib==1.0']}
          two:
            <<: *one
            python: '3.12'
        """
    )
    assert declared.spec("two").requirements == ("lib==1.0",)


def test_what_a_plugin_declares_wrongly_is_said_to_be_a_plugins(wrong):
    (line,) = wrong(plugins=[{"given": {"pyton": "3.9"}}])
    assert "a plugin.environments.given: unknown key 'pyton'" in line


# The fields


def test_every_key_has_a_parser_for_an_attribute_of_the_layer(around):
    for attribute, parse in FIELDS.values():
        assert not attribute or hasattr(fields(around), attribute)
        assert callable(parse)


def test_a_python_as_a_number_is_refused_because_it_would_lose_its_zero(around):
    (line,) = broken(around, python=3.10)
    assert "x.python" in line
    assert "'3.10'" in line


@pytest.mark.parametrize("path", ["./tree", "./sub/tree", "../{}/tree", "./sub/../tree"])
def test_a_python_given_as_a_path_stays_one_whatever_it_looks_like(around, path):
    layer = fields(around, python=path.format(around.root.name))
    assert is_path(layer.python)


@pytest.mark.parametrize("text", ["~=3.10", "~=3.10.2", ">=3.10,<3.13", "pypy3.11", "3.13t"])
def test_a_python_may_be_a_range_or_an_implementation(around, text):
    assert fields(around, python=text).python == text


def test_a_python_path_that_is_not_there_is_an_error(around):
    (line,) = broken(around, python="./nowhere/python")
    assert "'./nowhere/python' does not exist" in line


def test_requirements_are_normalised(around):
    assert fields(around, dependencies=["lib >=1 , <2"]).requirements == ("lib<2,>=1",)


@pytest.mark.parametrize("path", ["./tree", "./sub/tree", ".", "./tree[fast]", "~"])
def test_a_requirement_given_as_a_path_never_becomes_the_name_of_a_package(around, path):
    (text,) = fields(around, dependencies=[path]).requirements
    assert is_path(text)


def test_a_requirement_with_a_url_is_accepted(around):
    url = "lib @ https://example.org/lib-1.0-py3-none-any.whl"
    assert fields(around, dependencies=[url]).requirements == (url,)


@pytest.mark.parametrize("text", ["lib==", "two words", "=1.0", "lib @@ x"])
def test_a_bad_requirement_is_named_with_the_rule_in_one_line(around, text):
    (line,) = broken(around, dependencies=[text])
    assert repr(text) in line
    assert "PEP 508" in line
    assert "\n" not in line


@pytest.mark.parametrize("key", ["local", "dependencies"])
def test_a_path_that_is_not_there_is_named_with_where_it_was_looked_for(around, key):
    (line,) = broken(around, **{key: ["../nowhere"]})
    assert "'../nowhere' does not exist" in line
    assert str(around.root) in line


def test_the_home_of_a_user_that_does_not_exist_is_an_error_and_no_traceback(around):
    (line,) = broken(around, dependencies=["~no-such-user-here/lib"])
    assert "~no-such-user-here/lib" in line


def test_a_lock_must_be_named_as_pep_751_asks(around):
    (line,) = broken(around, lock="other.toml")
    assert "pylock.toml or pylock.<name>.toml" in line
    assert fields(around, lock="pylock.toml").lock == "pylock.toml"


@pytest.mark.parametrize("key", ["dependencies", "groups", "extras", "local", "prepend_paths"])
@pytest.mark.parametrize("value", ["text", 3, {"a": "b"}, [1], [""], None])
def test_a_list_of_texts_must_be_one(around, key, value):
    (line,) = broken(around, **{key: value})
    assert line.startswith(f"x.{key.replace('_', '-')}: ")


@pytest.mark.parametrize("key", ["python", "lock"])
@pytest.mark.parametrize("value", ["", "  ", [], None, True])
def test_a_text_must_be_one(around, key, value):
    assert len(broken(around, **{key: value})) == 1


@pytest.mark.parametrize("value", ["yes", 1, None, []])
def test_a_flag_is_true_or_false(around, value):
    (line,) = broken(around, refresh=value)
    assert "neither true nor false" in line


@pytest.mark.parametrize("key", ["project", "backend", "missing_interpreter"])
@pytest.mark.parametrize("value", ["nonsense", 3, [], None])
def test_a_choice_lists_what_can_be_chosen(around, key, value):
    (line,) = broken(around, **{key: value})
    assert f"{value!r} is not one of: " in line


def test_a_backend_is_one_of_those_that_are_installed(around):
    assert fields(around, backend="conda").backend == "conda"
    (line,) = broken(around, backend="vu")
    assert "conda, uv" in line


def conda_file(around, text):
    (around.root / "env").mkdir(exist_ok=True)
    (around.root / "env" / "environment.yml").write_text(textwrap.dedent(text))
    return "env/environment.yml"


def test_a_conda_environment_is_channels_packages_and_what_its_pip_section_has(around):
    (around.root / "env" / "tree").mkdir(parents=True)
    path = conda_file(
        around,
        """
        name: geo
        channels: [conda-forge, nodefaults]
        dependencies:
          - gdal >=3.8
          - pip
          - pip: [attrs>=23, ./tree]
        """,
    )
    layer = fields(around, conda_environment=path)
    assert layer.channels == ("conda-forge",)
    assert layer.conda_dependencies == ("gdal >=3.8", "pip")
    assert layer.requirements == ("attrs>=23", "./env/tree")


def test_a_declaration_wins_over_its_conda_environment(declare, tmp_path):
    (tmp_path / "environment.yml").write_text(
        "channels: [theirs]\ndependencies: [gdal=3.8, numpy=1.26, {pip: ['lib==1.0']}]\n"
    )
    declared = declare(
        """
        environments:
          geo:
            backend: conda
            conda-dependencies: [numpy=2, gdal]
            channels: [ours]
            dependencies: ["lib==2.0"]
            conda-environment: environment.yml
        """,
        backends=("uv", "conda"),
    )
    spec = declared.spec("geo")
    assert spec.conda.channels == ("ours", "theirs")
    assert spec.conda.dependencies == ("gdal=3.8", "numpy=2")
    assert spec.requirements == ("lib==2.0",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- a\n- b\n", "is not a mapping"),
        ("dependencies: [a", "is not valid YAML"),
        ("dependencies: [a]\nvariables: {A: b}\n", "unknown key 'variables'; the keys are: "),
        ("dependencies: [{pop: [a]}]\n", "{'pop': ['a']} is not a text"),
        ("dependencies: [3]\n", "3 is not a text"),
        ("dependencies: a\n", "'a' is not a list"),
        ("dependencies: [==3]\n", "'==3' is not a conda match spec"),
        ("dependencies: [pip: ['lib=>1']]\n", "'lib=>1' is not a PEP 508 requirement"),
        ("channels: [./nowhere]\n", "'./nowhere' does not exist"),
        ("channels: nowhere\n", "'nowhere' is not a list"),
    ],
)
def test_what_is_wrong_in_a_conda_environment_is_said_with_its_name(around, text, what):
    path = conda_file(around, text)
    (line,) = broken(around, conda_environment=path)
    assert line.startswith("x.conda-environment: 'env/environment.yml' is no conda environment: ")
    assert what in line


@pytest.mark.parametrize(
    "text", ["conda-forge::numpy >=1.26", "numpy=1.26=py312*", "numpy[build=x]"]
)
def test_a_conda_package_may_be_asked_for_with_all_that_conda_knows(around, text):
    assert fields(around, conda_dependencies=[text]).conda_dependencies == (text,)


def test_credentials_of_a_channel_are_refused(around):
    (line,) = broken(around, channels=["https://me:s3cret@example.org/channel"])
    assert "credentials" in line


def test_a_project_cannot_go_in_where_there_is_none(tmp_path):
    (line,) = broken(Surroundings(tmp_path), project="editable")
    assert "needs a project" in line
    assert fields(Surroundings(tmp_path), project="none").project == "none"


def test_groups_are_requirements_with_their_includes(around):
    assert set(fields(around, groups=["all"]).requirements) == {"lib==1.0", "other"}


def test_a_group_is_found_under_every_spelling_of_its_name(around):
    assert fields(around, groups=["TEST"]).requirements == ("lib==1.0",)


def test_an_unknown_group_lists_the_groups_nearest_first(around):
    (line,) = broken(around, groups=["tests"])
    assert "'tests' is no dependency group; there are: test, all" in line


def test_dependencies_win_over_the_groups_of_the_same_declaration(declare):
    toml = PROJECT + "[dependency-groups]\nextra = ['lib==1.0']\n"
    declared = declare(
        toml=toml, yaml="environments: {a: {dependencies: ['lib==2.0'], groups: [extra]}}"
    )
    assert declared.spec("a").requirements == ("lib==2.0",)


def test_an_unknown_extra_lists_the_extras(around):
    (line,) = broken(around, extras=["fasd"])
    assert "there are: fast, slow" in line


def test_extras_that_the_project_computes_cannot_be_checked(declare):
    toml = PROJECT + "dynamic = ['optional-dependencies']\n"
    declared = declare(toml=toml, yaml="environments: {a: {extras: [any]}}")
    assert declared.spec("a").extras == ("any",)


def test_variables_are_texts_by_name(around):
    layer = fields(around, env={"B": "2", "A": ""})
    assert layer.variables == (("A", ""), ("B", "2"))


@pytest.mark.parametrize(
    "value", ["A=1", ["A"], {"A": 1}, {"A": True}, {"A=B": "x"}, {"": "x"}, {1: "x"}, {"A": "\0"}]
)
def test_variables_of_another_form_are_an_error(around, value):
    assert len(broken(around, env=value)) == 1


def test_the_value_of_a_wrong_variable_is_not_shown(around):
    (line,) = broken(around, env={"TOKEN": 123456})
    assert "123456" not in line


def test_choices_put_the_nearest_first_and_keep_the_rest():
    assert choices("pyhton", ["env", "lock", "python"]) == "python, env, lock"
    assert choices("x", []) == "(none)"


def test_a_url_with_credentials_is_refused_before_it_is_kept_anywhere(around):
    (line,) = broken(around, dependencies=["lib @ https://me:s3cret@example.org/lib.zip"])
    assert "netrc" in line
    assert "s3cret" not in line


def test_a_lock_with_credentials_is_refused(around):
    lock = around.root / "pylock.toml"
    lock.write_text('[[packages]]\nurl = "https://me:s3cret@example.org/lib.zip"\n')
    (line,) = broken(around, lock="pylock.toml")
    assert "credentials" in line


# Names that stand for several, what extends others, and files that are included


def test_a_matrix_is_as_many_environments_and_its_name_means_them_all(declare):
    declared = declare(
        yaml="""
        environments:
          base: {dependencies: [other]}
          lib:
            matrix: {lib: ['1.*', '2.*'], python: ['3.10', '3.13']}
            exclude: [{lib: '1.*', python: '3.13'}]
            env: {A: a}
          plain: {}
        """
    )
    assert declared.names == ["lib-1-py3.10", "lib-2-py3.10", "lib-2-py3.13", "plain"]
    assert declared.select("lib") == ["lib-1-py3.10", "lib-2-py3.10", "lib-2-py3.13"]
    assert declared.select("lib-2") == ["lib-2-py3.10", "lib-2-py3.13"]
    assert declared.select("*-py3.10") == ["lib-1-py3.10", "lib-2-py3.10"]
    assert declared.select("plain") == ["plain"]
    assert declared.select("li") == declared.select("x*") == []
    spec = declared.spec("lib-2-py3.13")
    assert (spec.python, spec.requirements) == ("3.13", ("lib==2.*", "other"))
    assert spec.variables == (("A", "a"),)


def test_the_default_may_be_a_matrix(declare):
    yaml = "environments: {lib: {matrix: {lib: ['1', '2']}}}\ndefault: lib"
    assert declare(yaml=yaml).default == "lib"


def test_an_environment_extends_others_the_closest_last(declare):
    declared = declare(
        yaml="""
        environments:
          base: {dependencies: ['a==0', 'b==0'], python: '3.9'}
          first: {extends: second, dependencies: ['a==1'], env: {A: '1', B: '1'}}
          second: {dependencies: ['a==2', 'c==2'], env: {B: '2', C: '2'}}
          both: {extends: [second, first], env: {C: '3'}}
          alone: {base: false, dependencies: ['d==1']}
          like: {extends: alone}
          matrix: {extends: first, matrix: {c: ['7', '8']}}
        """
    )
    assert declared.spec("first").requirements == ("a==1", "b==0", "c==2")
    assert dict(declared.spec("both").variables) == {"A": "1", "B": "1", "C": "3"}
    assert declared.spec("both").python == "3.9"
    assert declared.spec("like").requirements == ("d==1",)
    assert declared.spec("like").python is None
    assert declared.spec("matrix-c8").requirements == ("a==1", "b==0", "c==8")


@pytest.mark.parametrize(
    ("environments", "line"),
    [
        (
            "{a: {extends: b}, b: {extends: c}, c: {extends: a}}",
            "a.extends: goes in a circle: a -> b -> c -> a",
        ),
        ("{a: {extends: a}}", "a.extends: goes in a circle: a -> a"),
        ("{a: {extends: c}, b: {}}", "a.extends: 'c' is not declared; there are: b"),
        ("{a: {extends: base}, base: {}}", "a.extends: 'base' is inherited without being named"),
        ("{a: {extends: 7}}", "a.extends: 7 is not a declared name"),
        ("{base: {extends: a}, a: {}}", "base.extends: 'base' is what others inherit"),
        ("{a: {layers: [b]}, c: {}}", "a.layers: 'b' is not another declared environment; there"),
        ("{a: {layers: [b]}, b: {layers: [c]}, c: {}}", "a.layers: 'b' has layers itself"),
        ("{base: {layers: [b]}, b: {}}", "base.layers: 'b' inherits base, and so itself"),
        ("{a: {matrix: {}}}", "a.matrix: {} is not a mapping of axes to lists of values"),
        ("{a: {matrix: {a: ['1']}}, a-1: {}}", "a.matrix: another environment is called 'a-1'"),
        (
            "{a: {matrix: {x: {l-r: '1'}, y: {s: '1'}}, include: [{x: l-r, y: s}]}}",
            "a.matrix: two of its combinations are called 'l-r-s'",
        ),
        ("{a: {exclude: []}}", "a.exclude: there is no matrix beside it"),
        ("{a: {matrix: {python: ['>=3.x']}}}", "a.matrix.python: '>=3.x' is no range of versions"),
    ],
)
def test_what_is_wrong_between_declarations(wrong, environments, line):
    (said,) = wrong(yaml=f"environments: {environments}")
    assert f"isoenv.yaml.environments.{line}" in said


def test_a_layer_is_the_environment_beneath(declare):
    declared = declare(
        yaml="""
        environments:
          base: {layers: [heavy]}
          heavy: {base: false, dependencies: ['lib==1']}
          thin: {dependencies: ['other==1']}
        """
    )
    assert declared.spec("thin").beneath == (("heavy", declared.spec("heavy")),)
    assert declared.spec("heavy").beneath == ()


@pytest.fixture
def monorepo(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(textwrap.dedent(text))

    extras = "[project.optional-dependencies]\nfast = ['lib']\n"
    write("packages/a/pyproject.toml", f"{PROJECT}{extras}[dependency-groups]\nt = ['lib==1']\n")
    write("packages/a/dist/x-1-py3-none-any.whl", "")
    write("packages/a/pylock.toml", LOCK)
    write(
        "packages/a/isoenv.yaml",
        """
        environments:
          a:
            project: editable
            extras: [fast]
            groups: [t]
            dependencies: ['.[fast]', './dist/x-1-py3-none-any.whl']
            local: ['../b']
            lock: pylock.toml
            prepend-paths: [bin, /opt/bin, ~/bin]
        """,
    )
    write(
        "packages/b/pyproject.toml", PROJECT + "[tool.isoenv.environments.b]\nproject = 'wheel'\n"
    )
    return write


def test_an_included_file_speaks_of_the_directory_it_lies_in(declare, monorepo):
    declared = declare(yaml="include: ['packages/*/isoenv.yaml', 'packages/*/pyproject.toml']")
    spec = declared.spec("a")
    assert (spec.project, spec.project_directory) == ("editable", "packages/a")
    assert spec.extras == ("fast",)
    assert spec.requirements == (
        "./packages/a[fast]",
        "lib==1",
        "./packages/a/dist/x-1-py3-none-any.whl",
    )
    assert spec.local == ("./packages/b",)
    assert spec.lock == "./packages/a/pylock.toml"
    assert spec.prepend_paths == ("./packages/a/bin", "/opt/bin", "~/bin")
    assert declared.spec("b").project_directory == "packages/b"
    assert declared.origins["a"] == "packages/a/isoenv.yaml"


def test_extras_are_those_of_the_project_that_goes_in(declare, monorepo):
    toml = PROJECT + "[project.optional-dependencies]\ntest = []\n"
    declared = declare(yaml="include: 'packages/*/isoenv.yaml'", toml=toml)
    assert declared.spec(None).extras == ("test",)
    assert declared.spec("a").extras == ("fast",)


def test_files_that_include_each_other_are_read_once(declare, monorepo):
    monorepo("packages/c/isoenv.yaml", "include: ['../../isoenv.yaml']\nenvironments: {c: {}}\n")
    assert declare(yaml="include: [packages/c/isoenv.yaml]").names == ["c"]


def test_what_is_wrong_with_included_files(wrong, monorepo):
    monorepo("packages/c/isoenv.yaml", "environments: {x: {}, y: {lock: gone.toml}}\n")
    monorepo("packages/d/isoenv.yaml", "environments: {x: {python: '3.9'}}\ninclude: 7\n")
    monorepo("packages/d/notes.txt", "")
    monorepo("packages/d/envs.toml", "[environments.z]\n")
    monorepo("packages/d/pyproject.toml", "")
    patterns = "'packages/[cd]/*.yaml', '/abs', 'none/*', 'packages/d/*.t*', 5, ''"
    lines = wrong(yaml=f"include: [{patterns}]")
    words = [
        "packages/c/isoenv.yaml.environments.y.lock: 'gone.toml' does not exist below",
        "packages/d/isoenv.yaml.environments.x: 'x' is declared with other content in packages/c",
        "packages/d/isoenv.yaml.include: 7 is not a list of globs",
        "isoenv.yaml.include: '/abs' is not a relative glob",
        "isoenv.yaml.include: 5 is not a relative glob",
        "isoenv.yaml.include: '' is not a relative glob",
        "isoenv.yaml.include: 'none/*' matches no file below",
        "isoenv.yaml.include: 'packages/d/notes.txt' is neither a YAML nor a TOML file",
        "packages/d/envs.toml: it has no table [tool.isoenv]",
    ]
    for expected in words:
        assert [line for line in lines if expected in line], (expected, lines)
    assert len(lines) == len(words)


# Fields of resolving


def test_credentials_in_a_file_that_a_requirements_file_names_are_refused(around, tmp_path):
    (tmp_path / "all.txt").write_text("-r sub/more.txt\n")
    (tmp_path / "sub" / "more.txt").write_text("--extra-index-url https://me:secret@one.test/\n")
    (line,) = broken(around, requirements="all.txt")
    assert line.startswith("x.requirements: 'sub/more.txt' has credentials in its URLs")
    assert "secret" not in line


def test_fields_of_resolving_are_read(around, tmp_path):
    (tmp_path / "bounds.txt").write_text("# why\nlib<3  # because\n\nother==1\n")
    layer = fields(
        around,
        resolution="lowest-direct",
        prerelease="allow",
        constraints=["lib<2", "bounds.txt"],
        overrides=["other==2"],
        index="https://one.test/simple",
        extra_indexes=["internal=https://two.test/simple"],
        find_links=["tree", "https://three.test/links"],
        exclude_newer="2026-01-31",
        requirements="bounds.txt",
    )
    assert layer.constraints == ("lib<2", "lib<3", "other==1")
    assert layer.extra_indexes == ("internal=https://two.test/simple",)
    assert layer.requirement_files == ("bounds.txt",)
    assert layer.find_links == ("tree", "https://three.test/links")


@pytest.mark.parametrize(
    "moment", ["2026-01-31", "2026-01-31T10:00:00Z", "30 days", "P30D", "2 weeks", "1 month"]
)
def test_a_moment_is_a_date_or_a_span(around, moment):
    assert fields(around, exclude_newer=moment).exclude_newer == moment


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resolution": "newest"}, "'newest' is not one of: highest, lowest-direct, lowest"),
        ({"prerelease": True}, "True is not one of: disallow, allow"),
        ({"exclude_newer": "yesterday"}, "'yesterday' is neither a date such as"),
        ({"index": "https://user:pass@x.test"}, "has credentials in its URL"),
        ({"index": "pypi"}, "'pypi' is not the URL of an index, nor NAME=URL"),
        ({"find_links": ["gone"]}, "'gone' does not exist below"),
        ({"constraints": ["./tree"]}, "tree' cannot be read: "),
        ({"overrides": ["not one"]}, "'not one' is not a PEP 508 requirement"),
        ({"requirements": ["gone.txt"]}, "'gone.txt' does not exist below"),
        ({"lock": "pylock.broken.toml"}, "is no lock file (PEP 751): "),
    ],
)
def test_fields_of_resolving_that_break_a_rule(around, tmp_path, given, words):
    (tmp_path / "pylock.broken.toml").write_text("packages = 7")
    (line,) = broken(around, **given)
    assert words in line
    assert "pass" not in line


def test_an_alias_bomb_is_refused(wrong):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (line,) = wrong(yaml="\n".join(lines))
    assert "its aliases stand for more than 100,000 values" in line
    (line,) = wrong(yaml="environments: &a {b: *a}")
    assert "its aliases stand for" in line


def test_an_alias_of_a_few_values_is_as_good_as_the_values(declare):
    yaml = "environments: {a: &a {python: '3.9'}, b: *a, c: {<<: *a, env: {C: c}}}"
    declared = declare(yaml=yaml)
    assert declared.spec("a") == declared.spec("b")
    assert declared.spec("c").python == "3.9"
