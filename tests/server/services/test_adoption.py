"""Studies that are made and deleted in the Optuna storage itself, past `CreateStudy`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

import aiauto
from aiauto import errors
from aiauto.server.limits import Limits
from tests.server.conftest import serving
from tests.server.people import Person

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from optuna.storages import BaseStorage
    from sqlalchemy.orm import Session

    from tests.postgresql import PostgreSQL
    from tests.server.conftest import RunningApp

RANDOM = '{"cls":"RandomSampler","kwargs":{}}'


class Owner(Person):
    """Somebody with a storage."""

    async def open(self) -> None:
        await self.service.ensure_workspace(v1.EnsureWorkspaceRequest())
        controller = await asyncio.to_thread(aiauto.AIAutoController, self.token, self.app.url)
        self.storage: BaseStorage = await asyncio.to_thread(controller.get_storage)
        self.trials = stubs.TrialServiceClient(self.transport)

    async def make(self, *names: str, storage: BaseStorage | None = None, **how: Any) -> None:
        """Make studies in the storage, each with a trial."""

        def work() -> None:
            for name in names:
                where = storage or self.storage
                study = optuna.create_study(study_name=name, storage=where, **how)
                values = [1.0] * len(study.directions)
                study.add_trial(optuna.trial.create_trial(values=values))

        await asyncio.to_thread(work)

    async def forget(self, name: str) -> None:
        """Delete a study in the storage."""
        await asyncio.to_thread(optuna.delete_study, study_name=name, storage=self.storage)

    async def in_storage(self) -> set[str]:
        return set(await asyncio.to_thread(optuna.get_all_study_names, self.storage))

    async def studies(self, name: str = "") -> dict[str, v1.StudyInfo]:
        request = v1.ListStudiesRequest(study_name=name, include_best=True)
        found = (await self.service.list_studies(request)).studies
        return {one.study_name: one for one in found}

    async def workspace(self) -> int:
        found = (await self.app.parts.auth.authenticate(self.token)).workspace_id
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncGenerator[None]:
        """While the block runs, the server is about to write to their journal."""
        workspace_id = await self.workspace()
        begun, over = threading.Event(), threading.Event()

        def unit(session: Session) -> None:
            self.app.parts.journal.ledger(session, workspace_id)
            begun.set()
            over.wait(60)

        write = asyncio.create_task(self.app.parts.database.write(unit))
        try:
            assert await asyncio.to_thread(begun.wait, 60)
            yield
            assert not write.done()
        finally:
            over.set()
            await write

    async def create(self, name: str, **spec: Any) -> None:
        spec.setdefault("direction", "minimize")
        await self.service.create_study(
            v1.CreateStudyRequest(spec=v1.StudySpec(study_name=name, **spec))
        )


async def owner(app: RunningApp) -> Owner:
    found = Owner(app, await app.token_of("ada"))
    await found.open()
    return found


@pytest.fixture
async def ada(running_app: RunningApp) -> AsyncIterator[Owner]:
    found = await owner(running_app)
    yield found
    await found.transport.close()


async def test_they_are_listed_and_found_by_name(ada: Owner) -> None:
    await ada.make("plain", direction="maximize")
    await ada.make("both", directions=["minimize", "maximize"])
    # As the dashboard does it.
    storage = ada.app.parts.journal.storage(await ada.workspace())
    await ada.make("by-hand", storage=storage)
    await ada.make("my study", "a" * 64, "-", "ä")
    listed = await ada.studies()
    assert [(one.study_name, one.direction, one.directions) for one in listed.values()] == [
        ("plain", "maximize", []),
        ("both", "", ["minimize", "maximize"]),
        ("by-hand", "minimize", []),
    ]
    for one in listed.values():
        assert (one.trials, one.phase) == (v1.TrialCounts(complete=1), "Succeeded")
    best = listed["plain"].best_trial
    assert best is not None
    assert best.value == 1.0
    assert {"my study", "a" * 64, "-", "ä"} < await ada.in_storage()

    await ada.make("later")
    assert list(await ada.studies("later")) == ["later"]
    found = await ada.trials.list_trials(v1.ListTrialsRequest(study_name="later"))
    assert len(found.trials) == 1
    assert list(await ada.studies()) == ["plain", "both", "by-hand", "later"]


async def test_who_creates_one_defines_it(ada: Owner) -> None:
    await ada.make("plain", "other", direction="minimize")
    assert len(await ada.studies()) == 2
    with pytest.raises(errors.AlreadyExistsError, match="direction"):
        await ada.create("plain", direction="maximize")
    await ada.create("plain", sampler_json=RANDOM)
    assert (await ada.studies("plain"))["plain"].sampler_json == RANDOM
    with pytest.raises(errors.AlreadyExistsError, match="another sampler"):
        await ada.create("plain")
    await ada.create("other")
    with pytest.raises(errors.AlreadyExistsError, match="another sampler"):
        await ada.create("other", sampler_json=RANDOM)


async def test_they_are_deleted_from_both_sides(ada: Owner) -> None:
    await ada.make("here", "there")
    await ada.create("created")
    assert len(await ada.studies()) == 3
    await ada.service.delete_study(v1.DeleteStudyRequest(name="here"))
    assert await ada.in_storage() == {"there", "created"}
    for name in ("there", "created"):
        await ada.forget(name)
    assert await ada.studies() == {}
    with pytest.raises(errors.NotFoundError):
        await ada.service.get_status(v1.GetStatusRequest(study_name="created"))

    await ada.create("created")
    await ada.forget("created")
    await ada.make("created", direction="maximize")
    listed = await ada.studies()
    assert listed["created"].direction == "maximize"
    assert listed["created"].trials == v1.TrialCounts(complete=1)


async def test_one_that_still_has_a_batch_stays_until_it_is_over(ada: Owner) -> None:
    ada.app.start_no_workers()
    await ada.create("a_study")
    optimize = v1.OptimizeRequest(
        objective=v1.ObjectivePayload(pickled=b"never read"),
        batch=v1.TrialBatchSpec(study_name="a_study", n_trials=1, parallelism=1),
    )
    name = (await ada.service.optimize(optimize)).trialbatch_name
    await ada.forget("a_study")
    await ada.make("a_study", direction="maximize")
    listed = await ada.studies()
    assert listed["a_study"].direction == "minimize"
    assert listed["a_study"].trials is None
    await ada.service.cancel_trial_batch(v1.CancelTrialBatchRequest(name=name))
    assert (await ada.studies())["a_study"].direction == "maximize"


async def test_who_lists_waits_for_nobody_who_writes(ada: Owner) -> None:
    ada.app.start_no_workers()
    await ada.make("plain", "my study")
    await ada.create("created")
    await ada.create("gone")
    optimize = v1.OptimizeRequest(
        objective=v1.ObjectivePayload(pickled=b"never read"),
        batch=v1.TrialBatchSpec(study_name="gone", n_trials=1, parallelism=1),
    )
    await ada.service.optimize(optimize)
    # It can't go, and the new one not take its place, before its batch is over.
    await ada.forget("gone")
    await ada.make("gone")
    listed = await ada.studies()
    assert list(listed) == ["created", "gone", "plain"]
    study = await asyncio.to_thread(optuna.load_study, study_name="plain", storage=ada.storage)
    await asyncio.to_thread(study.ask)
    async with ada.writing():
        now = await asyncio.wait_for(ada.studies(), 30)
    assert now["plain"].trials == v1.TrialCounts(running=1, complete=1)
    assert list(now) == list(listed)


@pytest.mark.once
async def test_servers_on_one_database(tmp_path: Path, postgresql: PostgreSQL) -> None:
    url = postgresql.create_database()
    async with (
        serving(tmp_path / "1", database_url=url) as one,
        serving(tmp_path / "2", database_url=url) as two,
    ):
        here = await owner(one)
        there = Owner(two, here.token)
        await there.open()
        names = ["1", "2", "3"]
        for known in (0, 3):
            await here.make(*(f"{known}{name}" for name in names))
            everybody = (one.studies() for one in (here, there, here, there))
            for listed in await asyncio.gather(*everybody):
                assert len(listed) == known + 3
        study = await asyncio.to_thread(optuna.load_study, study_name="01", storage=here.storage)
        await asyncio.to_thread(study.ask)
        async with here.writing():
            for person in (here, there):
                seen = (await asyncio.wait_for(person.studies(), 30))["01"]
                assert seen.trials == v1.TrialCounts(running=1, complete=1)
        await here.forget("01")
        assert list(await there.studies()) == ["02", "03", "31", "32", "33"]
        for person in (here, there):
            await person.transport.close()


async def test_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", limits=Limits(max_studies=2)) as app:
        ada = await owner(app)
        await ada.make("1", "2", "3")
        assert list(await ada.studies()) == ["1", "2"]
        async with ada.writing():
            assert await asyncio.wait_for(ada.studies("3"), 30) == {}
        await ada.service.delete_study(v1.DeleteStudyRequest(name="1"))
        assert list(await ada.studies()) == ["2", "3"]
        await ada.transport.close()
