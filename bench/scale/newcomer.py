"""A worker that comes to a study: `python -m bench.scale.newcomer URL TOKEN STUDY`.

It imports everything first, and prints then how long it takes to be ready for its first trial, in
seconds, and what that costs in memory, in bytes.
"""

from __future__ import annotations

import json
import sys
import time

import optuna
import psutil
from aiauto_gen.aiauto.v1.connect import JournalServiceClientSync
from optuna.storages import JournalStorage

from aiauto.connect import SyncTransport
from aiauto.runner.journal import WorkerJournal


def main(url: str, token: str, study_name: str) -> None:
    """Comes, and tells."""
    process = psutil.Process()
    before = process.memory_info().rss
    begin = time.perf_counter()
    with SyncTransport(url, token=token) as transport:
        journal = WorkerJournal(JournalServiceClientSync(transport), study_name, {})
        storage = JournalStorage(journal)
        study = optuna.load_study(
            study_name=study_name, storage=storage, sampler=optuna.samplers.RandomSampler()
        )
        trial = study.ask()
        seconds = time.perf_counter() - begin
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    memory = process.memory_info().rss
    found = {"seconds": seconds, "added": memory - before, "memory": memory}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main(*sys.argv[1:])
