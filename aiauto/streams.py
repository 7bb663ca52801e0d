"""A random stream of its own for every worker, whatever seed they share."""

from __future__ import annotations

import hashlib
import pickle
import random
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import optuna

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.distributions import BaseDistribution

__all__ = [
    "GENERATORS",
    "LOCAL",
    "Generator",
    "give_stream",
    "seed_of",
    "share_sequence",
    "state_of",
]

Generator: TypeAlias = np.random.RandomState | np.random.Generator | random.Random
GENERATORS = (np.random.RandomState, np.random.Generator, random.Random)

LOCAL = "local"
"""The stream of trials that the user's own program asks for."""

# Seeds below this are a user's; larger ones were drawn.
MAX_SEED = 2**32


def give_stream(sampler: optuna.samplers.BaseSampler, stream: int | str) -> None:
    """Let a sampler go on with a random stream that no other stream equals.

    The stream follows from the state of the sampler's generators, so from its seed, and from the
    stream's name. Generators that have no seed draw one anyway and are left alone.

    Args:
        sampler: The sampler, changed in place.
        stream: Name of the stream.
    """
    states = [state_of(generator) for generator in _generators(sampler)]
    if not type(sampler).__module__.startswith("optuna."):
        # It may know of generators that are not found here.
        sampler.reseed_rng()
    for place, (generator, state) in enumerate(zip(_generators(sampler), states, strict=False)):
        mixed = hashlib.sha256(pickle.dumps(state))
        mixed.update(f"/{stream}/{place}".encode())
        words = np.frombuffer(mixed.digest(), dtype=np.uint32)
        if isinstance(generator, random.Random):
            generator.seed(mixed.digest())
        elif isinstance(generator, np.random.RandomState):
            generator.seed(words)
        else:
            bits: Any = generator.bit_generator
            bits.state = type(bits)(np.random.SeedSequence(words.tolist())).state


def seed_of(sampler: object) -> int | None:
    """The seed of a sampler that has drawn nothing yet; None where there is none to be seen."""
    for generator in _generators(sampler):
        if isinstance(generator, np.random.RandomState):
            state: Any = generator.get_state(legacy=False)
            seed = int(state["state"]["key"][0])
            fresh: Any = np.random.RandomState(seed).get_state(legacy=False)
            return seed if pickle.dumps(fresh) == pickle.dumps(state) else None
    return None


def share_sequence(
    sampler: optuna.samplers.BaseSampler,
) -> optuna.samplers.BaseSampler:
    """Let workers take points of one quasi-random sequence without taking one twice.

    Optuna counts the points in an attribute of the study, which two workers may read at the same
    time. The numbers of trials are unique.
    """
    if type(sampler) is optuna.samplers.QMCSampler:
        sampler.__class__ = _NumberedQMCSampler
    return sampler


class _NumberedQMCSampler(optuna.samplers.QMCSampler):
    """Takes the point of the sequence that belongs to the number of the trial."""

    _point = 0

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        if trial.number == 0:
            return {}
        # The first trial is drawn at random, as the search space is not known yet.
        self._point = trial.number - 1
        return super().sample_relative(study, trial, search_space)

    # Optuna 4 does not tell the search space.
    def _find_sample_id(
        self, study: optuna.Study, search_space: dict[str, BaseDistribution] | None = None
    ) -> int:
        del study, search_space
        return self._point


def state_of(generator: Generator) -> object:
    """The state of a random generator, equal for equal ones."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def _generators(part: object, met: set[int] | None = None) -> Iterator[Generator]:
    """The random generators in a sampler and in what it is made of, each once."""
    met = set() if met is None else met
    if id(part) in met:
        return
    met.add(id(part))
    if isinstance(part, GENERATORS):
        yield part
    elif isinstance(part, dict):
        for one in cast("dict[object, object]", part).values():
            yield from _generators(one, met)
    elif isinstance(part, (list, tuple)):
        for one in cast("list[object]", part):
            yield from _generators(one, met)
    elif hasattr(part, "__dict__") and not isinstance(part, type) and not callable(part):
        yield from _generators(vars(part), met)
    elif callable(part) and type(part).__module__.startswith("optuna."):
        # Strategies of Optuna's genetic samplers, which can be called.
        yield from _generators(vars(part), met)
