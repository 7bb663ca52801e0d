"""Paths as callers write them, and folders that nothing leads out of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiauto import errors
from aiauto.server.files import paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a", ("a",)),
        ("a/b c/d.txt", ("a", "b c", "d.txt")),
        ("...", ("...",)),
        ("%2e%2e/x", ("%2e%2e", "x")),
        ("데이터/학습.csv", ("데이터", "학습.csv")),
        ("x" * 255, ("x" * 255,)),
    ],
)
def test_paths_that_are_taken(path: str, names: tuple[str, ...]) -> None:
    assert paths.split(path) == names


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "relative"),
        ("..", r"\.\."),
        ("a/../b", r"\.\."),
        ("a/./b", r"\.\."),
        ("a//b", "single /"),
        ("a/", "single /"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\x7fb", "control character"),
        ("a\\..\\b", "control character"),
        ("x" * 256, "255 bytes"),
        ("é" * 128, "255 bytes"),
        ("/".join(["x" * 200] * 6), "1024 are allowed"),
        ("\ud800", "Unicode"),
    ],
)
def test_paths_that_are_not(path: str, why: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=why):
        paths.split(path)


@given(st.text(max_size=40))
def test_no_path_leads_out(path: str) -> None:
    try:
        names = paths.split(path)
    except errors.InvalidArgumentError:
        return
    assert os.path.normpath("/root/" + path) == "/root/" + "/".join(names)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").write_text("mine")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "link").symlink_to(tmp_path / "secret" / "file")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize("path", ["out/file", "link", "pipe", "folder", "out", "folder/file/x"])
def test_what_is_no_ordinary_file_is_not_opened(root: Path, path: str) -> None:
    with (
        pytest.raises(errors.FailedPreconditionError),
        paths.spoken_errors(path),
        paths.open_file(root, paths.split(path)),
    ):
        pass


def test_what_is_there_is_opened_and_what_is_not_is_not_there(root: Path) -> None:
    with paths.open_file(root, ("folder", "file")) as file:
        assert file.read() == b"mine"
    with (
        pytest.raises(errors.NotFoundError, match="there is no file 'gone/file'"),
        paths.spoken_errors("gone/file"),
    ):
        paths.open_file(root, ("gone", "file"))
    assert paths.stat_of(root, ("gone", "file")) is None


def test_no_folder_is_made_through_a_link(root: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(NotADirectoryError),
        paths.opened_folder(root, ("out", "new"), make=True),
    ):
        pass
    assert not (tmp_path / "secret" / "new").exists()
    with paths.opened_folder(root, ("a", "b"), make=True):
        assert (root / "a" / "b").is_dir()


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = psutil.Process().num_fds()
    for path in ("out/file", "link", "pipe", "folder", "gone", "folder/file/x"):
        for _ in range(100):
            with pytest.raises(errors.RpcError), paths.spoken_errors(path):
                paths.open_file(root, paths.split(path))
    # What else runs in this process opens and closes some meanwhile.
    assert psutil.Process().num_fds() < before + 50
