"""The README and the documentation say what is true: every block in them is run.

One page is one project. Its blocks are taken in order: a block whose first line is a comment with
a file name (``# test_users.py``) is written there, the commands of a ``console`` block are run
there, and what the page shows of their output must be in what they print. Numbers may differ, and
so may whatever the page writes as a path below ``/home/ada``.

An HTML comment right above a block changes that: ``<!-- exit: 1 -->`` says how its commands end,
``<!-- not run: REASON -->`` that it cannot be run here, and why, ``<!-- invalid: REASON -->`` that
it is a declaration that must be refused.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_isoenv import _config, _fields, _variables, hookspecs
from pytest_isoenv._backends import builtin
from pytest_isoenv.errors import ConfigError
from tests import test_plugins
from tests.packages import Served, make_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python", "yaml", "toml", "ini", "console", "shell", "json", "text"}
# Every block that is not run, by page: adding one is a decision.
NOT_RUN = {"README.md": 2, "docs/explanation/parity.md": 1, "docs/explanation/speed.md": 1}
# What a page writes for an index that the reader has and we have not.
PRIVATE_INDEX = "https://packages.example.com/simple"
# Lines of a transcript that say something of the machine, or hang on what is ready first.
ELSEWHERE = re.compile(r"platform |rootdir: |plugins: |cachedir: |\.\.\.$|\S+\.py [.sxXFE]+")

FENCE = re.compile(r"^```(?P<language>\S*)$")
COMMENT = re.compile(r"^<!-- (?P<key>exit|invalid|not run): (?P<value>.+) -->$")
FILE_NAME = re.compile(r"^# (?P<path>[\w./-]+\.\w+)$")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block, and what the comment above it says."""

    page: str
    line: int
    language: str
    text: str
    exit: int = 0
    not_run: str = ""
    invalid: str = ""

    @property
    def file(self) -> str | None:
        """The file that it is the content of."""
        match = FILE_NAME.match(self.text.partition("\n")[0])
        return match["path"] if match else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    return list(_blocks(page.relative_to(ROOT).as_posix(), page.read_text().splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            opened = number, fence["language"]
            continue
        start, language = opened
        opened = None
        if language.startswith("{"):
            continue  # a directive of the documentation's, not code
        comment = COMMENT.match(lines[start - 1]) if start else None
        said: dict[str, Any] = {comment["key"]: comment["value"]} if comment else {}
        yield Block(
            page,
            start + 1,
            language,
            "\n".join(lines[start + 1 : number]) + "\n",
            exit=int(said.get("exit", 0)),
            not_run=said.get("not run", ""),
            invalid=said.get("invalid", ""),
        )
    assert opened is None, f"{page}: the block in line {opened} is not closed"


BLOCKS = {page.relative_to(ROOT).as_posix(): blocks_of(page) for page in PAGES}
RUNNABLE = [name for name, blocks in BLOCKS.items() if any(not b.not_run for b in blocks)]


class Project:
    """The directory that the blocks of one page come together in."""

    def __init__(self, directory: Path, index: Served) -> None:
        self.directory = directory
        self._index = index

    def write(self, block: Block) -> None:
        assert block.file, f"{block}: its first line must be a comment that names its file"
        path = self.directory / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        if path.name in ("isoenv.yaml", "pyproject.toml"):
            refused = pytest.raises(ConfigError) if block.invalid else nullcontext()
            with refused:
                _config.load(path.parent, {backend.name for backend in builtin()})

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        variables, words = {}, shlex.split(command, comments=True)
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            variables[name] = value.replace(PRIVATE_INDEX, self._index.url)
        assert words[0] in ("pytest", "python", "uv", "isoenv"), (
            f"{command}: no test runs {words[0]}"
        )
        own = Path(sys.executable).parent
        # A reader's pytest is no process of pytest-xdist; pytest-benchmark would do nothing in one.
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
        environ |= {"PATH": f"{own}{os.pathsep}{os.environ['PATH']}", **variables}
        return subprocess.run(
            [str(own / words[0]), *words[1:]],
            cwd=self.directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the output that the page shows."""
    first, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not first, f"{block}: a console block starts with a command"
    for part in parts:
        command, *output = part.splitlines()
        yield command, output


def pattern(line: str) -> str:
    """What a line of a transcript may look like elsewhere."""
    # pytest cuts the lines of its summary to the terminal's width.
    text = re.sub(r"\b[0-9a-f]{20}\b", "\0", line.strip().removesuffix("..."))
    text = re.sub(r"/home/ada[\w./~-]*", "\1", text)
    text = re.sub(r"\d+", "0", re.escape(text)).replace("\\ ", " ")
    text = re.sub(" +", " +", re.sub(r"([=_-])\1{3,}", r"\1+", text)).replace("0", r"\d+")
    return text.replace("\0", "[0-9a-f]{20}").replace("\1", r"\S+")


def check_console(block: Block, project: Project) -> None:
    for command, expected in commands_of(block):
        ended = project.run(command)
        assert ended.returncode == block.exit, f"{block}: {command}\n{ended.stdout}"
        for line in expected:
            if line.strip() and not ELSEWHERE.match(line.strip()):
                found = re.search(rf"^ *{pattern(line)}", ended.stdout, re.MULTILINE)
                assert found, f"{block}: {command} did not print\n{line}\nbut\n{ended.stdout}"


def check_json(block: Block, project: Project) -> None:
    """A JSON block shows the report that the page's last run has written."""
    shown = json.loads(block.text)
    (written,) = [json.loads(file.read_text()) for file in project.directory.glob("*.json")]
    assert shape(shown) == shape(written), str(block)


def shape(value: Any) -> Any:
    """Keys and types; names that come from users and packages do not count."""
    if isinstance(value, dict):
        if value and not {"version", "name"} & set(value):
            return {"*": shape(next(iter(value.values())))}
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def check_workflow(block: Block, project: Project) -> None:
    """The steps of a CI configuration that run pytest do so."""
    jobs = yaml.safe_load(block.text)["jobs"].values()
    steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    commands = [run for run in steps if run.startswith("pytest")]
    assert commands
    for command in commands:
        ended = project.run(command)
        assert ended.returncode == 0, f"{block}: {command}\n{ended.stdout}"


@pytest.fixture
def project(tmp_path: Path, own_cache: Path, index: Served, wheels: Path) -> Project:
    make_wheel(wheels, "house-style", "1.2")
    directory = tmp_path / "project"
    directory.mkdir()
    return Project(directory, index)


@pytest.mark.network
@pytest.mark.parametrize("page", RUNNABLE)
def test_what_a_page_shows_is_what_happens(page: str, project: Project) -> None:
    ran = False
    for block in BLOCKS[page]:
        if block.not_run:
            continue
        if block.language == "console":
            check_console(block, project)
            ran = True
        elif block.language == "json":
            check_json(block, project)
        elif block.file and ".github" in block.file:
            check_workflow(block, project)
            ran = True
        else:
            project.write(block)
    if not ran and list(project.directory.rglob("test_*.py")):
        ended = project.run("pytest")
        assert ended.returncode == 0, f"{page}\n{ended.stdout}"


@pytest.mark.parametrize("page", BLOCKS)
def test_every_block_has_a_language_that_something_here_checks(page: str) -> None:
    assert {block.language for block in BLOCKS[page]} <= LANGUAGES
    assert sum(bool(block.not_run) for block in BLOCKS[page]) == NOT_RUN.get(page, 0)


def _commands_of_readme() -> list[str]:
    blocks = [block for block in BLOCKS["README.md"] if block.language == "shell"]
    assert all(block.not_run for block in blocks)
    return [block.text.strip() for block in blocks]


def test_the_readme_has_two_commands_for_setting_up() -> None:
    examples, tests = _commands_of_readme()
    assert examples.endswith(".venv/bin/python examples/run.py")
    assert tests.endswith(".venv/bin/pytest -n auto")


def test_ci_runs_the_readmes_command_for_the_tests() -> None:
    ci = ROOT / ".ci" / "run"
    if not ci.is_file():
        pytest.skip("CI's script is in the repository only")
    match = re.search(r"grep -E '(.*)' README.md", ci.read_text())
    assert match, "CI takes the command from the README"
    found = re.findall(match[1], (ROOT / "README.md").read_text(), re.MULTILINE)
    assert found == [_commands_of_readme()[1]]


def _mentioned(pages: list[Path]) -> str:
    return "\n".join(page.read_text() for page in pages)


def _options() -> set[str]:
    text = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"^  (--env-[a-z-]+)", text, re.MULTILINE))


def test_options_of_ours_that_pages_mention_exist_and_all_are_in_the_reference() -> None:
    mentioned = set(re.findall(r"--env-[a-z-]+", _mentioned(PAGES)))
    reference = set(re.findall(r"--env-[a-z-]+", _mentioned([ROOT / "docs/reference/options.md"])))
    assert mentioned <= _options() == reference


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("reference/config.md", sorted(_fields.FIELDS)),
        ("reference/marker.md", sorted(key.replace("-", "_") for key in _fields.FIELDS)),
        ("reference/hooks.md", [n for n in vars(hookspecs) if n.startswith("pytest_isoenv")]),
        ("reference/variables.md", sorted(_variables.FOR_INSTALLERS | _variables.HOST_ONLY)),
    ],
)
def test_the_reference_names_everything(page: str, names: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    missing = [name for name in names if f"`{name}`" not in text and f".{name}\n" not in text]
    assert missing == []


PLUGINS = (ROOT / "docs/reference/plugins.md").read_text()


def test_the_table_of_plugins_names_every_test_of_theirs() -> None:
    tests = {name for name in vars(test_plugins) if name.startswith("test_")}
    assert set(re.findall(r"`(test_\w+)`", PLUGINS)) == tests


def test_the_table_of_plugins_names_what_was_tried() -> None:
    tried = {*test_plugins.MANY, *test_plugins.RERUN, *test_plugins.RANDOM}
    tried |= {*test_plugins.SUBTESTS, *test_plugins.ON_HOST}
    rows = [line for line in PLUGINS.splitlines() if line.startswith("| `")]
    named = dict(re.findall(r"^\| `([\w-]+)` ([\d.]+)", "\n".join(rows), re.MULTILINE))
    # What others need.
    assert {f"{name}=={version}" for name, version in named.items()} == {
        requirement for requirement in tried if not requirement.startswith(("trio==", "pytest=="))
    }


def test_the_table_of_plugins_has_every_pair() -> None:
    (head,) = re.findall(r"^\| There \\ here \| (.*) \|$", PLUGINS, re.MULTILINE)
    assert head.split(" | ") == list(test_plugins.HERE)
    for there in test_plugins.THERE:
        (row,) = re.findall(rf"^\| {there} \| (.*) \|$", PLUGINS, re.MULTILINE)
        assert row.split(" | ") == [
            "note 4" if (there, here) in test_plugins.NOTED else "works"
            for here in test_plugins.HERE
        ]


def test_every_dependency_has_its_reasons_written_down() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["conda"]]
    names = [re.split(r"[<>=;\[ ]", text)[0] for text in declared]
    page = (ROOT / "docs/explanation/dependencies.md").read_text()
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE) == sorted(names)


def test_every_page_is_reached_from_a_table_of_contents() -> None:
    listed = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for tree in re.findall(r"^:::\{toctree\}\n(.*?)^:::$", page.read_text(), re.M | re.S):
            listed |= {page.parent / f"{name}.md" for name in re.findall(r"^[\w/-]+$", tree, re.M)}
    assert listed == set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs/index.md"}


NAMED_TEST = re.compile(r"`(tests/\w+\.py)::(test_\w+)`")


def test_every_test_that_the_documentation_names_is_there():
    named = {found for page in PAGES for found in NAMED_TEST.findall(page.read_text())}
    assert len(named) > 20
    missing = [
        f"{file}::{name}"
        for file, name in sorted(named)
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []
