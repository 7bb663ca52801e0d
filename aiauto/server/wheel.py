"""This very package as a wheel, for workers in images that do not have it."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

DISTRIBUTION: Final = "aiauto-client"
_STEM: Final = f"{DISTRIBUTION.replace('-', '_')}-{__version__}"
NAME: Final = f"{_STEM}-py3-none-any.whl"
"""File name of the wheel."""

_PACKAGES: Final = ("aiauto", "aiauto_gen")
_INFO: Final = f"{_STEM}.dist-info"
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: aiauto\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class OwnWheel:
    """Makes the wheel when it is first asked for. For threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._content: bytes | None = None

    def content(self) -> bytes:
        """The wheel. It holds what runs here, whatever that was installed from."""
        with self._lock:
            if self._content is None:
                self._content = _build()
            return self._content


def _build() -> bytes:
    target = io.BytesIO()
    record: list[tuple[str, str, str]] = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _files():
            archive.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record.append((name, f"sha256={digest.decode('ascii')}", str(len(content))))
        record.append((f"{_INFO}/RECORD", "", ""))
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(record)
        archive.writestr(zipfile.ZipInfo(f"{_INFO}/RECORD", _TIME), lines.getvalue())
    return target.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            message = f"The package {package} can't be found."
            raise FileNotFoundError(message)
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()
    metadata = importlib.metadata.distribution(DISTRIBUTION).read_text("METADATA")
    if metadata is None:
        message = f"{DISTRIBUTION} is not installed."
        raise FileNotFoundError(message)
    yield f"{_INFO}/METADATA", metadata.encode()
    yield f"{_INFO}/WHEEL", _WHEEL.encode()
