"""All files that are on their way: kept as far as they have come, whoever breaks off."""

from __future__ import annotations

import contextlib
import hashlib
import re
import stat
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiauto_gen.aiauto import v1

from aiauto.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from aiauto.server.files.limits import MEBIBYTE, Limit, in_words
from aiauto.server.files.store import UPLOADS, cost_of, version_of
from aiauto.server.files.upload import Upload, read_upload

if TYPE_CHECKING:
    import os
    from collections.abc import Generator
    from pathlib import Path

    from aiauto.server.files.store import Store

MAX_PART_BYTES = 4 * MEBIBYTE
MAX_OPEN = 64
KEPT_SECONDS = 24 * 3600.0
# For so long one that is finished is remembered, for callers who did not hear of it.
FINISHED_SECONDS = 3600.0
# Where there are too many, one that has been silent for so long gives way.
IDLE_SECONDS = 60.0
# As `_id_of` makes them.
_ID: Final = re.compile(r"[0-9a-f]{32}")
# What uploads leave free of the disk: the database is on it.
RESERVED_BYTES = 64 * MEBIBYTE


@dataclass
class _Index:
    """The uploads of one workspace."""

    workspace_id: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    uploads: dict[str, Upload] = field(default_factory=dict[str, Upload])
    loaded: bool = False

    @property
    def on_their_way(self) -> list[Upload]:
        return [one for one in self.uploads.values() if not one.version]


