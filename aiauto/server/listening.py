"""Taking a port."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from aiauto.errors import AIAutoError

if TYPE_CHECKING:
    from collections.abc import Sequence

BACKLOG = 1024


class ListenError(AIAutoError):
    """The server can't listen where it was told to. The text says what to do."""


def listen(host: str, ports: Sequence[int]) -> socket.socket:
    """Listen on the first port that can be had.

    Args:
        host: Address or name to listen on.
        ports: Ports in the order of preference; 0 means any that is free.

    Returns:
        A listening socket, whose connections wait until somebody accepts them.

    Raises:
        ListenError: None of the ports can be had, or the host is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        message = f"--host {host} is not an address or name of this machine: {error}."
        raise ListenError(message) from error
    # `localhost` may stand for both families; workers and links use the address that we print.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    failure: OSError | None = None
    for port in ports:
        try:
            return socket.create_server((address[0], port), family=family, backlog=BACKLOG)
        except OSError as error:
            failure = error
    raise ListenError(_explain(host, ports[-1], failure)) from failure


def _explain(host: str, port: int, failure: OSError | None) -> str:
    if failure is None:
        return "No port to listen on was given."
    if failure.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use by another program: name another one with --port, "
            "or let the server choose (--port 0)."
        )
    if failure.errno in {errno.EACCES, errno.EPERM}:
        return f"Port {port} needs more rights than you have: name one above 1023 with --port."
    if failure.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is not an address of this machine."
    return f"Listening on {host}, port {port}, is not possible: {failure.strerror or failure}."
