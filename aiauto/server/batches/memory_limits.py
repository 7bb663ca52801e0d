"""How much memory the workers of a batch may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiauto.errors import InvalidArgumentError
from aiauto.resources import DEFAULT_RESOURCES, amount_of

if TYPE_CHECKING:
    from aiauto_gen.aiauto import v1

RESOURCE: Final = "memory"
# More than any machine has.
MOST_BYTES: Final = 2**60


def memory_limit(spec: v1.TrialBatchSpec) -> int | None:
    """How many bytes each worker may use; None for no limit.

    The amount that stands where a user names none is what the hosted service gives, and no limit
    that anybody has asked for.

    Args:
        spec: The batch.
    """
    amount = spec.resources_limits.get(RESOURCE, "")
    size = amount_of(amount)
    if not size or amount == DEFAULT_RESOURCES[RESOURCE]:
        return None
    return int(min(size, MOST_BYTES))


def check_memory_limit(spec: v1.TrialBatchSpec) -> None:
    """Refuse a limit that is no amount of bytes.

    Raises:
        InvalidArgumentError: It is none.
    """
    amount = spec.resources_limits.get(RESOURCE)
    if amount is not None and (amount_of(amount) or 0) < 1:
        raise InvalidArgumentError(
            f"resources_limits[{RESOURCE!r}] is {amount[:50]!r}: it must be an amount such as "
            "'500Mi' or '2Gi'."
        )
