"""However much came in one message, what is answered fits into one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aiauto.server.database import Database
from aiauto.server.journal import Journal
from aiauto.server.journal.entries import MAX_ENTRY_BYTES, check
from aiauto.server.journal.journal import MAX_ANSWER_CHARACTERS
from tests.server.conftest import new_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from aiauto.server.journal.journal import Slice


def note(size: int) -> str:
    return json.dumps(
        {"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"a": "x" * size}}
    )


@pytest.mark.once
async def test_an_answer_is_cut_within_what_was_appended_at_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/database.sqlite3")
    await database.open()
    journal = Journal(database)
    workspace_id = await database.write(lambda session: new_workspace(session).id)
    # The second is cut within an entry, the third at the end of one.
    appends = [
        [note(10)],
        [note(MAX_ENTRY_BYTES - 100)] * 9,
        [note(MAX_ANSWER_CHARACTERS // 8 - len(note(0)))] * 9,
    ]
    for texts in appends:

        def append(session: Session, texts: list[str] = texts) -> None:
            entries = [check(text) for text in texts]
            journal.append(session, workspace_id, entries, texts)

        await database.write(append)
    found: list[str] = []

    def read(session: Session) -> Slice:
        return journal.read(session, workspace_id, len(found))

    while len(found) < (answer := await database.read(read)).length:
        assert answer.entries
        assert sum(map(len, answer.entries[:-1])) <= MAX_ANSWER_CHARACTERS
        found += answer.entries
    assert found == [text for texts in appends for text in texts]
    await database.close()
