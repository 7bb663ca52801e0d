"""A worker on an Optuna storage: `python -m bench.storage.sides.optuna_worker KIND WHERE`."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import optuna
from optuna.storages import GrpcStorageProxy, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from bench.storage.sides.objective import answer, note, objective_of, orders, value

SAMPLERS: dict[str, Any] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
}


def storage(kind: str, where: str) -> Any:  # noqa: ANN401 - of Optuna
    """Opens a storage."""
    if kind == "rdb":
        # What Optuna's documents advise for SQLite with several processes.
        how = {"connect_args": {"timeout": 100}} if where.startswith("sqlite") else {}
        return RDBStorage(where, engine_kwargs=how)
    if kind == "file":
        return JournalStorage(JournalFileBackend(where))
    if kind == "grpc":
        return GrpcStorageProxy(host="127.0.0.1", port=int(where))
    return InMemoryStorage()


def sample_alone(study: optuna.Study, trials: int, record: str) -> None:
    """Runs trials in memory, in a study that also gets those of another worker.

    So the sampler has as much to look at as where two workers share a study. The time that it takes
    to add them is left out.
    """
    spent = 0.0
    for _ in range(trials):
        trial = study.ask()
        x, y = trial.suggest_float("x", -10, 10), trial.suggest_float("y", -10, 10)
        note(record, time.time() - spent)
        study.tell(trial, value(x, y))
        begun = time.time()
        study.add_trial(study.get_trials(deepcopy=False)[-1])
        spent += time.time() - begun


def main() -> None:
    """Does what it is told."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    kind, where = sys.argv[1:]
    opened = storage(kind, where)
    study: optuna.Study = optuna.create_study()
    for order in orders():
        if order["do"] == "create":
            optuna.create_study(storage=opened, study_name=order["study"])
        elif order["do"] == "load":
            sampler = SAMPLERS[order["sampler"]]()
            # In memory there is a storage for each worker.
            study = optuna.create_study(
                storage=opened,
                study_name=order["study"],
                sampler=sampler,
                load_if_exists=True,
            )
        elif kind == "memory":
            sample_alone(study, order["trials"], order["record"])
        else:
            study.optimize(objective_of(order["record"]), n_trials=order["trials"])
        answer({"done": True})


if __name__ == "__main__":
    main()
