"""The shared cache: files that all workers of a workspace find."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from aiauto_gen.aiauto import v1
from tqdm.auto import tqdm

from aiauto import paths, transfer
from aiauto.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    RpcError,
    UnauthenticatedError,
    UploadFailedError,
)
from aiauto.progress import bar_wanted

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from aiauto.connection import Connection

__all__ = ["DeletedFile", "SharedCacheFile", "SharedCacheFiles", "UploadedFiles"]

logger: Final = logging.getLogger("aiauto")

PLACE: Final = v1.FilePlace.SHARED_CACHE


class UploadedFiles(TypedDict):
    """What has been uploaded."""

    uploaded_files: list[str]
    """The names of the files, without folders."""


class SharedCacheFile(TypedDict):
    """A file in the shared cache."""

    name: str
    """Its path there, for example ``datasets/train.csv``."""
    size: int
    """Its size in bytes."""
    modified: str
    """RFC 3339 time of its last change."""


class SharedCacheFiles(TypedDict):
    """The files in the shared cache."""

    files: list[SharedCacheFile]
    """The files of all folders by their path."""


class DeletedFile(TypedDict):
    """What has been deleted."""

    deleted: str
    """Its path."""
    found: bool
    """Whether it was there."""


def upload(
    connection: Connection, file_paths: object, dest_dir: object, *, show_progress_bar: bool
) -> UploadedFiles:
    """Send files. See `AIAutoController.upload_to_shared_cache`."""
    files = _checked_files(file_paths)
    folder = paths.cache_folder(dest_dir, "dest_dir")
    for path in files:
        target = f"{folder}/{path.name}" if folder else path.name
        try:
            with path.open("rb") as file, _bar(path.name, shown=show_progress_bar) as on_progress:
                transfer.send(connection.files, PLACE, target, file, on_progress=on_progress)
        except (*transfer.PASSING, UnauthenticatedError):
            raise
        except RpcError as error:
            message = f"{str(path)!r} can't be uploaded: {error}"
            raise UploadFailedError(message, path=str(path)) from error
        logger.info("%s is in the shared cache.", target)
    return {"uploaded_files": [path.name for path in files]}


def download(
    connection: Connection,
    path: object,
    file_path: object,
    *,
    overwrite: bool,
    show_progress_bar: bool,
) -> Path:
    """Download a file. See `AIAutoController.download_from_shared_cache`."""
    source = paths.cache_path(path, "path")
    target = paths.new_file(file_path, "file_path")
    with _bar(target.name, shown=show_progress_bar) as on_progress:
        transfer.fetch(
            connection.files, PLACE, source, target, overwrite=overwrite, on_progress=on_progress
        )
    return target


def files_in(connection: Connection) -> SharedCacheFiles:
    """List the files. See `AIAutoController.list_shared_cache`."""
    found = transfer.listed(connection.files, PLACE)
    return {
        "files": [{"name": one.path, "size": one.size, "modified": one.modified} for one in found]
    }


def delete(connection: Connection, path: object) -> DeletedFile:
    """Delete a file or folder. See `AIAutoController.delete_from_shared_cache`."""
    checked = paths.cache_path(path, "path")
    answer = connection.files.delete_file(v1.DeleteFileRequest(place=PLACE, path=checked))
    return {"deleted": checked, "found": answer.found}


def _checked_files(value: object) -> list[Path]:
    """The files to send, each checked before the first is sent."""
    name = "file_paths"
    given = (
        cast("list[object] | tuple[object, ...]", value)
        if isinstance(value, (list, tuple))
        else [value]
    )
    if not given:
        message = f"{name} must not be empty: name at least one file."
        raise ArgumentValueError(message, argument=name)
    if value is None:
        message = f"{name} must be a path, or a list of paths, not None."
        raise ArgumentTypeError(message, argument=name)
    files = [paths.local_file(one, name) for one in given]
    names: dict[str, Path] = {}
    for path in files:
        other = names.setdefault(path.name, path)
        if other is not path and other.absolute() != path.absolute():
            message = (
                f"{name} holds {str(other)!r} and {str(path)!r}, which would have the same path in "
                "the shared cache: upload them into different folders, with dest_dir."
            )
            raise ArgumentValueError(message, argument=name)
    return files


@contextlib.contextmanager
def _bar(file_name: str, *, shown: bool) -> Generator[transfer.Told]:
    """Show at a terminal or in a notebook how far a transfer is."""
    watched = shown and bar_wanted(None)
    # tqdm is untyped.
    bar: Any = tqdm(
        desc=file_name, unit="B", unit_scale=True, unit_divisor=1024, disable=not watched
    )

    def show(done: int, size: int) -> None:
        bar.total = size
        bar.update(done - bar.n)

    with bar:
        yield show
