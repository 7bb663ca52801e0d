"""What ends a trial of a worker brings the next one: the worker's journal and the server's."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import optuna
import pytest
from aiauto_gen.aiauto import v1
from optuna.trial import TrialState

from aiauto.errors import AbortedError, UnavailableError
from aiauto.runner import journal
from aiauto.runner.journal import PATIENCE_SECONDS, WorkerJournal
from aiauto.runner.waiting import WorkerStorage
from aiauto.server.services.journal import append_response
from tests.server.batches.house import TTL, House, create_trial
from tests.server.conftest import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiauto.server.auth import WorkerIdentity

N_TRIALS = 6


class Wire:
    """Takes a worker's calls to the server's parts, where a test can look at them.

    Attributes:
        calls: How many entries each append had.
        lost: How many answers are yet to be lost.
        refuses: What the next calls raise instead.
        in_call: Called while a call is on its way.
        is_older: Whether the server knows of no answers without the caller's own entries.
    """

    def __init__(self, house: House, worker: WorkerIdentity) -> None:
        self._house = house
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self.calls: list[int] = []
        self.lost = 0
        self.refuses: list[Exception] = []
        self.in_call: Callable[[], None] = lambda: None
        self.is_older = False

    def append_entries(self, request: v1.AppendEntriesRequest, /) -> v1.AppendEntriesResponse:
        self.calls.append(len(request.entries))
        self.in_call()
        if self.refuses:
            raise self.refuses.pop()
        answer = asyncio.run_coroutine_threadsafe(self._append(request), self._loop).result()
        if self.lost:
            self.lost -= 1
            raise UnavailableError("The answer was lost.")
        return answer

    async def _append(self, request: v1.AppendEntriesRequest) -> v1.AppendEntriesResponse:
        house = self._house
        request.leave_out_own &= not self.is_older
        appended = await house.batches.work.append(house.workspace_id, request, self._worker)
        return append_response(appended, TTL)

    def read_entries(self, request: v1.ReadEntriesRequest, /) -> v1.ReadEntriesResponse:
        house = self._house
        new = house.database.read_now(
            lambda session: house.journal.read(session, house.workspace_id, request.position)
        )
        return v1.ReadEntriesResponse(entries=new.entries, length=new.length)

    def read_state(self, request: v1.ReadStateRequest, /) -> Iterable[v1.ReadStateResponse]:
        del request
        return ()


class Runner:
    """Runs trials as a worker does."""

    def __init__(self, wire: Wire, lease: v1.LeaseRef) -> None:
        self.wire = wire
        attributes = {"pod_name": "a-worker"}
        self.journal = WorkerJournal(wire, "study", attributes)
        storage = WorkerStorage(self.journal, attributes)
        self.study = optuna.load_study(study_name="study", storage=storage)
        self.journal.study_id = 0
        self.journal.patience = PATIENCE_SECONDS
        self.lease: v1.LeaseRef | None = lease

    def begin(self) -> optuna.Trial:
        assert self.lease is not None
        self.journal.begin(self.lease)
        return self.study.ask()

    def end(self, trial: optuna.Trial) -> None:
        x = trial.suggest_float("x", 0, 1)
        self.journal.want_next()
        try:
            self.study.tell(trial, x)
        except UnavailableError:
            # Sent again by whatever reads next.
            assert self.study.trials[trial.number].value == x
        answer = self.journal.take_next()
        assert answer is not None
        self.lease = None
        if answer.lease is not None:
            self.lease = v1.LeaseRef(lease_id=answer.lease.lease_id, fence=answer.lease.fence)


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    house = House(database_url, N_TRIALS)
    await house.open()
    await house.fill()
    yield house
    await house.database.close()


@pytest.fixture
async def runner(house: House) -> Runner:
    worker = await house.worker()
    lease = await house.acquire(worker)
    assert lease is not None
    return await asyncio.to_thread(Runner, Wire(house, worker), lease)


@pytest.mark.parametrize("is_older", [False, True])
async def test_a_trial_is_one_call(house: House, runner: Runner, *, is_older: bool) -> None:
    runner.wire.is_older = is_older

    def work() -> None:
        for number in range(N_TRIALS):
            trial = runner.begin()
            assert trial.number == number
            assert [one.state.is_finished() for one in runner.study.trials] == [
                *[True] * number,
                False,
            ]
            runner.end(trial)
        assert runner.lease is None

    await asyncio.to_thread(work)
    # The first one had to be asked for; each then sent its parameter with its end.
    assert runner.wire.calls == [1, *[2] * N_TRIALS]
    trials = await house.trials()
    assert all(one.user_attrs == {"pod_name": "a-worker"} for one in trials)
    assert all(one.datetime_start is not None for one in trials)
    starts = [one.datetime_start for one in trials if one.datetime_start is not None]
    assert starts == sorted(set(starts)), "each has a start of its own"
    assert await house.counts() == (0, N_TRIALS, 0, 0)


async def test_what_comes_to_wait_meanwhile_is_for_the_next_lease(
    house: House, runner: Runner
) -> None:
    loop = asyncio.get_running_loop()
    fixed = {"fixed_params": {"x": 0.5}}
    waiting = {**create_trial(), "state": int(TrialState.WAITING), "datetime_start": None}
    enqueue = house.append(None, None, {**waiting, "system_attrs": fixed})

    def work() -> list[int]:
        numbers: list[int] = []
        runner.end(runner.begin())
        # The second trial has begun, and its worker does not know yet what comes to wait now.
        asyncio.run_coroutine_threadsafe(enqueue, loop).result()
        for _ in range(3):
            trial = runner.begin()
            numbers.append(trial.number)
            runner.end(trial)
        return numbers

    assert await asyncio.to_thread(work) == [1, 2, 3]
    trials = await house.trials()
    assert trials[2].params == {"x": 0.5}
    assert trials[2].user_attrs == {"pod_name": "a-worker"}


async def test_an_end_that_was_sent_in_the_background(house: House, runner: Runner) -> None:
    append_logs = runner.journal.append_logs

    def append_and_send(logs: list[dict[str, object]]) -> None:
        append_logs(logs)
        runner.journal.send_deferred()

    def work() -> None:
        runner.journal.append_logs = append_and_send  # type: ignore[method-assign]
        for number in range(N_TRIALS):
            trial = runner.begin()
            assert trial.number == number
            runner.end(trial)

    await asyncio.to_thread(work)
    assert await house.counts() == (0, N_TRIALS, 0, 0)


async def test_what_comes_while_the_background_begins_to_send(house: House, runner: Runner) -> None:
    lock = runner.journal._lock

    class LateLock:
        """Is waited for until a trial has reported what it has to."""

        def __init__(self, trial: optuna.Trial) -> None:
            self._trial = trial

        def __enter__(self) -> None:
            runner.journal._lock = lock
            for step in range(20):
                self._trial.report(1.0, step)
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    def work() -> None:
        trial = runner.begin()
        trial.set_user_attr("sent", "soon")
        runner.journal._lock = LateLock(trial)  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
        runner.journal.send_deferred()
        assert runner.journal._lock is lock
        # Whoever was refused in the background is told at the next read.
        runner.end(trial)

    await asyncio.to_thread(work)
    (first, second) = await house.trials()
    assert first.intermediate_values == dict.fromkeys(range(20), 1.0)
    assert first.user_attrs["sent"] == "soon"
    assert second.state == TrialState.RUNNING


async def test_an_answer_that_was_lost(house: House, runner: Runner) -> None:
    def work() -> None:
        for number in range(N_TRIALS):
            trial = runner.begin()
            assert trial.number == number
            runner.wire.lost = number % 2
            runner.end(trial)

    await asyncio.to_thread(work)
    assert await house.counts() == (0, N_TRIALS, 0, 0)
    assert len(await house.trials()) == N_TRIALS


async def test_what_was_lost_on_its_way_in_the_background_is_sent_again(
    house: House, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE_SECONDS", 0.1)
    runner.journal.patience = 0.1

    def suggest() -> float:
        trial = runner.begin()
        runner.wire.refuses += [UnavailableError("It is away."), UnavailableError("Still.")]
        runner.wire.lost = 1
        return trial.suggest_float("x", 0, 1)

    x = await asyncio.to_thread(suggest)

    # The trial says nothing more.
    async def is_sent() -> bool:
        return not runner.journal.has_unsent

    await until(is_sent)
    assert runner.wire.refuses == []
    (trial,) = await house.trials()
    assert trial.params == {"x": x}


async def test_what_is_refused_in_the_background_is_told_to_the_trial_whose_it_is(
    runner: Runner,
) -> None:
    lease = runner.lease
    assert lease is not None
    # It is sent here, and not by itself.
    runner.journal.patience = 3600.0

    def work() -> None:
        runner.begin().suggest_float("x", 0, 1)
        runner.wire.refuses = [AbortedError("The lease was lost.")]
        runner.journal.send_deferred()
        with pytest.raises(AbortedError, match="lost"):
            runner.study.trials  # noqa: B018 - it reads
        # Told once.
        assert len(runner.study.trials) == 1

        runner.wire.refuses = [AbortedError("The lease was lost.")]
        runner.journal.append_logs([{"op_code": 8, "trial_id": 0, "user_attr": {}}])
        begins = threading.Thread(target=runner.journal.begin, args=(lease,))
        runner.wire.in_call = begins.start
        runner.journal.send_deferred()
        begins.join()
        runner.wire.in_call = lambda: None
        # It is of the trial before.
        assert len(runner.study.trials) == 1

    await asyncio.to_thread(work)
