"""Samplers and pruners on their way to the workers and back.

On the wire each is JSON that a person can read: ``{"cls": "TPESampler", "kwargs": {"seed": 42}}``.
Where that does not say everything (a function, a class of the user's own, a sampler that has drawn
already), the object itself travels beside it under ``pickled``, and is what the worker takes;
``digest`` then tells whether two are the same. The server only keeps the text; only workers and the
user's own program load it.
"""

from __future__ import annotations

import base64
import inspect
import json
import pickle
import platform
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import optuna

from aiauto import definition, local_code, streams
from aiauto.errors import ArgumentTypeError, ArgumentValueError
from aiauto.exhaustive import ExhaustiveCategoricalSampler

if TYPE_CHECKING:
    from types import ModuleType

# What a constructor argument may be to stand in JSON as it is.
PLAIN = (str, int, float, bool, type(None))
# Classes that are named like those of Optuna.
OURS = {"ExhaustiveCategoricalSampler": ExhaustiveCategoricalSampler}
MISSING = object()


def sampler_to_json(sampler: optuna.samplers.BaseSampler | Mapping[str, object] | None) -> str:
    """Write a sampler as text.

    Args:
        sampler: A sampler of any class; or ``{"cls": name, "kwargs": {...}}`` for one of Optuna's;
            None for Optuna's default.

    Returns:
        JSON, empty for None. Equal samplers give equal text.

    Raises:
        ArgumentTypeError: It is no sampler.
        ArgumentValueError: It can't be written, or its dict names nothing that Optuna has.
    """
    return _to_json(sampler, "sampler", optuna.samplers.BaseSampler, optuna.samplers)


def pruner_to_json(pruner: optuna.pruners.BasePruner | Mapping[str, object] | None) -> str:
    """Write a pruner as text.

    Args:
        pruner: A pruner of any class; or ``{"cls": name, "kwargs": {...}}`` for one of Optuna's;
            None for Optuna's default.

    Returns:
        JSON, empty for None. Equal pruners give equal text.

    Raises:
        ArgumentTypeError: It is no pruner.
        ArgumentValueError: It can't be written, or its dict names nothing that Optuna has.
    """
    return _to_json(pruner, "pruner", optuna.pruners.BasePruner, optuna.pruners)


def load_sampler(
    text: str, *, worker_ordinal: int | None = None
) -> optuna.samplers.BaseSampler | None:
    """Make a sampler from text.

    Args:
        text: As `sampler_to_json` writes it.
        worker_ordinal: For a worker: how many workers the study had before. The first takes the
            sampler exactly as it was given, so that one worker does what Optuna itself would do.
            Every other one gets a random stream of its own, lest two draw the same parameters, and
            so does the user's own program, which is no worker.

    Returns:
        The sampler, None for Optuna's default.

    Raises:
        ArgumentValueError: It can't be made here.
    """
    if not text:
        return None  # Optuna's default has no seed, so that every worker has its own stream
    sampler: optuna.samplers.BaseSampler = _load(
        text, "sampler", optuna.samplers.BaseSampler, optuna.samplers
    )
    if worker_ordinal != 0:
        streams.give_stream(sampler, streams.LOCAL if worker_ordinal is None else worker_ordinal)
    return streams.share_sequence(sampler)


def load_pruner(text: str) -> optuna.pruners.BasePruner | None:
    """Make a pruner from text.

    Args:
        text: As `pruner_to_json` writes it.

    Returns:
        The pruner, None for Optuna's default.

    Raises:
        ArgumentValueError: It can't be made here.
    """
    if not text:
        return None
    pruner: optuna.pruners.BasePruner = _load(
        text, "pruner", optuna.pruners.BasePruner, optuna.pruners
    )
    return pruner


