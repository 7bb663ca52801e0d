"""What `aiauto doctor` looks at."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from aiauto.cli import reach
from aiauto.errors import AIAutoError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aiauto.config import Remote

LOW_SPACE_BYTES: Final = 1024**3
MAX_SKEW_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 10.0
PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Finding:
    """What one look has shown.

    Attributes:
        check: What was looked at.
        state: Whether it is well.
        found: What was found.
        advice: What to do; empty where nothing is.
    """

    check: str
    state: Literal["ok", "warning", "problem"]
    found: str
    advice: str = ""


def look() -> Iterator[Finding]:
    """Look at everything, one after the other. Nothing is started, and nothing is changed."""
    yield _python()
    yield _optuna()
    yield _uv()
    yield _proxies()
    yield from _guarded("login", _login)
    yield from _guarded("server", _server)


def _guarded(check: str, looks: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from looks()
    except AIAutoError as error:
        yield Finding(check, "problem", str(error), "Do what it says, then look again.")


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever asks for a doctor may be on any
        return Finding("python", "problem", version, "Use Python 3.10 or newer.")
    return Finding("python", "ok", f"{version} ({sys.executable})")


def _optuna() -> Finding:
    from importlib import metadata  # noqa: PLC0415 - help needs none of it

    try:
        version = metadata.version("optuna")
    except metadata.PackageNotFoundError:
        return Finding("optuna", "problem", "not installed", "Install it: pip install optuna.")
    if not version.startswith(("4.", "5.")):
        return Finding("optuna", "problem", version, "Install 4.6 or newer: pip install -U optuna.")
    return Finding("optuna", "ok", version)


def _uv() -> Finding:
    # As workers look for it.
    import uv  # noqa: PLC0415 - help needs none of it

    try:
        found = uv.find_uv_bin()
    except FileNotFoundError:
        return Finding(
            "uv",
            "warning",
            "not found",
            "Local workers install an objective's requirements with it: pip install uv.",
        )
    return Finding("uv", "ok", found)


def _proxies() -> Finding:
    # Values may hold a password and are not shown.
    names = [
        name for upper in PROXY_VARIABLES for name in (upper, upper.lower()) if os.environ.get(name)
    ]
    if not names:
        return Finding("proxy", "ok", "none set")
    return Finding(
        "proxy",
        "warning",
        f"{', '.join(names)} set",
        "Calls to servers other than this machine go through it. If yours is in your own network, "
        "add its name to NO_PROXY.",
    )


def _login() -> Iterator[Finding]:
    from aiauto import login  # noqa: PLC0415 - help needs none of it

    stored = login.stored()
    if stored is None:
        yield Finding("login", "ok", "none stored")
        return
    file = login.path()
    if os.name == "posix" and file.stat().st_mode & 0o077:
        yield Finding("login", "warning", f"others can read {file}", f"Run: chmod 600 {file}")
        return
    yield Finding("login", "ok", f"{stored.base_url} ({file})")


def _server() -> Iterator[Finding]:
    from aiauto import config, embedded  # noqa: PLC0415 - help needs none of it

    target = reach.target()
    if isinstance(target, config.Remote):
        yield from _reachable(target, f"{target.url} (token from {target.source or 'here'})")
        return
    yield from _data_dir(target.data_dir)
    yield _memory()
    running = embedded.find(target.data_dir)
    if running is not None:
        yield from _reachable(config.Remote(running.url, running.token), running.url)
    elif (target.data_dir / "server.json").exists():
        yield Finding(
            "server",
            "warning",
            "it ended without tidying up, or does not answer",
            f"The next command starts it again; {target.data_dir / 'server.log'} tells why.",
        )
    else:
        yield Finding("server", "ok", "the server of this machine; not running, starts on demand")


def _data_dir(folder: Path) -> Iterator[Finding]:
    there = folder
    while not there.exists():
        there = there.parent
    try:
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


def _memory() -> Finding:
    from aiauto.server.executors.memory import Memory  # noqa: PLC0415 - help needs none of it

    if Memory().can_limit:
        return Finding("memory", "ok", "workers are kept to resources_limits['memory']")
    return Finding(
        "memory",
        "ok",
        "workers are not kept to resources_limits['memory']: no control groups can be made here "
        "(docs/server.md, Memory of workers)",
    )


def _reachable(target: Remote, told: str) -> Iterator[Finding]:
    from aiauto.connection import connect_to  # noqa: PLC0415 - help needs none of it

    try:
        date = _date_of(target.url)
    except OSError as error:
        reason = getattr(error, "reason", error)
        yield Finding(
            "server",
            "problem",
            f"{told} does not answer: {reason}",
            "Check the address and that the server runs (`aiauto serve` runs one); behind a proxy, "
            "see NO_PROXY; with a certificate of your own, AIAUTO_CA_BUNDLE.",
        )
        return
    yield Finding("server", "ok", f"{told} answers")
    if date is not None:
        yield _clock(date)
    try:
        workspace = connect_to(target).workspace()
    except UnauthenticatedError:
        advice = "Issue a new one there and run `aiauto login`, or set AIAUTO_TOKEN."
        yield Finding("token", "problem", "the server does not know the token", advice)
        return
    except AIAutoError as error:
        yield Finding("token", "problem", str(error), "Look into the log of the server.")
        return
    yield Finding("token", "ok", f"valid, {workspace.workspace_name or 'workspace'}")


def _date_of(url: str) -> datetime | None:
    """The time by the clock of a server."""
    from aiauto import config  # noqa: PLC0415 - help needs none of it

    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=config.ssl_context())
    ]
    if config.is_loopback(urlsplit(url).hostname or ""):
        # No proxy of the environment stands between a machine and itself.
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(
            f"{url}/healthz", timeout=PROBE_SECONDS
        ) as answer:
            text: str | None = answer.headers.get("Date")
    except urllib.error.HTTPError as error:  # it answers, that is enough
        text = error.headers.get("Date")
        error.close()
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
