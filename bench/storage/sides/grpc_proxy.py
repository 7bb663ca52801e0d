"""Optuna's gRPC proxy: `python -m bench.storage.sides.grpc_proxy URL PORT`."""

from __future__ import annotations

import sys
import threading
import warnings

import optuna
from optuna.storages import run_grpc_proxy_server

from bench.storage.sides.objective import answer
from bench.storage.sides.optuna_worker import storage


def main() -> None:
    """Serves until it is killed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    url, port = sys.argv[1:]
    opened = storage("rdb", url)
    # It says nothing when it listens: clients wait for it.
    threading.Timer(0.5, answer, [{"ready": True}]).start()
    run_grpc_proxy_server(opened, host="127.0.0.1", port=int(port), thread_pool=None)


if __name__ == "__main__":
    main()
