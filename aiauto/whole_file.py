"""Files that appear at once and whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextlib.contextmanager
def whole_file(target: Path, *, private: bool = False) -> Generator[BinaryIO]:
    """Write a file. Where that fails, what was there before still is.

    Args:
        target: The file. One that is there is replaced.
        private: Whether only this user may read it. Default: whoever may read new files.

    Yields:
        What to write to.

    Raises:
        OSError: It can't be written. `filename` is the target.
    """
    # Not named after the target, whose name may be as long as names may be.
    draft = target.with_name(f".aiauto-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(draft, flags, 0o600 if private else 0o666), "wb") as file:
            yield file
            file.flush()
            # Else a power cut may leave the name with nothing behind it.
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        # What came from elsewhere, a broken connection for one, has no number or names another.
        if error.errno is None or error.filename not in {None, str(draft)}:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        draft.unlink(missing_ok=True)
