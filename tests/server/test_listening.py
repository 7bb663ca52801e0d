"""Taking a port."""

from __future__ import annotations

import socket

import pytest

from aiauto.server.listening import ListenError, listen


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_the_first_free_port_is_taken() -> None:
    with listen("127.0.0.1", [0]) as first:
        taken = port_of(first)
        with listen("127.0.0.1", [taken, 0]) as second:
            assert port_of(second) not in {taken, 0}
    # Connections of the one before don't keep the next one off.
    with listen("127.0.0.1", [taken, 0]) as third:
        assert port_of(third) == taken


def test_connections_wait_until_somebody_accepts_them() -> None:
    with (
        listen("localhost", [0]) as listener,
        socket.create_connection(("127.0.0.1", port_of(listener)), timeout=5),
    ):
        connection, _ = listener.accept()
        connection.close()


def test_a_port_in_use_is_said_in_words() -> None:
    with listen("127.0.0.1", [0]) as listener:
        taken = port_of(listener)
        with pytest.raises(ListenError, match=f"Port {taken} .*in use.*--port 0"):
            listen("127.0.0.1", [taken])


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.name.invalid", "x" * 300])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(ListenError, match="is not an address"):
        listen(host, [0])
