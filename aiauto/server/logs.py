"""What the server writes down: a line a record on standard error, and never a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from aiauto.server.trusted_proxies import TrustedProxies

if TYPE_CHECKING:
    from aiohttp import web

# Tokens, cookies with their values, the keys of log-in links, what an issuer hands back. Nothing
# of ours logs them; texts of others may.
SECRET = re.compile(
    r"aiauto_[A-Za-z0-9_\-.~]{8,}(?:=[^\s;\"'\\]+)?"
    r"|(?:(?<=[?&]key=)|(?<=[?&]code=)|(?<=[?&]state=))[^&\s\"']+",
)

# Where a record of a request has its parts.
REQUEST_ATTRIBUTE = "aiauto_request"


class PlainFormatter(logging.Formatter):
    """One readable line a record, with what looks like a secret blotted out."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Give the record as text, its traceback included."""
        return SECRET.sub("***", super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record: ``time`` (RFC 3339, UTC), ``level``, ``logger`` and ``message``.

    Where there is more to tell, ``error`` has the traceback, and a request its parts: ``remote``,
    ``method``, ``path``, ``status`` and ``seconds``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the record as a line of JSON."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        told: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, REQUEST_ATTRIBUTE, {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        blotted = {
            name: SECRET.sub("***", value) if isinstance(value, str) else value
            for name, value in told.items()
        }
        return json.dumps(blotted, ensure_ascii=False)


class AccessLog(AbstractAccessLogger):
    """One line a request, without its query: log-in keys travel there.

    Requests that failed are worth a person's attention; the others, of which workers send many a
    second, are for debugging.

    Attributes:
        proxies: Says where a request comes from. `access_log` sets it.
    """

    proxies: TrustedProxies = TrustedProxies()

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write one line for an answered request."""
        level = logging.INFO if response.status >= 400 else logging.DEBUG
        if not self.logger.isEnabledFor(level):
            return
        # As it was sent, percent signs and all: a decoded path could hold line breaks.
        path = request.rel_url.raw_path
        remote = self.proxies.caller_of(request)
        parts = {
            "remote": remote,
            "method": request.method,
            "path": path,
            "status": response.status,
            "seconds": round(time, 6),
        }
        self.logger.log(
            level, "%s %s %s %d %.1f ms", remote, request.method, path, response.status,
            1000 * time, extra={REQUEST_ATTRIBUTE: parts},
        )  # fmt: skip


def access_log(proxies: TrustedProxies) -> type[AccessLog]:
    """The access log of a server.

    Args:
        proxies: Says where a request comes from.
    """

    class Log(AccessLog):
        pass

    Log.proxies = proxies
    return Log


def without_what_came(record: logging.LogRecord) -> bool:
    """Keep what a request that can't be read had in it out of the log, and it short.

    A filter for the log of aiohttp, which tells the very bytes, and how it came to read them.
    """
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = f"{record.getMessage()}: it can't be read"
        record.args, record.exc_info, record.exc_text = None, None, None
    return True


def configure(level: int = logging.INFO, *, as_json: bool = False) -> None:
    """Send everything that this program logs to standard error.

    Args:
        level: The least important level that is written.
        as_json: Whether each record is a JSON object, for programs; else it is a line for people.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("aiauto", "aiohttp.access"):
        logging.getLogger(name).setLevel(level)
    unreadable = logging.getLogger("aiohttp.server")
    if without_what_came not in unreadable.filters:
        unreadable.addFilter(without_what_came)
    logging.captureWarnings(capture=True)
