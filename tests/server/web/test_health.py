"""What those who run a server ask it, over a socket."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from prometheus_client.parser import text_string_to_metric_families

from aiauto import connect, errors
from aiauto.server.web import health
from aiauto.version import __version__
from tests.server.conftest import serving, until

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from tests.server.conftest import RunningApp


async def ask(app: RunningApp, path: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as browser, browser.get(app.url + path) as answer:
        return answer.status, await answer.json()


async def metrics(app: RunningApp, token: str) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels, in the order of their names."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as prometheus,
        prometheus.get(app.url + "/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_it_lives_and_is_ready(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as app:
        assert await ask(app, "/healthz") == (200, {"status": "ok", "version": __version__})
        assert await ask(app, "/readyz") == (200, {"status": "ready", "version": __version__})
        await app.parts.batches.drain(0)
        status, answer = await ask(app, "/readyz")
        assert (status, answer["reason"]) == (503, "the server is being stopped")
        assert (await ask(app, "/healthz"))[0] == 200


async def test_it_is_not_ready_without_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    async with serving(tmp_path / "data") as app:
        database = app.parts.database

        async def away(_unit: object) -> object:
            raise errors.UnavailableError("The database is out of reach.")

        async def silent(_unit: object) -> None:
            await asyncio.Event().wait()

        for read, reason in ((away, "out of reach"), (silent, "does not answer within 0.05 s")):
            with monkeypatch.context() as patch:
                patch.setattr(database, "read", read)
                status, answer = await ask(app, "/readyz")
            assert status == 503
            assert reason in answer["reason"]
        assert (await ask(app, "/readyz"))[0] == 200


async def test_metrics_are_for_those_who_run_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as app, aiohttp.ClientSession(app.url) as stranger:
        for headers in ({}, {"Authorization": "Bearer aiauto_guess"}):
            async with stranger.get("/metrics", headers=headers) as answer:
                assert answer.status == 401
                assert "aiauto_rpc" not in await answer.text()


async def test_metrics_count(running_app: RunningApp) -> None:
    _, token = await running_app.parts.accounts.local_user(None)
    service = "aiauto.v1.AIAutoService"
    async with connect.Transport(running_app.url, token=token) as transport:
        client = stubs.AIAutoServiceClient(transport)
        await client.ensure_workspace(v1.EnsureWorkspaceRequest())
        before = await metrics(running_app, token)
        spec = v1.StudySpec(study_name="one", direction="minimize")
        await client.create_study(v1.CreateStudyRequest(spec=spec))
        for _ in range(3):
            with pytest.raises(errors.NotFoundError):
                await client.get_status(v1.GetStatusRequest(study_name="nothing"))
        after = await metrics(running_app, token)
    assert after["aiauto_rpc_calls_total", "ok", "CreateStudy", service] == 1
    assert after["aiauto_rpc_calls_total", "not_found", "GetStatus", service] == 3
    assert after["aiauto_rpc_seconds_count", "GetStatus", service] == 3
    assert after["aiauto_rpc_open",] == 0
    assert (before["aiauto_journal_entries",], after["aiauto_journal_entries",]) == (0, 1)
    for counter in ("aiauto_database_units_total", "aiauto_database_commit_seconds_count"):
        assert after[counter,] > before[counter,]
    states = ("queued", "running", "succeeded", "pruned", "failed")
    assert [after["aiauto_trials", state] for state in states] == [0] * 5
    assert after["aiauto_unfinished_batches",] == 0
    assert after["aiauto_server_info", __version__] == 1


async def test_metrics_tell_of_leases_workers_and_the_journal(running_app: RunningApp) -> None:
    _, token = await running_app.parts.accounts.local_user(None)
    # Nobody but the worker that this test is itself.
    running_app.start_no_workers()
    batches = running_app.parts.batches

    async def told() -> dict[str, float]:
        found = await metrics(running_app, token)
        states = ("queued", "running", "succeeded", "pruned", "failed")
        trials = {state: found["aiauto_trials", state] for state in states}
        return trials | {
            "batches": found["aiauto_unfinished_batches",],
            "pending": found.get(("aiauto_workers", "Pending"), 0),
            "up": found.get(("aiauto_workers", "Running"), 0),
            "journal": found["aiauto_journal_entries",],
        }

    async with connect.Transport(running_app.url, token=token) as transport:
        client = stubs.AIAutoServiceClient(transport)
        await client.ensure_workspace(v1.EnsureWorkspaceRequest())
        spec = v1.StudySpec(study_name="one", direction="minimize")
        await client.create_study(v1.CreateStudyRequest(spec=spec))
        batch = v1.TrialBatchSpec(study_name="one", n_trials=5, parallelism=1)
        objective = v1.ObjectivePayload(pickled=b"never read")
        request = v1.OptimizeRequest(objective=objective, batch=batch)
        name = (await client.optimize(request)).trialbatch_name
    nothing = dict.fromkeys(("running", "succeeded", "pruned", "failed", "pending", "up"), 0)
    expected: dict[str, float] = {**nothing, "queued": 5, "batches": 1, "journal": 1}
    assert await told() == expected
    ticket = await batches.create_worker(name)
    assert await told() == expected | {"pending": 1}
    async with connect.Transport(running_app.url, token=ticket.token) as transport:
        runner = stubs.RunnerServiceClient(transport)
        journal = stubs.JournalServiceClient(transport)
        await runner.register_worker(v1.RegisterWorkerRequest())
        for number, state in enumerate((1, 2, 3)):  # complete, pruned, failed
            held = (await runner.acquire_lease(v1.AcquireLeaseRequest())).lease
            assert held
            now = "2026-01-01T00:00:00+00:00"
            begin = {"op_code": 4, "worker_id": "w", "study_id": 0, "datetime_start": now}
            end = {"op_code": 6, "worker_id": "w", "trial_id": number, "state": state}
            end |= {"values": [1.0] if state == 1 else None, "datetime_complete": now}
            lease = v1.LeaseRef(lease_id=held.lease_id, fence=held.fence)
            entries = [json.dumps(begin), json.dumps(end)]
            assert (await told())["running"] == 1
            append = v1.AppendEntriesRequest(entries=entries, request_id=str(number), lease=lease)
            await journal.append_entries(append)
        await runner.acquire_lease(v1.AcquireLeaseRequest())
    expected |= {"queued": 1, "running": 1, "succeeded": 1, "pruned": 1, "failed": 1, "up": 1}
    assert await told() == expected | {"journal": 1 + 3 * 2}
    await batches.cancel(name)
    after = await told()
    assert (after["queued"], after["running"], after["batches"]) == (0, 0, 0)
    await batches.worker_exited(ticket.worker_name, exit_code=0, reason="Completed", message="")
    assert (await told())["up"] == 0


async def test_metrics_tell_of_units_that_wait(running_app: RunningApp) -> None:
    """While another one is being committed."""
    _, token = await running_app.parts.accounts.local_user(None)
    await metrics(running_app, token)  # its use is noted, and not again for a while
    database = running_app.parts.database
    begun, going_on = threading.Event(), threading.Event()

    def occupy(_session: Session) -> None:
        begun.set()
        going_on.wait(60)

    units = [asyncio.create_task(database.write(occupy))]
    await asyncio.to_thread(begun.wait)
    units += [asyncio.create_task(database.write(lambda _session: None)) for _ in range(3)]

    async def they_wait() -> bool:
        return (await metrics(running_app, token))["aiauto_database_waiting_units",] == 3

    try:
        await until(they_wait)
    finally:
        going_on.set()
    await asyncio.gather(*units)
    assert (await metrics(running_app, token))["aiauto_database_waiting_units",] == 0


async def test_a_call_that_is_cut_off_is_counted_as_what_it_was(
    running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await running_app.parts.accounts.local_user(None)
    await metrics(running_app, token)  # its use is noted, and not again for a while
    begun = asyncio.Event()

    async def hang(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(running_app.parts.database, "write", hang)
    headers = {"Authorization": f"Bearer {token}"}
    # Who calls by hand waits for as long as it takes: only the server minds the deadline.
    path = "/aiauto.v1.AIAutoService/DeleteToken"
    async with aiohttp.ClientSession(running_app.url, headers=headers) as session:
        for timeout, code in (("60000", "canceled"), ("200", "deadline_exceeded")):
            begun.clear()
            call = asyncio.create_task(
                session.post(path, json={}, headers={"Connect-Timeout-Ms": timeout})
            )
            await begun.wait()
            counted = ("aiauto_rpc_calls_total", code, "DeleteToken", "aiauto.v1.AIAutoService")
            if code == "canceled":
                assert (await metrics(running_app, token))["aiauto_rpc_open",] == 1
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)

            async def is_counted(counted: tuple[str, ...] = counted) -> bool:
                return (await metrics(running_app, token)).get(counted) == 1

            await until(is_counted)


async def test_metrics_name_nobody(running_app: RunningApp) -> None:
    _, token = await running_app.parts.accounts.local_user(None)
    async with connect.Transport(running_app.url, token=token) as transport:
        client = stubs.AIAutoServiceClient(transport)
        await client.ensure_workspace(v1.EnsureWorkspaceRequest())
        spec = v1.StudySpec(study_name="secret-study", direction="minimize")
        await client.create_study(v1.CreateStudyRequest(spec=spec))
    names = " ".join(part for key in await metrics(running_app, token) for part in key)
    assert "secret-study" not in names
    assert token not in names
