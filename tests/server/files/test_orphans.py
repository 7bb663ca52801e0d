"""Artifacts of workers that died before they could note them go; all others stay."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

import aiauto
from aiauto.server.database.models import ArtifactUpload, Worker, now
from aiauto.server.files import orphans

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    from sqlalchemy.orm import Session

    from tests.server.conftest import RunningApp


async def test_what_nobody_can_come_to_know(running_app: RunningApp, tmp_path: Path) -> None:
    token = await running_app.token_of("alice")
    controller = await asyncio.to_thread(aiauto.AIAutoController, token, running_app.url)
    study = await asyncio.to_thread(controller.create_study, "study")
    store = controller.get_artifact_store()
    noted, kept, orphan, unnoted_yet = (str(uuid.uuid4()) for _ in range(4))
    gate = str(tmp_path / "gate")

    def objective(trial: optuna.Trial) -> float:
        path = aiauto.tmp_cache_dir() / "model"
        path.write_text(str(trial.number))
        if trial.number == 0:
            controller.upload_artifact(trial, path)
            store.write(noted, io.BytesIO(b"by hand"))
            trial.set_user_attr("mine", {"models": [noted]})
            store.write("a-name-of-mine", io.BytesIO(b"not to be noted"))
            return 0.0
        store.write(orphan, io.BytesIO(b"lost"))
        os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    def waiting(_trial: optuna.Trial) -> float:
        import time
        from pathlib import Path

        store.write(unnoted_yet, io.BytesIO(b"on its way"))
        print("sent")
        while not Path(gate).exists():
            time.sleep(0.05)
        return 0.0

    await study.optimize_async(objective, 2, 1, wait_option="WAIT_ALL_TRIALS")
    running = await study.optimize_async(waiting, 1, 1, wait_option="WAIT_NO")
    async for line in study.logs_async(trialbatch_name=running, follow=True):
        if str(line) == "sent":
            break
    # What a user sends from elsewhere is theirs.
    await asyncio.to_thread(store.write, kept, io.BytesIO(b"of a user"))
    workspace_id = await running_app.parts.accounts.workspace_of(1)
    assert workspace_id is not None
    files = running_app.parts.files
    sent = files.store.artifact_ids(workspace_id)
    assert {noted, kept, orphan, unnoted_yet, "a-name-of-mine"} < sent
    assert len(sent) == 6

    # Its worker has ended, but its last call may still be at work.
    await files.orphans.look()
    assert files.store.artifact_ids(workspace_id) == sent

    def pass_time(session: Session) -> None:
        past = now() - orphans.GRACE - timedelta(seconds=1)
        ended = update(Worker).where(Worker.ended_at.is_not(None))
        session.execute(ended.values(ended_at=past))

    await running_app.parts.database.write(pass_time)
    await files.orphans.look()
    assert files.store.artifact_ids(workspace_id) == sent - {orphan}
    count = select(func.count()).select_from(ArtifactUpload)
    # Whatever was found out is settled: only the running worker's is still asked about.
    assert await running_app.parts.database.read(lambda session: session.scalar(count)) == 1

    # A batch that is deleted takes its workers along, and not the question.
    await asyncio.to_thread(study.cancel)
    await asyncio.to_thread(study.delete)
    await files.orphans.look()
    assert files.store.artifact_ids(workspace_id) == {noted, kept, "a-name-of-mine"}
    assert await running_app.parts.database.read(lambda session: session.scalar(count)) == 0
