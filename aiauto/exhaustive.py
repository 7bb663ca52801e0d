"""A sampler that tries every combination of categorical parameters exactly once.

However many programs work on a study, no two take the same combination: a trial claims one, in an
attribute that all of them see, and looks whether another has done so as well. Whoever finds that
gives way. This needs nothing of a storage but that a read sees every earlier write, so it holds
over every storage that Optuna has.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from aiauto.combinations import Choice, Combinations, Path
from aiauto.errors import ArgumentTypeError, ArgumentValueError, SearchSpaceExhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

__all__ = ["ExhaustiveCategoricalSampler", "Room", "room"]

# System attributes of a trial: the choices that it has claimed, null where it got none; and whether
# its objective has raised, so that it had its turn although it failed.
CLAIM = "aiauto:combination"
RAISED = "aiauto:raised"
# Where every known combination is being tried, a trial waits so long for one of those to show more.
PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.05
MAX_GIVING_WAY_SECONDS = 0.5

USED_UP = "Every combination of the categorical parameters has been given to a trial."


class ExhaustiveCategoricalSampler(optuna.samplers.BaseSampler):
    """Tries every combination of categorical parameters exactly once, also with many workers.

    ```python
    study = ac.create_study("grid", sampler=aiauto.ExhaustiveCategoricalSampler())
    study.optimize(objective, n_trials=1000, parallelism=8)
    ```

    The search space need not be told: the first trials show it, and it may depend on values that
    were chosen before (``if trial.suggest_categorical("model", ...) == "svm": ...``). The objective
    must ask for the same parameters whenever the values before are equal.

    A batch ends when nothing is left to try: it has succeeded, its ``stop_reason`` is
    ``SearchSpaceExhausted``, and ``count_total`` is the number of trials that it took.
    ``Study.optimize`` of Optuna ends as well, and ``Study.ask`` raises `SearchSpaceExhausted`.

    A trial that was pruned, or whose objective raised, has had its turn. The combination of one
    that was lost with its worker, took too long or was cancelled is given to another trial, up to
    three times.

    Args:
        seed: Makes the order repeatable, with one worker. Default: another order each time.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and type(seed) is not int:
            message = f"seed must be a whole number or None, not {seed!r}."
            raise ArgumentTypeError(message, argument="seed")
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311 - it keeps no secret
        self._lock = threading.Lock()
        # What the trials of this program have claimed, by storage and trial.
        self._claims: dict[tuple[int, int], Path] = {}

    def __reduce__(self) -> tuple[type[ExhaustiveCategoricalSampler], tuple[int | None]]:
        # What it has claimed stands in the storage.
        return type(self), (self._seed,)

    def __repr__(self) -> str:
        return f"ExhaustiveCategoricalSampler(seed={self._seed!r})"

    def reseed_rng(self) -> None:
        """Go on in another order than other threads and programs."""
        self._random.seed()

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - Optuna calls it so
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Give nothing: every parameter is asked for by itself."""
        return {}

    def sample_relative(
        self,
        study: optuna.Study,  # noqa: ARG002 - Optuna calls it so
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Give nothing: every parameter is asked for by itself."""
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Claim a combination for a trial.

        Raises:
            SearchSpaceExhausted: There is none left. The trial is FAIL. Not raised while
                `optuna.Study.optimize` runs, which ends after this trial.
        """
        claimed = trial.system_attrs.get(CLAIM)
        if claimed is not None:  # opened again
            self._remember(study, trial, _path(claimed))
            return
        self._remember(study, trial, ())
        if self._claim(study, trial, ()) or trial.system_attrs.get("fixed_params"):
            return
        if _others(study, trial).is_used_up and not _stop(study):
            storage = _storage(study)
            storage.set_trial_system_attr(trial._trial_id, CLAIM, None)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            raise SearchSpaceExhausted(USED_UP)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - as Optuna has it
        """Give the value that belongs to the trial's combination.

        Raises:
            ArgumentValueError: The parameter is not categorical.
            SearchSpaceExhausted: There is no combination for this trial. While
                `optuna.Study.optimize` runs it is `optuna.TrialPruned`.
        """
        if not isinstance(param_distribution, CategoricalDistribution):
            message = (
                f"ExhaustiveCategoricalSampler tries categorical parameters, and {param_name!r} is "
                f"a {type(param_distribution).__name__}: ask for it with trial.suggest_categorical("
                f"{param_name!r}, [...]), or choose another sampler."
            )
            raise ArgumentValueError(message, argument="sampler")
        choices = param_distribution.choices
        path = self._claims.get(_key(study, trial), ())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (choice := _named(path, param_name)) is None:
            asked = _asked(trial)
            so_far = (*path, *(one for one in asked if _named(path, one.name) is None))
            longer = self._claim(study, trial, so_far, param_name, len(choices))
            if longer is not None:
                path = longer
            elif time.monotonic() > deadline or _others(study, trial).is_used_up:
                self._give_up(study, trial)
            else:
                time.sleep(POLL_SECONDS)
        if choice.total != len(choices):
            message = (
                f"{param_name!r} has {len(choices)} choices now and had {choice.total} before: a "
                "parameter must have the same choices in every trial."
            )
            raise ArgumentValueError(message, argument="sampler")
        return choices[choice.place]

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,  # noqa: ARG002 - Optuna calls it so
    ) -> None:
        """Note that a trial has had its turn, and end `optuna.Study.optimize` after the last."""
        claimed = self._claims.pop(_key(study, trial), ())
        if state == TrialState.FAIL:
            _storage(study).set_trial_system_attr(trial._trial_id, RAISED, value=True)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if not _is_in_loop(study):
            return  # whoever asks for the next trial finds out
        others = _others(study, trial)
        path = (*claimed, *_asked(trial)) if state == TrialState.FAIL else tuple(_asked(trial))
        if path or state == TrialState.COMPLETE:
            others.known.finish(path)
        if others.is_used_up:
            _stop(study)

    def _claim(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        path: Path,
        name: str = "",
        count: int = 0,
    ) -> Path | None:
        """Claim a combination that goes on from a path, for this trial alone.

        Args:
            study: The study.
            trial: The trial.
            path: What it has chosen already.
            name: The parameter that it asks for now; empty before it asks.
            count: How many choices that has.

        Returns:
            As much of the combination as is known, empty where nothing is; None where there is
            none.
        """
        fixed: Mapping[str, Any] = trial.system_attrs.get("fixed_params") or {}

        def look() -> _Others:
            others = _others(study, trial)
            if name:
                others.known.reveal(path, name, count)
            return others

        for attempt in itertools.count():
            others = look()
            with self._lock:
                chosen = others.known.choose(path, others.places(fixed), self._random)
            if not chosen:
                return chosen
            self._write(study, trial, chosen)
            if look().known.is_free(chosen):
                self._remember(study, trial, chosen)
                return chosen
            # Somebody else wrote the same at the same time, and perhaps gives way as well.
            self._write(study, trial, path)
            pause = min(0.005 * 2**attempt, MAX_GIVING_WAY_SECONDS)
            time.sleep(random.uniform(0, pause))  # noqa: S311
        return None

    def _give_up(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """End a trial that got no combination: others have taken the last ones meanwhile."""
        _storage(study).set_trial_system_attr(trial._trial_id, CLAIM, None)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if _stop(study):
            raise optuna.TrialPruned(USED_UP)
        raise SearchSpaceExhausted(USED_UP)

    def _remember(self, study: optuna.Study, trial: FrozenTrial, path: Path) -> None:
        self._claims[_key(study, trial)] = path

    @staticmethod
    def _write(study: optuna.Study, trial: FrozenTrial, path: Path) -> None:
        _storage(study).set_trial_system_attr(trial._trial_id, CLAIM, [list(one) for one in path])  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class Room(NamedTuple):
    """Whether further trials make sense.

    Attributes:
        trial_limit: How many trials of the study may have begun, for now.
        is_used_up: Whether no further one will ever make sense.
    """

    trial_limit: int
    is_used_up: bool


def room(study: optuna.Study, is_certain_to_end: Callable[[FrozenTrial], bool]) -> Room | None:
    """Tell how many trials a study may have, before one is begun for nothing.

    Args:
        study: The study.
        is_certain_to_end: Tells whether somebody sees to it that a running trial ends. The others
            are not waited for.

    Returns:
        What there is room for; None where the study's sampler sets no limit.
    """
    if not isinstance(study.sampler, ExhaustiveCategoricalSampler):
        return None
    trials = _storage(study).get_all_trials(study._study_id, deepcopy=False)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    waiting = sum(trial.state == TrialState.WAITING for trial in trials)
    awaited = [
        trial for trial in trials if trial.state == TrialState.RUNNING and is_certain_to_end(trial)
    ]
    known = _Others(trials, awaited).known
    # Where nothing is known, one trial shows what there is.
    further = int(not awaited) if known.is_unknown else max(0, known.free - known.undecided)
    used_up = not known.is_unknown and not known.free and not awaited and not waiting
    return Room(len(trials) + further, used_up)


class _Others:
    """What trials have shown and taken.

    Attributes:
        known: That.
    """

    def __init__(
        self, trials: Iterable[FrozenTrial], awaited: Sequence[FrozenTrial] | None = None
    ) -> None:
        """Look at trials.

        Args:
            trials: The trials.
            awaited: Those that are expected to take something where they have not yet. Default:
                all that run.
        """
        numbers = None if awaited is None else {trial.number for trial in awaited}
        self.known = Combinations()
        self._distributions: dict[str, CategoricalDistribution] = {}
        self._is_held = False
        waiting: list[FrozenTrial] = []
        for trial in trials:
            for name, distribution in trial.distributions.items():
                if isinstance(distribution, CategoricalDistribution):
                    self._distributions.setdefault(name, distribution)
            if trial.state == TrialState.WAITING:
                waiting.append(trial)
            elif (path := _path_of(trial)) is not None:
                self._take(trial, path, expected=numbers is None or trial.number in numbers)
        # What these will take can be told only now.
        for trial in waiting:
            fixed: Mapping[str, Any] = trial.system_attrs.get("fixed_params") or {}
            self._is_held = True
            self.known.hold(self.known.known(self.places(fixed)))

    @property
    def is_used_up(self) -> bool:
        """Whether everything has been tried, and nobody is about to show or lose anything."""
        return not (self.known.is_unknown or self.known.free or self._is_held)

    def places(self, values: Mapping[str, Any]) -> dict[str, int]:
        """Values of parameters as places among their choices, as far as those are known."""
        places: dict[str, int] = {}
        for name, value in values.items():
            with contextlib.suppress(KeyError, ValueError):
                places[name] = int(self._distributions[name].to_internal_repr(value))
        return places

    def _take(self, trial: FrozenTrial, path: Path, *, expected: bool) -> None:
        if trial.state == TrialState.RUNNING:
            self._is_held = True
            if path or expected:
                self.known.hold(path)
        elif trial.state == TrialState.COMPLETE:
            self.known.finish(path)
        elif not path:
            pass  # it ended before it had shown anything
        elif trial.state == TrialState.PRUNED or trial.system_attrs.get(RAISED):
            self.known.finish(path)
        else:
            self.known.lose(path)


def _others(study: optuna.Study, trial: FrozenTrial) -> _Others:
    trials = _storage(study).get_all_trials(study._study_id, deepcopy=False)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return _Others(one for one in trials if one.number != trial.number)


def _path_of(trial: FrozenTrial) -> Path | None:
    """The choices of a trial; None where it has nothing to do with combinations."""
    claimed = trial.system_attrs.get(CLAIM, [])
    categorical = (isinstance(one, CategoricalDistribution) for one in trial.distributions.values())
    if claimed is None or not all(categorical):
        return None
    path = _path(claimed)
    if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}:
        # It is known now how far it went.
        path = tuple(one for one in path if one.name in trial.params)
    return (*path, *(one for one in _asked(trial) if _named(path, one.name) is None))


def _path(claimed: Iterable[Sequence[Any]]) -> Path:
    return tuple(Choice(*one) for one in claimed)


def _asked(trial: FrozenTrial) -> list[Choice]:
    """The choices that stand in a trial's parameters."""
    return [
        Choice(name, int(one.to_internal_repr(trial.params[name])), len(one.choices))
        for name, one in trial.distributions.items()
        if isinstance(one, CategoricalDistribution) and name in trial.params
    ]


def _named(path: Path, name: str) -> Choice | None:
    return next((choice for choice in path if choice.name == name), None)


def _key(study: optuna.Study, trial: FrozenTrial) -> tuple[int, int]:
    return id(_storage(study)), trial._trial_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _storage(study: optuna.Study) -> BaseStorage:
    # Samplers have no other way to what all programs share: Optuna's own take this one.
    return study._storage  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _is_in_loop(study: optuna.Study) -> bool:
    """Whether `optuna.Study.optimize` runs the trial, in this thread."""
    # To ask is private, and to try would end what a worker's study ends. HyperbandPruner shows
    # samplers a study around the one that runs.
    local: object = getattr(getattr(study, "_study", study), "_thread_local", None)
    return bool(getattr(local, "in_optimize_loop", False))


def _stop(study: optuna.Study) -> bool:
    """End `optuna.Study.optimize`. Tells whether it runs."""
    if not _is_in_loop(study):
        return False
    study.stop()
    return True
