"""What `aiauto doctor` finds out about certificates: this server's own, and that of another."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from aiauto.cli import reach
from aiauto.cli.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON_DAYS: Final = 14
PROBE_SECONDS: Final = 10.0
# OpenSSL's numbers.
EXPIRED, OTHER_NAME, OTHER_ADDRESS = 10, 62, 64

NAME: Final = "certificate"
RENEW: Final = "Renew it. A server that runs takes the new one by itself, within a minute."


def certificate() -> Iterator[Finding]:
    """Look at the one that a server here would show, and at that of a server elsewhere."""
    cert, key = os.environ.get("AIAUTO_TLS_CERT"), os.environ.get("AIAUTO_TLS_KEY")
    if cert and key:
        public = urlsplit(os.environ.get("AIAUTO_PUBLIC_URL", ""))
        yield _judged(f"{cert} (AIAUTO_TLS_CERT)", lambda: _shown_here(cert, key, public))
    from aiauto import config  # noqa: PLC0415 - help needs none of it

    target = reach.target()
    if isinstance(target, config.Remote) and urlsplit(target.url).scheme == "https":
        yield from _of_a_server(urlsplit(target.url))


def _of_a_server(address: SplitResult) -> Iterator[Finding]:
    try:
        yield _judged(f"that of {address.netloc}", lambda: _shown_by(address))
    except OSError:
        # It is not reached this way: which way it is, if any, is for another check to say.
        return


def _judged(which: str, show: Callable[[], Any]) -> Finding:
    try:
        shown: dict[str, Any] | None = show()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == EXPIRED:
            return Finding(NAME, "problem", f"{which} has expired", RENEW)
        if error.verify_code in {OTHER_NAME, OTHER_ADDRESS}:
            advice = "Have one issued for the name by which people know the server."
            return Finding(NAME, "problem", f"{which}: {error.verify_message}", advice)
        advice = "Name the authority that issued it in AIAUTO_CA_BUNDLE, if you trust it."
        return Finding(NAME, "problem", f"{which}: {error.verify_message}", advice)
    if not shown:
        advice = "Unset AIAUTO_INSECURE, and name its authority in AIAUTO_CA_BUNDLE."
        return Finding(NAME, "warning", f"{which} is not checked", advice)
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), timezone.utc)
    days = (ends - datetime.now(timezone.utc)).days
    told = f"{which} is valid until {ends:%Y-%m-%d}"
    if days < SOON_DAYS:
        return Finding(NAME, "warning", f"{told}, {days} days from now", RENEW)
    return Finding(NAME, "ok", told)


def _shown_by(address: SplitResult) -> Any:  # noqa: ANN401 - as ssl has it
    from aiauto import config  # noqa: PLC0415 - help needs none of it

    host = address.hostname or ""
    context = config.ssl_context() or ssl.create_default_context()
    with (
        socket.create_connection((host, address.port or 443), timeout=PROBE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        return connection.getpeercert()


def _shown_here(cert: str, key: str, public: SplitResult) -> Any:  # noqa: ANN401 - as above
    """What a client thinks that trusts just this certificate: no server has to run for that."""
    from pathlib import Path  # noqa: PLC0415 - help needs none of it

    from aiauto.server.tls import Certificate  # noqa: PLC0415 - as above

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=cert)
    # Its authority need not be in the file.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    has_name = public.scheme == "https" and public.hostname is not None
    context.check_hostname = has_name
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(
        to_client, to_server, server_hostname=public.hostname if has_name else None
    )
    serving = Certificate(Path(cert), Path(key)).context
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            _answer(server)
        else:
            return client.getpeercert()


def _answer(server: ssl.SSLObject) -> None:
    try:
        server.do_handshake()
    except ssl.SSLWantReadError:
        return
