"""Certificates of the tests' own."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import trustme


def serving(authority: trustme.CA) -> ssl.SSLContext:
    """What a server on this machine shows of itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    # It takes contexts of pyOpenSSL, too, which need not be here.
    cast("Any", certificate).configure_cert(context)
    return context
