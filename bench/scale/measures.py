"""What is measured: a server, and studies, batches and watchers of it that become more."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import optuna
import psutil
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync, JournalServiceClientSync

import aiauto
from aiauto.connect import SyncTransport
from bench.environments import variables
from bench.scale.filling import fill
from bench.storage.contest import steady_rate
from bench.storage.sides.objective import RECORD, objective_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiauto.testing import EmbeddedServer

# Of the study whose trials are timed, each time: so many that what happens once, such as a snapshot
# of a study that has grown, hardly counts.
TRIALS: Final = 1000
_STATUS_CALLS: Final = 30
_NEWCOMERS: Final = 3


@dataclass
class Grown:
    """A study with so many trials.

    Attributes:
        trials: How many.
        status: Seconds that `get_status` takes.
        ready: Seconds in which a new worker is ready, beyond its imports.
        per_trial: Seconds that a trial takes one worker, with RandomSampler.
        server_memory: Bytes that the server has in memory.
        worker_added: Bytes that the study takes in a worker's memory.
        worker_memory: Bytes that a worker has in memory.
    """

    trials: int
    status: float
    ready: float
    per_trial: float
    server_memory: int
    worker_added: int
    worker_memory: int


@dataclass
class Crowd:
    """Many studies, and many who watch.

    Attributes:
        studies: How many studies the workspace has.
        listing: Seconds that the list of them takes.
        best: The same with the best trial of each. One of them has as many trials as `Scale.grow`
            has left there.
        status: Seconds that `get_status` of one of them takes.
        ready: Seconds in which a new worker of one of them is ready.
        watchers: How many watch a batch.
        alone: Trials per second that nobody but its own program watched, by round.
        watched: The same with all watchers.
        messages: Messages that each watcher got, by round.
    """

    studies: int = 0
    listing: float = 0.0
    best: float = 0.0
    status: float = 0.0
    ready: float = 0.0
    watchers: int = 0
    alone: list[float] = field(default_factory=list[float])
    watched: list[float] = field(default_factory=list[float])
    messages: list[float] = field(default_factory=list[float])


class Scale:
    """Measures one server.

    Args:
        server: The server.
        folder: A folder for notes.
        say: Told what was measured.
    """

    def __init__(self, server: EmbeddedServer, folder: Path, say: Callable[[str], None]) -> None:
        self._server = server
        self._folder = folder
        self._say = say
        self._controller = aiauto.AIAutoController(server.token, server.url)
        self._runs = 0

    def grow(self, sizes: list[int]) -> list[Grown]:
        """Measure a study that becomes larger and larger.

        Args:
            sizes: How many trials it has each time, at least.
        """
        study = self._controller.create_study("grows", sampler=optuna.samplers.RandomSampler())
        found: list[Grown] = []
        for size in sizes:
            there = len(study.trials)
            with SyncTransport(self._server.url, token=self._server.token) as transport:
                storage_id = study.get_study()._study_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                fill(JournalServiceClientSync(transport), storage_id, max(0, size - there))
            newcomers = [self._newcomer("grows") for _ in range(_NEWCOMERS)]
            found.append(
                Grown(
                    trials=max(size, there),
                    status=self._seconds(study.get_status),
                    ready=median(one["seconds"] for one in newcomers),
                    per_trial=1 / self._run(study, parallelism=1),
                    server_memory=psutil.Process(self._server.pid).memory_info().rss,
                    worker_added=newcomers[-1]["added"],
                    worker_memory=newcomers[-1]["memory"],
                )
            )
            self._say(f"{found[-1]}\n")
        return found

    def crowd(self, studies: int, watchers: int, rounds: int) -> Crowd:
        """Measure a workspace with many studies, and a batch that many watch.

        Args:
            studies: How many studies there are.
            watchers: How many watch.
            rounds: How often a batch runs with and without them.
        """
        for number in range(studies):
            self._controller.create_study(f"one-of-many-{number}")
        study = self._controller.create_study("one-of-many-0")
        with SyncTransport(self._server.url, token=self._server.token) as transport:
            service = AIAutoServiceClientSync(transport)
            plain, with_best = v1.ListStudiesRequest(), v1.ListStudiesRequest(include_best=True)
            listing = self._seconds(lambda: service.list_studies(plain))
            best = self._seconds(lambda: service.list_studies(with_best))
        found = Crowd(
            studies=studies,
            listing=listing,
            best=best,
            status=self._seconds(study.get_status),
            ready=median(self._newcomer(study.study_name)["seconds"] for _ in range(_NEWCOMERS)),
            watchers=watchers,
        )
        watched = self._controller.create_study("watched", sampler=optuna.samplers.RandomSampler())
        for _ in range(rounds):
            found.alone.append(self._run(watched, parallelism=2))
            found.watched.append(self._run(watched, parallelism=2, watchers=watchers, to=found))
        self._say(f"{found}\n")
        return found

    def _run(
        self,
        study: aiauto.StudyWrapper,
        *,
        parallelism: int,
        watchers: int = 0,
        to: Crowd | None = None,
    ) -> float:
        """Trials per second of a batch."""
        self._runs += 1
        record = self._folder / f"record-{self._runs}"
        batch = study.optimize(
            objective_of(str(record)), TRIALS, parallelism, wait_option="WAIT_NO"
        )
        program = self._start("watchers", batch, str(watchers)) if watchers else None
        with contextlib.redirect_stderr(io.StringIO()):
            study.wait(trialbatch_name=batch)
        if program is not None and to is not None:
            to.messages.append(int(program.communicate()[0]) / watchers)
        calls = list(struct.iter_unpack(RECORD, Path(record).read_bytes()))
        return steady_rate(calls, apart=parallelism == 1)

    def _newcomer(self, study_name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._start("newcomer", study_name).communicate()[0])
        return told

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        server = self._server
        command = [sys.executable, "-m", f"bench.scale.{module}", server.url, server.token]
        return subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, text=True, env=variables()
        )

    @staticmethod
    def _seconds(call: Callable[[], object]) -> float:
        """How long a call takes, the first one aside."""
        call()
        taken: list[float] = []
        for _ in range(_STATUS_CALLS):
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
        return median(taken)