def _to_json(part: object, argument: str, base: type[Any], module: ModuleType) -> str:
    if part is None:
        return ""
    if isinstance(part, Mapping):
        # A short way to write the object: the same definition gives the same text either way.
        spec = cast("Mapping[object, object]", part)
        _check_form(spec, argument)
        part = _build(spec, argument, base, module)
    if not isinstance(part, base):
        message = (
            f"{argument} must be an Optuna {argument}, a dict of the form "
            f"{{'cls': ..., 'kwargs': ...}}, or None, not {type(part).__name__}"
            f"{', a class: add () to make one' if isinstance(part, type) else ''}."
        )
        raise ArgumentTypeError(message, argument=argument)
    return json.dumps(
        _spec(part, argument, base, module), sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def _check_form(spec: Mapping[object, object], argument: str) -> None:
    right = isinstance(spec.get("cls"), str) and isinstance(spec.get("kwargs") or {}, Mapping)
    if not right or set(spec) - {"cls", "kwargs"}:
        message = f"{argument} as a dict must be {{'cls': name, 'kwargs': {{...}}}}, not {spec!r}."
        raise ArgumentValueError(message, argument=argument)


def _spec(part: object, argument: str, base: type[Any], module: ModuleType) -> dict[str, Any]:
    """Describe an object, and add the object itself where the description does not say all."""
    spec: dict[str, Any] = {"cls": type(part).__name__, "kwargs": _readable_arguments(part)}
    kwargs: dict[str, Any] = spec["kwargs"]

    def says_all(arguments: dict[str, Any]) -> bool:
        if _class_named(type(part).__name__, base, module) is not type(part):
            return False
        try:
            again = _build({**spec, "kwargs": arguments}, argument, base, module)
        except ArgumentValueError:
            return False
        return definition.digest(_without_drawn_seed(again)) == wanted

    wanted = definition.digest(_without_drawn_seed(part))
    if says_all(kwargs):
        # Constructors keep some arguments in another way than they were given.
        for name in list(kwargs):
            if says_all(fewer := {key: one for key, one in kwargs.items() if key != name}):
                kwargs = fewer
        return {**spec, "kwargs": kwargs}
    try:
        data = local_code.dumps(part)
    except Exception as error:
        message = f"{argument} can't travel to the workers: it can't be pickled ({error})."
        raise ArgumentValueError(message, argument=argument) from error
    spec["digest"] = wanted
    spec["pickled"] = {
        "data": base64.b64encode(data).decode(),
        "optuna": optuna.__version__,
        "python": platform.python_version(),
    }
    return spec


def _without_drawn_seed(part: object) -> object:
    """What to compare: a QMCSampler without a seed draws one for itself, each time another."""
    if type(part) is not optuna.samplers.QMCSampler:
        return part
    return {name: one for name, one in vars(part).items() if name != "_seed" or _is_given(one)}


def _is_given(seed: object) -> bool:
    return not isinstance(seed, int) or seed < streams.MAX_SEED


def _readable_arguments(part: object) -> dict[str, Any]:
    """The arguments of an object's constructor that JSON can carry and that are not the default.

    Optuna's classes keep them under their names with an underscore in front, but for the seed.
    """
    readable: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(part)).parameters.items():
        value = getattr(part, f"_{name}", MISSING)
        if name == "seed" and (value is MISSING or not _is_given(value)):
            value = streams.seed_of(part)
        if isinstance(value, (optuna.samplers.BaseSampler, optuna.pruners.BasePruner)):
            inner = {"cls": type(value).__name__, "kwargs": _readable_arguments(value)}
            # Made by the constructor itself, where it was given none.
            if name != "independent_sampler" or inner["cls"] != "RandomSampler":
                readable[name] = inner
        elif value is not MISSING and _is_readable(value) and value != parameter.default:
            readable[name] = value
    return readable


def _is_readable(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_readable, cast("list[object]", value)))
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return all(isinstance(key, str) and _is_readable(one) for key, one in pairs)
    return type(value) in PLAIN and value not in {float("inf"), float("-inf")} and value == value  # noqa: PLR0124 - NaN


def _load(text: str, argument: str, base: type[Any], module: ModuleType) -> Any:  # noqa: ANN401
    spec: Any = None
    try:
        spec = json.loads(text)
        if "pickled" in spec:
            part = pickle.loads(base64.b64decode(spec["pickled"]["data"]))  # noqa: S301 - their own
        else:
            part = _build(spec, argument, base, module)
    except ArgumentValueError:
        raise
    except Exception as error:
        message = f"{argument} of the study can't be loaded: {error!r}.{_origin(spec)}"
        raise ArgumentValueError(message, argument=argument) from error
    if not isinstance(part, base):
        message = f"{argument} of the study is a {type(part).__name__}."
        raise ArgumentValueError(message, argument=argument)
    return part


def _origin(spec: object) -> str:
    """Where a pickled part came from, and where it is now."""
    if not isinstance(spec, dict):
        return ""
    pickled = cast("dict[str, Any]", spec).get("pickled")
    if not isinstance(pickled, dict):
        return ""
    sent = cast("dict[str, object]", pickled)
    return (
        f" It was sent from Python {sent.get('python')} with Optuna {sent.get('optuna')}; here are "
        f"Python {platform.python_version()} and Optuna {optuna.__version__}."
    )


def _build(spec: Mapping[Any, Any], argument: str, base: type[Any], module: ModuleType) -> Any:  # noqa: ANN401
    """Make an object of one of Optuna's classes from its description."""
    name: object = spec.get("cls")
    cls = _class_named(name, base, module)
    if cls is None:
        classes: list[tuple[str, Any]] = [
            *inspect.getmembers(module, inspect.isclass),
            *OURS.items(),
        ]
        known = ", ".join(one for one, c in classes if issubclass(c, base) and c is not base)
        message = f"{argument}: Optuna has no {name!r}. There are {known}."
        raise ArgumentValueError(message, argument=argument)
    given: Mapping[Any, Any] = spec.get("kwargs") or {}
    kwargs = {key: _nested(value, argument) for key, value in given.items()}
    try:
        with warnings.catch_warnings():
            # That an argument is experimental was told where the user wrote it.
            warnings.simplefilter("ignore")
            return cls(**kwargs)
    except (TypeError, ValueError) as error:
        message = f"{argument}: {name} can't be made from {kwargs}: {error}"
        raise ArgumentValueError(message, argument=argument) from error


def _class_named(name: object, base: type[Any], module: ModuleType) -> type[Any] | None:
    if not isinstance(name, str):
        return None
    found: object = OURS.get(name) or getattr(module, name, None)
    if not isinstance(found, type):
        return None
    cls: type[Any] = found
    return cls if issubclass(cls, base) else None


def _nested(given: object, argument: str) -> object:
    value: Any = given
    if not (isinstance(given, Mapping) and "cls" in value):
        return value
    if hasattr(optuna.pruners, str(value["cls"])):
        return _build(value, argument, optuna.pruners.BasePruner, optuna.pruners)
    return _build(value, argument, optuna.samplers.BaseSampler, optuna.samplers)
