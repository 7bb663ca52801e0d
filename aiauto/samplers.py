"""Samplers and pruners on their way to the workers and back.

On the wire each is JSON that a person can read: ``{"cls": "TPESampler", "kwargs": {...}}``. Where
that does not say everything (a seed that was consumed, a function, a class of the user's own), the
object itself travels beside it, pickled, and is what the worker takes. The server only keeps the
text; only workers and the user's own program load it.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import cloudpickle
import optuna

from aiauto import objective as objectives
from aiauto.errors import ArgumentTypeError, ArgumentValueError

if TYPE_CHECKING:
    from types import ModuleType

PartT = TypeVar("PartT", optuna.samplers.BaseSampler, optuna.pruners.BasePruner)

# What a constructor argument may be to stand in JSON as it is.
PLAIN = (str, int, float, bool, type(None))
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


def load_sampler(text: str, *, worker_ordinal: int = 0) -> optuna.samplers.BaseSampler | None:
    """Make a sampler from text.

    Args:
        text: As `sampler_to_json` writes it.
        worker_ordinal: How many workers the study had before. The first takes the sampler exactly
            as it was given, so that one worker does what Optuna itself would do. Every other gives
            it a random stream of its own, lest two draw the same parameters.

    Returns:
        The sampler, None for Optuna's default.

    Raises:
        ArgumentValueError: It can't be made here.
    """
    if not text:
        return None  # Optuna's default has no seed, so that every worker has its own stream
    sampler = _load(text, "sampler", optuna.samplers.BaseSampler, optuna.samplers)
    if worker_ordinal > 0:
        sampler.reseed_rng()
    return sampler


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
    return _load(text, "pruner", optuna.pruners.BasePruner, optuna.pruners)


def _to_json(part: object, argument: str, base: type[Any], module: ModuleType) -> str:
    if part is None:
        return ""
    if isinstance(part, Mapping):
        spec = _checked_spec(cast("Mapping[object, object]", part), argument, base, module)
    elif isinstance(part, base):
        spec = _spec(part, argument)
    else:
        message = (
            f"{argument} must be an Optuna {argument}, a dict of the form "
            f"{{'cls': ..., 'kwargs': ...}}, or None, not {type(part).__name__}."
        )
        raise ArgumentTypeError(message, argument=argument)
    return json.dumps(spec, sort_keys=True, separators=(",", ":"))


def _checked_spec(
    given: Mapping[object, object], argument: str, base: type[Any], module: ModuleType
) -> dict[str, Any]:
    spec: dict[str, Any] = {"cls": given.get("cls"), "kwargs": given.get("kwargs") or {}}
    if set(given) - {"cls", "kwargs"} or not isinstance(spec["kwargs"], Mapping):
        message = f"{argument} as a dict must be {{'cls': name, 'kwargs': {{...}}}}."
        raise ArgumentValueError(message, argument=argument)
    try:
        json.dumps(spec, sort_keys=True)
    except (TypeError, ValueError) as error:
        message = f"{argument} holds what JSON can't ({error}): pass the {argument} itself instead."
        raise ArgumentValueError(message, argument=argument) from error
    _build(spec, argument, base, module)
    return spec


def _spec(part: object, argument: str) -> dict[str, Any]:
    """Describe an object, and add the object itself where the description does not say all."""
    cls = type(part)
    spec: dict[str, Any] = {"cls": cls.__name__, "kwargs": _readable_arguments(part)}
    with objectives.by_value():
        try:
            data = cloudpickle.dumps(part)
        except Exception as error:
            message = f"{argument} can't travel to the workers: {error}"
            raise ArgumentValueError(message, argument=argument) from error
        if not cls.__module__.startswith("optuna.") or not _says_all(spec, part, data):
            spec["pickled"] = base64.b64encode(data).decode()
    return spec


def _says_all(spec: dict[str, Any], part: object, data: bytes) -> bool:
    base, module = _kind_of(part)
    try:
        # Equal objects are written equally, nearly always; where not, the object travels.
        return cloudpickle.dumps(_build(spec, "", base, module)) == data
    except Exception:  # noqa: BLE001 - whatever a constructor raises: the description is no use
        return False


def _kind_of(part: object) -> tuple[type[Any], ModuleType]:
    if isinstance(part, optuna.samplers.BaseSampler):
        return optuna.samplers.BaseSampler, optuna.samplers
    return optuna.pruners.BasePruner, optuna.pruners


def _readable_arguments(part: object) -> dict[str, Any]:
    """The arguments of an object's constructor that JSON can carry and that are not the default.

    Optuna's classes keep them under their names with an underscore in front.
    """
    readable: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(part)).parameters.items():
        value = getattr(part, f"_{name}", MISSING)
        if isinstance(value, (optuna.samplers.BaseSampler, optuna.pruners.BasePruner)):
            readable[name] = {"cls": type(value).__name__, "kwargs": _readable_arguments(value)}
        elif isinstance(value, PLAIN) and value != parameter.default:
            readable[name] = value
    return readable


def _load(text: str, argument: str, base: type[PartT], module: ModuleType) -> PartT:
    try:
        spec: Any = json.loads(text)
        pickled = spec.get("pickled")
        part = (
            cloudpickle.loads(base64.b64decode(pickled))
            if pickled
            else _build(spec, argument, base, module)
        )
    except (ValueError, AttributeError, binascii.Error) as error:
        message = f"{argument} of the study can't be read: {error}"
        raise ArgumentValueError(message, argument=argument) from error
    if not isinstance(part, base):
        message = f"{argument} of the study is a {type(part).__name__}."
        raise ArgumentValueError(message, argument=argument)
    return part


def _build(spec: Any, argument: str, base: type[Any], module: ModuleType) -> Any:  # noqa: ANN401 - JSON
    """Make an object of one of Optuna's classes from its description."""
    name = spec.get("cls") if isinstance(spec, Mapping) else None
    cls = getattr(module, name, None) if isinstance(name, str) else None
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        known = sorted(
            one
            for one in dir(module)
            if inspect.isclass(c := getattr(module, one)) and issubclass(c, base)
        )
        message = f"{argument}: Optuna has no {name!r}. It has {', '.join(known)}."
        raise ArgumentValueError(message, argument=argument)
    kwargs = {key: _nested(value, argument) for key, value in (spec.get("kwargs") or {}).items()}
    try:
        with warnings.catch_warnings():
            # That an argument is experimental was told where the user wrote it.
            warnings.simplefilter("ignore")
            return cls(**kwargs)
    except (TypeError, ValueError) as error:
        message = f"{argument}: {name} can't be made from {kwargs}: {error}"
        raise ArgumentValueError(message, argument=argument) from error


def _nested(value: Any, argument: str) -> Any:  # noqa: ANN401 - JSON
    if not (isinstance(value, Mapping) and "cls" in value):
        return value
    if hasattr(optuna.pruners, str(value["cls"])):
        return _build(value, argument, optuna.pruners.BasePruner, optuna.pruners)
    return _build(value, argument, optuna.samplers.BaseSampler, optuna.samplers)
