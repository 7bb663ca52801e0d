"""Contestants: their processes, and rounds in which they run trials in turns."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from bench.environments import variables
from bench.storage.environments import OPTUNA_PINS, RAY_PINS, python_of
from bench.storage.sides.objective import RECORD

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

WORKERS: Final = 2
SAMPLERS: Final = ("random", "tpe")
# Of each worker, before anything is measured.
WARM_UP_TRIALS: Final = 10
ALONE: Final = "sampling alone, in memory"
JOURNAL_FILE: Final = "Optuna, JournalFile"
PROXY: Final = "Optuna, GrpcStorageProxy over SQLite"

NewDatabase = Callable[[], str]


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        name: As the report shows it.
        kind: Of which kind: `optuna`, `ray` or `ours`.
        storage: Which storage of that kind.
        on: What is under it: `sqlite`, `postgresql`, or nothing.
        slow: Whether it runs fewer trials.
    """

    name: str
    kind: str
    storage: str = ""
    on: str = ""
    slow: bool = False


CONTESTANTS: Final = (
    Contestant(ALONE, "optuna", "memory"),
    Contestant("Optuna, SQLite", "optuna", "rdb", "sqlite", slow=True),
    Contestant("Optuna, PostgreSQL", "optuna", "rdb", "postgresql", slow=True),
    Contestant(JOURNAL_FILE, "optuna", "file"),
    Contestant(PROXY, "optuna", "grpc", "sqlite", slow=True),
    Contestant(
        "Optuna, GrpcStorageProxy over PostgreSQL", "optuna", "grpc", "postgresql", slow=True
    ),
    Contestant("Ray Tune, OptunaSearch", "ray", slow=True),
    Contestant("aiauto, SQLite", "ours", "", "sqlite"),
    Contestant("aiauto, PostgreSQL", "ours", "", "postgresql"),
)


@dataclass
class Measured:
    """Trials per second in every round, by sampler; the same place in a list is the same round."""

    per_second: dict[str, list[float]] = field(
        default_factory=lambda: {sampler: [] for sampler in SAMPLERS}
    )
    trials: int = 0


class Side:
    """A process of a contestant, which does what it is told. It is ready when this is made."""

    def __init__(self, python: str | Path, module: str, *arguments: str, **more: str) -> None:
        self._process = subprocess.Popen(
            [str(python), "-m", f"bench.storage.sides.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables(**more),
        )
        self.wait()

    def begin(self, **order: object) -> None:
        """Tell it to do something."""
        orders = cast("IO[str]", self._process.stdin)
        orders.write(json.dumps(order) + "\n")
        orders.flush()

    def wait(self) -> None:
        """Wait until it is done."""
        if not cast("IO[str]", self._process.stdout).readline():
            raise RuntimeError("a process has ended; what it said is above")

    def end(self, *, orderly: bool) -> None:
        """End it: by itself, as no more orders come, or at once."""
        if not orderly:
            self._process.kill()
        self._process.communicate()


class Runner:
    """A contestant with its processes. Ends them on exit.

    Args:
        contestant: Who.
        new_database: Makes an empty PostgreSQL database, and tells its URL.
    """

    def __init__(self, contestant: Contestant, new_database: NewDatabase) -> None:
        self.contestant = contestant
        self.measured: Measured = Measured()
        self._stack = ExitStack()
        self._folder = tempfile.mkdtemp(prefix="aiauto-bench-")
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._new_database = new_database
        try:
            self._drivers = self._start()
        except BaseException:
            self._stack.close()
            raise

    def measure(self, sampler: str, number: int, trials: int) -> None:
        """Run some trials in a study of their own."""
        record = f"{self._folder}/{sampler}-{number}"
        study = f"{sampler}-{number}"
        self._drivers[0].begin(do="create", study=study)
        self._drivers[0].wait()
        share = trials // len(self._drivers)
        how = {"study": study, "sampler": sampler, "record": record, "workers": WORKERS}
        for what in ("load", "run"):
            for driver in self._drivers:
                driver.begin(do=what, trials=share, **how)
            for driver in self._drivers:
                driver.wait()
        calls = list(struct.iter_unpack(RECORD, Path(record).read_bytes()))
        apart = self.contestant.name == ALONE
        self.measured.per_second[sampler].append(steady_rate(calls, apart=apart))
        self.measured.trials = trials

    def _start(self) -> list[Side]:
        one = self.contestant
        if one.kind == "ours":
            more = {} if one.on == "sqlite" else {"AIAUTO_DATABASE_URL": self._new_database()}
            return [self._side(sys.executable, "ours", orderly=True, **more)]
        if one.kind == "ray":
            return [self._side(python_of(RAY_PINS), "ray_tune", self._folder, orderly=True)]
        python = python_of(OPTUNA_PINS)
        where = f"sqlite:///{self._folder}/optuna.sqlite3"
        if one.on == "postgresql":
            where = self._new_database()
        if one.storage == "file":
            where = f"{self._folder}/journal"
        if one.storage == "grpc":
            port = str(_free_port())
            self._side(python, "grpc_proxy", where, port)
            where = port
        # One after the other: they make the tables.
        return [self._side(python, "optuna_worker", one.storage, where) for _ in range(WORKERS)]

    def _side(
        self, python: str | Path, module: str, *arguments: str, orderly: bool = False, **more: str
    ) -> Side:
        side = Side(python, module, *arguments, **more)
        self._stack.callback(side.end, orderly=orderly)
        return side

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def steady_rate(calls: list[tuple[Any, ...]], *, apart: bool) -> float:
    """Trials per second while all workers ran.

    Args:
        calls: Who called the objective, and when.
        apart: Whether each worker has a clock of its own.
    """
    by_worker: dict[int, list[float]] = defaultdict(list)
    for process, moment in calls:
        by_worker[process].append(moment)
    if apart:
        spans = [moments[WARM_UP_TRIALS:] for moments in by_worker.values()]
        return sum((len(span) - 1) / (span[-1] - span[0]) for span in spans)
    moments = sorted(moment for _, moment in calls)
    both: list[float] = []
    if len(by_worker) == WORKERS and min(map(len, by_worker.values())) > WARM_UP_TRIALS:
        begin = max(sorted(one)[WARM_UP_TRIALS] for one in by_worker.values())
        end = min(max(one) for one in by_worker.values())
        both = [moment for moment in moments if begin <= moment <= end]
    if len(both) < len(moments) / 4:  # workers come and go, or there are few trials
        both = moments[len(moments) // 10 :]
    return (len(both) - 1) / (both[-1] - both[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def compete(
    runners: list[Runner],
    rounds: int,
    trials: int,
    slow_trials: int,
    *,
    say: Callable[[str], None],
) -> None:
    """Measure everybody in turns, so that what else the machine does falls on all alike.

    Args:
        runners: They.
        rounds: How often each is measured with each sampler.
        trials: How many trials that is.
        slow_trials: How many for those that are slow.
        say: Told what was measured.
    """
    for number in range(rounds):
        # Everybody begins a round, and follows somebody else, about equally often.
        first = number % len(runners)
        for sampler in SAMPLERS:
            for runner in [*runners[first:], *runners[:first]]:
                count = slow_trials if runner.contestant.slow else trials
                runner.measure(sampler, number, count)
                rate = runner.measured.per_second[sampler][-1]
                say(f"{sampler:7} {runner.contestant.name:42} {rate:8.1f} trials/s\n")
