"""One server as the SDK uses it: the way there, and the generated clients."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import (
    AIAutoServiceClientSync,
    FileServiceClientSync,
    JournalServiceClientSync,
    LogServiceClientSync,
    ProgressServiceClientSync,
    UserServiceClientSync,
)

from aiauto import config, verbosity
from aiauto.connect import RetryPolicy, SyncTransport
from aiauto.embedded_transport import EmbeddedTransport
from aiauto.errors import ArgumentValueError, UnauthenticatedError, UnavailableError
from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import optuna

    from aiauto.embedded import RunningServer

logger: Final = logging.getLogger("aiauto")

_connections: dict[config.Remote | config.Embedded, Connection] = {}
_connections_lock = threading.Lock()


class Connection:
    """A server and the generated clients that speak with it. Made by `connect_to`.

    It travels between processes without its token: inside a worker it speaks with the worker's own
    rights, elsewhere it takes the token that it finds there.

    Attributes:
        target: Which server.
        trust: By what the environment said of certificates when this was made.
        service: Workspaces, studies and batches.
        files: Artifacts and the shared cache.
        progress: Progress of batches.
        log: What workers print.
        users: Who may use the server; for admins.
    """

    target: config.Remote | config.Embedded
    service: AIAutoServiceClientSync
    files: FileServiceClientSync
    progress: ProgressServiceClientSync
    log: LogServiceClientSync
    users: UserServiceClientSync

    def __init__(self, target: config.Remote | config.Embedded) -> None:
        verbosity.follow_environment()
        self.target = target
        self.trust: tuple[str | None, str | None] = config.trust()
        headers = {"x-client-version": __version__}
        self._transport: SyncTransport | EmbeddedTransport
        self._server: Callable[[], config.Remote | RunningServer]
        if isinstance(target, config.Embedded):
            transport = EmbeddedTransport(target.data_dir, headers=headers)
            self._transport, self._server = transport, transport.server
        else:
            config.warn_if_readable(target.url)
            self._transport = SyncTransport(
                target.url,
                token=target.token,
                timeout=config.CALL_TIMEOUT,
                headers=headers,
                retries=RetryPolicy(patience=config.CALL_PATIENCE),
                ssl_context=config.ssl_context(),
            )
            self._server = lambda: target
        self.service = AIAutoServiceClientSync(self._transport)
        self.files = FileServiceClientSync(self._transport)
        self.progress = ProgressServiceClientSync(self._transport)
        self.log = LogServiceClientSync(self._transport)
        self.users = UserServiceClientSync(self._transport)
        self._journal = JournalServiceClientSync(self._transport)
        self._storage: optuna.storages.BaseStorage | None = None
        self._workspace: tuple[object, v1.EnsureWorkspaceResponse] | None = None

    def __repr__(self) -> str:
        if isinstance(self.target, config.Embedded):
            return f"the server of this machine (data in {self.target.data_dir})"
        return self.target.url

    def __reduce__(self) -> tuple[object, tuple[Path] | tuple[str, str]]:
        if isinstance(self.target, config.Embedded):
            return connect_here, (self.target.data_dir,)
        return connect_again, (self.target.url, _fingerprint(self.target.token))

    def server(self) -> config.Remote | RunningServer:
        """Where the server is. The server of this machine is started if it does not run."""
        return self._server()

    @property
    def base_url(self) -> str:
        """Address of the server. The server of this machine is started if it does not run."""
        return self._server().url

    @property
    def token(self) -> str:
        """The user's token. The server of this machine is started if it does not run."""
        return self._server().token

    def close(self) -> None:
        """Close connections that are open. Calls open new ones."""
        if isinstance(self._transport, SyncTransport):
            self._transport.close()

    def workspace(
        self, request: v1.EnsureWorkspaceRequest | None = None
    ) -> v1.EnsureWorkspaceResponse:
        """Make the workspace, or open it if it is there. The server is asked once.

        Args:
            request: What it shall be like.
        """
        # The server of this machine may have come back elsewhere, with other links.
        server = self._server()
        if self._workspace is not None and self._workspace[0] == server:
            return self._workspace[1]
        try:
            workspace = self._made_workspace(request or v1.EnsureWorkspaceRequest())
        except UnauthenticatedError as error:
            raise self._with_advice(error) from error
        self._workspace = (server, workspace)
        return workspace

    def _made_workspace(self, request: v1.EnsureWorkspaceRequest) -> v1.EnsureWorkspaceResponse:
        end = time.monotonic() + config.WORKSPACE_PATIENCE
        said = False
        while True:
            try:
                return self.service.ensure_workspace(request)
            except UnavailableError as error:
                # A cluster starts some programs for it, and the server says so meanwhile. Where
                # nobody has said anything there is no server.
                if not error.metadata or time.monotonic() > end:
                    raise
                if not said:
                    logger.warning("Waiting for the workspace: %s", error.message)
                    said = True

    def storage(self) -> optuna.storages.BaseStorage:
        """The workspace's Optuna storage: one object, so that its journal is replayed once."""
        if self._storage is None:
            # Optuna takes a second to import, and most calls need none of it.
            from aiauto.storage import open_storage  # noqa: PLC0415

            # With this object for its client, the storage travels as this object does.
            self._storage = open_storage(self)
        return self._storage

    def append_entries(self, request: v1.AppendEntriesRequest) -> v1.AppendEntriesResponse:
        """Append to the journal of the workspace's storage."""
        return self._journal.append_entries(request)

    def read_entries(self, request: v1.ReadEntriesRequest) -> v1.ReadEntriesResponse:
        """Read the journal of the workspace's storage."""
        return self._journal.read_entries(request)

    def read_state(self, request: v1.ReadStateRequest) -> Iterable[v1.ReadStateResponse]:
        """Read what the journal of the workspace's storage leads to."""
        return self._journal.read_state(request)

    def _with_advice(self, error: UnauthenticatedError) -> UnauthenticatedError:
        if self.base_url == config.HOSTED_URL:
            advice = (
                f"The token was sent to the hosted service: issue a new one at {config.HOSTED_URL}"
                f"/token. For a server of your own pass base_url or set {config.BASE_URL_VARIABLE}."
            )
        else:
            advice = (
                f"The token was sent to {self.base_url}: check that it was issued by that server "
                "and has not been revoked."
            )
        said = error.message.removesuffix(".")
        return UnauthenticatedError(f"{said}. {advice}", details=error.details)


