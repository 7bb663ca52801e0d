"""The data folder: one server at a time, and nothing for others to read."""

from __future__ import annotations

import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from aiauto.server.data_dir import (
    AlreadyRunningError,
    DataDir,
    DataDirError,
    ServerState,
    write_private,
)

if TYPE_CHECKING:
    from pathlib import Path

STATE = ServerState("http://127.0.0.1:4242", 17, "9.9", "2026-01-02T03:04:05.678+00:00")
HOLD = """
import sys
from pathlib import Path
from aiauto.server.data_dir import DataDir
with DataDir(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_made_for_one_user(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "a" / "b")
    with data.held():
        data.write_state(STATE)
        data.token = "aiauto_token"
        data.last_port = 4242
        data.secret()
        assert mode(data.path) == 0o700
        assert mode(data.batches) == 0o700
        for name in ("server.json", "token", "secret", "port"):
            assert mode(data.path / name) == 0o600
    assert [path.name for path in data.path.glob(".*")] == []


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    assert (data.token, data.last_port, data.read_state()) == (None, None, None)
    data.token = "aiauto_token"
    data.last_port = 4242
    data.write_state(STATE)
    secret = data.secret()
    again = DataDir(tmp_path)
    assert (again.token, again.last_port, again.read_state()) == ("aiauto_token", 4242, STATE)
    assert again.secret() == secret
    assert len(secret) == 32
    assert (tmp_path / "token").read_text() == "aiauto_token\n"
    data.remove_state()
    data.remove_state()
    assert again.read_state() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": 1, "pid": "x"}', "\x00"])
def test_rubbish_counts_as_nothing(tmp_path: Path, text: str) -> None:
    for name in ("server.json", "port", "secret"):
        (tmp_path / name).write_text(text)
    data = DataDir(tmp_path)
    assert data.read_state() is None
    assert data.last_port is None
    assert len(data.secret()) == 32


def test_one_holder_at_a_time_over_processes(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    data = DataDir(tmp_path)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError, match="just starting or stopping"), data.held():
            pass
        data.write_state(STATE)
        with pytest.raises(AlreadyRunningError, match=r"127.0.0.1:4242 \(process 17"), data.held():
            pass
        holder.kill()
    # A holder that is killed holds nothing.
    with data.held():
        pass


def test_a_folder_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirError, match="AIAUTO_DATA_DIR"), DataDir(tmp_path / "file").held():
        pass


def test_writing_leaves_the_old_text_where_it_fails(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "file", "\udcff")
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
