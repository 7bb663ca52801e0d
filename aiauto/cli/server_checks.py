"""What `aiauto doctor` finds out about the server that the command would speak with."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiauto.cli import reach
from aiauto.cli.findings import Finding
from aiauto.errors import AIAutoError, UnauthenticatedError, UnimplementedError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiauto.config import Remote

LOW_SPACE_BYTES: Final = 1024**3
MAX_SKEW_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 10.0


def data_dir() -> Iterator[Finding]:
    """Look at the folder of the server of this machine."""
    folder = _folder()
    if folder is None:
        return
    try:
        there = _nearest(folder)
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Finding(
            "data folder",
            "problem",
            f"{folder} can't be written to: {error}",
            "Set AIAUTO_DATA_DIR to a folder that you may write to.",
        )
        return
    free = shutil.disk_usage(there).free
    told = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < LOW_SPACE_BYTES:
        advice = "Free some space, or set AIAUTO_DATA_DIR to a folder on another disk."
        yield Finding("data folder", "warning", told, advice)
    else:
        yield Finding("data folder", "ok", told)


def memory() -> Iterator[Finding]:
    """Look whether workers of this machine can be kept to their memory."""
    if _folder() is None:
        return
    from aiauto.server.executors.memory import Memory  # noqa: PLC0415 - help needs none of it

    kept = "workers are kept to resources_limits['memory']"
    if not Memory().can_limit:
        kept = (
            "workers are not kept to resources_limits['memory']: no control groups can be made "
            "here (docs/server.md, Memory of workers)"
        )
    yield Finding("memory", "ok", kept)


def database() -> Iterator[Finding]:
    """Look at the database of the server of this machine, which need not run."""
    text, folder = os.environ.get("AIAUTO_DATABASE_URL"), _folder()
    if not text and folder is None:
        return
    from aiauto.server.data_dir import DataDir  # noqa: PLC0415 - help needs none of it
    from aiauto.server.database import standing  # noqa: PLC0415 - as above
    from aiauto.server.database.opening import url_of  # noqa: PLC0415 - as above

    try:
        url = url_of(text or f"sqlite:///{DataDir(folder or Path()).database}")
    except ValueError as error:
        advice = "Set it anew, or unset it: then it is a file in the data folder."
        yield Finding("database", "problem", f"AIAUTO_DATABASE_URL {error}", advice)
        return
    name = url.render_as_string(hide_password=True)
    found = standing.look(url, PROBE_SECONDS)
    if found is standing.Standing.FOREIGN:
        advice = "Name an empty one in AIAUTO_DATABASE_URL: the server makes its tables there."
        yield Finding("database", "problem", f"{name} {found.value}", advice)
    elif found is standing.Standing.NEWER:
        advice = "Install the newest aiauto where the server runs: pip install -U aiauto-client."
        yield Finding("database", "problem", f"{name} {found.value}", advice)
    else:
        yield Finding("database", "ok", f"{name} {found.value}")


def server() -> Iterator[Finding]:
    """Look at the server itself, wherever it is: its clock, whether it can work, and the token."""
    from aiauto import config, embedded  # noqa: PLC0415 - help needs none of it

    target = reach.target()
    if isinstance(target, config.Remote):
        yield from _reachable(target, f"{target.url} (token from {target.source or 'here'})")
        return
    running = embedded.find(target.data_dir)
    if running is not None:
        yield from _reachable(config.Remote(running.url, running.token), running.url)
    # One that may not be looked into is for another check to tell.
    elif os.path.exists(target.data_dir / "server.json"):  # noqa: PTH110 - pathlib's may raise
        yield Finding(
            "server",
            "warning",
            "it ended without tidying up, or does not answer",
            f"The next command starts it again; {target.data_dir / 'server.log'} tells why.",
        )
    else:
        yield Finding("server", "ok", "the server of this machine; not running, starts on demand")


def _nearest(folder: Path) -> Path:
    """What is there of a path.

    Raises:
        OSError: Something on the way may not be looked into.
    """
    try:
        folder.stat()
    except FileNotFoundError:
        return _nearest(folder.parent)
    return folder


def _folder() -> Path | None:
    """The data folder of the server of this machine, where that is the one in question."""
    from aiauto import config  # noqa: PLC0415 - help needs none of it

    try:
        target = reach.target()
    except AIAutoError:  # the check of the server tells it
        return None
    return None if isinstance(target, config.Remote) else target.data_dir


def _reachable(target: Remote, told: str) -> Iterator[Finding]:
    from aiauto.connection import connect_to  # noqa: PLC0415 - help needs none of it

    try:
        answer = _ask(target.url, "/healthz")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        silent = isinstance(error, OSError)
        yield Finding(
            "server",
            "problem",
            f"{told} {'does not answer' if silent else 'does not speak HTTP'}: {reason!s}",
            "Check the address and that the server runs (`aiauto serve` runs one); behind a proxy, "
            "see NO_PROXY; with a certificate of your own, AIAUTO_CA_BUNDLE.",
        )
        return
    if answer.is_of_a_proxy:
        yield Finding(
            "server",
            "problem",
            f"{told} is not what answers: something on the way says {answer.status}",
            "Look whether the server runs, and into the log of the proxy in front of it; if the "
            "proxy is one of yours that should not be on the way, see NO_PROXY.",
        )
        return
    yield Finding("server", "ok", f"{told} answers")
    if answer.date is not None:
        yield _clock(answer.date)
    yield from _ready(target.url)
    try:
        workspace = connect_to(target).workspace()
    except UnauthenticatedError:
        advice = "Issue a new one there and run `aiauto login`, or set AIAUTO_TOKEN."
        yield Finding("token", "problem", "the server does not know the token", advice)
        return
    except (UnimplementedError, UnknownError) as error:
        advice = "Check the address: what answers there does not seem to be a server of aiauto."
        yield Finding("token", "problem", str(error), advice)
        return
    except AIAutoError as error:
        yield Finding("token", "problem", str(error), "Look into the log of the server.")
        return
    yield Finding("token", "ok", f"valid, {workspace.workspace_name or 'workspace'}")


def _ready(url: str) -> Iterator[Finding]:
    """What the server says of itself. Those of other kinds say nothing."""
    try:
        answer = _ask(url, "/readyz")
        said: Any = json.loads(answer.text)
        status, reason = said["status"], said.get("reason", "")
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError, AttributeError):
        return
    if answer.status == http.HTTPStatus.OK:
        yield Finding("readiness", "ok", f"the server is {status}")
    else:
        advice = "Whoever runs the server finds more in its log."
        yield Finding("readiness", "problem", f"the server is {status}: {reason}", advice)


@dataclass(frozen=True)
class _Answer:
    """An answer over HTTP: its status, the time by the clock of who sent it, and what is in it."""

    status: int
    date: datetime | None
    text: str

    @property
    def is_of_a_proxy(self) -> bool:
        """Whether no server of ours gave it: they say neither of these under /healthz."""
        return self.status >= 500 or self.status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED


def _ask(url: str, path: str) -> _Answer:
    from aiauto import config  # noqa: PLC0415 - help needs none of it

    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=config.ssl_context())
    ]
    if config.is_loopback(urlsplit(url).hostname or ""):
        # No proxy of the environment stands between a machine and itself.
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        opener = urllib.request.build_opener(*handlers)
        answer: Any = opener.open(f"{url}{path}", timeout=PROBE_SECONDS)
    except urllib.error.HTTPError as error:  # an answer like any other
        answer = error
    with answer:
        text = answer.read(65536).decode(errors="replace")
        return _Answer(answer.status, _date(answer.headers.get("Date")), text)


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None


def _clock(date: datetime) -> Finding:
    skew = (datetime.now(timezone.utc) - date).total_seconds()
    if abs(skew) > MAX_SKEW_SECONDS:
        found = f"this clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server"
        return Finding("clock", "warning", found, "Have both set by NTP: times will not agree.")
    return Finding("clock", "ok", f"within {MAX_SKEW_SECONDS:.0f} s of the server's")
