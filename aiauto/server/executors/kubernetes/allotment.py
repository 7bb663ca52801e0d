"""How many workers each GPU model of a batch gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def allot(workers: int, remaining: Mapping[str, int]) -> dict[str, int]:
    """Share workers out in proportion to trials: none more than its trials, each at least one.

    Args:
        workers: How many there are to share out.
        remaining: Trials of each model that have not ended.

    Returns:
        Workers of each model. Where there are fewer than models, those with the fewest trials get
        none for now.
    """
    wanting = {share: trials for share, trials in remaining.items() if trials > 0}
    first = sorted(wanting, key=lambda share: -wanting[share])[: max(workers, 0)]
    given = dict.fromkeys(first, 1)
    for _ in range(workers - len(first)):
        short = [share for share in first if given[share] < wanting[share]]
        if not short:
            break
        # The one whose workers have the most trials each.
        given[max(short, key=lambda share: wanting[share] / given[share])] += 1
    return given
