"""Reads are as fresh as docs/journal.md says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync, JournalServiceClientSync
from optuna.storages import JournalStorage

from aiauto.connect import SyncTransport
from aiauto.exhaustive import CLAIM
from aiauto.runner import journal as worker_journal
from aiauto.runner.journal import WorkerJournal
from aiauto.runner.trials import patience_with
from aiauto.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import aiauto
    from aiauto.testing import EmbeddedServer

DOCUMENT = (Path(__file__).parents[1] / "docs/journal.md").read_text(encoding="utf-8")


class Clock:
    """The time as a worker sees it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleep = time.sleep

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(worker_journal, "time", clock)
    return clock


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[JournalServiceClientSync]:
    with SyncTransport(server.url, token=server.token) as transport:
        AIAutoServiceClientSync(transport).ensure_workspace(v1.EnsureWorkspaceRequest())
        yield JournalServiceClientSync(transport)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_numbers_of_the_document() -> None:
    assert f"at most {1000 * worker_journal.FRESH_SECONDS:g} ms old" in DOCUMENT
    assert f"after {worker_journal.PATIENCE_SECONDS:g} s by themselves" in DOCUMENT
    assert f"see it after {1000 * worker_journal.FRESH_SECONDS:g} ms" in DOCUMENT


def test_a_program_sees_what_was_saved_before_it_reads(
    client: JournalServiceClientSync, study_name: str
) -> None:
    writer = optuna.create_study(study_name=study_name, storage=open_storage(client))
    reader = optuna.load_study(study_name=study_name, storage=open_storage(client))
    for number in range(20):
        trial = writer.ask()
        x = trial.suggest_float("x", 0, 1)
        assert reader.trials[number].params == {"x": x}
        writer.tell(trial, x)
        assert reader.trials[number].value == x


def test_a_worker_sees_others_soon_and_itself_at_once(
    client: JournalServiceClientSync, study_name: str, clock: Clock
) -> None:
    other = optuna.create_study(study_name=study_name, storage=open_storage(client))
    storage = JournalStorage(WorkerJournal(client, study_name, {}))
    own = optuna.load_study(study_name=study_name, storage=storage)
    assert own.trials == []
    other.tell(other.ask(), 1.0)
    clock.now += worker_journal.FRESH_SECONDS / 2
    assert own.trials == []
    clock.now += worker_journal.FRESH_SECONDS
    assert [trial.value for trial in own.trials] == [1.0]
    # What it writes itself it reads, and with it what others wrote before.
    other.tell(other.ask(), 2.0)
    trial = own.ask()
    x = trial.suggest_float("x", 0, 1)
    assert [one.params for one in own.trials] == [{}, {}, {"x": x}]
    assert own.trials[1].value == 2.0


def test_a_running_trial_of_a_worker_is_seen_a_bit_later_and_its_end_at_once(
    client: JournalServiceClientSync, study_name: str
) -> None:
    other = optuna.create_study(study_name=study_name, storage=open_storage(client))
    storage = JournalStorage(WorkerJournal(client, study_name, {}))
    own = optuna.load_study(study_name=study_name, storage=storage)
    trial = own.ask()
    x = trial.suggest_float("x", 0, 1)
    until(lambda: other.trials[0].params == {"x": x})
    trial.report(0.5, 1)
    trial.set_user_attr("key", "value")
    own.tell(trial, 0.25)
    (seen,) = other.trials
    assert (seen.value, seen.intermediate_values) == (0.25, {1: 0.5})
    assert seen.user_attrs["key"] == "value"


