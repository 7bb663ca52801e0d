"""The files of all workspaces: found, listed, counted, put in place and deleted.

::

    files/<workspace>/artifacts/       by artifact id
    files/<workspace>/shared-cache/    what workers find as their shared cache
    files/<workspace>/uploads/         what is on its way, see `uploads`
    files/<workspace>/trash/           what is being deleted
"""

from __future__ import annotations

import contextlib
import heapq
import os
import shutil
import stat
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.errors import InvalidArgumentError
from aiauto.server.files.paths import open_file, opened_folder, split, spoken_errors, stat_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

FOLDERS = {v1.FilePlace.ARTIFACTS: "artifacts", v1.FilePlace.SHARED_CACHE: "shared-cache"}
UPLOADS, TRASH = "uploads", "trash"
# Workers write into the shared cache without asking, so it must be counted anew now and then.
COUNT_SECONDS = 30.0
# What a file costs at least: a disk has an end to empty files too.
BLOCK_BYTES = 4096


@dataclass(frozen=True)
class Entry:
    """A file in a list.

    Attributes:
        path: Its path.
        size: Its size in bytes.
        modified: When it last changed.
    """

    path: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class OpenFile:
    """A file that is being read.

    Attributes:
        file: It. Whoever has it closes it.
        size: Its size in bytes.
        version: As `version_of`.
    """

    file: BinaryIO
    size: int
    version: str


