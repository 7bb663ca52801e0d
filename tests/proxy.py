"""A way to a server on this machine that a test can do something to."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self


class Proxy:
    """Passes on what it hears, byte by byte. What else it does is a subclass's business.

    Attributes:
        url: Its address.
        target: Host and port of the server.

    Args:
        target_url: Address of the server.
        address: Which of this machine's addresses it has.
    """

    def __init__(self, target_url: str, address: str = "127.0.0.1") -> None:
        parts = urlsplit(target_url)
        self.target = (parts.hostname or "", parts.port or 0)
        self._open: list[socket.socket] = []
        self._is_closed = False
        self._lock = threading.Lock()
        self._listener = socket.create_server((address, 0))
        self.url = f"http://{address}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()
        with self._lock:
            self._is_closed = True
        self._close_all()

    def _close_all(self) -> None:
        """Reset every connection."""
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self.connect()
            if server is None:
                client.close()
                continue
            with self._lock:
                # One that is accepted while all are closed would stay open for ever.
                if not self._is_closed:
                    self._open += [client, server]
            if self._is_closed:
                client.close()
                server.close()
                return
            for source, sink, to_server in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self.pass_on, args=(source, sink, to_server), daemon=True
                ).start()

    def connect(self) -> socket.socket | None:
        """A connection to the server; None where the client's is to be closed."""
        try:
            return socket.create_connection(self.target)
        except OSError:
            return None

    def pass_on(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:  # noqa: FBT001
        """Pass on what comes in one direction, in a thread of its own."""
        del to_server
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class CuttingProxy(Proxy):
    """Cuts every connection through it on demand.

    Attributes:
        connections: How many connections it has had.
    """

    def __init__(self, target_url: str) -> None:
        self.connections = 0
        self._refusing = False
        super().__init__(target_url)

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every open connection; with `refuse`, those to come as well."""
        self._refusing = refuse
        self._close_all()

    def connect(self) -> socket.socket | None:
        """A connection to the server, unless it refuses them."""
        self.connections += 1
        return None if self._refusing else super().connect()


class ImpatientProxy(Proxy):
    """Cuts connections on which the server says nothing for a while, as nginx does.

    Args:
        target_url: Address of the server.
        patience: Seconds that the server may be silent for.
    """

    def __init__(self, target_url: str, patience: float) -> None:
        self._patience = patience
        super().__init__(target_url)

    def connect(self) -> socket.socket | None:
        """A connection to the server, on which nobody waits for ever."""
        server = super().connect()
        if server is not None:
            server.settimeout(self._patience)
        return server


class StallingProxy(Proxy):
    """Loses connections without a word, as a router does that has forgotten them."""

    def __init__(self, target_url: str) -> None:
        self._asked: dict[socket.socket, bytes] = {}
        self._lost: set[socket.socket] = set()
        super().__init__(target_url)

    def stall(self, path: bytes) -> None:
        """Let nothing pass any more where the last request was of this path."""
        self._lost.update(one for one, asked in list(self._asked.items()) if path in asked)

    def pass_on(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:  # noqa: FBT001
        """Pass on what comes in one direction, unless the connection is lost."""
        client = source if to_server else sink
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if to_server and data.startswith((b"GET ", b"POST ")):
                    self._asked[client] = data.partition(b"\r\n")[0]
                if client not in self._lost:
                    sink.sendall(data)
        if client not in self._lost:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
