"""Files that are never half written, and what a tree of files contains."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_isoenv._files import content_digest, read_json, write_atomically, write_json


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "src" / "pkg").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "src" / "pkg" / "code.py").write_text("VALUE = 1\n")
    return root


def test_a_file_is_written_with_the_directories_above_it(tmp_path):
    write_atomically(tmp_path / "a" / "b.txt", "text")
    assert (tmp_path / "a" / "b.txt").read_text() == "text"


def test_a_write_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    write_atomically(tmp_path / "b.txt", "old")
    write_atomically(tmp_path / "b.txt", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b.txt": "new"}


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    write_atomically(tmp_path / "b.txt", "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "b.txt", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b.txt": "old"}


def test_json_comes_back_as_it_was_written(tmp_path):
    value = {"b": [1, None, "ü"], "a": {"x": True}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": ', b"\xff\xfe\x00", b"not json"])
def test_json_that_cannot_be_read_is_as_good_as_none(tmp_path, content):
    (tmp_path / "v.json").write_bytes(content)
    assert read_json(tmp_path / "v.json") is None


def test_json_that_is_not_there_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    assert read_json(tmp_path / "v.json") is None
    assert read_json(tmp_path / "file" / "v.json") is None


def test_the_same_content_has_the_same_digest_wherever_it_lies(tree):
    before = content_digest(tree)
    assert content_digest(tree.rename(tree.with_name("elsewhere"))) == before


def test_modification_times_do_not_count(tree):
    before = content_digest(tree)
    os.utime(tree / "src" / "pkg" / "code.py", (0, 0))
    assert content_digest(tree) == before


def test_an_edit_below_src_counts_even_where_size_and_time_stay(tree):
    before = content_digest(tree)
    code = tree / "src" / "pkg" / "code.py"
    times = code.stat()
    code.write_text("VALUE = 2\n")
    os.utime(code, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_digest(tree) != before


def test_a_renamed_file_counts(tree):
    before = content_digest(tree)
    (tree / "src" / "pkg" / "code.py").rename(tree / "src" / "pkg" / "other.py")
    assert content_digest(tree) != before


def test_content_that_moves_from_one_file_to_the_next_counts(tree):
    (tree / "a.py").write_text("12")
    (tree / "b.py").write_text("3")
    before = content_digest(tree)
    (tree / "a.py").write_text("1")
    (tree / "b.py").write_text("23")
    assert content_digest(tree) != before


@pytest.mark.parametrize(
    "litter",
    [
        ".git/HEAD",
        ".venv/pyvenv.cfg",
        ".pytest_cache/README.md",
        "build/lib/pkg/code.py",
        "dist/tree-1.0.tar.gz",
        "src/tree.egg-info/PKG-INFO",
        "src/pkg/__pycache__/code.cpython-312.pyc",
        "src/pkg/code.pyc",
    ],
)
def test_what_tools_leave_in_a_tree_does_not_count(tree, litter):
    before = content_digest(tree)
    (tree / litter).parent.mkdir(parents=True, exist_ok=True)
    (tree / litter).write_text("litter")
    assert content_digest(tree) == before


@pytest.mark.parametrize("source", ["src/pkg/build/code.py", "src/dist/code.py", "data.bin"])
def test_a_directory_further_down_may_be_called_build(tree, source):
    before = content_digest(tree)
    (tree / source).parent.mkdir(parents=True, exist_ok=True)
    (tree / source).write_text("source")
    assert content_digest(tree) != before


def test_a_dangling_link_is_no_obstacle(tree):
    before = content_digest(tree)
    (tree / "link").symlink_to("nowhere")
    assert content_digest(tree) == before


def test_a_file_whose_name_is_not_utf8_is_no_obstacle(tree):
    before = content_digest(tree)
    try:
        Path(os.fsdecode(bytes(tree) + b"/\xff.py")).write_text("x")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    assert content_digest(tree) != before


def test_a_single_file_has_the_digest_of_its_name_and_content(tmp_path):
    file = tmp_path / "lib-1.0-py3-none-any.whl"
    file.write_bytes(b"one")
    before = content_digest(file)
    file.write_bytes(b"two")
    assert content_digest(file) != before
