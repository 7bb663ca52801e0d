"""An Optuna storage inside the server, over the same journal that everybody replays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from aiauto.server.database import Database
    from aiauto.server.journal.journal import Journal


class Replica:
    """The storage of one workspace.

    Attributes:
        storage: For threads, never for the event loop: it waits for the database.
    """

    def __init__(self, database: Database, journal: Journal, workspace_id: int) -> None:
        self.storage: JournalStorage = JournalStorage(_Backend(database, journal, workspace_id))


class _Backend(BaseJournalBackend):
    def __init__(self, database: Database, journal: Journal, workspace_id: int) -> None:
        self._database = database
        self._journal = journal
        self._workspace_id = workspace_id

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        def unit(session: Session) -> list[str]:
            return self._journal.read(
                session, self._workspace_id, log_number_from, limit=None
            ).entries

        return [json.loads(text) for text in self._database.read_now(unit)]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        # As text and back: what is appended is what everybody reads, enums as numbers included.
        texts = [json.dumps(log, separators=(",", ":")) for log in logs]
        entries = self._journal.parse(texts)

        def unit(session: Session) -> None:
            self._journal.append(session, self._workspace_id, entries, texts)

        self._database.write_now(unit)