class Uploads:
    """The uploads of all workspaces. Its methods wait for the disk: they are for threads.

    Of locks, that of an index is taken before that of an upload only without waiting.
    """

    def __init__(self, store: Store) -> None:
        """Make it.

        Args:
            store: Where files go.
        """
        self._store = store
        self._lock = threading.Lock()
        self._indexes: dict[int, _Index] = {}

    def begin(
        self,
        workspace_id: int,
        request: v1.BeginUploadRequest,
        limit: Limit,
        *,
        replace: bool = True,
    ) -> v1.BeginUploadResponse:
        """Begin an upload, or find the one that broke off.

        Args:
            workspace_id: Whose it is.
            request: What shall be sent.
            limit: How much its place may hold.
            replace: Whether a file that is there may be replaced.

        Returns:
            How to go on.

        Raises:
            RpcError: It can't be, with what to do about it.
        """
        _check(request)
        there = self._store.stat(workspace_id, request.place, request.path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise FailedPreconditionError(f"path: {request.path[:200]!r} is a folder.")
        upload_id = _id_of(request)
        with self._index(workspace_id) as index:
            upload = self._known(index, upload_id)
            if upload is not None and upload.version:
                if there is not None and version_of(there) == upload.version:
                    return v1.BeginUploadResponse(
                        upload_id=upload_id, offset=upload.size, finished=True
                    )
                upload = None
            if there is not None and not replace:
                raise _taken(request.path)
            if upload is None:
                upload = self._create(index, upload_id, request, limit, there, replace=replace)
        # No longer with the index: a part that is just being written is waited for.
        with self._held(upload):
            return v1.BeginUploadResponse(upload_id=upload_id, offset=upload.received)

    def write(self, workspace_id: int, request: v1.WriteUploadRequest) -> int:
        """Take a part.

        Args:
            workspace_id: Whose upload it is.
            request: The part.

        Returns:
            How many bytes have come.

        Raises:
            RpcError: It can't be taken.
        """
        if len(request.data) > MAX_PART_BYTES:
            raise InvalidArgumentError(
                f"data has {len(request.data)} bytes: a part has at most {MAX_PART_BYTES}."
            )
        with self._held(self._named(workspace_id, request.upload_id)) as upload:
            if upload.version:
                return upload.size
            upload.append(request.offset, request.data)
            return upload.received

    def finish(self, workspace_id: int, upload_id: str) -> None:
        """Put a file in its place.

        Args:
            workspace_id: Whose upload it is.
            upload_id: The upload. One that has been finished stays so.

        Raises:
            RpcError: It is not whole, or not what was announced, or can't be where it shall be.
        """
        with self._held(self._named(workspace_id, upload_id)) as upload:
            if upload.version:
                return
            if upload.received != upload.size:
                raise FailedPreconditionError(
                    f"{upload.received} of {upload.size} bytes have come: send the others first."
                )
            version = upload.complete()
            if version is None:
                with self._index(workspace_id) as index:
                    _drop(index, upload)
                raise DataLossError(
                    "What came is not what was announced: the file has changed while it was sent. "
                    "Begin again."
                )
            # Before the move, and believed after it only: so it is known whenever the server dies.
            upload.note(version)
            # One after the other, or two would find that there is none yet.
            with self._index(workspace_id) as index:
                if not upload.replace and self._store.stat(workspace_id, upload.place, upload.path):
                    _drop(index, upload)
                    raise _taken(upload.path)
                self._store.put(workspace_id, upload.place, upload.path, upload.part)
            upload.version = version

    def sweep(self) -> None:
        """Drop what nobody has gone on with for a day."""
        for workspace_id in self._store.workspace_ids():
            with self._index(workspace_id) as index:
                self._drop_old(index)
            _clear_away(self._store.own_folder(workspace_id, UPLOADS))

    def forget(self, workspace_id: int) -> None:
        """Forget the uploads of a workspace that is gone."""
        with self._lock:
            index = self._indexes.pop(workspace_id, None)
        for upload in index.uploads.values() if index is not None else ():
            upload.gone = True

    @contextmanager
    def _index(self, workspace_id: int) -> Generator[_Index]:
        with self._lock:
            index = self._indexes.setdefault(workspace_id, _Index(workspace_id))
        with index.lock:
            if not index.loaded:
                folder = self._store.own_folder(workspace_id, UPLOADS)
                for record in folder.glob("*.json"):
                    if (upload := read_upload(record.with_suffix(".part"))) is not None:
                        index.uploads[upload.id] = upload
                _clear_away(folder)
                index.loaded = True
            yield index

    def _named(self, workspace_id: int, upload_id: str) -> Upload:
        with self._index(workspace_id) as index:
            upload = self._known(index, upload_id)
        if upload is None:
            raise _gone()
        return upload

    def _known(self, index: _Index, upload_id: str) -> Upload | None:
        """An upload, also where other servers with the same files have to do with it."""
        upload = index.uploads.get(upload_id)
        if upload is None:
            if not _ID.fullmatch(upload_id):
                return None
            part = self._store.own_folder(index.workspace_id, UPLOADS) / f"{upload_id}.part"
            upload = read_upload(part)
        elif upload.lock.acquire(blocking=False):
            # Else somebody here is just going on with it.
            try:
                upload.catch_up()
            finally:
                upload.lock.release()
        if upload is None or upload.gone:
            index.uploads.pop(upload_id, None)
            return None
        index.uploads[upload_id] = upload
        return upload

    @contextmanager
    def _held(self, upload: Upload) -> Generator[Upload]:
        with upload.lock:
            upload.catch_up()
            if upload.gone:
                raise _gone()
            upload.touched = time.time()
            yield upload

    def _create(
        self,
        index: _Index,
        upload_id: str,
        request: v1.BeginUploadRequest,
        limit: Limit,
        there: os.stat_result | None,
        *,
        replace: bool,
    ) -> Upload:
        self._make_room(index, request)
        self._check_space(index, request, limit, 0 if there is None else cost_of(there.st_size))
        part = self._store.own_folder(index.workspace_id, UPLOADS) / f"{upload_id}.part"
        digest = request.sha256.hex()
        upload = Upload(part, request.place, request.path, request.size, digest, replace=replace)
        upload.create()
        index.uploads[upload_id] = upload
        return upload

    def _make_room(self, index: _Index, request: v1.BeginUploadRequest) -> None:
        """See to it that there may be one more."""
        self._drop_old(index)
        for one in index.on_their_way:
            self._known(index, one.id)
        for one in index.on_their_way:
            # Of a file that has changed since nobody will go on with the old content.
            same = (one.place, one.path) == (request.place, request.path)
            if same and time.time() - one.touched > IDLE_SECONDS:
                _give_up(index, one)
        if len(index.on_their_way) < MAX_OPEN:
            return
        oldest = min(index.on_their_way, key=lambda one: one.touched)
        if time.time() - oldest.touched < IDLE_SECONDS or not _give_up(index, oldest):
            raise UnavailableError(
                f"{MAX_OPEN} uploads are on their way in this workspace, which is as many as there "
                "may be at once: try again in a moment."
            )

    @staticmethod
    def _drop_old(index: _Index) -> None:
        for upload in list(index.uploads.values()):
            kept = FINISHED_SECONDS if upload.version else KEPT_SECONDS
            if time.time() - upload.touched > kept:
                _give_up(index, upload)

    def _check_space(
        self, index: _Index, request: v1.BeginUploadRequest, limit: Limit, replaced: int
    ) -> None:
        on_their_way = index.on_their_way
        beside = sum(cost_of(one.size) for one in on_their_way if one.place == request.place)
        beside -= replaced
        wanted = cost_of(request.size)
        used = beside + self._store.count_bytes(index.workspace_id, request.place)
        if used + wanted > limit.size:
            # Somebody may just have made room.
            used = beside + self._store.count_bytes(index.workspace_id, request.place, now=True)
        if used + wanted > limit.size:
            raise ResourceExhaustedError(
                f"{limit.name} of this workspace is {limit.text}: {in_words(used)} are used or on "
                f"their way, and {request.path[:200]!r} has {in_words(request.size)}. Delete what "
                f"is not needed, or make the workspace anew with a bigger {limit.name}."
            )
        waiting = sum(one.size - one.received for one in on_their_way)
        free = self._store.free_bytes() - waiting - RESERVED_BYTES
        if request.size > free:
            raise ResourceExhaustedError(
                f"The disk of the server is full: it has {in_words(max(free, 0))} left, and "
                f"{request.path[:200]!r} has {in_words(request.size)}."
            )


def _clear_away(folder: Path) -> None:
    """Delete what belongs to no upload, unless another server is perhaps just making one of it."""
    for left in folder.iterdir():
        if read_upload(left.with_suffix(".part")) is None:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > IDLE_SECONDS:
                    left.unlink()


def _give_up(index: _Index, upload: Upload) -> bool:
    """Drop an upload, unless somebody is just working on it."""
    if not upload.lock.acquire(blocking=False):
        return False
    try:
        _drop(index, upload)
    finally:
        upload.lock.release()
    return True


def _drop(index: _Index, upload: Upload) -> None:
    index.uploads.pop(upload.id, None)
    upload.remove()


def _id_of(request: v1.BeginUploadRequest) -> str:
    """The same for the same file, so that it is found again."""
    key = f"{request.place.value}\0{request.path}\0{request.size}\0{request.sha256.hex()}"
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _check(request: v1.BeginUploadRequest) -> None:
    if request.place == v1.FilePlace.ARTIFACTS and "/" in request.path:
        raise InvalidArgumentError(
            f"path {request.path[:200]!r} can't be used: that of an artifact is its id, without /."
        )
    if request.size < 0:
        raise InvalidArgumentError(f"size is {request.size}: it can't be less than 0.")
    if len(request.sha256) != hashlib.sha256().digest_size:
        raise InvalidArgumentError(
            f"sha256 has {len(request.sha256)} bytes: a SHA-256 digest has 32."
        )


def _taken(path: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"path: there is {path[:200]!r} already.")


def _gone() -> NotFoundError:
    return NotFoundError(
        "upload_id: there is no such upload. It has failed, or nobody has gone on with it: begin "
        "again."
    )
