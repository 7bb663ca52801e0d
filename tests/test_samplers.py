"""Samplers and pruners go over as they are, and no two workers draw the same."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna import pruners, samplers

from aiauto.definition import digest
from aiauto.errors import ArgumentTypeError, ArgumentValueError
from aiauto.samplers import load_pruner, load_sampler, pruner_to_json, sampler_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from optuna.samplers import BaseSampler

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    # Some arguments are on their way out; they go over as long as Optuna has them.
    pytest.mark.filterwarnings("ignore:.*has been deprecated:FutureWarning"),
]


def within(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
    return (trial.params["x"] - 0.5,)


def a_quarter(n: int) -> int:
    return (n + 3) // 4


def newest_first(n: int) -> np.ndarray[Any, Any]:
    return np.linspace(0.1, 1.0, n)


def fittest(study: optuna.Study, population: list[optuna.trial.FrozenTrial]) -> Any:
    return sorted(population, key=lambda trial: trial.value or 0.0)[:4]


def mixed(
    study: optuna.Study,
    search_space: dict[str, optuna.distributions.BaseDistribution],
    parents: list[optuna.trial.FrozenTrial],
) -> dict[str, Any]:
    return {name: sum(one.params[name] for one in parents) / len(parents) for name in search_space}


def noted(
    study: optuna.Study,
    trial: optuna.trial.FrozenTrial,
    state: optuna.trial.TrialState,
    values: Sequence[float] | None,
) -> None:
    pass


class Midpoint(samplers.nsgaii.BaseCrossover):
    """A crossover of the user's own."""

    @property
    def n_parents(self) -> int:
        return 2

    def crossover(
        self, parents_params: Any, rng: Any, study: optuna.Study, search_space_bounds: Any
    ) -> Any:
        del rng, study, search_space_bounds
        return parents_params.mean(axis=0)


class UsersPruner(pruners.BasePruner):
    """A pruner of the user's own."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:  # noqa: ARG002 - Optuna's own signature
        step = trial.last_step
        return step is not None and trial.intermediate_values[step] > self.limit


UNIT = optuna.distributions.FloatDistribution(0, 1)
KNOWN = [
    optuna.trial.create_trial(
        params={"x": x, "y": 1 - x}, distributions={"x": UNIT, "y": UNIT}, value=x * x
    )
    for x in (number / 20 for number in range(1, 20))
]


class UsersSampler(samplers.RandomSampler):
    """A sampler of the user's own, with generators of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.generator = np.random.default_rng(seed)
        self.random = random.Random(seed)

    def sample_independent(self, *args: Any, **kwargs: Any) -> Any:
        return (super().sample_independent(*args, **kwargs) + self.generator.random()) % 1


MAKERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: samplers.RandomSampler(seed=1),
    "tpe": lambda: samplers.TPESampler(seed=2, n_startup_trials=3),
    "tpe multivariate": lambda: samplers.TPESampler(
        seed=2, multivariate=True, group=True, constant_liar=True, n_startup_trials=3
    ),
    "tpe constrained": lambda: samplers.TPESampler(seed=2, constraints_func=within),
    "tpe with functions": lambda: samplers.TPESampler(
        seed=2, n_startup_trials=3, gamma=a_quarter, weights=newest_first
    ),
    "tpe with lambdas": lambda: samplers.TPESampler(
        seed=2, n_startup_trials=3, gamma=lambda n: max(1, n // 3)
    ),
    "cmaes": lambda: samplers.CmaEsSampler(seed=3, n_startup_trials=2),
    "cmaes with tpe": lambda: samplers.CmaEsSampler(
        seed=3, independent_sampler=samplers.TPESampler(seed=4), with_margin=True
    ),
    "nsgaii": lambda: samplers.NSGAIISampler(
        seed=5,
        population_size=4,
        crossover=samplers.nsgaii.BLXAlphaCrossover(0.3),
        constraints_func=within,
    ),
    "nsgaii with a strategy": lambda: samplers.NSGAIISampler(
        seed=5,
        population_size=4,
        mutation_prob=0.3,
        crossover=samplers.nsgaii.SBXCrossover(eta=3.0),
        elite_population_selection_strategy=fittest,
    ),
    "nsgaii with strategies": lambda: samplers.NSGAIISampler(
        seed=5,
        population_size=4,
        child_generation_strategy=mixed,
        after_trial_strategy=noted,
    ),
    "nsgaii with the user's crossover": lambda: samplers.NSGAIISampler(
        seed=5, population_size=4, crossover=Midpoint()
    ),
    "cmaes that knows": lambda: samplers.CmaEsSampler(seed=3, source_trials=KNOWN),
    "cmaes from a point": lambda: samplers.CmaEsSampler(
        x0={"x": 0.25, "y": 0.75}, sigma0=0.1, seed=3, use_separable_cma=True
    ),
    "nsgaiii": lambda: samplers.NSGAIIISampler(seed=6, population_size=4),
    "qmc": lambda: samplers.QMCSampler(seed=7),
    "qmc scrambled": lambda: samplers.QMCSampler(seed=7, scramble=True, qmc_type="halton"),
    "grid": lambda: samplers.GridSampler({"x": [0.1, 0.2, 0.3], "y": [0.0, 0.5]}, seed=8),
    "brute force": lambda: samplers.BruteForceSampler(seed=9),
    "partial fixed": lambda: samplers.PartialFixedSampler(
        {"y": 0.5}, samplers.RandomSampler(seed=10)
    ),
    "partial fixed twice": lambda: samplers.PartialFixedSampler(
        {"y": 0.5},
        samplers.PartialFixedSampler({"z": 1}, samplers.TPESampler(seed=10, gamma=a_quarter)),
    ),
    "users": lambda: UsersSampler(11),
}
if importlib.util.find_spec("torch") is not None:
    MAKERS["gp"] = lambda: samplers.GPSampler(seed=12, n_startup_trials=3)

PRUNERS: dict[str, Callable[[], pruners.BasePruner]] = {
    "nop": pruners.NopPruner,
    "median": lambda: pruners.MedianPruner(n_startup_trials=2, interval_steps=3),
    "percentile": lambda: pruners.PercentilePruner(30.0, n_min_trials=2),
    "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3),
    "hyperband": lambda: pruners.HyperbandPruner(max_resource=9, reduction_factor=3),
    "threshold": lambda: pruners.ThresholdPruner(lower=-1.0, upper=1.0),
    "patient": lambda: pruners.PatientPruner(pruners.MedianPruner(), patience=4, min_delta=0.1),
    "patient twice": lambda: pruners.PatientPruner(
        pruners.PatientPruner(pruners.PercentilePruner(40.0, n_startup_trials=2), patience=1),
        patience=2,
    ),
    "patient alone": lambda: pruners.PatientPruner(None, patience=2),
    "wilcoxon": lambda: pruners.WilcoxonPruner(p_threshold=0.2),
}


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", 0, 1, step=0.1 if "brute" in trial.study.study_name else None)
    return x + trial.suggest_float(
        "y", 0, 1, step=0.5 if "brute" in trial.study.study_name else None
    )


