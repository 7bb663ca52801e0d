"""One file on its way: as far as it has come it is on disk, with a note of what it shall be.

::

    uploads/<upload>.part    its first bytes
    uploads/<upload>.json    where it is going, its size and digest
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiauto_gen.aiauto import v1

from aiauto.errors import InvalidArgumentError, OutOfRangeError
from aiauto.server.data_dir import write_private
from aiauto.server.files.limits import MEBIBYTE
from aiauto.server.files.paths import spoken_errors
from aiauto.server.files.store import version_of

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

BLOCK_BYTES = MEBIBYTE


@dataclass(eq=False)
class Upload:
    """One file on its way. Its methods are for whoever holds its lock.

    Attributes:
        part: Where its first bytes are.
        place: Where it is going.
        path: Its path there.
        size: Its size in bytes.
        sha256: Its digest, in hexadecimal digits.
        received: How many bytes have come.
        touched: When somebody last went on with it, as `time.time`.
        version: What it is in its place, by `version_of`; empty while it is on its way.
        gone: Whether it was given up.
        replace: Whether it may replace a file that is there.
        lock: Held by whoever works on it.
    """

    part: Path
    place: v1.FilePlace
    path: str
    size: int
    sha256: str
    received: int = 0
    touched: float = field(default_factory=time.time)
    version: str = ""
    gone: bool = False
    replace: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)
    # Digest of the first bytes, and of how many: so a big file needn't be read again at the end.
    _hasher: Any = field(default_factory=hashlib.sha256)
    _hashed: int = 0

    @property
    def id(self) -> str:
        """Its name."""
        return self.part.stem

    def create(self) -> None:
        """Begin it on disk."""
        self.part.write_bytes(b"")
        self.note("")

    def catch_up(self) -> None:
        """Take notice of what other servers with the same files have done with it."""
        if self.version or self.gone:
            return
        try:
            # Opened, since a disk of the network tells the size anew only then.
            with self.part.open("rb") as file:
                found = os.fstat(file.fileno())
            self.received = min(found.st_size, self.size)
            self.touched = max(self.touched, found.st_mtime)
        except FileNotFoundError:
            left = read_upload(self.part)
            self.gone = left is None
            self.version = "" if left is None else left.version

    def append(self, offset: int, data: bytes) -> None:
        """Take a part.

        Args:
            offset: Where it begins.
            data: It.

        Raises:
            RpcError: It does not fit, or the disk does not take it.
        """
        if not 0 <= offset <= self.received:
            raise OutOfRangeError(
                f"offset is {offset}, and {self.received} bytes have come: go on behind them."
            )
        # What came twice, or comes from two callers, is kept once.
        new = memoryview(data)[self.received - offset :]
        if self.received + len(new) > self.size:
            raise InvalidArgumentError(f"data: the file has {self.size} bytes, not more.")
        with spoken_errors(self.path):
            descriptor = os.open(self.part, os.O_WRONLY | os.O_CLOEXEC)
            try:
                written = 0
                while written < len(new):
                    written += os.pwrite(descriptor, new[written:], self.received + written)
            finally:
                os.close(descriptor)
        if self._hashed == self.received:
            self._hasher.update(new)
            self._hashed += len(new)
        self.received += len(new)

    def complete(self) -> str | None:
        """Check the whole file and see to it that it is on disk.

        Returns:
            What it will be in its place, by `version_of`; None where it is not what was announced.
        """
        with spoken_errors(self.path), self.part.open("r+b") as file:
            self._hash_rest(file)
            if self._hasher.hexdigest() != self.sha256:
                return None
            os.fsync(file.fileno())
            return version_of(os.fstat(file.fileno()))

    def note(self, version: str) -> None:
        """Write down what it shall be.

        Args:
            version: What it will be in its place. It counts once it is there.
        """
        record = {
            "place": self.place.value,
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256,
            "version": version,
            "replace": self.replace,
        }
        write_private(self.part.with_suffix(".json"), json.dumps(record) + "\n")

    def remove(self) -> None:
        """Take it off the disk."""
        self.gone = True
        self.part.with_suffix(".json").unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def _hash_rest(self, file: BinaryIO) -> None:
        """Read what came to an earlier server."""
        file.seek(self._hashed)
        while block := file.read(BLOCK_BYTES):
            self._hasher.update(block)
            self._hashed += len(block)


def read_upload(part: Path) -> Upload | None:
    """An upload as an earlier server left it, None where it is of no use.

    Args:
        part: Where its first bytes are, or were.
    """
    record = part.with_suffix(".json")
    try:
        # Any JSON may stand there; what does not fit raises one of the errors below.
        noted: Any = json.loads(record.read_text(encoding="utf-8"))
        upload = Upload(
            part,
            v1.FilePlace(int(noted["place"])),
            str(noted["path"]),
            int(noted["size"]),
            str(noted["sha256"]),
            touched=record.stat().st_mtime,
            replace=bool(noted["replace"]),
        )
        if part.exists():
            found = part.stat()
            upload.received = min(found.st_size, upload.size)
            upload.touched = max(upload.touched, found.st_mtime)
        elif noted["version"]:
            upload.version = str(noted["version"])
        else:
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return upload
