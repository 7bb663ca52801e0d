"""The journal storage through a real server: Optuna's own suite, and what only we promise."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import threading
import uuid
from typing import TYPE_CHECKING, TypeVar

import optuna
import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import AIAutoServiceClientSync, JournalServiceClientSync
from optuna.distributions import FloatDistribution, distribution_to_json
from optuna.storages import JournalStorage
from optuna.testing.pytest_storages import StorageTestCase

from aiauto.connect import SyncTransport
from aiauto.errors import (
    ArgumentValueError,
    InvalidArgumentError,
    UnavailableError,
    UnimplementedError,
)
from aiauto.storage import JournalBackend, open_storage
from aiauto.testing import EmbeddedServer, embedded_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from optuna.storages import BaseStorage

    from tests.postgresql import PostgreSQL


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.once)]
)
def storage_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            postgresql: PostgreSQL = request.getfixturevalue("postgresql")
            patch.setenv("AIAUTO_DATABASE_URL", postgresql.create_database())
        with embedded_server() as running:
            yield running


@pytest.fixture
def transport(storage_server: EmbeddedServer) -> Iterator[SyncTransport]:
    """The way to an empty workspace."""
    with SyncTransport(storage_server.url, token=storage_server.token) as way:
        client = AIAutoServiceClientSync(way)
        client.delete_workspace(v1.DeleteWorkspaceRequest())
        client.ensure_workspace(v1.EnsureWorkspaceRequest())
        yield way


@pytest.fixture
def client(transport: SyncTransport) -> JournalServiceClientSync:
    return JournalServiceClientSync(transport)


class TestOptunasOwnSuite(StorageTestCase):
    @pytest.fixture
    def storage(self, client: JournalServiceClientSync) -> BaseStorage:
        return open_storage(client)


AnswerT = TypeVar("AnswerT", v1.AppendEntriesResponse, v1.ReadEntriesResponse)


class Flaky:
    """A way on which answers and requests get lost when told so. What arrives, arrives for real."""

    def __init__(self, client: JournalServiceClientSync) -> None:
        self.client = client
        self.lose_request = self.lose_answer = False
        self.appends: list[v1.AppendEntriesRequest] = []
        self.page: int | None = None

    def append_entries(self, request: v1.AppendEntriesRequest) -> v1.AppendEntriesResponse:
        self.appends.append(v1.AppendEntriesRequest.parse(bytes(request)))
        if self.lose_request:
            raise UnavailableError("lost on the way there")
        answer = self.client.append_entries(request)
        if self.lose_answer:
            raise UnavailableError("lost on the way back")
        return self._cut(answer)

    def read_entries(self, request: v1.ReadEntriesRequest) -> v1.ReadEntriesResponse:
        return self._cut(self.client.read_entries(request))

    def read_state(self, request: v1.ReadStateRequest) -> Iterable[v1.ReadStateResponse]:
        return self.client.read_state(request)

    def _cut(self, answer: AnswerT) -> AnswerT:
        answer.entries = answer.entries[: self.page]
        return answer


@pytest.mark.parametrize("lost", ["lose_request", "lose_answer"])
def test_an_append_of_unknown_fate_is_sent_again_as_the_same(
    client: JournalServiceClientSync, lost: str
) -> None:
    way = Flaky(client)
    storage = open_storage(way)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    setattr(way, lost, True)
    with pytest.raises(UnavailableError):
        study.tell(trial, 1.0)
    with pytest.raises(UnavailableError):
        storage.get_all_studies()
    setattr(way, lost, False)
    assert study.trials[0].values == [1.0]
    last = way.appends[-3:]
    assert len({request.request_id for request in last}) == 1
    assert len({tuple(request.entries) for request in last}) == 1
    # Once in the journal, whoever reads it.
    fresh = open_storage(client)
    told = [one for one in entries(client) if '"op_code":6' in one]
    assert len(told) == 1
    assert fresh.get_all_trials(0)[0].values == [1.0]


def entries(client: JournalServiceClientSync) -> list[str]:
    return client.read_entries(v1.ReadEntriesRequest(position=0)).entries


def test_a_refused_append_does_not_stop_what_comes_after(client: JournalServiceClientSync) -> None:
    storage = open_storage(client)
    study = optuna.create_study(storage=storage)
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidArgumentError, match="nested"):
        study.set_user_attr("deep", deep)
    study.set_user_attr("small", 1)
    assert study.user_attrs == {"small": 1}


def test_what_is_no_json_is_refused_before_it_is_buffered(
    client: JournalServiceClientSync,
) -> None:
    study = optuna.create_study(storage=open_storage(client))
    with pytest.raises(TypeError, match="JSON"):
        study.set_user_attr("one", object())
    study.set_user_attr("two", 2)
    assert study.user_attrs == {"two": 2}


def test_what_is_too_long_is_refused_where_it_is_written(client: JournalServiceClientSync) -> None:
    study = optuna.create_study(storage=open_storage(client))
    trial = study.ask()
    with pytest.raises(ArgumentValueError, match="user attribute 'weights' takes 1,1") as caught:
        trial.set_user_attr("weights", "x" * 1_100_000)
    assert caught.value.argument == "value"
    with pytest.raises(ArgumentValueError, match="parameter 'big' takes"):
        trial.suggest_categorical("big", ["x" * 600_000, "y" * 600_000])
    with pytest.raises(ArgumentValueError, match="The trial takes 1,1"):
        study.enqueue_trial({"x": "x" * 1_100_000})
    # As much as the server takes is let through, and nothing of the rest is left behind.
    trial.set_user_attr("weights", "x" * 1_048_400)
    study.tell(trial, 1.0)
    (found,) = optuna.load_study(study_name=study.study_name, storage=open_storage(client)).trials
    assert (found.value, len(found.user_attrs["weights"])) == (1.0, 1_048_400)


def test_a_long_journal_comes_in_pages(client: JournalServiceClientSync) -> None:
    study = optuna.create_study(storage=open_storage(client))
    for number in range(5):
        study.enqueue_trial({"x": number})
    way = Flaky(client)
    way.page = 1
    assert len(open_storage(way).get_all_trials(study._study_id)) == 5
    way.page = 0
    with pytest.raises(Exception, match="none from 0 on came"):
        open_storage(way)


class Without:
    """A way to a server that knows nothing but the journal itself."""

    def __init__(self, client: JournalServiceClientSync) -> None:
        self.append_entries = client.append_entries
        self.read_entries = client.read_entries

    def read_state(self, _request: v1.ReadStateRequest, /) -> Iterable[v1.ReadStateResponse]:
        raise UnimplementedError("no such call")


class Counting(Flaky):
    """Notes how much of the journal was read."""

    def __init__(self, client: JournalServiceClientSync) -> None:
        super().__init__(client)
        self.entries_read = 0

    def read_entries(self, request: v1.ReadEntriesRequest) -> v1.ReadEntriesResponse:
        answer = super().read_entries(request)
        self.entries_read += len(answer.entries)
        return answer


def append(client: JournalServiceClientSync, *entries: dict[str, object]) -> None:
    texts = [json.dumps(entry) for entry in entries]
    client.append_entries(v1.AppendEntriesRequest(entries=texts, request_id=uuid.uuid4().hex))


def long_history(client: JournalServiceClientSync, trials: int) -> None:
    """Two studies, the second of which has many trials of four entries each."""
    distribution = distribution_to_json(FloatDistribution(0, 10_000))
    same: dict[str, object] = {"worker_id": "somebody"}
    time = {"datetime_start": "2026-01-01T00:00:00", "datetime_complete": "2026-01-01T00:00:01"}
    append(
        client,
        *(
            {"op_code": 0, **same, "study_name": one, "directions": [1]}
            for one in ("short", "long")
        ),
    )
    entries: list[dict[str, object]] = [
        {"op_code": 4, **same, "study_id": 0, **time, "state": 1, "value": 7.0}
    ]
    for number in range(1, trials + 1):
        trial = {**same, "trial_id": number}
        entries += [
            {"op_code": 4, **same, "study_id": 1, "datetime_start": time["datetime_start"]},
            {
                "op_code": 5,
                **trial,
                "param_name": "x",
                "param_value_internal": number,
                "distribution": distribution,
            },
            {"op_code": 8, **trial, "user_attr": {"number": number}},
            {"op_code": 6, **trial, "state": 1, "values": [number], **time},
        ]
    append(client, *entries)


def test_a_new_program_begins_with_what_is_there(client: JournalServiceClientSync) -> None:
    long_history(client, 600)
    way = Counting(client)
    storage, replayed = open_storage(way), open_storage(Without(client))
    assert way.entries_read == 0
    assert storage.get_all_trials(1) == replayed.get_all_trials(1)
    assert storage.get_all_trials(0) == replayed.get_all_trials(0)
    for one, other in ((storage, replayed), (replayed, storage)):
        study = optuna.load_study(study_name="long", storage=one)
        study.tell(study.ask(), -1.0)
        assert optuna.load_study(study_name="long", storage=other).best_value == -1.0
    # The snapshot is kept; only what came after it is read from the journal.
    late = Counting(client)
    assert len(open_storage(late).get_all_trials(1)) == 602
    assert 0 < late.entries_read < 20
    again: JournalStorage = pickle.loads(pickle.dumps(storage))
    assert again.get_all_trials(1) == storage.get_all_trials(1)


def test_a_worker_is_told_of_its_own_study(client: JournalServiceClientSync) -> None:
    long_history(client, 600)
    storage = JournalStorage(JournalBackend(client, "short"))
    assert [trial.value for trial in storage.get_all_trials(0)] == [7.0]
    assert {trial.value for trial in storage.get_all_trials(1)} == {None}
    study = optuna.load_study(study_name="short", storage=storage)
    trial = study.ask()
    assert trial._trial_id == 601
    study.tell(trial, 1.0)
    everything = open_storage(client)
    assert [trial.value for trial in everything.get_all_trials(0)] == [7.0, 1.0]


def test_several_storages_see_the_same(client: JournalServiceClientSync) -> None:
    first = optuna.create_study(study_name="shared", storage=open_storage(client))
    second = optuna.load_study(study_name="shared", storage=open_storage(client))
    trial = first.ask()
    trial.suggest_float("x", 0, 1)
    assert second.trials[0].params == first.trials[0].params
    second.tell(0, 0.5)
    assert first.best_value == 0.5
    with pytest.raises(ValueError, match=r"finished|Cannot tell"):
        first.tell(trial, 1.0)


def test_threads_share_a_storage(client: JournalServiceClientSync) -> None:
    study = optuna.create_study(storage=open_storage(client))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=40, n_jobs=4)
    assert [trial.number for trial in study.trials] == list(range(40))
    assert all(trial.state.name == "COMPLETE" for trial in study.trials)


def test_an_enqueued_trial_is_popped_once(client: JournalServiceClientSync) -> None:
    study = optuna.create_study(study_name="queue", storage=open_storage(client))
    for number in range(10):
        study.enqueue_trial({"x": number})
    popped: list[float] = []

    def work() -> None:
        own = optuna.load_study(study_name="queue", storage=open_storage(client))
        popped.extend(own.ask().suggest_float("x", 0, 100) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(popped) == list(range(10))


def test_a_study_travels_by_pickle(client: JournalServiceClientSync) -> None:
    study = optuna.create_study(storage=open_storage(client))
    again: optuna.Study = pickle.loads(pickle.dumps(study))
    again.tell(again.ask(), 2.0)
    assert study.best_value == 2.0


def test_a_pickled_backend_leaves_what_is_unsent_behind(client: JournalServiceClientSync) -> None:
    backend = JournalBackend(client)
    backend.append_logs([{"op_code": 0, "worker_id": "w", "study_name": "s", "directions": [1]}])
    assert list(pickle.loads(pickle.dumps(backend)).read_logs(0)) == []
    assert len(list(backend.read_logs(0))) == 1


def ask_and_tell(study: optuna.Study, count: int) -> None:
    for _ in range(count):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, trial.number)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_forked_processes_do_not_take_each_other_for_themselves(
    client: JournalServiceClientSync,
) -> None:
    study = optuna.create_study(storage=open_storage(client), direction="maximize")
    ask_and_tell(study, 1)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=ask_and_tell, args=(study, 10)) for _ in range(2)]
    for child in children:
        child.start()
    ask_and_tell(study, 10)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    trials = study.trials
    assert [trial.value for trial in trials] == [trial.number for trial in trials]
    assert len(trials) == 31


def take_part(study: optuna.Study, number: int, count: int) -> None:
    """What one of many processes does: asks, reports, tells."""
    for _ in range(count):
        trial = study.ask()
        trial.suggest_float("x", 0, 100)
        for step in range(3):
            trial.report(10 * number + step, step)
        study.tell(trial, trial.number)


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_sixteen_processes_ask_and_tell(client: JournalServiceClientSync) -> None:
    processes, each, enqueued = 16, 4, 20
    sampler = optuna.samplers.RandomSampler()
    study = optuna.create_study(storage=open_storage(client), direction="maximize", sampler=sampler)
    for number in range(enqueued):
        study.enqueue_trial({"x": number})
    fork = multiprocessing.get_context("fork")
    children = [
        fork.Process(target=take_part, args=(study, number, each)) for number in range(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(processes * each))
    assert [trial.value for trial in trials] == [trial.number for trial in trials]
    assert [trial.params["x"] for trial in trials[:enqueued]] == list(range(enqueued))
    for trial in trials:
        # Of one process, all of them, in order.
        first = trial.intermediate_values[0]
        expected = {0: first, 1: first + 1, 2: first + 2}
        assert trial.intermediate_values == expected
        assert list(trial.intermediate_values) == [0, 1, 2]