def drawn(sampler: BaseSampler | None, name: str, n_trials: int = 8) -> list[dict[str, Any]]:
    study = optuna.create_study(study_name=name, sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(objective, n_trials=min(n_trials, 6 if name == "grid" else n_trials))
    return [trial.params for trial in study.trials]


def shipped(module: Any, base: type[Any]) -> set[str]:
    """The names of Optuna's classes that can be made, now and in releases to come."""
    classes = {name: getattr(module, name) for name in module.__all__}
    return {
        name
        for name, one in classes.items()
        if inspect.isclass(one) and issubclass(one, base) and not name.startswith("Base")
    }


def test_every_sampler_and_pruner_of_optuna_is_in_this_test() -> None:
    tested = {type(make()).__name__ for make in MAKERS.values()} - {"UsersSampler"}
    if "gp" not in MAKERS:
        tested.add("GPSampler")  # draws with torch only; see below
    assert shipped(samplers, samplers.BaseSampler) == tested
    tested = {type(make()).__name__ for make in PRUNERS.values()}
    assert shipped(pruners, pruners.BasePruner) == tested


def test_a_sampler_goes_over_without_what_it_draws_with() -> None:
    assert sampler_to_json(samplers.GPSampler()) == '{"cls":"GPSampler","kwargs":{}}'
    makers: list[Callable[[], BaseSampler]] = [
        lambda: samplers.GPSampler(seed=3, n_startup_trials=4),
        lambda: samplers.GPSampler(seed=3, deterministic_objective=True, constraints_func=within),
    ]
    for make in makers:
        text = sampler_to_json(make())
        loaded = load_sampler(text, worker_ordinal=0)
        assert type(loaded) is samplers.GPSampler
        assert digest(loaded) == digest(make()) == digest(load_sampler(text, worker_ordinal=0))
        assert digest(loaded) != digest(load_sampler(text, worker_ordinal=1))


@pytest.mark.parametrize("name", MAKERS)
def test_the_first_worker_draws_what_optuna_draws(name: str) -> None:
    text = sampler_to_json(MAKERS[name]())
    loaded = load_sampler(text, worker_ordinal=0)
    assert drawn(loaded, name) == drawn(MAKERS[name](), name)


@pytest.mark.parametrize("name", MAKERS)
def test_equal_samplers_give_equal_text(name: str) -> None:
    def without_pickle(text: str) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(text)
        return {key: value for key, value in spec.items() if key != "pickled"}

    first, second = sampler_to_json(MAKERS[name]()), sampler_to_json(MAKERS[name]())
    assert without_pickle(first) == without_pickle(second)
    if not name.startswith("qmc"):  # arrives as a class of ours
        loaded = load_sampler(first, worker_ordinal=0)
        assert without_pickle(sampler_to_json(loaded)) == without_pickle(first)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in {"grid", "brute force"}])
def test_no_two_workers_draw_the_same(name: str) -> None:
    text = sampler_to_json(MAKERS[name]())
    study = optuna.create_study(study_name=name)
    first: list[float] = []
    for ordinal in (0, 1, 2, 17, None):
        # As in parallel: each worker's first trial is drawn before any has ended.
        study.sampler = load_sampler(text, worker_ordinal=ordinal) or study.sampler
        first.append(study.ask().suggest_float("x", 0, 1))
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("name", ["random", "tpe", "nsgaii", "users"])
def test_a_worker_draws_the_same_in_another_run(name: str) -> None:
    text = sampler_to_json(MAKERS[name]())
    again = sampler_to_json(MAKERS[name]())
    one, two = (drawn(load_sampler(t, worker_ordinal=3), name, 3) for t in (text, again))
    assert one == two


def test_workers_share_one_quasi_random_sequence() -> None:
    text = sampler_to_json(samplers.QMCSampler(seed=7))
    alone = drawn(samplers.QMCSampler(seed=7), "qmc", 9)
    study = optuna.create_study(study_name="qmc")
    workers = [load_sampler(text, worker_ordinal=ordinal) for ordinal in range(3)]
    assert all(workers)
    study.sampler = workers[0] or study.sampler
    study.optimize(objective, n_trials=1)
    # Three trials at a time: all are asked for before one is told.
    for _ in range(3):
        trials: list[optuna.Trial] = []
        for worker in workers:
            study.sampler = worker or study.sampler
            trials.append(study.ask())
        for trial in trials[:2] if len(study.trials) > 8 else trials:
            study.tell(trial, objective(trial))
    ended = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert [trial.params for trial in ended[1:]] == [alone[trial.number] for trial in ended[1:]][:8]


def test_what_can_be_read_is_readable() -> None:
    assert json.loads(sampler_to_json(samplers.TPESampler(seed=42, n_startup_trials=4))) == {
        "cls": "TPESampler",
        "kwargs": {"seed": 42, "n_startup_trials": 4},
    }
    assert json.loads(sampler_to_json(samplers.TPESampler())) == {"cls": "TPESampler", "kwargs": {}}
    assert json.loads(sampler_to_json(samplers.RandomSampler(0))) == {
        "cls": "RandomSampler",
        "kwargs": {"seed": 0},
    }
    patient = pruners.PatientPruner(pruners.MedianPruner(n_startup_trials=1), patience=4)
    assert json.loads(pruner_to_json(patient)) == {
        "cls": "PatientPruner",
        "kwargs": {
            "wrapped_pruner": {"cls": "MedianPruner", "kwargs": {"n_startup_trials": 1}},
            "patience": 4,
        },
    }
    assert sampler_to_json(None) == pruner_to_json(None) == ""
    assert load_sampler("") is None
    assert load_pruner("") is None


