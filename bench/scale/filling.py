"""Fills a workspace with trials that have ended, as fast as the server takes them."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any, Final

import optuna
from aiauto_gen.aiauto import v1
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from aiauto.storage import as_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiauto_gen.aiauto.v1.connect import JournalServiceClientSync

# Of each trial.
PARAMETERS: Final = 5
_ENTRIES_PER_CALL: Final = 1000


class _Entries(BaseJournalBackend):
    """A journal in memory, which tells what Optuna has appended."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.entries += logs

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self.entries[log_number_from:]


def fill(client: JournalServiceClientSync, study_id: int, count: int) -> None:
    """Append trials of random parameters that have ended to a study.

    Args:
        client: Speaks to the server as its user.
        study_id: The study's id in the journal.
        count: How many trials.
    """
    backend = _Entries()
    # The other study's id is 0: what is appended here says which one is meant.
    study = optuna.create_study(study_name="any", storage=JournalStorage(backend))
    ranges: dict[str, optuna.distributions.BaseDistribution] = {
        f"x{number}": optuna.distributions.FloatDistribution(0, 1) for number in range(PARAMETERS)
    }
    for _ in range(count):
        params = {name: random.random() for name in ranges}  # noqa: S311 - no secret
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=ranges, value=sum(params.values())
            )
        )
    texts = as_texts({**one, "study_id": study_id} for one in backend.entries[1:])
    for start in range(0, len(texts), _ENTRIES_PER_CALL):
        client.append_entries(
            v1.AppendEntriesRequest(
                entries=texts[start : start + _ENTRIES_PER_CALL], request_id=str(uuid.uuid4())
            )
        )
