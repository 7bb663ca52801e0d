"""A disk that is soon full, in memory."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Generator[Path]:
    """Mount one, and skip the test where that can't be done.

    Args:
        folder: Where. It is made.
        mebibytes: How much fits on it.

    Yields:
        The folder.
    """
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("this system has no mount")
    options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs"]
    if subprocess.run([mount, *options, folder], capture_output=True, check=False).returncode:
        pytest.skip("this system lets the tests mount no disk of their own")
    try:
        yield folder
    finally:
        subprocess.run([umount, "--lazy", folder], check=True)
