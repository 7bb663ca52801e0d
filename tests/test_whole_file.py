"""Files that appear whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from aiauto.errors import UnavailableError
from aiauto.whole_file import whole_file

if TYPE_CHECKING:
    from pathlib import Path


def fail_with(error: BaseException, target: Path) -> None:
    with whole_file(target) as file:
        file.write(b"half")
        raise error


def test_it_is_there_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with whole_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_who_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    for name, private in (("new", False), ("private", True)):
        with whole_file(tmp_path / name, private=private):
            pass
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    assert modes == {"any": modes["any"], "new": modes["any"], "private": 0o600}


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the objective's own"),
        KeyboardInterrupt(),
        UnavailableError("the server is away"),  # a ConnectionError, and so an OSError
        FileNotFoundError(errno.ENOENT, "No such file or directory", "another"),
    ],
)
def test_what_fails_elsewhere_passes(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(type(error)) as caught:
        fail_with(error, target)
    assert caught.value is error
    assert target.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_disk_says_which_file_it_has_no_room_for(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with pytest.raises(OSError, match="No space left") as caught:
        fail_with(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), target)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names are as long as 255 bytes there")
def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    target = tmp_path / ("가" * 85)
    with whole_file(target) as file:
        file.write(b"there")
    assert target.read_bytes() == b"there"
    longer = tmp_path / ("가" * 86)
    with pytest.raises(OSError, match="name too long") as caught, whole_file(longer):
        pass
    assert caught.value.filename == str(longer)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    target = tmp_path / "no" / "file"
    with pytest.raises(FileNotFoundError) as caught, whole_file(target):
        pass
    assert caught.value.filename == str(target)
