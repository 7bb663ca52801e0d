"""An overview tells what Optuna tells of the same journal, whatever was undone on the way there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import threading
import uuid
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from aiauto.errors import NotFoundError
from aiauto.server.database import Database
from aiauto.server.database.models import User, Workspace
from aiauto.server.journal import Journal, Overviews, rows
from aiauto.server.journal.entries import Operation, check
from tests.server.journal.test_state import Memory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator
    from typing import TypeVar

    from optuna.distributions import BaseDistribution
    from sqlalchemy.orm import Session

    from aiauto.server.journal.overview import StudyOverview

    ResultT = TypeVar("ResultT")

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
DIRECTIONS = [[MINIMIZE], [MAXIMIZE], [MINIMIZE, MAXIMIZE]]
DISTRIBUTIONS: list[BaseDistribution] = [
    FloatDistribution(0, 10),
    FloatDistribution(1, 20, log=True),
    CategoricalDistribution(["a", None, 1.5]),
]
# Few, so that there are ties.
VALUES = [0.0, 1.0, -1.0, 2, math.inf, -math.inf]
CONSTRAINTS: list[list[float]] = [[], [], [0.0], [-1.0, 1.0], [1.0]]


class UndoneError(Exception):
    pass


class House:
    """A database, and a server that writes to it."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.database = Database(url)
        self.journal = Journal(self.database)
        self.wait(self.database.open())

    def wait(self, awaitable: Awaitable[ResultT]) -> ResultT:
        return self._loop.run_until_complete(asyncio.wait_for(awaitable, 60))

    def close(self) -> None:
        self.wait(self.database.close())
        self._loop.close()

    def new_workspace(self) -> int:
        def unit(session: Session) -> int:
            name = str(uuid.uuid4())
            user = User(name=name)
            session.add(user)
            session.flush()
            sizes = {"storage_size": "1Gi", "artifact_store_size": "1Gi", "shared_cache_size": "1"}
            workspace = Workspace(user_id=user.id, name=name, shared_cache_dir="/mnt", **sizes)
            session.add(workspace)
            session.flush()
            return workspace.id

        return self.database.write_now(unit)

    def append(self, workspace_id: int, texts: Iterable[str], *, undone: bool = False) -> None:
        def unit(session: Session) -> None:
            for text in texts:
                self.journal.append(session, workspace_id, [check(text)], [text])
            if undone:
                raise UndoneError

        with pytest.raises(UndoneError) if undone else contextlib.nullcontext():
            self.database.write_now(unit)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    house = House(f"sqlite:///{tmp_path_factory.mktemp('overview')}/database.sqlite3")
    yield house
    house.close()


def act(storage: JournalStorage, chance: random.Random) -> None:
    """Do what a program may do."""
    studies = storage.get_all_studies()
    if len(studies) < len(DIRECTIONS):
        storage.create_new_study(chance.choice(DIRECTIONS), chance.choice("abcd"))
        return
    study = chance.choice(studies)
    trials = storage.get_all_trials(study._study_id)
    unfinished = [trial for trial in trials if not trial.state.is_finished()]
    action = chance.randrange(40)
    if action == 0:
        storage.delete_study(study._study_id)
    elif action < 10 or not unfinished:
        storage.create_new_trial(study._study_id)
    elif action < 16:
        create_from_template(storage, study._study_id, len(study.directions), chance)
    else:
        # One that has ended can't be changed, and everybody passes over it.
        trial = chance.choice(unfinished if action < 38 else trials)
        act_on_trial(storage, trial, len(study.directions), chance)


def create_from_template(
    storage: JournalStorage, study_id: int, objectives: int, chance: random.Random
) -> None:
    state = chance.choice(list(TrialState))
    values = None if state == TrialState.FAIL else chance.choices(VALUES, k=objectives)
    distribution = chance.choice(DISTRIBUTIONS)
    template = create_trial(
        state=state,
        values=values,
        params={"x": distribution.to_external_repr(1)},
        distributions={"x": distribution},
        user_attrs={"a": 1},
        system_attrs={"constraints": chance.choice(CONSTRAINTS), "fixed_params": {"y": 1}},
        intermediate_values={3: 0.5},
    )
    storage.create_new_trial(study_id, template)


def act_on_trial(
    storage: JournalStorage,
    trial: optuna.trial.FrozenTrial,
    objectives: int,
    chance: random.Random,
) -> None:
    action = chance.randrange(5)
    if action == 0:
        attribute: Any = chance.choice(CONSTRAINTS)
        storage.set_trial_system_attr(trial._trial_id, "constraints", attribute)
    elif action <= 2:
        name = chance.choice("xy")
        storage.set_trial_user_attr(trial._trial_id, name, "\N{HONEYBEE}")
        storage.set_trial_param(trial._trial_id, name, 1, chance.choice(DISTRIBUTIONS))
    else:
        state = chance.choice([TrialState.COMPLETE] * 5 + list(TrialState))
        values: list[float] | None = None
        if state == TrialState.COMPLETE and (trial.values is None or chance.random() < 0.5):
            values = chance.choices([*VALUES, math.nan], k=objectives)
        storage.set_trial_state_values(trial._trial_id, state, values)


def lost(storage: JournalStorage) -> list[str]:
    """Entries that are not to count: they would end trials that run as the best of their study."""
    texts: list[str] = []
    for study in storage.get_all_studies():
        for trial in storage.get_all_trials(study._study_id):
            values = [-math.inf if one == MINIMIZE else math.inf for one in study.directions]
            entry = {
                "op_code": int(Operation.SET_TRIAL_STATE_VALUES),
                "worker_id": "lost",
                "trial_id": trial._trial_id,
                "state": int(TrialState.COMPLETE),
                "values": values,
                "datetime_complete": "2026-01-01T00:00:00+00:00",
            }
            texts.append(json.dumps(entry))
    return texts