class Store:
    """The files of all workspaces. Its methods wait for the disk: they are for threads.

    Attributes:
        root: The folder that holds a folder for each workspace.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        # Bytes in a place, and until when that may be believed.
        self._counted: dict[tuple[int, v1.FilePlace], tuple[int, float]] = {}

    def folder(self, workspace_id: int, place: v1.FilePlace) -> Path:
        """The folder of a place. It is made if need be.

        Raises:
            InvalidArgumentError: There is no such place.
        """
        name = FOLDERS.get(place)
        if name is None:
            raise InvalidArgumentError("place: say ARTIFACTS or SHARED_CACHE.")
        return self.own_folder(workspace_id, name)

    def own_folder(self, workspace_id: int, name: str) -> Path:
        """A folder in that of a workspace. It is made if need be."""
        folder = self.root / str(workspace_id) / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def workspace_ids(self) -> list[int]:
        """The workspaces that have files."""
        with contextlib.suppress(FileNotFoundError):
            return [int(one.name) for one in self.root.iterdir() if one.name.isdecimal()]
        return []

    def open(self, workspace_id: int, place: v1.FilePlace, path: str) -> OpenFile:
        """Open a file for reading.

        Raises:
            RpcError: It is not there, or no file.
        """
        names = split(path)
        with spoken_errors(path):
            file = open_file(self.folder(workspace_id, place), names)
            found = os.fstat(file.fileno())
        return OpenFile(file, found.st_size, version_of(found))

    def stat(self, workspace_id: int, place: v1.FilePlace, path: str) -> os.stat_result | None:
        """What is at a path, None where nothing is.

        Raises:
            RpcError: The path leads through a file.
        """
        names = split(path)
        with spoken_errors(path):
            return stat_of(self.folder(workspace_id, place), names)

    def entries(
        self,
        workspace_id: int,
        place: v1.FilePlace,
        *,
        prefix: str = "",
        after: str = "",
        limit: int,
    ) -> tuple[list[Entry], bool]:
        """List files by their path.

        Args:
            workspace_id: The workspace.
            place: Where.
            prefix: Only those whose path begins with it.
            after: Only those whose path comes after it.
            limit: How many at most.

        Returns:
            The files, and whether there are more.
        """
        wanted = (
            (path, size, modified)
            for path, size, modified in self._walk(workspace_id, place)
            if path.startswith(prefix) and path > after
        )
        found = heapq.nsmallest(limit + 1, wanted)
        entries = [
            Entry(path, size, datetime.fromtimestamp(modified, timezone.utc))
            for path, size, modified in found[:limit]
        ]
        return entries, len(found) > limit

    def artifact_ids(self, workspace_id: int) -> set[str]:
        """What is there of artifacts."""
        return set(os.listdir(self.folder(workspace_id, v1.FilePlace.ARTIFACTS)))  # noqa: PTH208

    def count_bytes(self, workspace_id: int, place: v1.FilePlace, *, now: bool = False) -> int:
        """How many bytes the files of a place cost.

        Args:
            workspace_id: The workspace.
            place: Where.
            now: Whether to count at once; else as of half a minute ago at most.
        """
        key = (workspace_id, place)
        with self._lock:
            size, until = self._counted.get(key, (0, 0.0))
        if now or time.monotonic() >= until:
            size = sum(cost_of(size) for _, size, _ in self._walk(workspace_id, place))
            with self._lock:
                self._counted[key] = size, time.monotonic() + COUNT_SECONDS
        return size

    def put(self, workspace_id: int, place: v1.FilePlace, path: str, source: Path) -> None:
        """Put a file in its place, for good: after a power cut it is there.

        Args:
            workspace_id: The workspace.
            place: Where it shall be.
            path: Its path there. A file that is there is replaced.
            source: The file, whole and on disk. It is moved.

        Raises:
            RpcError: It can't be there.
        """
        names = split(path)
        root = self.folder(workspace_id, place)
        with spoken_errors(path), opened_folder(root, names[:-1], make=True) as folder:
            size = cost_of(source.stat().st_size)
            with contextlib.suppress(FileNotFoundError):
                replaced = os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
                size -= cost_of(replaced.st_size)
            os.replace(source, names[-1], dst_dir_fd=folder)
            os.fsync(folder)
        with self._lock:
            if (counted := self._counted.get((workspace_id, place))) is not None:
                self._counted[workspace_id, place] = counted[0] + size, counted[1]

    def delete(self, workspace_id: int, place: v1.FilePlace, path: str) -> bool:
        """Delete a file, or a folder with all that is in it: at once for all who look.

        Returns:
            Whether it was there.

        Raises:
            RpcError: The path leads through a file.
        """
        names = split(path)
        root = self.folder(workspace_id, place)
        trash = self.own_folder(workspace_id, TRASH) / uuid.uuid4().hex
        with spoken_errors(path):
            try:
                with opened_folder(root, names[:-1]) as folder:
                    os.rename(names[-1], trash, src_dir_fd=folder)
            except FileNotFoundError:
                return False
        _discard(trash)
        self._forget_count(workspace_id, place)
        return True

    def remove_workspace(self, workspace_id: int) -> None:
        """Delete all that a workspace has."""
        trash = self.root / f"{TRASH}-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            (self.root / str(workspace_id)).rename(trash)
            _discard(trash)
        for place in FOLDERS:
            self._forget_count(workspace_id, place)

    def empty_trash(self) -> None:
        """Delete what a server that was killed has left half deleted."""
        for trash in [*self.root.glob(f"{TRASH}-*"), *self.root.glob(f"*/{TRASH}/*")]:
            _discard(trash)

    def free_bytes(self) -> int:
        """How many bytes the disk has left."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free

    def _walk(self, workspace_id: int, place: v1.FilePlace) -> Iterator[tuple[str, int, float]]:
        """Path, size and time of all files. Links are no files, and lead nowhere."""
        root = str(self.folder(workspace_id, place))
        for folder, _, names, descriptor in os.fwalk(root, follow_symlinks=False):
            before = folder[len(root) + 1 :]
            for name in names:
                try:
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    path = f"{before}/{name}" if before else name
                    path.encode()
                except (OSError, UnicodeEncodeError):  # gone since, or no name that a call can hold
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield path, found.st_size, found.st_mtime

    def _forget_count(self, workspace_id: int, place: v1.FilePlace) -> None:
        with self._lock:
            self._counted.pop((workspace_id, place), None)


def version_of(found: os.stat_result) -> str:
    """Tells apart the files that have the same path one after the other."""
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def cost_of(size: int) -> int:
    """What a file of a size in bytes counts for."""
    return max(size, BLOCK_BYTES)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
