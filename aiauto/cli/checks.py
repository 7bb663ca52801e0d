"""What `aiauto doctor` looks at."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Final

from aiauto.cli import certificate_checks, server_checks
from aiauto.cli.findings import Check, Finding, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def look() -> Iterator[Finding]:
    """Look at everything, one after the other. Nothing is started, and nothing is changed."""
    for name, check in CHECKS.items():
        yield from guarded(name, check)


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever asks for a doctor may be on any
        yield Finding("python", "problem", version, "Use Python 3.10 or newer.")
    else:
        yield Finding("python", "ok", f"{version} ({sys.executable})")


def _optuna() -> Iterator[Finding]:
    from importlib import metadata  # noqa: PLC0415 - help needs none of it

    from packaging.requirements import Requirement  # noqa: PLC0415 - as above

    # What this package was installed with, whatever that is by now.
    needed = next(
        one
        for one in map(Requirement, metadata.requires("aiauto-client") or ())
        if one.name == "optuna"
    )
    advice = f"Install what aiauto works with: pip install -U '{needed}'."
    try:
        version = metadata.version("optuna")
    except metadata.PackageNotFoundError:
        yield Finding("optuna", "problem", "not installed", advice)
        return
    if needed.specifier.contains(version, prereleases=True):
        yield Finding("optuna", "ok", version)
    else:
        yield Finding("optuna", "problem", f"{version}, and aiauto needs {needed}", advice)


def _uv() -> Iterator[Finding]:
    # As workers look for it.
    import uv  # noqa: PLC0415 - help needs none of it

    try:
        found = uv.find_uv_bin()
    except FileNotFoundError:
        yield Finding(
            "uv",
            "warning",
            "not found",
            "Local workers install an objective's requirements with it: pip install uv.",
        )
    else:
        yield Finding("uv", "ok", found)


def _proxies() -> Iterator[Finding]:
    # Values may hold a password and are not shown.
    names = [
        name for upper in PROXY_VARIABLES for name in (upper, upper.lower()) if os.environ.get(name)
    ]
    if not names:
        yield Finding("proxy", "ok", "none set")
        return
    yield Finding(
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


CHECKS: Final[dict[str, Check]] = {
    "python": _python,
    "optuna": _optuna,
    "uv": _uv,
    "proxy": _proxies,
    "login": _login,
    "data folder": server_checks.data_dir,
    "memory": server_checks.memory,
    "database": server_checks.database,
    "certificate": certificate_checks.certificate,
    "server": server_checks.server,
}
