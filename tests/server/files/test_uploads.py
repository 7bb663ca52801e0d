"""Uploads on a real disk: in parts, broken off, by a server that comes after, and refused."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1

from aiauto import errors
from aiauto.server.files import uploads as module
from aiauto.server.files.limits import MEBIBYTE, Limit
from aiauto.server.files.store import Store
from aiauto.server.files.uploads import Uploads

if TYPE_CHECKING:
    from pathlib import Path

CACHE, ARTIFACTS = v1.FilePlace.SHARED_CACHE, v1.FilePlace.ARTIFACTS
LIMIT = Limit("shared_cache_size", "2Mi", 2 * MEBIBYTE)
WORKSPACE = 7


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "files")


@pytest.fixture
def uploads(store: Store) -> Uploads:
    return Uploads(store)


def request(
    content: bytes, path: str = "a/b.bin", place: v1.FilePlace = CACHE
) -> v1.BeginUploadRequest:
    digest = hashlib.sha256(content).digest()
    return v1.BeginUploadRequest(place=place, path=path, size=len(content), sha256=digest)


def begin(uploads: Uploads, content: bytes, path: str = "a/b.bin") -> v1.BeginUploadResponse:
    return uploads.begin(WORKSPACE, request(content, path), LIMIT)


def write(uploads: Uploads, upload_id: str, offset: int, data: bytes) -> int:
    part = v1.WriteUploadRequest(upload_id=upload_id, offset=offset, data=data)
    return uploads.write(WORKSPACE, part)


def put(uploads: Uploads, content: bytes, path: str = "a/b.bin") -> None:
    upload = begin(uploads, content, path)
    write(uploads, upload.upload_id, 0, content)
    uploads.finish(WORKSPACE, upload.upload_id)


def there(store: Store, path: str = "a/b.bin") -> bytes:
    with store.open(WORKSPACE, CACHE, path).file as file:
        return file.read()


def test_in_parts_that_come_twice_and_overlap(store: Store, uploads: Uploads) -> None:
    content = os.urandom(1000)
    upload_id = begin(uploads, content).upload_id
    assert write(uploads, upload_id, 0, content[:400]) == 400
    assert write(uploads, upload_id, 0, content[:400]) == 400
    assert write(uploads, upload_id, 300, content[300:900]) == 900
    with pytest.raises(errors.OutOfRangeError, match="900 bytes have come"):
        write(uploads, upload_id, 950, content[950:])
    with pytest.raises(errors.FailedPreconditionError, match="900 of 1000 bytes"):
        uploads.finish(WORKSPACE, upload_id)
    with pytest.raises(errors.InvalidArgumentError, match="the file has 1000 bytes"):
        write(uploads, upload_id, 900, content[900:] + b"more")
    assert store.stat(WORKSPACE, CACHE, "a/b.bin") is None
    write(uploads, upload_id, 900, content[900:])
    uploads.finish(WORKSPACE, upload_id)
    assert there(store) == content
    # The caller did not hear of it, and asks again.
    uploads.finish(WORKSPACE, upload_id)
    assert write(uploads, upload_id, 900, content[900:]) == 1000
    again = begin(uploads, content)
    assert (again.upload_id, again.finished, again.offset) == (upload_id, True, 1000)


def test_a_server_that_comes_after_goes_on(store: Store, uploads: Uploads) -> None:
    content = os.urandom(3 * MEBIBYTE // 2)
    upload_id = begin(uploads, content).upload_id
    write(uploads, upload_id, 0, content[:MEBIBYTE])
    after = Uploads(store)
    again = begin(after, content)
    assert (again.upload_id, again.offset) == (upload_id, MEBIBYTE)
    write(after, upload_id, MEBIBYTE, content[MEBIBYTE:])
    after.finish(WORKSPACE, upload_id)
    assert there(store) == content
    # And so does the one after that know that it is finished.
    assert begin(Uploads(store), content).finished
    (store.folder(WORKSPACE, CACHE) / "a" / "b.bin").unlink()
    assert not begin(Uploads(store), content).finished


def test_what_is_not_what_was_announced_is_dropped(store: Store, uploads: Uploads) -> None:
    upload_id = begin(uploads, b"announced").upload_id
    write(uploads, upload_id, 0, b"different")
    with pytest.raises(errors.DataLossError, match="changed while it was sent"):
        uploads.finish(WORKSPACE, upload_id)
    assert list(store.own_folder(WORKSPACE, "uploads").iterdir()) == []
    with pytest.raises(errors.NotFoundError, match="begin again"):
        uploads.finish(WORKSPACE, upload_id)
    put(uploads, b"announced")
    assert there(store) == b"announced"


def test_the_limit_has_a_name(store: Store, uploads: Uploads) -> None:
    put(uploads, bytes(MEBIBYTE))
    with pytest.raises(errors.ResourceExhaustedError, match="shared_cache_size of this") as refused:
        begin(uploads, bytes(MEBIBYTE + 1), "second")
    assert "is 2Mi: 1.0 MiB are used" in str(refused.value)
    # What is replaced makes room, and what is on its way takes it.
    begin(uploads, bytes(2 * MEBIBYTE))
    with pytest.raises(errors.ResourceExhaustedError):
        begin(uploads, b"x", "third")
    # Other places have limits of their own.
    uploads.begin(WORKSPACE, request(b"x", "id", ARTIFACTS), LIMIT)


def test_empty_files_are_not_free(store: Store, uploads: Uploads) -> None:
    small = Limit("shared_cache_size", "8Ki", 8192)
    for name in ("one", "two"):
        upload_id = uploads.begin(WORKSPACE, request(b"", name), small).upload_id
        uploads.finish(WORKSPACE, upload_id)
    assert there(store, "one") == b""
    with pytest.raises(errors.ResourceExhaustedError):
        uploads.begin(WORKSPACE, request(b"", "three"), small)


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        (request(b"x", "../x"), errors.InvalidArgumentError, "path"),
        (request(b"x", "a/b", ARTIFACTS), errors.InvalidArgumentError, "its id"),
        (request(b"x", place=v1.FilePlace.UNSPECIFIED), errors.InvalidArgumentError, "place"),
        (request(b"x", "folder"), errors.FailedPreconditionError, "is a folder"),
        (request(b"x", "link/x"), errors.FailedPreconditionError, "a link"),
        (v1.BeginUploadRequest(place=CACHE, path="x", size=1), errors.InvalidArgumentError, "32"),
        (
            v1.BeginUploadRequest(place=CACHE, path="x", size=-1, sha256=bytes(32)),
            errors.InvalidArgumentError,
            "size is -1",
        ),
    ],
)
def test_what_is_refused(
    store: Store,
    uploads: Uploads,
    tmp_path: Path,
    wrong: v1.BeginUploadRequest,
    error: type[Exception],
    match: str,
) -> None:
    (store.folder(WORKSPACE, CACHE) / "folder").mkdir()
    (store.folder(WORKSPACE, CACHE) / "link").symlink_to(tmp_path)
    with pytest.raises(error, match=match):
        uploads.begin(WORKSPACE, wrong, LIMIT)


def test_a_link_is_replaced_and_not_followed(
    store: Store, uploads: Uploads, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("outside")
    link = store.folder(WORKSPACE, CACHE) / "link"
    link.symlink_to(tmp_path / "outside")
    put(uploads, b"inside", "link")
    assert (tmp_path / "outside").read_text() == "outside"
    assert there(store, "link") == b"inside"


def test_of_two_that_may_not_replace_one_is_first(store: Store, uploads: Uploads) -> None:
    ids: list[str] = []
    for content in (b"first", b"second"):
        upload = uploads.begin(WORKSPACE, request(content), LIMIT, replace=False)
        write(uploads, upload.upload_id, 0, content)
        ids.append(upload.upload_id)
    # Across a restart as well.
    after = Uploads(store)
    after.finish(WORKSPACE, ids[0])
    with pytest.raises(errors.AlreadyExistsError, match=r"'a/b\.bin' already"):
        after.finish(WORKSPACE, ids[1])
    assert there(store) == b"first"
    after.finish(WORKSPACE, ids[0])


def test_a_part_is_not_too_big(uploads: Uploads) -> None:
    upload_id = begin(uploads, b"x").upload_id
    with pytest.raises(errors.InvalidArgumentError, match="at most 4194304"):
        write(uploads, upload_id, 0, bytes(module.MAX_PART_BYTES + 1))


def test_those_of_another_workspace_are_not_there(uploads: Uploads) -> None:
    upload_id = begin(uploads, b"x").upload_id
    part = v1.WriteUploadRequest(upload_id=upload_id, data=b"x")
    with pytest.raises(errors.NotFoundError):
        uploads.write(WORKSPACE + 1, part)
    with pytest.raises(errors.NotFoundError):
        uploads.finish(WORKSPACE + 1, upload_id)


def test_old_ones_are_swept_away(
    store: Store, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = begin(uploads, b"forgotten", "x").upload_id
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + module.KEPT_SECONDS - 60)
    kept = begin(uploads, b"kept", "y").upload_id
    monkeypatch.setattr(time, "time", lambda: real() + module.KEPT_SECONDS + 60)
    uploads.sweep()
    left = {path.name for path in store.own_folder(WORKSPACE, "uploads").iterdir()}
    assert left == {f"{kept}.part", f"{kept}.json"}
    with pytest.raises(errors.NotFoundError):
        write(uploads, forgotten, 0, b"forgotten")


def test_there_are_not_too_many_and_the_oldest_gives_way(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(uploads, b"x", "0").upload_id
    for number in range(1, module.MAX_OPEN):
        begin(uploads, b"x", str(number))
    with pytest.raises(errors.UnavailableError, match="as many as there may be"):
        begin(uploads, b"x", "one-more")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + module.IDLE_SECONDS + 1)
    begin(uploads, b"x", "one-more")
    with pytest.raises(errors.NotFoundError):
        write(uploads, first, 0, b"x")


def test_new_content_takes_the_place_of_old_that_was_given_up(
    store: Store, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(uploads, bytes(2 * MEBIBYTE))
    with pytest.raises(errors.ResourceExhaustedError):
        begin(uploads, bytes(2 * MEBIBYTE - 1))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + module.IDLE_SECONDS + 1)
    put(uploads, bytes(2 * MEBIBYTE - 1))
    assert len(there(store)) == 2 * MEBIBYTE - 1


def test_a_record_that_makes_no_sense_is_cleared_away(store: Store, uploads: Uploads) -> None:
    folder = store.own_folder(WORKSPACE, "uploads")
    (folder / "x.json").write_text('{"place": 2, "path": 5}')
    (folder / "x.part").write_bytes(b"x")
    (folder / ".y.json.123").write_bytes(b"half")
    for left in folder.iterdir():
        os.utime(left, (0, 0))
    # Another server may be just making this one.
    (folder / "z.part").write_bytes(b"z")
    put(uploads, b"fine")
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".part"]
    os.utime(folder / "z.part", (0, 0))
    uploads.sweep()
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_several_servers_go_on_with_the_same_upload(store: Store, uploads: Uploads) -> None:
    content = os.urandom(1000)
    other = Uploads(Store(store.root))
    upload = begin(uploads, content)
    assert begin(other, content) == upload
    assert write(uploads, upload.upload_id, 0, content[:300]) == 300
    assert write(other, upload.upload_id, 300, content[300:700]) == 700
    assert begin(uploads, content).offset == 700
    assert write(uploads, upload.upload_id, 700, content[700:]) == 1000
    other.finish(WORKSPACE, upload.upload_id)
    assert there(store) == content
    # Whoever did not hear of it asks again, anywhere.
    uploads.finish(WORKSPACE, upload.upload_id)
    assert begin(uploads, content).finished
    with uploads._index(WORKSPACE) as index:
        assert index.on_their_way == []


def test_an_upload_that_another_server_has_given_up(store: Store, uploads: Uploads) -> None:
    content = b"not what was announced"
    other = Uploads(Store(store.root))
    upload = begin(uploads, content)
    write(other, upload.upload_id, 0, content[::-1])
    with pytest.raises(errors.DataLossError):
        other.finish(WORKSPACE, upload.upload_id)
    with pytest.raises(errors.NotFoundError, match="begin again"):
        uploads.finish(WORKSPACE, upload.upload_id)
    put(uploads, content)
    assert there(store) == content


@pytest.mark.parametrize("upload_id", ["", "x", "../" * 3 + "x", "a" * 31, "A" * 32])
def test_what_is_no_id_leads_nowhere(uploads: Uploads, upload_id: str) -> None:
    with pytest.raises(errors.NotFoundError, match="begin again"):
        write(uploads, upload_id, 0, b"")


def test_deleting_and_what_a_killed_server_left_of_it(store: Store, uploads: Uploads) -> None:
    for name in ("data/a", "data/b", "other"):
        put(uploads, b"x", name)
    assert store.delete(WORKSPACE, CACHE, "data")
    assert not store.delete(WORKSPACE, CACHE, "data")
    entries, more = store.entries(WORKSPACE, CACHE, limit=10)
    assert ([one.path for one in entries], more) == (["other"], False)
    trash = store.own_folder(WORKSPACE, "trash")
    (trash / "left" / "deep").mkdir(parents=True)
    store.remove_workspace(WORKSPACE + 1)
    store.empty_trash()
    assert list(trash.iterdir()) == []
    uploads.forget(WORKSPACE)
    store.remove_workspace(WORKSPACE)
    assert list(store.root.iterdir()) == []
