"""How fast callers may append to a journal, and what those do who are faster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClient, JournalServiceClient
from optuna.trial import TrialState

import aiauto
from aiauto import connect
from aiauto.errors import InvalidArgumentError, ResourceExhaustedError
from aiauto.server.journal import AppendRate, entries
from aiauto.server.settings import MAX_ENTRIES_PER_APPEND
from tests.server.conftest import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import optuna

    from tests.server.conftest import RunningApp

RATE = 5000.0
ATTRIBUTE = (
    '{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"key":"%s"}}'  # of a study: few effects
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_what_comes_after_it() -> None:
    clock = Clock()
    rate = AppendRate(10, 50, clock)
    rate.take(1, 50)
    with pytest.raises(ResourceExhaustedError, match=r"10 a second.* in 2 s") as caught:
        rate.take(1, 20)
    assert caught.value.details == (connect.retry_info(2),)
    rate.take(2, 50)  # another one's bucket is full
    clock.now += 1.9
    with pytest.raises(ResourceExhaustedError, match=r"in 0\.1 s"):
        rate.take(1, 20)
    clock.now += 0.11
    rate.take(1, 20)
    with pytest.raises(ResourceExhaustedError):
        rate.take(1, 0)  # a call without entries is one all the same
    clock.now += 3600
    rate.take(1, 50)
    with pytest.raises(ResourceExhaustedError):
        rate.take(1, 1)


def test_few_buckets_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiauto.server.journal.rate.REMEMBERED_BUCKETS", 10)
    clock = Clock()
    rate = AppendRate(10, 50, clock)
    for caller in range(10):
        rate.take(caller, 50)
        clock.now += 1
    for caller in range(100, 200):
        rate.take(caller, 1)
        clock.now += 1
    assert len(rate._buckets) <= 11
    assert 199 in rate._buckets


@pytest.fixture
async def app(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RunningApp]:
    """A server that lets nobody append fast for long; how fast, a test may say."""
    rate: float = getattr(request, "param", RATE)
    how = {"journal_rate": rate, "journal_burst": MAX_ENTRIES_PER_APPEND}
    async with serving(tmp_path / "data", **how) as running:
        yield running


def append(count: int, number: int = 0) -> v1.AppendEntriesRequest:
    texts = [ATTRIBUTE % number] * count
    return v1.AppendEntriesRequest(entries=texts, request_id=f"request-{number}")


async def test_clients_wait_for_their_turn(app: RunningApp) -> None:
    token = await app.token_of("someone")
    retries = connect.RetryPolicy(attempts=2)
    async with connect.Transport(app.url, token=token, retries=retries) as transport:
        await AIAutoServiceClient(transport).ensure_workspace(v1.EnsureWorkspaceRequest())
        client = JournalServiceClient(transport)
        await client.append_entries(append(MAX_ENTRIES_PER_APPEND))
        # More of them than a call has attempts, all under one token.
        calls = (client.append_entries(append(500, number)) for number in range(1, 7))
        await asyncio.gather(*calls)
        answer = await client.read_entries(v1.ReadEntriesRequest(position=10_000))
        assert len(answer.entries) == 3000


# So slow that no machine gives the bucket time to fill.
@pytest.mark.parametrize("app", [1.0], indirect=True)
async def test_who_does_not_wait_is_refused(app: RunningApp) -> None:
    token = await app.token_of("someone")
    async with connect.Transport(app.url, token=token, retries=connect.NO_RETRIES) as transport:
        await AIAutoServiceClient(transport).ensure_workspace(v1.EnsureWorkspaceRequest())
        client = JournalServiceClient(transport)
        await client.append_entries(append(MAX_ENTRIES_PER_APPEND))
        with pytest.raises(ResourceExhaustedError, match="Too many journal entries"):
            await client.append_entries(append(MAX_ENTRIES_PER_APPEND, 1))


async def test_the_size_of_a_call_and_of_an_entry(app: RunningApp) -> None:
    token = await app.token_of("someone")
    async with connect.Transport(app.url, token=token) as transport:
        await AIAutoServiceClient(transport).ensure_workspace(v1.EnsureWorkspaceRequest())
        client = JournalServiceClient(transport)
        with pytest.raises(InvalidArgumentError, match="at most 10000 are allowed"):
            await client.append_entries(append(MAX_ENTRIES_PER_APPEND + 1))
        big = append(1)
        big.entries[0] = ATTRIBUTE % ("x" * entries.MAX_ENTRY_BYTES)
        with pytest.raises(InvalidArgumentError, match="longer than 1048576"):
            await client.append_entries(big)
        # An answer is cut, and the next one goes on where it ended.
        for number in range(6):
            big = append(1, number)
            big.entries[0] = ATTRIBUTE % ("x" * (entries.MAX_ENTRY_BYTES - 1000))
            await client.append_entries(big)
        answer = await client.read_entries(v1.ReadEntriesRequest(position=0))
        assert len(answer.entries) < answer.length == 6


async def test_a_worker_that_reports_too_fast_becomes_slow_and_does_not_fail(
    app: RunningApp,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        for step in range(12_000):
            trial.report(1.0, step)
        return 1.0

    token = await app.token_of("someone")

    def create() -> aiauto.StudyWrapper:
        return aiauto.AIAutoController(token, app.url).create_study("study")

    study = await asyncio.to_thread(create)
    await study.optimize_async(objective, 1, wait_option="WAIT_ALL_TRIALS", wait_timeout=120)
    (trial,) = await asyncio.to_thread(lambda: study.get_study().trials)
    assert trial.state == TrialState.COMPLETE
    assert len(trial.intermediate_values) == 12_000
