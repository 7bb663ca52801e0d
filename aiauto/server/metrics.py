"""What the server tells of itself in numbers, in the form that Prometheus reads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from sqlalchemy import func, select

from aiauto.errors import RpcError
from aiauto.server.batches.workers import ENDED
from aiauto.server.database.models import TrialBatch, Worker, Workspace
from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

    from aiauto.server.database import Database

# Calls take a few milliseconds, and those that wait for a commit on a busy disk much longer.
CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5)


class Metrics:
    """Counts calls as they are answered, and the rest whenever somebody asks.

    Nothing in them tells who does what: they have no names of users, studies or batches.
    """

    def __init__(self, database: Database) -> None:
        """Make it.

        Args:
            database: What is counted when somebody asks is in it. It is told to report its commits.
        """
        self._database = database
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("aiauto_server", "The server.", registry=registry).info({"version": __version__})
        self._calls = Counter(
            "aiauto_rpc_calls",
            "Calls that were answered, by how they ended.",
            ("service", "method", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "aiauto_rpc_seconds",
            "How long calls took; those that stream take as long as somebody watches.",
            ("service", "method"),
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self._open = Gauge(
            "aiauto_rpc_open", "Calls that are being answered, streams included.", registry=registry
        )
        self._commits = Histogram(
            "aiauto_database_commit_seconds",
            "How long a transaction took, from its first unit to the end of its commit.",
            buckets=COMMIT_BUCKETS,
            registry=registry,
        )
        self._units = Counter(
            "aiauto_database_units", "Units of work that shared those commits.", registry=registry
        )
        self._waiting = Gauge(
            "aiauto_database_waiting_units", "Units of work in the queue.", registry=registry
        )
        self._journal = Gauge(
            "aiauto_journal_entries", "Entries in the journals of all workspaces.",
            registry=registry,
        )  # fmt: skip
        self._trials = Gauge(
            "aiauto_trials",
            "Trials of the batches there are: those that nobody has begun, those that hold a "
            "lease, and those that have ended.",
            ("state",),
            registry=registry,
        )
        self._batches = Gauge(
            "aiauto_unfinished_batches", "Batches that are not over.", registry=registry
        )
        self._workers = Gauge(
            "aiauto_workers", "Workers that have not ended.", ("phase",), registry=registry
        )
        self._counting: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._one_at_a_time = asyncio.Lock()
        database.on_commit = self._note_commit

    async def interceptor(self, context: Context, call_next: Callable[[], Awaitable[None]]) -> None:
        """Count a call."""
        began = time.perf_counter()
        self._open.inc()
        code = "ok"
        try:
            await call_next()
        except RpcError as error:
            code = error.code.value
            raise
        except asyncio.CancelledError:
            late = context.deadline_left() == 0.0
            code = "deadline_exceeded" if late else "canceled"
            raise
        except NotImplementedError:
            code = "unimplemented"
            raise
        except Exception:
            code = "internal"
            raise
        finally:
            self._open.dec()
            count, seconds = self._of_calls(context.method, code)
            count.inc()
            seconds.observe(time.perf_counter() - began)

    def _of_calls(self, path: str, code: str) -> tuple[Counter, Histogram]:
        """What counts the calls of a method that end with a code. To look it up takes longer."""
        found = self._counting.get((path, code))
        if found is None:
            service, _, method = path.strip("/").partition("/")
            count = self._calls.labels(service, method, code)
            found = self._counting[path, code] = count, self._seconds.labels(service, method)
        return found

    async def text(self) -> bytes:
        """All of it, in Prometheus' text format.

        Raises:
            UnavailableError: The database is out of reach.
        """
        async with self._one_at_a_time:
            await self._database.read(self._look)
            self._waiting.set(self._database.waiting_units)
            return generate_latest(self._registry)

    def _note_commit(self, units: int, seconds: float) -> None:
        self._units.inc(units)
        self._commits.observe(seconds)

    def _look(self, session: Session) -> None:
        columns = (
            TrialBatch.n_trials,
            TrialBatch.count_active,
            TrialBatch.count_succeeded,
            TrialBatch.count_pruned,
            TrialBatch.count_failed,
        )
        sums = session.execute(select(*(func.coalesce(func.sum(one), 0) for one in columns))).one()
        whole, running, succeeded, pruned, failed = (int(one) for one in sums)
        states = {"running": running, "succeeded": succeeded, "pruned": pruned, "failed": failed}
        states["queued"] = whole - sum(states.values())
        for state, count in states.items():
            self._trials.labels(state).set(count)
        unfinished = select(func.count()).where(TrialBatch.finished_at.is_(None))
        self._batches.set(session.scalar(unfinished) or 0)
        phases = (
            select(Worker.phase, func.count())
            .where(Worker.phase.not_in(ENDED))
            .group_by(Worker.phase)
        )
        self._workers.clear()
        for phase, count in session.execute(phases):
            self._workers.labels(phase).set(count)
        entries = select(func.coalesce(func.sum(Workspace.journal_length), 0))
        self._journal.set(int(session.scalar(entries) or 0))