def connect_to(target: config.Remote | config.Embedded) -> Connection:
    """Give the one connection of this process to a server. Nothing is sent yet."""
    with _connections_lock:
        known = _connections.get(target)
        if known is not None and known.trust == config.trust():
            return known
        connection = _connections[target] = Connection(target)
    if known is not None:
        # Whoever still holds it may go on with it; what it has open must not wait for that.
        known.close()
    return connection


def connect_here(data_dir: Path) -> Connection:
    """Give a connection that came from another process, or this one, to a server of this machine.

    Inside a worker that is the worker's own server, with the worker's own rights.
    """
    target = config.Embedded(data_dir)
    with _connections_lock:
        known = _connections.get(target)
    return known or _connect_by_environment() or connect_to(target)


def connect_again(url: str, fingerprint: str) -> Connection:
    """Give a connection that came from another process, or this one, without its token.

    Raises:
        ArgumentValueError: There is no token here.
    """
    with _connections_lock:
        for target, known in _connections.items():
            if (
                isinstance(target, config.Remote)
                and target.url == url
                and _fingerprint(target.token) == fingerprint
            ):
                return known
    # A worker may know its server by another address than the sender did.
    if (connection := _connect_by_environment()) is not None:
        return connection
    if token := os.environ.get(config.TOKEN_VARIABLE):
        return connect_to(config.resolve(token, url))
    message = (
        f"a controller for {url} came without its token, as it always travels, and there is none "
        f"here: set {config.TOKEN_VARIABLE}."
    )
    raise ArgumentValueError(message, argument="token")


def _connect_by_environment() -> Connection | None:
    """The connection to the server that the environment names, as it does in a worker."""
    token = os.environ.get(config.TOKEN_VARIABLE)
    address = os.environ.get(config.BASE_URL_VARIABLE)
    return connect_to(config.resolve(token, address)) if token and address else None


def _fingerprint(token: str) -> str:
    """Tells tokens apart and does not give them away: they are long and random."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _forget_locks() -> None:
    # A thread of the parent may have held it, and that thread is not in the child.
    global _connections_lock  # noqa: PLW0603
    _connections_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)
