"""Archives that are no backups: `aiauto restore` says so, and nothing gets anywhere else."""

from __future__ import annotations

import functools
import io
import json
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiauto.server.backup import DATABASE, FILES, KEPT, RECORD, BackupError, create, restore
from aiauto.server.settings import Settings
from tests.fuzz.inputs import many
from tests.fuzz.messages import ANYTHING, HOSTILE

if TYPE_CHECKING:
    from tests.fuzz.inputs import Count

# The same on every Python.
pytestmark = pytest.mark.once

KINDS = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    tarfile.CONTTYPE,
    b"Z",
)
NAMES = st.one_of(
    st.sampled_from(
        [
            *KEPT, RECORD, DATABASE, FILES, f"{FILES}/1", f"{FILES}/1/artifacts/a",
            f"{FILES}/1/artifacts/a/b", f"{FILES}/../token", f"{FILES}/../../outside/secret",
            "../outside/secret", "./token", "token/", f"./{FILES}", f"{FILES}/way/secret",
            "batches/x", "server.lock", "aiauto.sqlite3",
        ]
    ),
    st.sampled_from(HOSTILE),
)  # fmt: skip
TARGETS = st.sampled_from(
    ["../outside", "../outside/secret", "../../outside", "token", ".", "..", "/etc", RECORD, ""]
)


@functools.cache
def database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "database"
        with closing(sqlite3.connect(path)) as made:
            made.execute("create table kept (a)")
            made.execute("insert into kept values (1)")
            made.commit()
        return path.read_bytes()


RECORDS = st.one_of(
    st.just({"version": "1", "created_at": "2026-01-01T00:00:00+00:00", "database": "sqlite"}),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("version", "created_at", "database"), ANYTHING)
    ),
    ANYTHING,
).map(lambda record: json.dumps(record).encode())
CONTENTS = st.one_of(RECORDS, st.just(database()), st.binary(max_size=300), st.just(b"[" * 100_000))


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(draw(NAMES))
    member.type = draw(st.sampled_from(KINDS) | st.just(tarfile.REGTYPE))
    member.linkname = draw(TARGETS)
    member.mode = draw(st.sampled_from([0o600, 0o777, 0o4755, 0, 2**20]))
    member.mtime = draw(st.sampled_from([0, -1, 2**33, 2**62]))
    member.uid = member.gid = draw(st.sampled_from([0, 1000, 2**31, 2**60]))
    content = draw(CONTENTS)
    member.size = len(content) if member.isreg() else 0
    return member, content


def packed(pairs: list[tuple[tarfile.TarInfo, bytes]], kind: int) -> bytes:
    """An archive with them, in one of the formats that there are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind, errors="surrogateescape") as archive:
        for member, content in pairs:
            try:
                archive.addfile(member, io.BytesIO(content))
            except ValueError:  # this format has no way to say it
                continue
    return file.getvalue()


class Room:
    """Folders for one archive, and what lies beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "outside").mkdir()
        (folder / "outside" / "secret").write_bytes(b"nobody else's")
        self.data = folder / "data"
        self.before = self.beside()

    def beside(self) -> dict[str, bytes]:
        return {
            str(path): path.read_bytes() if path.is_file() else b""
            for path in self.folder.rglob("*")
            if not path.is_relative_to(self.data)
        }

    def restore(self, archive: bytes) -> bool:
        """Bring an archive back; whether that could be done."""
        file = self.folder / "archive.tar"
        file.write_bytes(archive)
        refusal = ""
        try:
            restore(Settings(data_dir=self.data), file)
        except BackupError as error:
            refusal = str(error)
        file.unlink()
        assert len(refusal) < 1000
        assert self.beside() == self.before
        # What is there is the server's own, as it has made it.
        for path in self.data.rglob("*"):
            assert not path.is_symlink(), path
            assert path.is_file() or path.is_dir(), path
            assert not path.is_file() or path.stat().st_nlink == 1, path
        assert not [one for one in self.data.iterdir() if one.name.startswith("restore-")]
        return not refusal


def restored(archive: bytes) -> bool:
    with tempfile.TemporaryDirectory(prefix="aiauto-fuzz-") as folder:
        return Room(Path(folder)).restore(archive)


def test_archives_that_somebody_has_made_up(count: Count) -> None:
    @many
    @given(
        pairs=st.lists(members(), max_size=6),
        record=RECORDS,
        whole=st.booleans(),
        kind=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]),
    )
    def bring(
        pairs: list[tuple[tarfile.TarInfo, bytes]],
        record: bytes,
        whole: bool,  # noqa: FBT001
        kind: int,
    ) -> None:
        if whole:
            for name, content in ((RECORD, record), (DATABASE, database())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                pairs = [(member, content), *pairs]
        restored(packed(pairs, kind))
        count()

    bring()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A backup as it should be."""
    folder = tmp_path_factory.mktemp("good")
    data = folder / "data"
    (data / "files" / "1" / "artifacts").mkdir(parents=True)
    (data / "files" / "1" / "artifacts" / "a").write_bytes(b"kept")
    (data / "token").write_text("aiauto_token")
    (data / "aiauto.sqlite3").write_bytes(database())
    create(Settings(data_dir=data), folder / "good.tar")
    archive = (folder / "good.tar").read_bytes()
    assert restored(archive)
    return archive


def test_backups_that_are_damaged(good: bytes, count: Count) -> None:
    taken = 0

    @many
    @given(data=st.data())
    def bring(data: st.DataObject) -> None:
        nonlocal taken
        # Most of an archive is its files: the heads of its members stand every 512 bytes.
        archive: Any = bytearray(good)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(archive) // 512 - 1)) * 512
            place += data.draw(st.integers(0, 511))
            archive[place] = data.draw(st.integers(0, 255))
        cut = data.draw(st.just(len(archive)) | st.integers(0, len(archive)))
        taken += restored(bytes(archive[:cut]))
        count()

    bring()
    # Not all that can be changed matters.
    assert taken


def test_a_database_whose_schema_is_no_text(good: bytes) -> None:
    schema = b"CREATE TABLE kept (a)"
    assert good.count(schema) == 1
    begun = good.index(schema)
    places = range(begun, begun + len(schema))
    # SQLite says where it stumbles, in the words that are there.
    taken = [restored(good[:place] + b"\x80" + good[place + 1 :]) for place in places]
    assert not all(taken)