def failed_where_nan(line: str) -> str:
    """An entry as Optuna's own programs would have it: with NaN for a value, a trial has failed."""
    entry = json.loads(line)
    values: list[float] = entry.get("values") or []
    if entry["op_code"] == Operation.SET_TRIAL_STATE_VALUES and any(map(math.isnan, values)):
        entry |= {"state": int(TrialState.FAIL), "values": None}
    return json.dumps(entry)


def told_by_optuna(lines: list[str]) -> dict[int, tuple[Any, ...]]:
    storage = JournalStorage(Memory(map(failed_where_nan, lines)))
    told: dict[int, tuple[Any, ...]] = {}
    for one in storage.get_all_studies():
        study = optuna.load_study(study_name=one.study_name, storage=storage)
        best: Any = None
        values: list[float] = []
        if len(study.directions) == 1:
            with contextlib.suppress(ValueError):
                best = study.best_trial
        else:
            feasible = [
                trial.values
                for trial in study.get_trials(states=[TrialState.COMPLETE])
                if all(value <= 0 for value in trial.system_attrs.get("constraints", []))
            ]
            if feasible:
                values = [min(one for one, _ in feasible), max(one for _, one in feasible)]
        told[one._study_id] = one.study_name, study.directions, best, values
    return told


def counted_by_optuna(lines: list[str]) -> dict[int, dict[TrialState, int]]:
    storage = JournalStorage(Memory(lines))
    counted: dict[int, dict[TrialState, int]] = {}
    for study in storage.get_all_studies():
        states = [trial.state for trial in storage.get_all_trials(study._study_id)]
        counted[study._study_id] = {state: states.count(state) for state in set(states)}
    return counted


def check_overview(found: dict[int, StudyOverview], lines: list[str]) -> None:
    told = {
        study_id: (one.name, one.directions, one.best_trial, one.best_values)
        for study_id, one in found.items()
    }
    assert told == told_by_optuna(lines)
    counts = {
        study_id: {state: count for state, count in one.counts.items() if count}
        for study_id, one in found.items()
    }
    assert counts == counted_by_optuna(lines)


@pytest.mark.once
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**64))
def test_it_tells_what_optuna_tells(house: House, seed: int) -> None:
    chance = random.Random(seed)
    workspace_id = house.new_workspace()
    program = Memory()
    storage = JournalStorage(program)
    here, there = Overviews(house.database), Overviews(house.database)
    early: list[tuple[dict[int, StudyOverview], int]] = []
    for _ in range(4):
        start = len(program.lines)
        for _ in range(chance.randrange(40)):
            with contextlib.suppress(Exception):
                act(storage, chance)
        if chance.random() < 0.5:
            house.append(workspace_id, [*program.lines[start:], *lost(storage)], undone=True)
        house.append(workspace_id, program.lines[start:])
        early.append((house.wait(here.read(workspace_id)), len(program.lines)))
    # What was given out before has not changed since.
    for found, length in early:
        check_overview(found, program.lines[:length])
    # Another server, or one that has just been started.
    check_overview(house.wait(there.read(workspace_id)), program.lines)


class Held(Overviews):
    """Overviews whose every look takes until it is let go."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.looked = [threading.Event(), threading.Event()]
        self.go = threading.Event()
        self._looks = iter(self.looked)

    def _follow(self, session: Session, workspace_id: int) -> dict[int, StudyOverview] | None:
        found = super()._follow(session, workspace_id)
        next(self._looks).set()
        assert self.go.wait(60)
        return found


@pytest.mark.once
def test_all_who_come_while_somebody_looks_share_the_next_look(house: House) -> None:
    workspace_id = house.new_workspace()
    overviews = Held(house.database)
    program = Memory()

    async def scenario() -> None:
        first = asyncio.create_task(overviews.read(workspace_id))
        assert await asyncio.to_thread(overviews.looked[0].wait, 60)
        optuna.create_study(study_name="new", storage=JournalStorage(program))
        await asyncio.to_thread(house.append, workspace_id, program.lines)
        goes, *stay = [asyncio.create_task(overviews.read(workspace_id)) for _ in range(5)]
        await asyncio.sleep(0)
        for one in (first, goes):
            one.cancel()
        overviews.go.set()
        for found in await asyncio.gather(*stay):
            assert [study.name for study in found.values()] == ["new"]

    house.wait(scenario())


class Counting(Overviews):
    """Overviews that count how often they turn to the database."""

    steps = 0

    def _follow(self, session: Session, workspace_id: int) -> dict[int, StudyOverview] | None:
        self.steps += 1
        return super()._follow(session, workspace_id)


@pytest.mark.once
def test_a_long_journal_is_read_in_steps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace_id = house.new_workspace()
    program = Memory()
    study = optuna.create_study(study_name="long", storage=JournalStorage(program))
    for number in range(3):
        study.add_trial(create_trial(value=number))
    for line in program.lines:
        house.append(workspace_id, [line])
    monkeypatch.setattr(rows, "CHARACTERS_OF_PART", 0)
    counting = Counting(house.database)
    check_overview(house.wait(counting.read(workspace_id)), program.lines)
    assert counting.steps == len(program.lines)
    check_overview(house.wait(counting.read(workspace_id)), program.lines)
    assert counting.steps == len(program.lines) + 1


@pytest.mark.once
def test_a_workspace_that_is_gone(house: House) -> None:
    overviews = Overviews(house.database)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            house.wait(overviews.read(10**6))
