"""How a server is to run: every knob in one place, from arguments and the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiauto import config
from aiauto.errors import ArgumentValueError
from aiauto.server.data_dir import DataDir
from aiauto.server.database import opening
from aiauto.server.limits import Limits, whole_number
from aiauto.server.openid.settings import ISSUER_VARIABLE, OpenIdSettings
from aiauto.server.trusted_proxies import TrustedProxies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATABASE_URL_VARIABLE = "AIAUTO_DATABASE_URL"
PUBLIC_URL_VARIABLE = "AIAUTO_PUBLIC_URL"
ALLOWED_HOSTS_VARIABLE = "AIAUTO_ALLOWED_HOSTS"
TRUSTED_PROXIES_VARIABLE = "AIAUTO_TRUSTED_PROXIES"
LINK_MOUNTS_VARIABLE = "AIAUTO_LINK_MOUNTS"
FORK_WORKERS_VARIABLE = "AIAUTO_FORK_WORKERS"
TLS_CERT_VARIABLE = "AIAUTO_TLS_CERT"
TLS_KEY_VARIABLE = "AIAUTO_TLS_KEY"
PLAIN_HTTP_VARIABLE = "AIAUTO_PLAIN_HTTP"
TRUST_USERS_VARIABLE = "AIAUTO_TRUST_USERS"
EXECUTOR_VARIABLE = "AIAUTO_EXECUTOR"
KUBERNETES_CONFIG_VARIABLE = "AIAUTO_KUBERNETES_CONFIG"
FILES_DIR_VARIABLE = "AIAUTO_FILES_DIR"
SESSION_SECRET_VARIABLE = "AIAUTO_SESSION_SECRET"  # noqa: S105 - the name of a variable
ADMIN_TOKEN_VARIABLE = "AIAUTO_ADMIN_TOKEN"  # noqa: S105 - as above

TOKEN_PREFIX = "aiauto_"  # noqa: S105 - what every token begins with
MEBIBYTE = 1024 * 1024
# Fixed, so that every client may count on it.
MAX_ENTRIES_PER_APPEND = 10_000
# As much as is drawn by chance for a token, and for a secret.
LEAST_SECRET_CHARACTERS = 32


class ExecutorKind(str, Enum):
    """Where workers run."""

    LOCAL = "local"
    """As processes of the server's own machine."""
    KUBERNETES = "kubernetes"
    """As Pods of a cluster."""


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
        tls_cert: File with the certificate, and those between it and its authority, in PEM form;
            with it the server speaks HTTPS. Workers of this machine reach it by `worker_port`.
        tls_key: File with the certificate's key, in PEM form and without a password.
        plain_http: Whether the server may be reached from other machines without encryption.
        worker_port: Port on 127.0.0.1 where workers and scripts of this machine reach a server that
            speaks HTTPS, without it; 0 means any that is free.
        allowed_hosts: Names under which browsers may address a server on loopback, besides
            ``localhost``, the loopback addresses and the name in `public_url`.
        trusted_proxies: Addresses of proxies in front that are believed when they tell whose
            request they pass on.
        files_dir: Folder with the artifacts and shared caches of all workspaces; None for ``files``
            in `data_dir`. Servers on one database share it.
        session_secret: What sessions and log-in links are signed with, at least 32 characters; None
            for a secret that is kept in `data_dir`. Servers on one database share it.
        admin_token: The token of whoever runs the server, in place of one that is kept in
            `data_dir`: ``aiauto_`` and at least 32 characters. One that was named before is void.
        idle_timeout: Seconds without use and without unfinished batches after which it stops; None
            means never.
        lease_ttl: Seconds without a heartbeat after which the holder of a lease is suspected to be
            dead: another worker that has nothing to do may run its trial again.
        lease_grace: Seconds more after which it counts as dead, and its trial as failed.
        heartbeat_interval: Seconds between the heartbeats that workers are told to send.
        drain_timeout: Seconds that running trials have to end by themselves on SIGTERM. What takes
            longer is cut off, and run again when the server is back.
        stop_grace: Seconds that workers have to end when a batch or the server is stopped.
        executor: Where workers run.
        kubernetes_config: A YAML file with the fields of
            `aiauto.server.executors.kubernetes.configuration.Configuration`; None for the defaults.
        link_mounts: Whether ``/mnt/shared-cache`` and ``/mnt/tmp-cache`` shall lead workers of this
            machine to their folders. The two links are made, and stay.
        fork_workers: Whether workers are forked from a process that has imported what they need,
            where the system can do that; else each starts a Python of its own.
        trust_users: Whether there may be several users. Local workers run what each of them sends
            as the server's own system user, and could read what all others have.
        openid: By which issuer people log in; None for none.
        journal_rate: Journal entries that each token, of a user or of a worker, may append a
            second. A trial is about four, and one for every intermediate value.
        journal_burst: Journal entries that a token may append at once after a pause.
        limits: What each user may have and do at once.
        max_message_bytes: Size of the biggest message that a call may carry: an objective with the
            code that it needs.
        max_page_body_bytes: Size of the biggest body that a browser may send.
        header_timeout: Seconds that whoever connects has to send the head of a request.
        body_timeout: Seconds that they have to send its body, and one more for every 4 KiB of it;
            and as long to read an answer.
        keepalive_timeout: Seconds that a connection may be idle between two requests. A proxy in
            front should close its own before that.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    database_url: str | None = None
    public_url: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_http: bool = False
    worker_port: int = 0
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    files_dir: Path | None = None
    session_secret: str | None = field(default=None, repr=False)
    admin_token: str | None = field(default=None, repr=False)
    idle_timeout: float | None = None
    lease_ttl: float = 60.0
    lease_grace: float = 30.0
    heartbeat_interval: float = 5.0
    drain_timeout: float = 3.0
    stop_grace: float = 5.0
    executor: ExecutorKind = ExecutorKind.LOCAL
    kubernetes_config: Path | None = None
    link_mounts: bool = False
    fork_workers: bool = True
    trust_users: bool = False
    openid: OpenIdSettings | None = None
    journal_rate: float = 5000.0
    journal_burst: int = 50_000
    limits: Limits = field(default_factory=Limits)
    max_message_bytes: int = 64 * MEBIBYTE
    max_page_body_bytes: int = 16 * MEBIBYTE
    header_timeout: float = 30.0
    body_timeout: float = 60.0
    keepalive_timeout: float = 620.0

    def __post_init__(self) -> None:
        """Refuse what can't work, before anything starts.

        Raises:
            ArgumentValueError: A value is out of its range.
        """
        _require(0 <= self.port <= 65535, "port", self.port, "0 (any) to 65535")
        _require(bool(self.host.strip()), "host", self.host, "an address such as 127.0.0.1")
        _require(
            0 <= self.worker_port <= 65535, "worker_port", self.worker_port, "0 (any) to 65535"
        )
        for name in (
            "lease_ttl",
            "lease_grace",
            "heartbeat_interval",
            "drain_timeout",
            "stop_grace",
            "idle_timeout",
            "header_timeout",
            "body_timeout",
            "keepalive_timeout",
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
        if self.database_url is not None:
            self._check_database(self.database_url)
        self._check_encryption()
        if self.openid is not None and self.public_url is None and not self.on_loopback:
            message = (
                f"{ISSUER_VARIABLE} is set, and the issuer must be told where people come back to: "
                f"name the address that they know this server by ({PUBLIC_URL_VARIABLE}=https://..."
                ")."
            )
            raise ArgumentValueError(message, argument="public_url")
        self._check_secrets()

    @staticmethod
    def _check_database(url: str) -> None:
        try:
            opening.url_of(url)
        except ValueError as error:
            message = f"{DATABASE_URL_VARIABLE} {error}"
            # Nothing else: what could not be read may hold a password.
            raise ArgumentValueError(message, argument="database_url") from None

    def _check_secrets(self) -> None:
        """Refuse what could be guessed. No message shows it."""
        secret = self.session_secret
        if secret is not None and len(secret) < LEAST_SECRET_CHARACTERS:
            message = (
                f"{SESSION_SECRET_VARIABLE} is too short: it must have at least "
                f"{LEAST_SECRET_CHARACTERS} characters. `openssl rand -hex 32` makes one."
            )
            raise ArgumentValueError(message, argument="session_secret")
        token = self.admin_token
        if token is None:
            return
        drawn = token.removeprefix(TOKEN_PREFIX)
        is_sound = drawn != token and len(drawn) >= LEAST_SECRET_CHARACTERS
        if not is_sound or not re.fullmatch(r"[A-Za-z0-9_-]+", drawn):
            message = (
                f"{ADMIN_TOKEN_VARIABLE} is no token: it must be {TOKEN_PREFIX} and at least "
                f"{LEAST_SECRET_CHARACTERS} letters, digits, - or _, for example "
                f"{TOKEN_PREFIX}$(openssl rand -hex 32)."
            )
            raise ArgumentValueError(message, argument="admin_token")

    def _check_encryption(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            message = (
                "A certificate goes with its key: give both --tls-cert and --tls-key, or none."
            )
            raise ArgumentValueError(message, argument="tls_cert")
        behind_tls = (self.public_url or "").startswith("https://")
        if self.on_loopback or self.speaks_https or behind_tls or self.plain_http:
            return
        message = (
            f"Other machines can reach {self.host}, and there is no encryption: tokens, code and "
            "results could be read on the way. Give the server a certificate (--tls-cert and "
            "--tls-key), or put a proxy with TLS in front and name its address "
            f"({PUBLIC_URL_VARIABLE}=https://...); in a network that you trust wholly, ask for it "
            "by --plain-http."
        )
        raise ArgumentValueError(message, argument="host")

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
        for name, (variable, read) in _VARIABLES.items():
            if name not in chosen and (text := os.environ.get(variable)):
                chosen[name] = read(variable, text)
        chosen.setdefault("limits", Limits.from_environment())
        chosen.setdefault("openid", OpenIdSettings.from_environment())
        return cls(**chosen)

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{DataDir(self.data_dir).database}"

    @property
    def files(self) -> Path:
        """Folder with the artifacts and shared caches of all workspaces."""
        return self.files_dir or DataDir(self.data_dir).files

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        return config.is_loopback(self.host)

    @property
    def speaks_https(self) -> bool:
        """Whether the server has a certificate."""
        return self.tls_cert is not None

    @property
    def may_have_users(self) -> bool:
        """Whether there may be several users: in Pods their code does not reach each other's."""
        return self.trust_users or self.executor is ExecutorKind.KUBERNETES

    @property
    def login_links(self) -> bool:
        """Whether links log in by a key that they carry.

        Such a key is a password in a link, and fit only for links that stay on this machine.
        """
        return self.on_loopback and self.public_url is None


def _text(_variable: str, text: str) -> str:
    return text


def _path(_variable: str, text: str) -> Path:
    return Path(text).expanduser().absolute()


def _names(_variable: str, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _executor(variable: str, text: str) -> ExecutorKind:
    kinds = [kind.value for kind in ExecutorKind]
    _require(text in kinds, variable, text, f"one of {', '.join(kinds)}")
    return ExecutorKind(text)


def _flag(variable: str, text: str) -> bool:
    _require(text in {"0", "1"}, variable, text, "0 or 1")
    return text == "1"


def _seconds(variable: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        _require(sound=False, name=variable, value=text, expected="a number of seconds")
        raise


def _require(sound: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001
    if not sound:
        variable, _ = _VARIABLES.get(name, ("", None))
        shown = f"{name} ({variable})" if variable else name
        message = f"{shown} is {value!r}: it must be {expected}."
        raise ArgumentValueError(message, argument=name)


# Which variable sets what, and how its text is read.
_VARIABLES: Final[Mapping[str, tuple[str, Callable[[str, str], object]]]] = {
    "database_url": (DATABASE_URL_VARIABLE, _text),
    "public_url": (PUBLIC_URL_VARIABLE, _text),
    "tls_cert": (TLS_CERT_VARIABLE, _path),
    "tls_key": (TLS_KEY_VARIABLE, _path),
    "plain_http": (PLAIN_HTTP_VARIABLE, _flag),
    "allowed_hosts": (ALLOWED_HOSTS_VARIABLE, _names),
    "trusted_proxies": (TRUSTED_PROXIES_VARIABLE, TrustedProxies.parse),
    "files_dir": (FILES_DIR_VARIABLE, _path),
    "session_secret": (SESSION_SECRET_VARIABLE, _text),
    "admin_token": (ADMIN_TOKEN_VARIABLE, _text),
    "executor": (EXECUTOR_VARIABLE, _executor),
    "kubernetes_config": (KUBERNETES_CONFIG_VARIABLE, _path),
    "link_mounts": (LINK_MOUNTS_VARIABLE, _flag),
    "fork_workers": (FORK_WORKERS_VARIABLE, _flag),
    "trust_users": (TRUST_USERS_VARIABLE, _flag),
    "lease_ttl": ("AIAUTO_LEASE_TTL", _seconds),
    "lease_grace": ("AIAUTO_LEASE_GRACE", _seconds),
    "heartbeat_interval": ("AIAUTO_HEARTBEAT_INTERVAL", _seconds),
    "drain_timeout": ("AIAUTO_DRAIN_TIMEOUT", _seconds),
    "journal_rate": ("AIAUTO_JOURNAL_RATE", whole_number),
    "journal_burst": ("AIAUTO_JOURNAL_BURST", whole_number),
    "header_timeout": ("AIAUTO_HEADER_TIMEOUT", _seconds),
    "body_timeout": ("AIAUTO_BODY_TIMEOUT", _seconds),
    "keepalive_timeout": ("AIAUTO_KEEPALIVE_TIMEOUT", _seconds),
    "max_message_bytes": ("AIAUTO_MAX_MESSAGE_BYTES", whole_number),
    "max_page_body_bytes": ("AIAUTO_MAX_PAGE_BODY_BYTES", whole_number),
}
