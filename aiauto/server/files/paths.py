"""Paths as callers write them, and what is found by them without ever leaving a folder.

Names are followed one by one from an open folder, and links never: so neither a name nor a link
that a worker has left somewhere leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from aiauto.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RpcError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path
    from typing import BinaryIO

MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe among the files would be waited for.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def split(path: str) -> tuple[str, ...]:
    """Check a path as it came in.

    Args:
        path: Names between ``/``.

    Returns:
        The names, at least one.

    Raises:
        InvalidArgumentError: It is no relative path, or could mean something else elsewhere.
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise _refused(path, "it is not valid Unicode") from None
    if size > MAX_PATH_BYTES:
        raise _refused(path, f"it has {size} bytes, and {MAX_PATH_BYTES} are allowed")
    if not path:
        raise _refused(path, "it is empty")
    if path.startswith("/"):
        raise _refused(path, "it must be relative")
    if any(letter == "\\" or ord(letter) < 32 or ord(letter) == 127 for letter in path):
        raise _refused(path, r"it holds a control character or \ ")
    names = tuple(path.split("/"))
    for name in names:
        if name in {"", ".", ".."}:
            raise _refused(path, "it must be names between single /, none of them . or ..")
        if len(name.encode()) > MAX_NAME_BYTES:
            raise _refused(path, f"a name in it has more than {MAX_NAME_BYTES} bytes")
    return names


@contextlib.contextmanager
def opened_folder(root: Path, names: Sequence[str], *, make: bool = False) -> Generator[int]:
    """Open a folder beneath another.

    Args:
        root: The other one.
        names: The way from there.
        make: Whether to make what is not there.

    Yields:
        Its descriptor.

    Raises:
        OSError: It is not there, or no folder.
    """
    descriptor = os.open(root, FOLDER_FLAGS)
    try:
        for name in names:
            if make:
                _make_folder(descriptor, name)
            inner = os.open(name, FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(root: Path, names: Sequence[str]) -> BinaryIO:
    """Open a file beneath a folder for reading.

    Args:
        root: The folder.
        names: The way from there.

    Raises:
        OSError: It is not there, or no ordinary file.
    """
    with opened_folder(root, names[:-1]) as folder:
        descriptor = os.open(names[-1], FILE_FLAGS, dir_fd=folder)
    try:
        _check_ordinary(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def stat_of(root: Path, names: Sequence[str]) -> os.stat_result | None:
    """What is beneath a folder, links not followed; None where nothing is."""
    try:
        with opened_folder(root, names[:-1]) as folder:
            return os.stat(names[-1], dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def spoken_errors(path: str) -> Generator[None]:
    """Turn what the operating system has against a path into what its caller is told.

    Args:
        path: As the caller wrote it.

    Raises:
        RpcError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise _spoken(path, error) from error


# What is told for an errno, the path being put in.
_SPOKEN: dict[int, tuple[type[RpcError], str]] = {
    errno.ENOENT: (NotFoundError, "path: there is no file {}."),
    errno.ENOSPC: (ResourceExhaustedError, "The disk of the server is full: {} can't be kept."),
    errno.EDQUOT: (ResourceExhaustedError, "The disk of the server is full: {} can't be kept."),
    errno.ENAMETOOLONG: (InvalidArgumentError, "path: {} is too long for the server's disk."),
    errno.EISDIR: (FailedPreconditionError, "path: {} is a folder."),
    errno.ENOTEMPTY: (FailedPreconditionError, "path: {} is a folder."),
    errno.EEXIST: (FailedPreconditionError, "path: {} is a folder."),
    errno.ENOTDIR: (FailedPreconditionError, "path: a part of {} is a file or a link, no folder."),
    errno.ELOOP: (FailedPreconditionError, "path: {} is no ordinary file."),
}


def _spoken(path: str, error: OSError) -> RpcError:
    shown = repr(path[:200])
    if error.errno in _SPOKEN:
        kind, text = _SPOKEN[error.errno]
        return kind(text.format(shown))
    return FailedPreconditionError(f"path: {shown} can't be used: {error.strerror or error}.")


def _check_ordinary(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ELOOP, "not an ordinary file")


def _make_folder(parent: int, name: str) -> None:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return
    # Else a power cut may take the folder, and with it a file that was acknowledged.
    os.fsync(parent)


def _refused(path: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"path {path[:200]!r} can't be used: {why.rstrip()}.")
