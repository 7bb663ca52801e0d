"""How a server is to run: every knob in one place, from arguments and the environment."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiauto import config
from aiauto.errors import ArgumentValueError
from aiauto.server.data_dir import DataDir

DATABASE_URL_VARIABLE = "AIAUTO_DATABASE_URL"
PUBLIC_URL_VARIABLE = "AIAUTO_PUBLIC_URL"
ALLOWED_HOSTS_VARIABLE = "AIAUTO_ALLOWED_HOSTS"
LINK_MOUNTS_VARIABLE = "AIAUTO_LINK_MOUNTS"
FORK_WORKERS_VARIABLE = "AIAUTO_FORK_WORKERS"

MEBIBYTE = 1024 * 1024
# Fixed, so that every client may count on it.
MAX_ENTRIES_PER_APPEND = 10_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server is to run.

    Attributes:
        data_dir: Folder with everything that it keeps. Absolute.
        host: Address or name to listen on. Anything but loopback must be asked for by a person.
        port: Port to listen on; 0 means any that is free.
        database_url: SQLAlchemy URL of the database; None means an SQLite file in `data_dir`.
        public_url: Address under which users reach it, where a proxy stands in front; None means
            the address that it listens on.
        allowed_hosts: Names under which browsers may address a server on loopback, besides
            ``localhost``, the loopback addresses and the name in `public_url`.
        idle_timeout: Seconds without use and without unfinished batches after which it stops; None
            means never.
        lease_ttl: Seconds without a heartbeat after which the holder of a lease is suspected to be
            dead: another worker that has nothing to do may run its trial again.
        lease_grace: Seconds more after which it counts as dead, and its trial as failed.
        heartbeat_interval: Seconds between the heartbeats that workers are told to send.
        drain_timeout: Seconds that running trials have to end by themselves on SIGTERM. What takes
            longer is cut off, and run again when the server is back.
        stop_grace: Seconds that workers have to end when a batch or the server is stopped.
        link_mounts: Whether ``/mnt/shared-cache`` and ``/mnt/tmp-cache`` shall lead workers of this
            machine to their folders. The two links are made, and stay.
        fork_workers: Whether workers are forked from a process that has imported what they need,
            where the system can do that; else each starts a Python of its own.
        journal_rate: Journal entries that each token, of a user or of a worker, may append a
            second. A trial is about four, and one for every intermediate value.
        journal_burst: Journal entries that a token may append at once after a pause.
        max_message_bytes: Size of the biggest message that a call may carry: an objective with the
            code that it needs.
        max_page_body_bytes: Size of the biggest body that a browser may send.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    database_url: str | None = None
    public_url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    idle_timeout: float | None = None
    lease_ttl: float = 60.0
    lease_grace: float = 30.0
    heartbeat_interval: float = 5.0
    drain_timeout: float = 3.0
    stop_grace: float = 5.0
    link_mounts: bool = False
    fork_workers: bool = True
    journal_rate: float = 5000.0
    journal_burst: int = 50_000
    max_message_bytes: int = 64 * MEBIBYTE
    max_page_body_bytes: int = 16 * MEBIBYTE

    def __post_init__(self) -> None:
        """Refuse what can't work, before anything starts.

        Raises:
            ArgumentValueError: A value is out of its range.
        """
        _require(0 <= self.port <= 65535, "port", self.port, "0 (any) to 65535")
        _require(bool(self.host.strip()), "host", self.host, "an address such as 127.0.0.1")
        for name in (
            "lease_ttl",
            "lease_grace",
            "heartbeat_interval",
            "drain_timeout",
            "stop_grace",
            "idle_timeout",
        ):
            seconds: float | None = getattr(self, name)
            sound = seconds is None or 0 < seconds < float("inf")
            _require(sound, name, seconds, "a positive number of seconds")
        _require(
            self.heartbeat_interval < self.lease_ttl,
            "heartbeat_interval",
            self.heartbeat_interval,
            f"less than lease_ttl ({self.lease_ttl:g} s)",
        )
        _require(
            0 < self.journal_rate < float("inf"),
            "journal_rate",
            self.journal_rate,
            "a positive number of entries a second",
        )
        _require(
            self.journal_burst >= MAX_ENTRIES_PER_APPEND,
            "journal_burst",
            self.journal_burst,
            f"at least {MAX_ENTRIES_PER_APPEND}, which is what one call may carry",
        )
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query
            _require(sound, "public_url", self.public_url, "such as https://aiauto.example.org")

    @classmethod
    def from_environment(cls, **given: Any) -> Settings:  # noqa: ANN401 - the fields of the class
        """Settings as given, and from the environment where nothing is given.

        Args:
            **given: Fields of this class; None means "not given".

        Returns:
            The settings.

        Raises:
            ArgumentValueError: A value is out of its range.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        chosen["data_dir"] = Path(chosen.get("data_dir") or config.data_dir()).absolute()
        for name, variable in (
            ("database_url", DATABASE_URL_VARIABLE),
            ("public_url", PUBLIC_URL_VARIABLE),
        ):
            if name not in chosen and (value := os.environ.get(variable)):
                chosen[name] = value
        if "allowed_hosts" not in chosen and (names := os.environ.get(ALLOWED_HOSTS_VARIABLE)):
            chosen["allowed_hosts"] = tuple(name.strip() for name in names.split(","))
        for name, variable in (
            ("link_mounts", LINK_MOUNTS_VARIABLE),
            ("fork_workers", FORK_WORKERS_VARIABLE),
        ):
            if name not in chosen and (answer := os.environ.get(variable)):
                _require(answer in {"0", "1"}, variable, answer, "0 or 1")
                chosen[name] = answer == "1"
        for name in ("lease_ttl", "lease_grace", "heartbeat_interval", "drain_timeout"):
            variable = f"AIAUTO_{name.upper()}"
            if name not in chosen and (text := os.environ.get(variable)):
                try:
                    chosen[name] = float(text)
                except ValueError:
                    _require(sound=False, name=variable, value=text, expected="a number of seconds")
        return cls(**chosen)

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{DataDir(self.data_dir).database}"

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def login_links(self) -> bool:
        """Whether links log in by a key that they carry.

        Such a key is a password in a link, and fit only for links that stay on this machine.
        """
        return self.on_loopback and self.public_url is None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address stands for this machine and nothing else.

    Args:
        host: A name or an address, an IPv6 address with or without brackets.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _require(sound: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001
    if not sound:
        message = f"{name} is {value!r}: it must be {expected}."
        raise ArgumentValueError(message, argument=name)
