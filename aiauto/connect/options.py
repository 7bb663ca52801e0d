"""How a transport calls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Final

from aiauto.connect.compression import GZIP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto.connect.channel import Channel
    from aiauto.connect.codec import Codec
    from aiauto.connect.compression import Compression, Compressions
    from aiauto.connect.contract import Timeout
    from aiauto.connect.retry import RetryPolicy

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Size of a message that a side takes, unless told otherwise: 64 MiB."""

COMPRESS_MIN_BYTES: Final = 1024
"""Size of a message from which on it is compressed, unless told otherwise: 1 KiB."""

DEFAULT_TIMEOUT: Final = 60.0
"""Seconds that a call may take, unless told otherwise."""

DEFAULT_COMPRESSIONS: Final[Sequence[Compression]] = (GZIP,)


@dataclass(frozen=True)
class ClientOptions:
    """How a transport calls. See `aiauto.connect.Transport`.

    Attributes:
        channel: The way to the server.
        codec: Form of the messages.
        compressions: What answers may be compressed with.
        send_compression: What requests are compressed with.
        max_message_bytes: Size of a message that is taken.
        retries: How calls are sent again.
        timeout: Seconds for a call that does not say.
        use_get: Whether calls without side effects are sent as GET.
    """

    channel: Channel
    codec: Codec
    compressions: Compressions
    send_compression: Compression | None
    max_message_bytes: int
    retries: RetryPolicy
    timeout: float | None
    use_get: bool


def resolve_timeout(timeout: Timeout, default: float | None) -> float | None:
    """The timeout of a call: its own, or else the default.

    Raises:
        ValueError: It is zero, negative or not finite.
    """
    if isinstance(timeout, EllipsisType):
        return default
    if timeout is not None and not (timeout > 0 and math.isfinite(timeout)):
        raise ValueError(
            f"timeout is {timeout!r}: it must be a number of seconds above 0, or None for no limit"
        )
    return timeout
