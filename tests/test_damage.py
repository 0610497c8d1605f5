"""Environments that are broken, in every way there is: seen at a glance, or file by file."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from pytest_isoenv import _soundness, _whereabouts
from pytest_isoenv._backends import health, records, uv
from pytest_isoenv.errors import BrokenEnvironment

FILES = {
    "lib.py": "VALUE = 1\n",
    "lib/inner.py": "VALUE = 2\n",
    "lib/empty.py": "",
    "../../../bin/tool": "#!/env/bin/python\n",
}


def row(name: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"{name},sha256={digest.decode()},{len(text)}\n"


class Made:
    """A directory that looks like an environment, and what was noted of it."""

    def __init__(self, directory: Path, base: Path) -> None:
        self.directory = directory
        self.site = directory / "lib" / "python3" / "site-packages"
        self.python = directory / "bin" / "python"
        self.base = base
        self.python.parent.mkdir(parents=True)
        base.mkdir()
        (base / "python3.12").write_text("an interpreter")
        (base / "os.py").write_text("the standard library")
        self.python.symlink_to(base / "python3.12")
        (directory / "pyvenv.cfg").write_text(f"home = {base}\n")
        self.install("lib", FILES)
        (self.site / "start.pth").write_text("import site\n")

    def install(self, name: str, files: dict[str, str], record: str = "", by: str = "uv") -> None:
        info = self.site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        for path, text in files.items():
            file = self.site / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (info / "INSTALLER").write_text(by)
        rows = "".join(row(path, text) for path, text in files.items())
        (info / "RECORD").write_text(f"{rows}{record}{info.name}/RECORD,,\n")

    def note(self) -> None:
        real = (self.base / "python3.12").resolve()
        facts = {
            "python": "3.12.4",
            "real_path": str(real),
            "interpreter_file": [real.stat().st_size, real.stat().st_mtime_ns],
            "stdlib": str(self.base / "os.py"),
            "packages": {"lib": "1.0"},
            "installed": {str(self.site): sorted(path.name for path in self.site.iterdir())},
        }
        self.facts = facts | _soundness.noted(self.directory, facts)

    def glance(self) -> str | None:
        return _soundness.glance(uv, self.directory, self.facts)

    def examined(self, *, thoroughly: bool = True) -> list[str]:
        found = records.examine(self.directory, self.facts, thoroughly=thoroughly)
        return [str(damage) for damage in found]


@pytest.fixture
def made(tmp_path):
    made = Made(tmp_path / "KEY" / "1", tmp_path / "base")
    made.note()
    assert made.glance() is None
    assert made.examined() == []
    return made


# At a glance


def replace(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def link_elsewhere(made: Made) -> None:
    other = made.base / "python3.13"
    other.write_text("an interpreter")
    replace(made.base / "python3.12", "")
    (made.base / "python3.12").unlink()
    (made.base / "python3.12").symlink_to(other)


def in_a_circle(made: Made) -> None:
    made.python.unlink()
    made.python.symlink_to(made.python)


SITE = "lib/python3/site-packages"
AT_A_GLANCE = {
    "the environment's interpreter is gone": (
        lambda made: made.python.unlink(),
        "its interpreter {directory}/bin/python is gone",
    ),
    "the interpreter that it was made of is gone": (
        lambda made: (made.base / "python3.12").unlink(),
        "its interpreter {base}/python3.12 is gone",
    ),
    "its interpreter is a link that leads nowhere": (
        in_a_circle,
        "its interpreter {directory}/bin/python is gone",
    ),
    "its interpreter is another one now": (
        link_elsewhere,
        "its interpreter was {base}/python3.12 and is now {base}/python3.13",
    ),
    "its interpreter was replaced in its place": (
        lambda made: replace(made.base / "python3.12", "another"),
        "its interpreter {base}/python3.12, Python 3.12.4 then, was replaced",
    ),
    "the standard library is gone": (
        lambda made: (made.base / "os.py").unlink(),
        "{base}/os.py is gone",
    ),
    "the standard library was replaced": (
        lambda made: replace(made.base / "os.py", "another"),
        "{base}/os.py was changed",
    ),
    "pyvenv.cfg is gone": (
        lambda made: (made.directory / "pyvenv.cfg").unlink(),
        "{directory}/pyvenv.cfg is gone",
    ),
    "pyvenv.cfg is empty, as after a power loss": (
        lambda made: (made.directory / "pyvenv.cfg").write_text(""),
        "{directory}/pyvenv.cfg was changed",
    ),
    "a distribution is gone": (
        lambda made: shutil.rmtree(made.site / "lib-1.0.dist-info"),
        "missing from it: lib-1.0.dist-info",
    ),
    "site-packages is gone": (
        lambda made: shutil.rmtree(made.site),
        "{directory}/" + SITE + " is gone",
    ),
    "the directory is gone": (
        lambda made: shutil.rmtree(made.directory),
        "its directory {directory} is gone",
    ),
}


@pytest.mark.parametrize("how", AT_A_GLANCE)
def test_it_is_seen_at_a_glance_that(made, how):
    damage, said = AT_A_GLANCE[how]
    damage(made)
    assert made.glance() == said.format(directory=made.directory, base=made.base)


def test_of_many_that_are_missing_some_are_named(made):
    for number in range(7):
        made.install(f"more{number}", {})
    made.note()
    for info in made.site.glob("more*"):
        shutil.rmtree(info)
    assert made.glance() == (
        "missing from it: more0-1.0.dist-info, more1-1.0.dist-info, more2-1.0.dist-info, and 4 more"
    )


def test_what_older_versions_noted_is_enough_for_a_glance(made):
    for name in ("witnesses", "executable", "prefix", "records", "loose", "stdlib"):
        del made.facts[name]
    assert made.glance() is None
    assert made.examined() == []
    del made.facts["installed"]
    assert made.glance() == "what was noted of it is incomplete"


def test_a_copy_of_a_file_with_other_times_is_no_damage(made):
    for file in (made.directory / "pyvenv.cfg", made.base / "os.py"):
        os.utime(file, (0, 0))
    assert made.glance() is None


def test_a_glance_walks_through_no_tree_and_starts_no_process(made, monkeypatch):
    listed = []
    listing = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listing(path))
    monkeypatch.setattr(os, "scandir", None)
    monkeypatch.setattr("subprocess.Popen", None)
    assert made.glance() is None
    assert listed == [str(made.site)]


# Where it is, and whose


def test_a_directory_that_was_moved_says_where_from_and_where_to(made, tmp_path):
    there = tmp_path / "elsewhere"
    made.directory.rename(there)
    reason = _soundness.glance(uv, there, made.facts)
    assert reason == f"it was built at {made.directory} and is now at {there}"


def test_a_copy_is_no_environment_either_though_the_original_is_there(made, tmp_path):
    shutil.copytree(made.directory, tmp_path / "copy", symlinks=True)
    assert "is now at" in _soundness.glance(uv, tmp_path / "copy", made.facts)


def test_another_name_of_the_same_place_is_no_other_place(made, tmp_path):
    (tmp_path / "link").symlink_to(made.directory.parent)
    assert _soundness.glance(uv, tmp_path / "link" / "1", made.facts) is None


as_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a file away"
)


@as_root
def test_an_environment_of_another_user_is_not_used_but_built_again_beside_it(made):
    os.chown(made.directory, 1234, -1)
    assert made.glance() == "it belongs to the user with id 1234"
    _soundness.refuse(made.directory)


@as_root
def test_where_another_user_owns_the_place_nothing_is_used_or_built(made):
    os.chown(made.directory.parent, 1234, -1)
    with pytest.raises(BrokenEnvironment) as caught:
        _soundness.refuse(made.directory)
    text = str(caught.value)
    assert "it belongs to the user with id 1234, who could change what runs in it" in text
    assert f"remove {made.directory.parent}, or name another cache" in text


def test_what_root_owns_is_strange_to_nobody(made, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: made.directory.stat().st_uid + 1)
    is_roots = made.directory.stat().st_uid == 0
    assert (_whereabouts.strange(made.directory) is None) == is_roots


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_an_environment_that_is_only_read_is_sound(made):
    paths = [made.directory, *made.directory.rglob("*")]
    for path in paths:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    assert made.glance() is None
    assert made.examined() == []
    for path in paths:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


# File by file


def edit(name: str, text: str):
    return lambda made: replace(made.site / name, text)


RECORD = "lib-1.0.dist-info/RECORD"
FILE_BY_FILE = {
    "a module is gone": (
        lambda made: (made.site / "lib" / "inner.py").unlink(),
        [f"{SITE}/lib/inner.py of lib is gone"],
    ),
    "a module is empty, as after a power loss": (
        edit("lib/inner.py", ""),
        [f"{SITE}/lib/inner.py of lib is empty, and had 10"],
    ),
    "a module was edited": (
        edit("lib/inner.py", "VALUE = 22\n"),
        [f"{SITE}/lib/inner.py of lib has 11 bytes, and had 10"],
    ),
    "a module was edited and has as many bytes": (
        edit("lib/inner.py", "VALUE = 3\n"),
        [f"{SITE}/lib/inner.py of lib has another content than was installed"],
    ),
    "an empty module is empty no longer": (
        edit("lib/empty.py", "import os\n"),
        [f"{SITE}/lib/empty.py of lib has 10 bytes, and had 0"],
    ),
    "a script was edited": (
        edit("../../../bin/tool", "#!/other/bin/python"),
        ["bin/tool of lib has 19 bytes, and had 18"],
    ),
    "a record is empty, as after a power loss": (
        edit("lib-1.0.dist-info/RECORD", ""),
        [f"{SITE}/lib-1.0.dist-info/RECORD of lib was changed"],
    ),
    "a record is gone": (
        lambda made: (made.site / "lib-1.0.dist-info" / "RECORD").unlink(),
        [f"{SITE}/lib-1.0.dist-info/RECORD of lib is gone"],
    ),
    "a record was edited with its file": (
        lambda made: (edit("lib.py", "")(made), edit(RECORD, "lib.py,,\n")(made)),
        [f"{SITE}/lib-1.0.dist-info/RECORD of lib was changed", f"{SITE}/lib.py was changed"],
    ),
    "what Python reads when it starts was edited": (
        edit("start.pth", "import os\n"),
        [f"{SITE}/start.pth was changed"],
    ),
    "another distribution was installed": (
        lambda made: made.install("stranger", {"stranger.py": ""}),
        [f"{SITE}/stranger-1.0.dist-info was added"],
    ),
    "a link to its interpreter is another": (
        lambda made: (made.python.unlink(), made.python.symlink_to(made.base / "os.py")),
        ["bin/python was changed"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", FILE_BY_FILE)
def test_it_is_found_file_by_file_that(made, how):
    damage, said = FILE_BY_FILE[how]
    damage(made)
    assert made.examined() == said


def test_sizes_alone_tell_what_was_never_written_whole(made):
    edit("lib/inner.py", "VALUE = 3\n")(made)
    assert made.examined(thoroughly=False) == []
    edit("lib/inner.py", "")(made)
    assert made.examined(thoroughly=False) == [f"{SITE}/lib/inner.py of lib is empty, and had 10"]


NO_DAMAGE = {
    "bytecode is compiled anew": (
        {"record": row("__pycache__/lib.cpython-312.pyc", "code") + "__pycache__/x.pyc,,\n"},
        lambda made: None,
    ),
    "several distributions have a file, of which the last stays": (
        {"files": {"lib.py": "VALUE = 'other'\n"}},
        lambda made: None,
    ),
    "conda's record is of the package as it was made": (
        {"files": {"geo/core.py": "VALUE = 1\n"}, "by": "conda\n"},
        edit("geo/core.py", "VALUE = 1  # with the prefix\n"),
    ),
    "tests have left something beside the modules": (
        {"files": {}},
        edit("lib-1.0.dist-info/INSTALLER", "uv"),
    ),
    "a record names what lies elsewhere": (
        {"record": row("/elsewhere/file", "x") + row("../../../../../file", "x")},
        lambda made: None,
    ),
    "a record has rows without a hash, or of a hash that nobody knows": (
        {"files": {"a.py": "", "b.py": ""}, "record": "a.py,,\nb.py,sha999=abc,\n"},
        lambda made: None,
    ),
}


@pytest.mark.parametrize("how", NO_DAMAGE)
def test_it_is_no_damage_that(tmp_path, how):
    options, then = NO_DAMAGE[how]
    made = Made(tmp_path / "KEY" / "1", tmp_path / "base")
    made.install("other", **{"files": {}, **options})
    made.note()
    then(made)
    (made.site / "lib" / "left-by-a-test.txt").write_text("x")
    assert made.examined() == []


def test_a_name_for_two_of_the_same_place_counts_once(made):
    (made.directory / "lib64").symlink_to("lib")
    other = str(made.site).replace("/lib/", "/lib64/")
    made.facts["installed"][other] = made.facts["installed"][str(made.site)]
    (made.site / "lib" / "inner.py").unlink()
    assert made.examined() == [f"{SITE}/lib/inner.py of lib is gone"]


def test_of_much_damage_the_first_files_are_named(made):
    for name in FILES:
        (made.site / name).unlink()
    found = list(records.examine(made.directory, made.facts))
    assert records.told(found).endswith("; and 1 more files")
    assert records.told(found[:1]) == f"{SITE}/lib.py of lib is gone"


def test_what_cannot_be_read_is_said_and_not_called_missing(made, monkeypatch):
    def listdir(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", listdir)
    assert health.check(made.directory, made.facts) == (
        f"{made.site} cannot be read: Permission denied"
    )
