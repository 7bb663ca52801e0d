"""The shared cache as a script uses it, on a real server: there and back, broken off, refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1

import aiauto
from aiauto import folders, transfer
from aiauto.testing import embedded_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import optuna

    from aiauto.testing import EmbeddedServer

CACHE = v1.FilePlace.SHARED_CACHE


@pytest.fixture
def cache(controller: aiauto.AIAutoController) -> Iterator[aiauto.AIAutoController]:
    """A controller whose shared cache is empty, and is emptied."""
    _empty(controller)
    yield controller
    _empty(controller)


def _empty(controller: aiauto.AIAutoController) -> None:
    for file in controller.list_shared_cache()["files"]:
        controller.delete_from_shared_cache(file["name"])


def names(controller: aiauto.AIAutoController) -> list[str]:
    return [file["name"] for file in controller.list_shared_cache()["files"]]


def test_there_and_back(cache: aiauto.AIAutoController, tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_bytes(os.urandom(5_000_000))
    test.write_bytes(b"")
    assert cache.upload_to_shared_cache(str(train)) == {"uploaded_files": ["train.csv"]}
    uploaded = cache.upload_to_shared_cache([train, str(test)], dest_dir="/datasets//new/")
    assert uploaded == {"uploaded_files": ["train.csv", "test.csv"]}
    files = cache.list_shared_cache()["files"]
    assert [(file["name"], file["size"]) for file in files] == [
        ("datasets/new/test.csv", 0),
        ("datasets/new/train.csv", 5_000_000),
        ("train.csv", 5_000_000),
    ]
    back = cache.download_from_shared_cache("datasets/new/train.csv", tmp_path / "back")
    assert back.read_bytes() == train.read_bytes()
    # A file of the same path is replaced.
    train.write_bytes(b"other")
    cache.upload_to_shared_cache(train)
    with pytest.raises(FileExistsError, match="exists already"):
        cache.download_from_shared_cache("train.csv", back)
    cache.download_from_shared_cache("train.csv", back, overwrite=True)
    assert back.read_bytes() == b"other"
    assert {path.name for path in tmp_path.iterdir()} == {"train.csv", "test.csv", "back"}
    assert cache.delete_from_shared_cache("datasets") == {"deleted": "datasets", "found": True}
    assert cache.delete_from_shared_cache("datasets") == {"deleted": "datasets", "found": False}
    assert names(cache) == ["train.csv"]


@pytest.mark.parametrize(
    ("file_paths", "dest_dir", "error", "match"),
    [
        ([], None, ValueError, "file_paths must not be empty"),
        ("", None, ValueError, "must not be empty"),
        ("a\0b", None, ValueError, "null bytes"),
        ("folder/", None, ValueError, "no file name"),
        ("folder", None, ValueError, "is a folder"),
        ("..", None, ValueError, "no file name"),
        ("x" * 256, None, ValueError, "255 bytes"),
        ("gone.csv", None, FileNotFoundError, "gone.csv' does not exist"),
        (["here.csv", "gone.csv"], None, FileNotFoundError, "gone.csv' does not exist"),
        (["here.csv", "folder/here.csv"], None, ValueError, "the same path"),
        (5, None, TypeError, "must be a path as text"),
        (None, None, TypeError, "not None"),
        ([b"here.csv"], None, TypeError, "must be a path as text"),
        ("here.csv", "../x", ValueError, r"'\.\.' path segments"),
        ("here.csv", "a\0b", ValueError, "null bytes"),
        ("here.csv", "a\\b", ValueError, "backslash"),
        ("here.csv", 5, TypeError, "dest_dir must be a path"),
    ],
)
def test_what_is_refused_before_anything_is_sent(
    cache: aiauto.AIAutoController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_paths: Any,
    dest_dir: Any,
    error: type[Exception],
    match: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "here.csv", tmp_path / "folder" / "here.csv"):
        path.write_text("x")
    with pytest.raises(error, match=match) as refused:
        cache.upload_to_shared_cache(file_paths, dest_dir)
    assert isinstance(refused.value, aiauto.ArgumentError)
    assert names(cache) == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", ValueError),
        ("/etc/passwd", ValueError),
        ("a/../../b", ValueError),
        ("a\0b", ValueError),
        (".", ValueError),
        (5, TypeError),
    ],
)
def test_paths_that_can_not_be_deleted(
    cache: aiauto.AIAutoController, path: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        cache.delete_from_shared_cache(path)
    assert isinstance(refused.value, aiauto.ArgumentError)


def test_more_than_the_workspace_may_keep(tmp_path: Path) -> None:
    with embedded_server(tmp_path / "data") as server:
        ac = aiauto.AIAutoController(server.token, server.url, shared_cache_size="1Mi")
        big = tmp_path / "big.bin"
        big.write_bytes(bytes(1024 * 1024 + 1))
        with pytest.raises(RuntimeError, match="shared_cache_size of this workspace is 1Mi") as no:
            ac.upload_to_shared_cache(big)
        assert isinstance(no.value, aiauto.UploadFailedError)
        assert no.value.path == str(big)
        assert isinstance(no.value.__cause__, aiauto.ResourceExhaustedError)
        assert pickle.loads(pickle.dumps(no.value)).path == str(big)


SLOW_UPLOAD = """
import sys, time
import aiauto
from aiauto import transfer