def test_a_sampler_without_a_seed_is_equal_to_another() -> None:
    for make in (samplers.TPESampler, samplers.QMCSampler, samplers.CmaEsSampler):
        text = sampler_to_json(make())
        assert text == sampler_to_json(make())
        assert "pickled" not in text
        assert drawn(load_sampler(text), "x", 2) != drawn(load_sampler(text), "x", 2)


def test_other_samplers_give_other_text() -> None:
    texts = [
        sampler_to_json(samplers.TPESampler(seed=1)),
        sampler_to_json(samplers.TPESampler(seed=2)),
        sampler_to_json(samplers.TPESampler(seed=1, constraints_func=within)),
        sampler_to_json(samplers.TPESampler(seed=1, constraints_func=lambda _: (0.0,))),
        sampler_to_json(UsersSampler(1)),
        sampler_to_json(UsersSampler(2)),
        sampler_to_json(samplers.GridSampler({"x": [1, 2]})),
        sampler_to_json(samplers.GridSampler({"x": [1, 3]})),
    ]
    for text in texts:
        spec = json.loads(text)
        spec.pop("pickled", None)
        texts[texts.index(text)] = json.dumps(spec)
    assert len(set(texts)) == len(texts)


def test_a_sampler_that_has_drawn_goes_on_where_it_was() -> None:
    sampler = samplers.RandomSampler(seed=1)
    drawn(sampler, "x", 3)
    loaded = load_sampler(sampler_to_json(sampler), worker_ordinal=0)
    assert drawn(loaded, "x", 3) == drawn(sampler, "x", 3)


def test_a_dict_is_another_way_to_write_it() -> None:
    text = sampler_to_json({"cls": "TPESampler", "kwargs": {"seed": 3, "n_startup_trials": 10}})
    assert text == sampler_to_json(samplers.TPESampler(seed=3))
    text = pruner_to_json(
        {
            "cls": "PatientPruner",
            "kwargs": {"wrapped_pruner": {"cls": "MedianPruner"}, "patience": 2},
        }
    )
    loaded = load_pruner(text)
    assert isinstance(loaded, pruners.PatientPruner)
    assert text == pruner_to_json(pruners.PatientPruner(pruners.MedianPruner(), patience=2))


@pytest.mark.parametrize("kind", ["NSGAIISampler", "NSGAIIISampler"])
@pytest.mark.parametrize("name", sorted(shipped(samplers.nsgaii, samplers.nsgaii.BaseCrossover)))
def test_every_crossover_of_optuna_goes_over(name: str, kind: str) -> None:
    def make() -> BaseSampler:
        crossover = getattr(samplers.nsgaii, name)()
        made: BaseSampler = getattr(samplers, kind)(seed=3, population_size=4, crossover=crossover)
        return made

    loaded = load_sampler(sampler_to_json(make()), worker_ordinal=0)
    assert drawn(loaded, "x", 16) == drawn(make(), "x", 16)


