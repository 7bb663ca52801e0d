"""A network that drops, delays, halves and repeats what goes through it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.proxy import Proxy

if TYPE_CHECKING:
    import random

LONGEST_DELAY = 0.4
# Of everything that is read at a time.
ODDS = {"drop": 0.02, "halve": 0.02, "repeat": 0.05, "delay": 0.05}
# Among so many at the beginning is one of each, lest a round have none of some.
FIRST = 40


class BadNetwork(Proxy):
    """The way to a server on this machine.

    Attributes:
        counts: What it has done to what went through it.
    """

    def __init__(self, target_url: str, chance: random.Random) -> None:
        self._chance = chance
        self._lock = threading.Lock()
        self._first = [*ODDS, *[""] * (FIRST - len(ODDS))]
        chance.shuffle(self._first)
        self.counts: Counter[str] = Counter()
        super().__init__(target_url)

    def _draw(self, *, to_server: bool) -> tuple[str, float]:
        with self._lock:
            if self._first:
                deed = self._first.pop()
            else:
                weights = [*ODDS.values(), 1 - sum(ODDS.values())]
                deed = self._chance.choices([*ODDS, ""], weights=weights)[0]
            if deed == "repeat" and not to_server:
                # The next request is, then: only what comes to the server twice can do harm.
                self._first.append(deed)
                deed = ""
            self.counts[deed or "pass on"] += 1
            return deed, self._chance.uniform(0, LONGEST_DELAY)

    def pass_on(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:  # noqa: FBT001
        """Pass on what comes in one direction, or do something worse to it."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                deed, delay = self._draw(to_server=to_server)
                if deed == "drop":
                    break
                if deed == "delay":
                    time.sleep(delay)
                if deed == "repeat":
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
        with socket.create_connection(self.target) as other:
            other.sendall(data)
            other.settimeout(LONGEST_DELAY)
            with contextlib.suppress(OSError):
                other.recv(65536)
