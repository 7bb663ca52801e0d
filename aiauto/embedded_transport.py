"""Carries calls to the server of this machine, and starts it where it does not run."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import betterproto2
from aiauto_gen.connect import NOT_GIVEN, Headers, Method, Stream, Timeout

from aiauto import config, embedded
from aiauto.connect import RetryPolicy, SyncTransport
from aiauto.connect.method import is_repeatable
from aiauto.errors import UnavailableError
from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

logger: Final = logging.getLogger("aiauto")

RequestT = TypeVar("RequestT", bound=betterproto2.Message)
ResponseT = TypeVar("ResponseT", bound=betterproto2.Message)

# On this machine a server that does not answer is gone, and is started again here.
RETRIES = RetryPolicy(attempts=2)

OTHER_VERSION = (
    "The server of this machine runs aiauto %s, and this is aiauto %s. It is replaced after it has "
    "stopped for want of use; to replace it now, end process %d."
)


class EmbeddedTransport:
    """The way to the server of this machine, wherever it is by now.

    The server stops when nobody uses it, and it may die. Either way the next call starts it again
    and goes on, perhaps at another address.

    Args:
        data_dir: Folder of the server's data.
        headers: Headers of every call.
    """

    def __init__(self, data_dir: Path, *, headers: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._headers = headers
        self._lock = threading.Lock()
        self._process_id = os.getpid()
        self._server: embedded.RunningServer | None = None
        self._transport: SyncTransport | None = None

    def server(self) -> embedded.RunningServer:
        """Find the server, or start it."""
        return self._reach()[0]

    def unary(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Send one message and answer with one."""
        server, transport = self._reach()
        try:
            return transport.unary(method, request, timeout=timeout, headers=headers)
        except UnavailableError:
            # A server that answers a probe is there, and has said what it has to say.
            if not is_repeatable(method, request) or embedded.find(self._data_dir) == server:
                raise
        _, transport = self._reach(other_than=server)
        return transport.unary(method, request, timeout=timeout, headers=headers)

    def server_stream(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> Stream[ResponseT]:
        """Send one message and answer with any number."""
        _, transport = self._reach()
        return transport.server_stream(method, request, timeout=timeout, headers=headers)

    def client_stream(
        self,
        method: Method[RequestT, ResponseT],
        requests: Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> ResponseT:
        """Send any number of messages and answer with one."""
        _, transport = self._reach()
        return transport.client_stream(method, requests, timeout=timeout, headers=headers)

    def bidi_stream(
        self,
        method: Method[RequestT, ResponseT],
        requests: Iterable[RequestT],
        /,
        *,
        timeout: Timeout = NOT_GIVEN,
        headers: Headers = None,
    ) -> Stream[ResponseT]:
        """Send any number of messages and answer with any number."""
        _, transport = self._reach()
        return transport.bidi_stream(method, requests, timeout=timeout, headers=headers)

    def _reach(
        self, *, other_than: embedded.RunningServer | None = None
    ) -> tuple[embedded.RunningServer, SyncTransport]:
        """The server and the way there; another one than the server that just failed."""
        if self._process_id != os.getpid():
            # After a fork: a thread of the parent may have held the lock.
            self._process_id, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            server, transport = self._server, self._transport
            if server is None or server == other_than or not server.is_alive():
                server, before = embedded.ensure(self._data_dir), server
                if before is None or (before.url, before.token) != (server.url, server.token):
                    transport = None
                if server.version != __version__ and (before is None or before != server):
                    logger.warning(OTHER_VERSION, server.version, __version__, server.pid)
            if transport is None:
                if self._transport is not None:
                    self._transport.close()
                transport = SyncTransport(
                    server.url,
                    token=server.token,
                    timeout=config.CALL_TIMEOUT,
                    headers=self._headers,
                    retries=RETRIES,
                )
            self._server, self._transport = server, transport
            return server, transport
