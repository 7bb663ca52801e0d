"""What the server writes down: plain lines on standard error, and never a secret."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractAccessLogger

if TYPE_CHECKING:
    from aiohttp import web

# Tokens, and the keys of log-in links. Nothing of ours logs them; texts of others may.
SECRET = re.compile(r"aiauto_[A-Za-z0-9_\-.~]{8,}|(?<=[?&]key=)[^&\s\"']+")


class PlainFormatter(logging.Formatter):
    """One readable line a record, with what looks like a secret blotted out."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Give the record as text, its traceback included."""
        return SECRET.sub("***", super().format(record))


class AccessLog(AbstractAccessLogger):
    """One line a request, without its query: log-in keys travel there.

    Requests that failed are worth a person's attention; the others, of which workers send many a
    second, are for debugging.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write one line for an answered request."""
        level = logging.INFO if response.status >= 400 else logging.DEBUG
        # As it was sent, percent signs and all: a decoded path could hold line breaks.
        path = request.rel_url.raw_path
        self.logger.log(
            level, "%s %s %s %d %.1f ms", request.remote, request.method, path, response.status,
            1000 * time,
        )  # fmt: skip


def configure(level: int = logging.INFO) -> None:
    """Send everything that this program logs to standard error.

    Args:
        level: The least important level that is written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("aiauto", "aiohttp.access"):
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
