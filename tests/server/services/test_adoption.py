"""Studies that are made and deleted in the Optuna storage itself, past `CreateStudy`."""

from __future__ import annotations

import asyncio
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
    from collections.abc import AsyncIterator
    from pathlib import Path

    from optuna.storages import BaseStorage

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
    principal = await ada.app.parts.auth.authenticate(ada.token)
    workspace_id = principal.workspace_id
    assert workspace_id is not None
    await ada.make("by-hand", storage=ada.app.parts.journal.storage(workspace_id))
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


async def test_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", limits=Limits(max_studies=2)) as app:
        ada = await owner(app)
        await ada.make("1", "2", "3")
        assert list(await ada.studies()) == ["1", "2"]
        assert await ada.studies("3") == {}
        await ada.service.delete_study(v1.DeleteStudyRequest(name="1"))
        assert list(await ada.studies()) == ["2", "3"]
        await ada.transport.close()
