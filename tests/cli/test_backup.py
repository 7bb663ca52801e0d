"""`aiauto backup` and `aiauto restore`: what was kept is there again, elsewhere."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

import aiauto
from aiauto.cli.output import size
from aiauto.testing import embedded_server
from tests.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import optuna

pytestmark = pytest.mark.once

AIAUTO = [sys.executable, "-m", "aiauto.cli"]


def run(*arguments: str | Path, database: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ}
    environment.pop("AIAUTO_DATABASE_URL", None)
    if database is not None:
        environment["AIAUTO_DATABASE_URL"] = database
    return subprocess.run(
        [*AIAUTO, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def since(moment: str) -> timedelta:
    """How long ago a time of the schema is. Python 3.10 does not read the Z."""
    then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return datetime.now(timezone.utc) - then


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1) + trial.number


def test_all_is_there_again(
    new_database: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = [new_database(), new_database()]
    # SQLite is what a server uses by itself.
    databases = [url if url.startswith("postgresql") else None for url in urls]
    backup = tmp_path / "aiauto.tar"
    if databases[0] is not None:
        monkeypatch.setenv("AIAUTO_DATABASE_URL", databases[0])
    with embedded_server(tmp_path / "first") as server:
        study = aiauto.AIAutoController(server.token, server.url).create_study("kept")
        study.optimize(objective, n_trials=5, wait_option="WAIT_ALL_TRIALS")
        trials = study.get_study().trials
        token = server.token
        at = ("--data-dir", server.data_dir)
        made = run("backup", backup, *at, "--json", database=databases[0])
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        assert told == {
            "file": str(backup),
            "size": backup.stat().st_size,
            "version": aiauto.__version__,
            "created_at": told["created_at"],
            "database": "sqlite" if databases[0] is None else "postgresql",
        }
        assert abs(since(told["created_at"])) < timedelta(days=1)
        assert backup.stat().st_mode & 0o077 == 0, "it holds secrets"
        again = run("backup", backup, "--data-dir", server.data_dir, database=databases[0])
        assert again.returncode == 1
        assert "exists" in again.stderr
        busy = run("restore", backup, "--data-dir", server.data_dir, database=databases[0])
        assert busy.returncode == 1
        assert "already runs" in busy.stderr
    full = run("restore", backup, "--data-dir", tmp_path / "first", database=databases[0])
    assert full.returncode == 1
    assert "holds studies already" in full.stderr
    if databases[1] is not None:
        monkeypatch.setenv("AIAUTO_DATABASE_URL", databases[1])
    at = ("--data-dir", tmp_path / "second")
    restored = run("restore", backup, *at, "--json", database=databases[1])
    assert restored.returncode == 0, restored.stderr
    del told["size"]
    assert json.loads(restored.stdout) == told
    with embedded_server(tmp_path / "second") as server:
        assert server.token == token
        study = aiauto.AIAutoController(server.token, server.url).create_study("kept")
        assert study.get_study().trials == trials
        assert study.get_status()["count_succeeded"] == 5
        study.optimize(objective, n_trials=2, wait_option="WAIT_ALL_TRIALS")
        assert [trial.number for trial in study.get_study().trials] == list(range(7))


def test_files_that_are_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup, sent = tmp_path / "aiauto.tar", tmp_path / "sent.txt"
    sent.write_text("kept", encoding="utf-8")
    monkeypatch.setenv("AIAUTO_FILES_DIR", str(tmp_path / "disk" / "files"))
    with embedded_server(tmp_path / "first") as server:
        controller = aiauto.AIAutoController(server.token, server.url)
        controller.upload_to_shared_cache(sent)
        made = run("backup", backup, "--data-dir", server.data_dir)
        assert made.stdout == f"Wrote {backup} ({size(backup.stat().st_size)}, sqlite).\n"
    taken = run("restore", backup, "--data-dir", tmp_path / "second")
    assert taken.returncode == 1
    assert "holds studies already" in taken.stderr
    monkeypatch.setenv("AIAUTO_FILES_DIR", str(tmp_path / "new" / "disk" / "files"))
    restored = run("restore", backup, "--data-dir", tmp_path / "second")
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.startswith(f"Brought back {backup} of 20")
    with embedded_server(tmp_path / "second") as server:
        controller = aiauto.AIAutoController(server.token, server.url)
        controller.download_from_shared_cache("sent.txt", tmp_path / "back.txt")
    assert (tmp_path / "back.txt").read_text(encoding="utf-8") == "kept"


def test_what_can_not_be_put_in_place_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, sent, file = tmp_path / "aiauto.tar", tmp_path / "sent.txt", tmp_path / "file"
    sent.write_text("kept", encoding="utf-8")
    file.touch()
    with embedded_server(tmp_path / "first") as server:
        aiauto.AIAutoController(server.token, server.url).upload_to_shared_cache(sent)
        assert run("backup", backup, "--data-dir", server.data_dir).returncode == 0
    data = tmp_path / "second"
    monkeypatch.setenv("AIAUTO_FILES_DIR", str(file / "files"))
    done = run("restore", backup, "--data-dir", data)
    assert done.returncode == 1
    why = f"File exists ({str(file)!r})"
    assert done.stderr == f"{backup} can't be brought back: {why}. All is as it was.\n"
    # So it may be tried again, in the same place.
    monkeypatch.delenv("AIAUTO_FILES_DIR")
    assert run("restore", backup, "--data-dir", data).returncode == 0
    with embedded_server(data) as server:
        controller = aiauto.AIAutoController(server.token, server.url)
        controller.download_from_shared_cache("sent.txt", tmp_path / "back.txt")


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup, sent = tmp_path / "aiauto.tar", tmp_path / "sent.txt"
    sent.write_bytes(os.urandom(2 << 20))
    with embedded_server(tmp_path / "first") as server:
        aiauto.AIAutoController(server.token, server.url).upload_to_shared_cache(sent)
        assert run("backup", backup, "--data-dir", server.data_dir).returncode == 0
        with small_disk(tmp_path / "small", 1) as disk:
            done = run("backup", disk / "aiauto.tar", "--data-dir", server.data_dir)
            assert done.returncode == 1
            why = f"No space left on device ({str(disk / 'aiauto.tar')!r})"
            assert done.stderr == f"The backup can't be written: {why}.\n"
            assert list(disk.iterdir()) == []
    data = tmp_path / "second"
    with small_disk(tmp_path / "disk", 1) as disk:
        monkeypatch.setenv("AIAUTO_FILES_DIR", str(disk / "files"))
        done = run("restore", backup, "--data-dir", data)
        assert done.returncode == 1
        assert "can't be brought back" in done.stderr
        assert "No space left on device" in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(disk.iterdir()) == []
    assert (data / "aiauto.sqlite3").stat().st_size == 0
    assert not (data / "secret").exists()


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell limits the size of files")
def test_no_room_is_no_damage(tmp_path: Path) -> None:
    backup, data = tmp_path / "aiauto.tar", tmp_path / "second"
    with embedded_server(tmp_path / "first") as server:
        assert run("backup", backup, "--data-dir", server.data_dir).returncode == 0
    command = [*AIAUTO, "restore", str(backup), "--data-dir", str(data)]
    small = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *command]
    done = subprocess.run(small, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{backup} can't be unpacked in {data}: File too large" in done.stderr
    assert subprocess.run(command, check=False).returncode == 0


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


@pytest.mark.parametrize(
    "names",
    [(), ("../token",), ("/etc/token",), ("files/../../token",), ("other",), ("backup.json",)],
)
def test_what_is_no_backup(tmp_path: Path, names: tuple[str, ...]) -> None:
    file = archive(tmp_path / "made-up.tar", *names)
    done = run("restore", file, "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert "backup" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "token").exists()
    assert {one.name for one in (tmp_path / "data").iterdir()} <= {
        "server.lock",
        "batches",
        "aiauto.sqlite3",
    }


def damaged(backup: Path, path: Path) -> Path:
    """A copy of it whose database lost all but its first page."""
    with tarfile.open(backup) as whole, tarfile.open(path, "w") as copy:
        for member in whole:
            content = whole.extractfile(member)
            sent = content.read() if content else b""
            if member.name == "database":
                sent = sent[:4096] + b"\xff" * (len(sent) - 4096)
            copy.addfile(member, io.BytesIO(sent))
    return path


def test_a_damaged_database_is_not_brought_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIAUTO_DATABASE_URL", raising=False)
    backup = tmp_path / "aiauto.tar"
    with embedded_server(tmp_path / "first") as server:
        aiauto.AIAutoController(server.token, server.url).create_study("kept")
        assert run("backup", backup, "--data-dir", server.data_dir).returncode == 0
    data = tmp_path / "second"
    done = run("restore", damaged(backup, tmp_path / "damaged.tar"), "--data-dir", data)
    assert done.returncode == 1
    assert "The database in the backup is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    # The whole one still goes to the same place.
    assert run("restore", backup, "--data-dir", data).returncode == 0


def test_what_a_damaged_database_says_gives_no_orders_to_terminals(tmp_path: Path) -> None:
    made_up, database = tmp_path / "made_up.tar", tmp_path / "database"
    with closing(sqlite3.connect(database)) as made, made:
        made.execute('create table "\x1b[2Ja" (b)')
        made.execute("pragma writable_schema = on")
        made.execute("update sqlite_master set sql = 'create nothing'")
    record = {"version": "1", "created_at": "2026-01-01", "database": "sqlite"}
    hold(made_up, json.dumps(record).encode(), database.read_bytes())
    done = run("restore", made_up, "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert "The database in the backup is damaged" in done.stderr
    assert "?[2Ja" in done.stderr
    assert "\x1b" not in done.stderr


def hold(path: Path, record: bytes, database: bytes) -> None:
    """Make an archive of them."""
    with tarfile.open(path, "w") as archive:
        for name, content in (("backup.json", record), ("database", database)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("said", [{"a" * 70_000: None}, "sqlite" * 1000, "sqlite\x1b[2J", 7])
def test_a_record_that_no_server_has_written(tmp_path: Path, said: object) -> None:
    made_up = tmp_path / "made_up.tar"
    record = {"version": "1", "created_at": "2026-01-01T00:00:00+00:00", "database": said}
    hold(made_up, json.dumps(record).encode(), b"")
    done = run("restore", made_up, "--data-dir", tmp_path / "data")
    assert done.returncode == 1
    assert "its backup.json says what no server has written there" in done.stderr
    # Nothing of it is repeated, however long or with whatever for a terminal to do.
    assert len(done.stderr) < 1000
    assert "\x1b" not in done.stderr


def test_nothing_to_back_up(tmp_path: Path) -> None:
    done = run("backup", tmp_path / "a.tar", "--data-dir", tmp_path / "nothing")
    assert done.returncode == 1
    assert "nothing to back up" in done.stderr
    done = run("restore", tmp_path / "a.tar", "--data-dir", tmp_path / "nothing")
    assert done.returncode == 1
    assert "there is no" in done.stderr
