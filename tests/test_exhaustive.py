"""Every combination once, whoever asks and whatever happens to those who try them."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

import aiauto
from aiauto.exhaustive import CLAIM
from aiauto.samplers import load_sampler, sampler_to_json

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

State = optuna.trial.TrialState
Sampler = aiauto.ExhaustiveCategoricalSampler

# A search space: the parameter that comes first, and what follows each of its choices.
Tree = tuple[str, tuple["Tree | None", ...]]


def conditional(trial: optuna.Trial) -> float:
    """Nine combinations."""
    model = trial.suggest_categorical("model", ["svm", "tree", "linear"])
    if model == "svm":
        kernel = trial.suggest_categorical("kernel", ["rbf", "poly"])
        degree = trial.suggest_categorical("degree", [None, True, 3])
        return len(str(degree)) + len(kernel)
    if model == "tree":
        return trial.suggest_categorical("depth", [0.5, 1.0])
    return 1.0


def plain(trial: optuna.Trial) -> float:
    """Twelve combinations."""
    trial.suggest_categorical("c", ["x", "y", "z"])
    return trial.suggest_categorical("a", [1, 2]) * trial.suggest_categorical("b", [1.0, 2.0])


def combinations(trials: list[optuna.trial.FrozenTrial], *states: State) -> Counter[str]:
    return Counter(
        repr(sorted(trial.params.items())) for trial in trials if trial.state in (states or State)
    )


def walk(tree: Tree | None, trial: optuna.Trial) -> None:
    while tree is not None:
        name, branches = tree
        tree = branches[trial.suggest_categorical(name, range(len(branches)))]


def leaves(tree: Tree | None) -> int:
    return 1 if tree is None else sum(map(leaves, tree[1]))


@st.composite
def trees(draw: st.DrawFn, depth: int = 0, names: str = "") -> Tree:
    name = f"{names}p"
    branches: list[Tree | None] = []
    for place in range(draw(st.integers(1, 3))):
        deeper = depth < 3 and draw(st.booleans())
        branches.append(draw(trees(depth + 1, f"{name}{place}")) if deeper else None)
    return name, tuple(branches)


@settings(deadline=None, max_examples=60)
@given(trees(), st.integers(0, 2**32 - 1))
def test_one_program_tries_everything_once(tree: Tree, seed: int) -> None:
    def objective(trial: optuna.Trial) -> float:
        walk(tree, trial)
        return 1.0

    study = optuna.create_study(sampler=Sampler(seed))
    study.optimize(objective, n_trials=1000)
    assert len(study.trials) == leaves(tree)
    assert set(combinations(study.trials).values()) == {1}
    again = optuna.create_study(sampler=Sampler(seed))
    again.optimize(objective, n_trials=1000)
    assert [trial.params for trial in again.trials] == [trial.params for trial in study.trials]


@settings(deadline=None, max_examples=60)
@given(trees(), st.randoms(use_true_random=False), st.integers(0, 2**32 - 1))
def test_trials_that_run_at_the_same_time(tree: Tree, random_: random.Random, seed: int) -> None:
    """Several programs, whose trials fail, get lost, and end in any order."""
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage)
    studies = [
        optuna.load_study(study_name="s", storage=storage, sampler=Sampler(seed + program))
        for program in range(3)
    ]
    running: list[tuple[optuna.Study, optuna.Trial]] = []
    lost: Counter[str] = Counter()
    while True:
        study = random_.choice(studies)
        # The first one shows the way, as among workers.
        if len(running) < (4 if len(study.trials) > 1 else 1):
            try:
                trial = study.ask()
            except aiauto.SearchSpaceExhausted:
                break
            frozen = study.trials[trial.number]
            if CLAIM in frozen.system_attrs or trial.number == 0:
                walk(tree, trial)
                running.append((study, trial))
                continue
            # Nothing is left but what others are at: a worker is given no lease then.
            study.tell(trial, state=State.PRUNED)
        study, trial = running.pop(random_.randrange(len(running)))
        key = repr(sorted(trial.params.items()))
        match random_.randrange(5):
            case 0:
                study.tell(trial, state=State.FAIL)
            case 1:
                study.tell(trial, state=State.PRUNED)
            case 2 if lost[key] < 2:
                lost[key] += 1
                storage.set_trial_state_values(trial._trial_id, State.FAIL)  # its worker is gone
            case _:
                study.tell(trial, 1.0)
    assert not running
    tried = [trial for trial in studies[0].trials if trial.params]
    counts = combinations(tried)
    assert len(counts) == leaves(tree)
    assert counts == Counter({key: 1 + lost[key] for key in counts})


@pytest.fixture(params=["memory", "journal", "sqlite"])
def make_study(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], optuna.Study]]:
    storage: Any = None
    if request.param == "memory":
        storage = optuna.storages.InMemoryStorage()
    elif request.param == "sqlite":
        storage = RDBStorage(f"sqlite:///{tmp_path / 'study.sqlite3'}")

    def make() -> optuna.Study:
        # As in a program of its own.
        ours = storage or JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        return optuna.create_study(
            study_name="s", storage=ours, sampler=Sampler(5), load_if_exists=True
        )

    yield make
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@pytest.mark.parametrize(("objective", "number"), [(plain, 12), (conditional, 9)])
def test_threads_of_optuna_share_the_combinations(
    make_study: Callable[[], optuna.Study],
    objective: Callable[[optuna.Trial], float],
    number: int,
) -> None:
    study = make_study()
    study.optimize(objective, n_trials=4)
    study = make_study()  # another program goes on

    def slowly(trial: optuna.Trial) -> float:
        value = objective(trial)
        time.sleep(0.02)
        return value

    study.optimize(slowly, n_trials=100, n_jobs=4)
    counts = combinations(study.trials, State.COMPLETE)
    assert len(counts) == number
    assert set(counts.values()) == {1}
    # Optuna makes a trial before it asks the sampler: one that came too late says nothing.
    assert all(not trial.params for trial in study.trials if trial.state != State.COMPLETE)
    assert len(study.trials) <= number + 4


def test_programs_share_the_combinations(tmp_path: Path) -> None:
    script = (
        "import optuna, sys, time, aiauto\n"
        "from optuna.storages import JournalStorage\n"
        "from optuna.storages.journal import JournalFileBackend\n"
        "optuna.logging.disable_default_handler()\n"
        "study = optuna.create_study(\n"
        "    study_name='s', storage=JournalStorage(JournalFileBackend(sys.argv[1])),\n"
        "    sampler=aiauto.ExhaustiveCategoricalSampler(seed=1), load_if_exists=True)\n"
        "def objective(trial):\n"
        "    a = trial.suggest_categorical('a', range(4))\n"
        "    time.sleep(0.01)\n"
        "    return a + trial.suggest_categorical('b', range(4))\n"
        "study.optimize(objective, n_trials=100)\n"
    )
    path = str(tmp_path / "study.log")
    programs = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, path]) for _ in range(3)
    ]
    assert [program.wait(120) for program in programs] == [0, 0, 0]
    study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(path)))
    counts = combinations(study.trials, State.COMPLETE)
    assert len(counts) == 16
    assert set(counts.values()) == {1}


def test_ask_and_tell(make_study: Callable[[], optuna.Study]) -> None:
    study = make_study()
    trials = [study.ask() for _ in range(5)]
    for trial in trials:
        conditional(trial)
    for trial in reversed(trials):
        study.tell(trial, 1.0)
    for _ in range(4):
        trial = study.ask()
        study.tell(trial, conditional(trial))
    with pytest.raises(aiauto.SearchSpaceExhausted, match="Every combination"):
        study.ask()
    assert set(combinations(study.get_trials(states=[State.COMPLETE])).values()) == {1}
    assert len(study.trials) == 10
    # The trial that could not begin is over.
    assert study.trials[-1].state == State.FAIL


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_pruner_that_shows_a_part_of_the_study() -> None:
    study = optuna.create_study(sampler=Sampler(), pruner=optuna.pruners.HyperbandPruner())

    def objective(trial: optuna.Trial) -> float:
        trial.report(1.0, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return plain(trial)

    study.optimize(objective, n_trials=100)
    assert len(study.trials) == 12
    assert set(combinations(study.trials).values()) == {1}


def test_a_trial_for_which_nothing_is_left_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiauto.exhaustive.PATIENCE_SECONDS", 0.1)
    study = optuna.create_study(sampler=Sampler())
    trials = [study.ask() for _ in range(3)]
    values = {trial.suggest_categorical("a", [1, 2]) for trial in trials[:2]}
    assert values == {1, 2}
    # The others may ask for more, or get lost: they run.
    with pytest.raises(aiauto.SearchSpaceExhausted):
        trials[2].suggest_categorical("a", [1, 2])
    study.tell(trials[0], 1.0)
    study.tell(trials[1], state=State.FAIL)
    study.tell(trials[2], state=State.PRUNED)
    with pytest.raises(aiauto.SearchSpaceExhausted):
        study.ask()


def test_enqueued_trials_count(make_study: Callable[[], optuna.Study]) -> None:
    study = make_study()
    study.enqueue_trial({"a": 2, "b": 2.0, "c": "z"})
    study.enqueue_trial({"c": "y"})
    study.optimize(plain, n_trials=100)
    assert study.trials[0].params == {"c": "z", "a": 2, "b": 2.0}
    assert study.trials[1].params["c"] == "y"
    assert len(study.trials) == 12
    assert set(combinations(study.trials).values()) == {1}


@pytest.mark.parametrize("suggest", ["suggest_float", "suggest_int"])
def test_other_parameters_are_refused(suggest: str) -> None:
    study = optuna.create_study(sampler=Sampler())

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("a", [1, 2])
        return float(getattr(trial, suggest)("learning_rate", 1, 2))

    with pytest.raises(ValueError, match=r"'learning_rate' is a .*suggest_categorical") as caught:
        study.optimize(objective, n_trials=3)
    assert isinstance(caught.value, aiauto.ArgumentValueError)


def test_other_choices_are_refused() -> None:
    study = optuna.create_study(sampler=Sampler())
    study.optimize(lambda trial: trial.suggest_categorical("a", [1, 2]), n_trials=1)
    with pytest.raises(ValueError, match=r"'a' has 3 choices now and had 2 before"):
        study.optimize(lambda trial: trial.suggest_categorical("a", [1, 2, 3]), n_trials=1)


@pytest.mark.parametrize("seed", [1.5, "1", True])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(aiauto.ArgumentTypeError, match="seed must be a whole number"):
        Sampler(seed)


def test_it_travels_as_readable_text() -> None:
    text = sampler_to_json(Sampler(seed=3))
    assert text == '{"cls":"ExhaustiveCategoricalSampler","kwargs":{"seed":3}}'
    assert text == sampler_to_json({"cls": "ExhaustiveCategoricalSampler", "kwargs": {"seed": 3}})
    assert sampler_to_json(Sampler()) == '{"cls":"ExhaustiveCategoricalSampler","kwargs":{}}'
    used = optuna.create_study(sampler=Sampler(seed=3))
    used.optimize(plain, n_trials=3)
    assert sampler_to_json(used.sampler) == text
    first, second = (optuna.create_study(sampler=one) for one in (load(text), Sampler(3)))
    for study in (first, second):
        study.optimize(plain, n_trials=12)
    assert [trial.params for trial in first.trials] == [trial.params for trial in second.trials]
    assert isinstance(pickle.loads(pickle.dumps(used.sampler)), Sampler)


def load(text: str) -> Any:
    return load_sampler(text, worker_ordinal=0)