transfer.PART_BYTES = 64 * 1024
send_rest = transfer._send_rest

def slowly(*args, **kwargs):
    for offset in send_rest(*args, **kwargs):
        print(offset, flush=True)
        time.sleep(0.05)
        yield offset

transfer._send_rest = slowly
ac = aiauto.AIAutoController(sys.argv[1], sys.argv[2])
ac.upload_to_shared_cache(sys.argv[3])
"""


def begin(server: EmbeddedServer, path: Path) -> v1.BeginUploadResponse:
    """Ask how far the upload of a file is."""
    content = path.read_bytes()
    request = v1.BeginUploadRequest(
        place=CACHE, path=path.name, size=len(content), sha256=hashlib.sha256(content).digest()
    )
    ac = aiauto.AIAutoController(server.token, server.url)
    return ac._connection.files.begin_upload(request)


def test_a_killed_client_goes_on_where_it_was(
    cache: aiauto.AIAutoController, server: EmbeddedServer, tmp_path: Path
) -> None:
    big = tmp_path / "killed.bin"
    big.write_bytes(os.urandom(3_000_000))
    command = [sys.executable, "-c", SLOW_UPLOAD, server.token, server.url, str(big)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            if int(line) >= 500_000:
                client.send_signal(signal.SIGKILL)
                break
    there = begin(server, big)
    assert 500_000 <= there.offset < 3_000_000
    assert names(cache) == []
    sent: list[int] = []
    with big.open("rb") as file:
        transfer.send(
            cache._connection.files,
            CACHE,
            big.name,
            file,
            on_progress=lambda done, _size: sent.append(done),
        )
    assert sent[0] == there.offset
    assert sent[-1] == 3_000_000
    back = cache.download_from_shared_cache(big.name, tmp_path / "back")
    assert back.read_bytes() == big.read_bytes()
    assert begin(server, big).finished


def test_a_server_that_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 256 * 1024)
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(4_000_000))
    with embedded_server(tmp_path / "data") as server:
        ac = aiauto.AIAutoController(server.token, server.url)
        client = ac._connection.files
        told: list[int] = []

        def disturb(done: int, _size: int) -> None:
            told.append(done)
            if done >= 1_000_000 and killed != {"upload"}:
                killed.add("upload")
                server.kill()
                server.start()

        killed: set[str] = set()
        with big.open("rb") as file:
            transfer.send(client, CACHE, "big.bin", file, on_progress=disturb)
        # It did not begin anew.
        assert killed == {"upload"}
        assert told == sorted(told)
        with transfer.open_remote(client, CACHE, "big.bin") as source:
            content = source.read(1_000_000)
            server.kill()
            server.start()
            while block := source.read(1_000_000):
                content += block
        assert content == big.read_bytes()
        assert names(ac) == ["big.bin"]


def test_the_server_of_this_machine_is_started_again(
    own_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 256 * 1024)
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(1_000_000))
    ac = aiauto.AIAutoController()
    pids: list[int] = []

    def disturb(done: int, _size: int) -> None:
        if not pids or (done > 500_000 and len(pids) == 1):
            pids.append(own_server.pid)
            own_server.kill()

    with big.open("rb") as file:
        transfer.send(ac._connection.files, CACHE, "big.bin", file, on_progress=disturb)
    assert len(set(pids)) == 2
    assert ac.download_from_shared_cache("big.bin", tmp_path / "b").read_bytes() == big.read_bytes()


def test_a_file_that_changes_while_it_is_sent(
    cache: aiauto.AIAutoController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART_BYTES", 1000)
    path = tmp_path / "changing"
    path.write_bytes(bytes(5000))
    measured = transfer._measured

    def measured_then_changed(file: Any) -> tuple[int, bytes]:
        found = measured(file)
        path.write_bytes(change)
        return found

    monkeypatch.setattr(transfer, "_measured", measured_then_changed)
    for content, match in ((b"x" * 5000, "not what was announced"), (b"x" * 2500, "shorter")):
        path.write_bytes(bytes(5000))
        change = content
        with pytest.raises(aiauto.UploadFailedError, match=match):
            cache.upload_to_shared_cache(path)
    assert names(cache) == []


def test_a_remote_file_is_a_file(cache: aiauto.AIAutoController, tmp_path: Path) -> None:
    content = os.urandom(1_500_000)
    (tmp_path / "file").write_bytes(content)
    cache.upload_to_shared_cache(tmp_path / "file")
    client = cache._connection.files
    with transfer.open_remote(client, CACHE, "file") as file:
        assert (file.readable(), file.seekable(), file.tell()) == (True, True, 0)
        assert file.seek(-10, os.SEEK_END) == 1_499_990
        assert file.read() == content[-10:]
        assert file.read() == b""
        file.seek(700_000)
        assert file.read(3) == content[700_000:700_003]
        file.seek(-1, os.SEEK_CUR)
        assert file.read(1) == content[700_002:700_003]
        with pytest.raises(ValueError, match="before the file"):
            file.seek(-1)
    with pytest.raises(aiauto.NotFoundError, match="no file 'gone'"):
        transfer.open_remote(client, CACHE, "gone")


def test_what_an_objective_finds(
    cache: aiauto.AIAutoController, study_name: str, tmp_path: Path
) -> None:
    (tmp_path / "data.txt").write_text("0.25")
    cache.upload_to_shared_cache(tmp_path / "data.txt", "datasets")

    def objective(trial: optuna.Trial) -> float:
        # By function, by property of a controller that was closed over, and by relative path.
        shared = aiauto.shared_cache_dir()
        assert cache.shared_cache_dir == shared
        assert Path("shared-cache").samefile(shared)
        scratch = aiauto.tmp_cache_dir() / "copy.txt"
        assert Path("tmp-cache").resolve() == cache.tmp_cache_dir.resolve()
        assert (trial.number > 0) == scratch.exists()
        scratch.write_text((shared / "datasets" / "data.txt").read_text())
        (shared / f"result-{trial.number}.txt").write_text("from a worker")
        trial.set_user_attr("scratch", str(scratch))
        trial.set_user_attr("files", len(cache.list_shared_cache()["files"]))
        return float(scratch.read_text())

    study = cache.create_study(study_name)
    study.optimize(objective, n_trials=2, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    assert study.best_value == 0.25, study.get_status()["last_error"]
    assert [trial.user_attrs["files"] for trial in study.get_study().trials] == [2, 3]
    back = cache.download_from_shared_cache("result-1.txt", tmp_path / "result.txt")
    assert back.read_text() == "from a worker"
    assert names(cache) == ["datasets/data.txt", "result-0.txt", "result-1.txt"]
    wait_until_gone(study.best_trial.user_attrs["scratch"])


def wait_until_gone(path: str) -> None:
    end = time.monotonic() + 30
    while Path(path).exists():
        assert time.monotonic() < end, f"{path} was left"
        time.sleep(0.1)


def test_a_killed_worker_leaves_no_scratch(
    controller: aiauto.AIAutoController, study_name: str
) -> None:
    def objective(trial: optuna.Trial) -> float:
        import os
        import signal

        (aiauto.tmp_cache_dir() / "big").write_text("x")
        trial.set_user_attr("scratch", str(aiauto.tmp_cache_dir()))
        if trial.number == 0:
            trial.study._storage.get_all_trials(trial.study._study_id)
            import time

            time.sleep(2)
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    study = controller.create_study(study_name)
    study.optimize(objective, n_trials=2, parallelism=1, wait_option="WAIT_ALL_TRIALS")
    scratches = {trial.user_attrs["scratch"] for trial in study.get_study().trials}
    assert len(scratches) == 2
    for scratch in scratches:
        wait_until_gone(scratch)


def test_folders_outside_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIAUTO_SHARED_CACHE_DIR", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="set AIAUTO_SHARED_CACHE_DIR"):
        aiauto.shared_cache_dir()
    monkeypatch.setenv("AIAUTO_SHARED_CACHE_DIR", str(tmp_path))
    assert aiauto.shared_cache_dir() == tmp_path
    assert aiauto.tmp_cache_dir() == aiauto.tmp_cache_dir()
    assert aiauto.tmp_cache_dir() != folders.artifact_tmp_dir()
    script = (
        "import os, aiauto; folder = aiauto.tmp_cache_dir(); print(folder, flush=True)\n"
        "if os.fork() == 0: assert aiauto.tmp_cache_dir() != folder; raise SystemExit\n"
        "os.wait(); assert folder.is_dir()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert not Path(done.stdout.strip()).exists()
