"""A Redis of the tests' own: a real one, on a port that was free."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

START_SECONDS = 60
PASSWORD = "s3cret"


@contextlib.contextmanager
def redis_server(folder: Path) -> Generator[str]:
    """Run a Redis while the block runs. Skips the test where this machine has none.

    Args:
        folder: Where it may write.

    Yields:
        Its URL, with the password that it asks for.
    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis (redis-server) is not on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(
        [program, *options, "--requirepass", PASSWORD], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert process.poll() is None, "Redis did not start"
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(0.05)
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS):
            return True
    except OSError:
        return False
