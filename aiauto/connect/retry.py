"""Sending a call again, where that does no harm."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import betterproto2

from aiauto.connect.errors import ErrorDetail, ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiauto.connect.errors import RpcError
    from aiauto.connect.open_calls import CallLimit

__all__ = ["NO_RETRIES", "RetryPolicy", "retry_info"]

T = TypeVar("T")

logger: Final = logging.getLogger("aiauto.connect")

# A server that asks for more patience than this is not waited for, even without a deadline.
_LONGEST_WAIT: Final = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often and when a call is sent again.

    Only calls that may be repeated are: by the schema's `idempotency_level`, because they carry a
    `request_id`, or because nothing of them was sent. And only where the server can't be reached,
    the connection breaks, or the answer is `unavailable`.

    Besides, a call that came too early for a rate limit, `resource_exhausted` with the time to wait
    for, was not done: whatever it is, it waits so long and is sent again, until its deadline.

    Attributes:
        attempts: How often a call is sent at most; 1 for no retries. Waiting for a rate limit does
            not count.
        initial_delay: Longest pause before the second attempt in seconds. It doubles with every
            further one. The actual pause is any part of it, so that many clients don't come back
            at once.
        max_delay: What it grows to.
        patience: Seconds for which a call with one answer is sent again in any case, however many
            attempts that takes, to an address that has answered this process before: a server that
            is started anew is away for so long, and an address that was mistyped is told at once.
            It is warned of once the attempts are used up. Streams know of none: whoever reads one
            knows where to go on.
    """

    attempts: int = 6
    initial_delay: float = 0.1
    max_delay: float = 5.0
    patience: float = 0.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.initial_delay, self.max_delay, self.patience) < 0:
            raise ValueError("a RetryPolicy needs attempts >= 1, and delays and patience >= 0")

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the given attempt, counted from 1."""
        ceiling = min(self.initial_delay * 2 ** (attempt - 1), self.max_delay)
        return random.uniform(0.0, ceiling)  # noqa: S311 - no secret


NO_RETRIES: Final = RetryPolicy(attempts=1)


class AttemptError(Exception):
    """An attempt failed in a way that another one may mend.

    Attributes:
        error: What the caller gets if there is no other attempt.
        nothing_sent: Whether the server can't have seen anything of the call.
        at_once: Whether there is no reason to wait, as after a connection that had gone stale.
        too_early: Whether the server refused to do it before a certain time.
        retry_after: Seconds that the server asks to wait: by the argument, from the header
            `Retry-After`, or by the error's `google.rpc.RetryInfo`.
    """

    def __init__(
        self,
        error: RpcError,
        *,
        nothing_sent: bool = False,
        at_once: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(str(error))
        self.error: RpcError = error
        self.nothing_sent = nothing_sent
        self.at_once = at_once
        self.too_early: bool = isinstance(error, ResourceExhaustedError)
        self.retry_after: float = max(retry_after, requested_delay(error))


# google/rpc/error_details.proto and google/protobuf/duration.proto, as far as they are needed here.
@dataclass(eq=False, repr=False)
class _Duration(betterproto2.Message):
    seconds: int = betterproto2.field(1, betterproto2.TYPE_INT64)
    nanos: int = betterproto2.field(2, betterproto2.TYPE_INT32)


@dataclass(eq=False, repr=False)
class _RetryInfo(betterproto2.Message):
    retry_delay: _Duration | None = betterproto2.field(  # noqa: RUF009 - as generated code has it
        1, betterproto2.TYPE_MESSAGE, optional=True
    )


def retry_info(seconds: float) -> ErrorDetail:
    """A detail of an error by which a server says when to come again.

    With it, clients wait where an `UnavailableError` or a `ResourceExhaustedError` is raised.

    Args:
        seconds: How long to wait.
    """
    nanos = math.ceil(seconds * 1e9)
    delay = _Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
    value = bytes(_RetryInfo(retry_delay=delay))
    return ErrorDetail("google.rpc.RetryInfo", value, {"retryDelay": f"{nanos / 1e9:.9f}s"})


def requested_delay(error: RpcError) -> float:
    """Seconds that an error asks to wait by a `google.rpc.RetryInfo` among its details."""
    for detail in error.details:
        if detail.type_name == "google.rpc.RetryInfo":
            try:
                delay = _RetryInfo.parse(detail.value).retry_delay
            except ValueError:
                continue
            if delay is not None:
                return delay.seconds + delay.nanos / 1e9
    return 0.0


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    limit: CallLimit,
    *,
    repeatable: bool,
    patience: float = 0.0,
) -> T:
    """Makes attempts until one succeeds or no other one would do.

    Args:
        attempt: Makes one.
        policy: How many, and when.
        limit: Ends the call at its deadline. Is told why attempts failed.
        repeatable: Whether the call may be done twice.
        patience: The policy's, where it counts for this call.

    Raises:
        RpcError: As the last attempt failed.
    """
    number = 1
    patient_until: float | None = None
    while True:
        try:
            return await attempt()
        except AttemptError as failed:
            delay = max(policy.delay(number), failed.retry_after)
            if failed.too_early:
                # So that those who share a limit do not come back together.
                delay = failed.retry_after + policy.delay(1)
            if failed.at_once and number == 1:
                delay = 0.0
            limit.last_failure = failed.error
            moment = asyncio.get_running_loop().time()
            patient_until = moment + patience if patient_until is None else patient_until
            resumed = moment + delay
            pointless = delay > _LONGEST_WAIT or resumed >= limit.when
            wanted = repeatable or failed.nothing_sent or failed.too_early
            # A rate limit lets everybody through in the end: that is no failure to be counted.
            used_up = policy.attempts == 1 if failed.too_early else number >= policy.attempts
            is_patient = not failed.too_early and resumed < patient_until
            if not wanted or pointless or (used_up and not is_patient):
                raise failed.error from failed.__cause__
            if number == policy.attempts and not failed.too_early:
                logger.warning("Trying again for up to %g s: %s", patience, failed.error)
            number += not failed.too_early
        await asyncio.sleep(delay)
