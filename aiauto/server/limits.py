"""How much each user may have and do at once, so that one leaves room for the others."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiauto.connect.compression import MessageTooLargeError
from aiauto.errors import ArgumentValueError, ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiauto_gen.connect import Context

PREFIX = "AIAUTO_"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a user may have and do at once.

    Each is set by the variable of its name: ``AIAUTO_MAX_BATCHES`` for `max_batches`.

    Attributes:
        max_batches: Batches of a user that are not over.
        max_trials: Trials of a batch.
        max_parallelism: Workers of a batch.
        max_studies: Studies of a user.
        max_tokens: Tokens of a user that are valid.
        max_open_calls: Calls of a user's programs, streams included, that are being answered. Those
            of workers do not count.
        max_connections: Connections that a user's programs and browsers hold, whether or not they
            are being used. Those of workers do not count.
        max_unread_mib: MiB of answers that wait for a user's programs and workers to read them.
        max_artifact_store_gib: GiB that a user's workspace may be made to keep of artifacts.
        max_shared_cache_gib: The same for its shared cache.
    """

    max_batches: int = 100
    max_trials: int = 1_000_000
    max_parallelism: int = 1_000
    max_studies: int = 10_000
    max_tokens: int = 1_000
    max_open_calls: int = 1_000
    max_connections: int = 2_000
    max_unread_mib: int = 512
    max_artifact_store_gib: int = 100
    max_shared_cache_gib: int = 20

    def __post_init__(self) -> None:
        """Refuse what can't be a limit.

        Raises:
            ArgumentValueError: One is below 1.
        """
        for field in dataclasses.fields(self):
            value: int = getattr(self, field.name)
            if value < 1:
                message = f"{field.name} is {value}: it must be 1 or more."
                raise ArgumentValueError(message, argument=field.name)

    @classmethod
    def from_environment(cls) -> Limits:
        """Limits as the environment has them, else the defaults.

        Raises:
            ArgumentValueError: A variable is no whole number, or below 1.
        """
        chosen: dict[str, int] = {}
        for field in dataclasses.fields(cls):
            variable = variable_of(field.name)
            if text := os.environ.get(variable):
                chosen[field.name] = whole_number(variable, text)
        return cls(**chosen)

    def check_room(self, name: str, count: int | None, *, has: str, advice: str) -> None:
        """Refuse one more of what there are as many as there may be.

        Args:
            name: Name of the limit.
            count: How many there are; None for none.
            has: Who has how many, with ``{}`` for the number.
            advice: What to do.

        Raises:
            ResourceExhaustedError: There may be no more.
        """
        limit: int = getattr(self, name)
        if (count or 0) >= limit:
            raise ResourceExhaustedError(f"{has.format(limit)}, and {told(name, limit)}: {advice}.")


class MessageLimit:
    """How big a message may be that somebody sends, told with the variable that sets it."""

    def __init__(self, max_message_bytes: int) -> None:
        """Make it.

        Args:
            max_message_bytes: How many bytes a message may have.
        """
        self._limit = max_message_bytes

    async def interceptor(self, context: Context, call_next: Callable[[], Awaitable[None]]) -> None:
        """Answer a call, whose message is read meanwhile.

        Raises:
            ResourceExhaustedError: It is too large.
        """
        del context
        try:
            await call_next()
        except MessageTooLargeError as error:
            raise ResourceExhaustedError(
                f"The message is too large: {told('max_message_bytes', self._limit)}. Data that "
                "trials read belongs into the shared cache."
            ) from error


def whole_number(variable: str, text: str) -> int:
    """Read a variable that sets a limit.

    Raises:
        ArgumentValueError: It is no whole number, or below 1.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) > 0):
        message = f"{variable} is {text[:40]!r}: it must be a whole number from 1 on."
        raise ArgumentValueError(message, argument=variable)
    return int(text)


def variable_of(name: str) -> str:
    """The variable that sets a limit."""
    return f"{PREFIX}{name.upper()}"


def told(name: str, value: int) -> str:
    """A limit for an error: its value, and who can change it."""
    return f"this server's limit is {value} (its admin sets {variable_of(name)})"
