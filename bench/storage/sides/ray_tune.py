"""Ray Tune with OptunaSearch: `python -m bench.storage.sides.ray_tune FOLDER`."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

os.environ.update(
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    RAY_AIR_NEW_OUTPUT="0",
    RAY_DEDUP_LOGS="0",
    RAY_USAGE_STATS_ENABLED="0",
)

import optuna

from bench.storage.sides.objective import answer, note, orders, value

# Not where this is checked.
ray: Any = importlib.import_module("ray")
tune: Any = importlib.import_module("ray.tune")
search: Any = importlib.import_module("ray.tune.search")
search_optuna: Any = importlib.import_module("ray.tune.search.optuna")

SAMPLERS: dict[str, Any] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
}


def run(order: dict[str, Any], folder: str) -> None:
    """Runs trials, with everything left out that Tune lets one leave out."""
    record = order["record"]

    class Point(tune.Trainable):  # type: ignore[misc]  # of Ray
        """A trial of one step, in an actor that stays for the next."""

        def setup(self, config: dict[str, float]) -> None:
            self.point = config

        def reset_config(self, new_config: dict[str, float]) -> bool:
            self.point = new_config
            return True

        def step(self) -> dict[str, Any]:
            note(record)
            return {"value": value(self.point["x"], self.point["y"]), "done": True}

    sampler = SAMPLERS[order["sampler"]]()
    algorithm = search_optuna.OptunaSearch(metric="value", mode="min", sampler=sampler)
    tune.Tuner(
        tune.with_resources(Point, {"cpu": 1}),
        param_space={"x": tune.uniform(-10, 10), "y": tune.uniform(-10, 10)},
        tune_config=tune.TuneConfig(
            metric="value",
            mode="min",
            search_alg=search.ConcurrencyLimiter(algorithm, max_concurrent=order["workers"]),
            num_samples=order["trials"],
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=folder,
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()


def main() -> None:
    """Does what it is told."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sys.stdout = sys.stderr  # it prints; answers go where they always went
    # Two trials at once, and CPUs to spare for what Ray runs besides.
    ray.init(
        num_cpus=4,
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    for order in orders():
        if order["do"] == "run":
            run(order, sys.argv[1])
        answer({"done": True})


if __name__ == "__main__":
    main()
