"""Files on their way to and from a workspace.

A connection that breaks, and a server that is started again, cost only what had not come through:
both sides go on where they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from aiauto_gen.aiauto import v1

from aiauto.errors import (
    ArgumentFileExistsError,
    ArgumentValueError,
    DataLossError,
    DeadlineExceededError,
    NotFoundError,
    RpcError,
    UnavailableError,
)
from aiauto.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from aiauto_gen.aiauto.v1.connect import FileServiceClientSync
    from aiauto_gen.connect import Stream
    from typing_extensions import Buffer

    Told: TypeAlias = Callable[[int, int], object]

logger: Final = logging.getLogger("aiauto")

PART_BYTES: Final = 4 * 1024 * 1024
BLOCK_BYTES: Final = 1024 * 1024
BUFFER_BYTES: Final = 512 * 1024
# A part may take so long on a slow line; and the end of a big file, which the server checks.
PART_TIMEOUT: Final = 300.0
FINISH_TIMEOUT: Final = 900.0
# After so long a download is opened anew, lest a silently dead one be waited for.
STREAM_TIMEOUT: Final = 600.0
# For so long a server that is away is tried again, counted from the last byte that came through.
PATIENCE_SECONDS: Final = 300.0
LONGEST_PAUSE_SECONDS: Final = 5.0
# Uploads that the server has given up begin again so often.
MAX_FRESH_STARTS: Final = 3

# What another attempt may mend.
PASSING: Final = (UnavailableError, DeadlineExceededError)


def ignore(_done: int, _size: int) -> None:
    """Take note of nothing: for whoever does not want to know how far a transfer is."""


def send(
    client: FileServiceClientSync,
    place: v1.FilePlace,
    path: str,
    content: BinaryIO,
    *,
    on_progress: Told = ignore,
) -> None:
    """Send a file. One that was sent in part before, by whatever process, goes on there.

    Args:
        client: The way to the server.
        place: Where it shall be.
        path: Its path there.
        content: The file, from where it stands on. Where it can't be read twice it is copied first.
        on_progress: Told how many bytes have come and how many there are.

    Raises:
        RpcError: The server refuses, or stayed out of reach.
    """
    with _repeatable(content) as file:
        start = file.tell()
        size, digest = _measured(file)
        request = v1.BeginUploadRequest(place=place, path=path, size=size, sha256=digest)
        patience = _Patience(path)
        farthest = fresh_starts = 0
        done = False
        while not done:
            try:
                upload = client.begin_upload(request)
                for offset in _send_rest(client, upload, file, start=start, size=size):
                    if offset > farthest:
                        farthest = offset
                        patience.renew()
                    on_progress(offset, size)
                done = True
            except PASSING as error:
                patience.spend(error)
            except NotFoundError:
                # Nobody went on with it for too long, or something was wrong on the server's disk.
                fresh_starts += 1
                if fresh_starts > MAX_FRESH_STARTS:
                    raise


def _send_rest(
    client: FileServiceClientSync,
    upload: v1.BeginUploadResponse,
    file: BinaryIO,
    *,
    start: int,
    size: int,
) -> Iterator[int]:
    """Send what is missing, and tell after every part how much has come."""
    offset = upload.offset
    yield size if upload.finished else offset
    if upload.finished:
        return
    while offset < size:
        file.seek(start + offset)
        data = file.read(min(PART_BYTES, size - offset))
        if not data:
            raise DataLossError("The file has become shorter while it was sent.")
        part = v1.WriteUploadRequest(upload_id=upload.upload_id, offset=offset, data=data)
        offset = client.write_upload(part, timeout=PART_TIMEOUT).offset
        yield offset
    client.finish_upload(v1.FinishUploadRequest(upload_id=upload.upload_id), timeout=FINISH_TIMEOUT)


class RemoteFile(io.RawIOBase):
    """A file of a workspace, to be read from any position. Made by `open_remote`.

    Attributes:
        size: Its size in bytes.
    """

    size: int

    def __init__(self, client: FileServiceClientSync, place: v1.FilePlace, path: str) -> None:
        super().__init__()
        self._client = client
        self._request = v1.DownloadRequest(place=place, path=path)
        self._patience = _Patience(path)
        self._stream: Stream[v1.DownloadResponse] | None = None
        self._block = memoryview(b"")
        self._position = 0
        self.size = 0
        # At once, so that whoever opens what is not there is told here.
        self._persist(self._open)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any position."""
        return True

    def tell(self) -> int:
        """Tell the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position.

        Args:
            offset: Where.
            whence: Counted from the beginning (0), the position (1) or the end (2).
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        position = base + offset
        if position < 0:
            message = f"the position {position} lies before the file"
            raise ArgumentValueError(message, argument="offset")
        if position != self._position:
            self._drop()
            self._position = position
        return position

    def readinto(self, buffer: Buffer, /) -> int:
        """Read some bytes.

        Args:
            buffer: Where to put them.

        Returns:
            How many came; 0 at the end.

        Raises:
            DataLossError: The file has become shorter since it was opened.
            RpcError: The server refuses, or stayed out of reach.
        """
        target = memoryview(buffer).cast("B")
        if not target or self._position >= self.size:
            return 0
        if not self._block:
            self._persist(self._receive)
        count = min(len(target), len(self._block))
        target[:count] = self._block[:count]
        self._block = self._block[count:]
        self._position += count
        if self._position == self.size:
            self._drop()
        return count

    def close(self) -> None:
        """End the call."""
        if not self.closed:
            self._drop()
        super().close()

    def _persist(self, step: Callable[[], None]) -> None:
        while True:
            try:
                step()
            except PASSING as error:
                self._drop()
                self._patience.spend(error)
            else:
                self._patience.renew()
                return

    def _open(self) -> None:
        self._request.offset = self._position
        self._stream = self._client.download(self._request, timeout=STREAM_TIMEOUT)
        first = next(self._stream, v1.DownloadResponse())
        # From now on this file, and not another one that has taken its place.
        self.size, self._request.version = first.size, first.version

    def _receive(self) -> None:
        if self._stream is None:
            self._open()
        stream = self._stream
        while not self._block:
            answer = None if stream is None else next(stream, None)
            if answer is None:
                raise DataLossError("The file has become shorter while it was read.")
            self._block = memoryview(answer.data)

    def _drop(self) -> None:
        # The call ends without anybody waiting for that: the garbage collector may come here, in
        # whatever thread it runs.
        self._stream, self._block = None, memoryview(b"")


def open_remote(client: FileServiceClientSync, place: v1.FilePlace, path: str) -> RemoteFile:
    """Open a file of a workspace for reading.

    Args:
        client: The way to the server.
        place: Where it is.
        path: Its path there.

    Raises:
        NotFoundError: There is none.
        RpcError: The server refuses, or stayed out of reach.
    """
    return RemoteFile(client, place, path)


def fetch(
    client: FileServiceClientSync,
    place: v1.FilePlace,
    path: str,
    target: Path,
    *,
    overwrite: bool,
    on_progress: Told = ignore,
) -> None:
    """Download a file. It appears at once and whole, or not at all.

    Args:
        client: The way to the server.
        place: Where it is.
        path: Its path there.
        target: The file to write.
        overwrite: Whether it may replace one that is there.
        on_progress: Told how many bytes have come and how many there are.

    Raises:
        ArgumentFileExistsError: There is one, and it may not be replaced.
        NotFoundError: There is nothing to download.
        RpcError: The server refuses, or stayed out of reach.
        OSError: The file can't be written.
    """
    if target.is_dir() or (not overwrite and target.exists()):
        message = f"file_path {str(target)!r} exists already: name another, or pass overwrite=True."
        if target.is_dir():
            message = f"file_path {str(target)!r} is a folder: name the file to write."
        raise ArgumentFileExistsError(message, argument="file_path", path=str(target))
    with open_remote(client, place, path) as source, whole_file(target) as file:
        done = 0
        while block := source.read(BLOCK_BYTES):
            file.write(block)
            done += len(block)
            on_progress(done, source.size)


def listed(
    client: FileServiceClientSync, place: v1.FilePlace, prefix: str = ""
) -> Iterator[v1.FileInfo]:
    """List files by their path.

    Args:
        client: The way to the server.
        place: Where.
        prefix: Only those whose path begins with it.
    """
    request = v1.ListFilesRequest(place=place, prefix=prefix)
    while True:
        answer = client.list_files(request)
        yield from answer.files
        if not answer.more or not answer.files:
            return
        request.after = answer.files[-1].path


class _Patience:
    """Waits for a server that is away, and in the end does not."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.renew()

    def renew(self) -> None:
        """Something came through."""
        self._end = time.monotonic() + PATIENCE_SECONDS
        self._pause = 0.25

    def spend(self, error: RpcError) -> None:
        """Wait a bit.

        Raises:
            RpcError: For too long nothing has come through.
        """
        if time.monotonic() + self._pause > self._end:
            raise error
        logger.info("%s is interrupted, and goes on soon: %s", self._path, error)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


@contextlib.contextmanager
def _repeatable(content: BinaryIO) -> Generator[BinaryIO]:
    """The content as a file that can be read twice."""
    if content.seekable():
        yield content
        return
    with tempfile.TemporaryFile(prefix="aiauto-") as copy:
        while block := content.read(BLOCK_BYTES):
            copy.write(block)
        copy.seek(0)
        yield copy


def _measured(file: BinaryIO) -> tuple[int, bytes]:
    """Size and digest of what comes from here on."""
    hasher, size = hashlib.sha256(), 0
    while block := file.read(BLOCK_BYTES):
        hasher.update(block)
        size += len(block)
    return size, hasher.digest()
