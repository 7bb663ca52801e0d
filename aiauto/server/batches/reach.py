"""What a worker may write about: the study of its batch, and nothing else in the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiauto.errors import PermissionDeniedError
from aiauto.server.journal.entries import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiauto.server.journal.entries import Entry
    from aiauto.server.journal.ledger import Ledger

_OF_ALL_STUDIES: Final = frozenset({Operation.CREATE_STUDY, Operation.DELETE_STUDY})
_OF_A_STUDY: Final = frozenset(
    {Operation.SET_STUDY_USER_ATTR, Operation.SET_STUDY_SYSTEM_ATTR, Operation.CREATE_TRIAL}
)


def check_reach(ledger: Ledger, entries: Iterable[Entry], study_id: int) -> None:
    """Refuse what is not a worker's to write.

    Args:
        ledger: The journal that it is for.
        entries: The entries, checked.
        study_id: Optuna's id of the study of the worker's batch.

    Raises:
        PermissionDeniedError: An entry makes or deletes a study, or is about another one.
    """
    trials = ledger.trials
    for entry in entries:
        operation = entry["op_code"]
        if operation in _OF_ALL_STUDIES:
            raise PermissionDeniedError(
                "A worker can't create or delete studies of the workspace. For a study within an "
                "objective use optuna.create_study() without a storage."
            )
        if operation in _OF_A_STUDY:
            about: int = entry["study_id"]
        elif (trial_id := int(entry["trial_id"])) < len(trials):
            about = trials[trial_id].study_id
        else:
            continue  # not there, or one that an entry before this one creates
        if about != study_id:
            raise PermissionDeniedError(
                "A worker can't write to another study than that of its batch. What an objective "
                "may change is trial.study."
            )