def test_a_claim_of_a_worker_is_seen_by_whoever_reads_after_it(
    client: JournalServiceClientSync, study_name: str, clock: Clock
) -> None:
    optuna.create_study(study_name=study_name, storage=open_storage(client))
    storages = [JournalStorage(WorkerJournal(client, study_name, {})) for _ in range(2)]
    workers = [optuna.load_study(study_name=study_name, storage=one) for one in storages]
    trials = [worker.ask() for worker in workers]
    # No time passes: only what can't wait is sent and read.
    for number, (storage, trial) in enumerate(zip(storages, trials, strict=True)):
        storage.set_trial_system_attr(trial._trial_id, CLAIM, [["x", number]])
    claims = [trial.system_attrs.get(CLAIM) for trial in workers[1].trials]
    # Of two who claim the same, one at least has seen the other.
    assert claims == [[["x", 0]], [["x", 1]]]


def test_what_tpe_has_drawn_waits_as_parameters_do(
    client: JournalServiceClientSync, study_name: str, clock: Clock
) -> None:
    other = optuna.create_study(study_name=study_name, storage=open_storage(client))
    journal = WorkerJournal(client, study_name, {})
    journal.patience = worker_journal.FRESH_SECONDS
    sampler = optuna.samplers.TPESampler(constant_liar=True, multivariate=True, n_startup_trials=1)
    own = optuna.load_study(study_name=study_name, storage=JournalStorage(journal), sampler=sampler)
    own.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    trial = own.ask()
    trial.suggest_float("x", 0, 1)
    drawn = {name for name in own.trials[2].system_attrs if name.startswith("tpe:")}
    assert drawn == {f"{worker_journal.DRAWN_BY_TPE}:0"}
    assert other.trials[2].system_attrs == other.trials[2].params == {}
    clock.now += worker_journal.FRESH_SECONDS
    assert own.trials[2].params
    assert other.trials[2].system_attrs.keys() >= drawn
    assert other.trials[2].params == own.trials[2].params


@pytest.mark.parametrize("patience", [0.0, 1.0])
def test_what_others_look_at_goes_with_the_next_read(
    client: JournalServiceClientSync,
    study_name: str,
    clock: Clock,
    patience: float,
) -> None:
    other = optuna.create_study(study_name=study_name, storage=open_storage(client))
    journal = WorkerJournal(client, study_name, {})
    journal.patience = patience
    own = optuna.load_study(study_name=study_name, storage=JournalStorage(journal))
    trial = own.ask()
    x = trial.suggest_float("x", 0, 1)
    # It sees itself in any case, and no time passes.
    assert own.trials[0].params == {"x": x}
    assert other.trials[0].params == ({} if patience else {"x": x})
    clock.now += 1.0
    assert own.trials[0].params == {"x": x}
    assert other.trials[0].params == {"x": x}
    own.tell(trial, x)
    assert other.trials[0].params == {"x": x}


@pytest.mark.parametrize(
    ("sampler", "seconds"),
    [
        (optuna.samplers.RandomSampler(), 1.0),
        (optuna.samplers.NSGAIISampler(), 1.0),
        (optuna.samplers.TPESampler(constant_liar=False), 1.0),
        (optuna.samplers.TPESampler(constant_liar=True), 0.05),
        (optuna.samplers.BruteForceSampler(), 0.0),
        (optuna.samplers.GridSampler({"x": [1]}), 0.0),
        (optuna.samplers.PartialFixedSampler({}, optuna.samplers.RandomSampler()), 0.0),
    ],
)
def test_how_long_samplers_do_without_what_is_being_tried(
    sampler: optuna.samplers.BaseSampler, seconds: float
) -> None:
    assert patience_with(sampler) == seconds


def test_the_status_counts_what_was_acknowledged(
    controller: aiauto.AIAutoController, study_name: str, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"

    def objective(trial: optuna.Trial) -> float:
        (tmp_path / f"begun-{trial.number}").touch()
        while not go_on.exists():
            time.sleep(0.02)
        return 1.0

    study = controller.create_study(study_name)
    study.optimize(objective, 2, 2, wait_option="WAIT_NO")
    until(lambda: all((tmp_path / f"begun-{number}").exists() for number in range(2)))
    for number in range(2):
        study.get_study().tell(number, 0.5)
        status = study.get_status()
        assert (status["count_succeeded"], status["count_active"]) == (number + 1, 1 - number)
    go_on.touch()
