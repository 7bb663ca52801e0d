"""A network that drops, delays, halves and repeats what goes through it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from typing_extensions import Self

LONGEST_DELAY = 0.4
# Of everything that is read at a time.
ODDS = {"drop": 0.02, "halve": 0.02, "repeat": 0.05, "delay": 0.05}


class BadNetwork:
    """The way to a server on this machine.

    Attributes:
        url: Its address.
        counts: What it has done to what went through it.
    """

    def __init__(self, port: int, chance: random.Random) -> None:
        self._port = port
        self._chance = chance
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.counts: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            for source, sink, to_server in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pass_on, args=(source, sink, to_server), daemon=True
                ).start()

    def _draw(self) -> tuple[str, float]:
        with self._lock:
            deed = self._chance.choices(
                [*ODDS, ""], weights=[*ODDS.values(), 1 - sum(ODDS.values())]
            )[0]
            self.counts[deed or "pass on"] += 1
            return deed, self._chance.uniform(0, LONGEST_DELAY)

    def _pass_on(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                deed, delay = self._draw()
                if deed == "drop":
                    break
                if deed == "delay":
                    time.sleep(delay)
                if deed == "repeat" and to_server:
                    self._send_alone(data)
                if deed == "halve":
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        # The other one is closed by who reads from it.
        source.close()

    def _send_alone(self, data: bytes) -> None:
        """What may be a whole request comes to the server twice; nobody hears the first answer."""
        with socket.create_connection(("127.0.0.1", self._port)) as other:
            other.sendall(data)
            other.settimeout(LONGEST_DELAY)
            with contextlib.suppress(OSError):
                other.recv(65536)