def pruned(
    pruner: pruners.BasePruner | None,
) -> list[tuple[optuna.trial.TrialState, int | None]]:
    study = optuna.create_study(
        study_name="hyperband", sampler=samplers.RandomSampler(seed=1), pruner=pruner
    )

    def stepping(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 2)
        for step in range(9):
            trial.report(x * (step % 3 + 1) / 3, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    study.optimize(stepping, n_trials=25)
    return [(trial.state, trial.last_step) for trial in study.trials]


@pytest.mark.parametrize(
    "make",
    [lambda: UsersPruner(0.9), lambda: pruners.PatientPruner(UsersPruner(0.9), patience=1)],
    ids=["alone", "in another"],
)
def test_a_pruner_of_the_users_own(make: Callable[[], pruners.BasePruner]) -> None:
    text = pruner_to_json(make())
    assert "pickled" in text
    assert json.loads(text)["digest"] == json.loads(pruner_to_json(make()))["digest"]
    told = pruned(load_pruner(text))
    assert told == pruned(make())
    assert {state.name for state, _ in told} == {"COMPLETE", "PRUNED"}


@pytest.mark.parametrize("name", PRUNERS)
def test_pruners_arrive_as_they_are(name: str) -> None:
    pruner = PRUNERS[name]()
    text = pruner_to_json(pruner)
    assert text == pruner_to_json(PRUNERS[name]())
    assert "pickled" not in text
    loaded = load_pruner(text)
    assert type(loaded) is type(pruner)
    assert pruned(loaded) == pruned(pruner)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ("TPESampler", ArgumentTypeError, "not str"),
        (samplers.TPESampler, ArgumentTypeError, r"add \(\)"),
        (pruners.MedianPruner(), ArgumentTypeError, "not MedianPruner"),
        ({"cls": "Tpe"}, ArgumentValueError, "no 'Tpe'.*RandomSampler, TPESampler"),
        ({"cls": "MedianPruner"}, ArgumentValueError, "no 'MedianPruner'"),
        ({"cls": "os.system", "kwargs": {}}, ArgumentValueError, "no 'os.system'"),
        ({"cls": "warnings", "kwargs": {}}, ArgumentValueError, "no 'warnings'"),
        ({"cls": "TPESampler", "kwargs": {"sed": 1}}, ArgumentValueError, "sed"),
        ({"cls": "TPESampler", "kwargs": [1]}, ArgumentValueError, "kwargs"),
        ({"cls": "TPESampler", "seed": 1}, ArgumentValueError, "kwargs"),
        ({}, ArgumentValueError, "cls"),
    ],
)
def test_what_is_no_sampler_is_refused(given: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        sampler_to_json(given)
    assert getattr(caught.value, "argument", "") == "sampler"


def test_a_sampler_that_can_not_travel_is_refused() -> None:
    sampler = samplers.RandomSampler()
    sampler.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(ArgumentValueError, match="sampler can't travel"):
        sampler_to_json(sampler)


@pytest.mark.parametrize("text", ["[]", "{", '{"cls": 3}', '{"cls":"X","pickled":{"data":"aaaa"}}'])
def test_text_that_is_no_sampler_is_an_error(text: str) -> None:
    with pytest.raises(ArgumentValueError, match="sampler"):
        load_sampler(text)


def test_a_local_class_is_loaded_where_it_is_not_installed(tmp_path: Path) -> None:
    text = sampler_to_json(UsersSampler(4))
    expected = load_sampler(text, worker_ordinal=0)
    assert expected is not None
    script = (
        "import sys, optuna\n"
        "from aiauto.samplers import load_sampler\n"
        "sampler = load_sampler(sys.stdin.read(), worker_ordinal=0)\n"
        "optuna.logging.disable_default_handler()\n"
        "print(optuna.create_study(sampler=sampler).ask().suggest_float('x', 0, 1))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=text,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    study = optuna.create_study(sampler=expected)
    assert float(done.stdout) == study.ask().suggest_float("x", 0, 1)


def test_text_does_not_depend_on_the_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json, optuna\n"
        "from aiauto.samplers import sampler_to_json\n"
        "LIMITS = {'a', 'b', 'c', 'd'}\n"
        "def constraints(trial):\n"
        "    return (len(LIMITS & {'x', 'a', 'q'}),)\n"
        "class Mine(optuna.samplers.RandomSampler):\n"
        "    def __init__(self, limits, seed):\n"
        "        super().__init__(seed)\n"
        "        self.limits = limits\n"
        "for one in (Mine(LIMITS, 1),\n"
        "            optuna.samplers.TPESampler(constraints_func=constraints, seed=1)):\n"
        "    spec = json.loads(sampler_to_json(one))\n"
        "    assert spec.pop('pickled')\n"
        "    print(spec)\n",
        encoding="utf-8",
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", str(script)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("digest") == 2


def test_samplers_are_left_as_they_were() -> None:
    sampler = samplers.TPESampler(seed=1)
    before = pickle.dumps(sampler)
    sampler_to_json(sampler)
    assert pickle.dumps(sampler) == before
