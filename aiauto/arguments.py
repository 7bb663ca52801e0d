"""Checks what a user passes, before anything runs.

Each function takes what came in, under whatever type, and gives back what goes over the wire. Its
errors name the argument and say what to do.
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from aiauto import requirement_lines
from aiauto.errors import ArgumentTypeError, ArgumentValueError
from aiauto.resources import amount_of, is_kind

EnumT = TypeVar("EnumT", bound=Enum)

MAX_INT32 = 2**31 - 1
STUDY_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
DIRECTIONS = ("minimize", "maximize")
SIZE = re.compile(r"(\d+(?:\.\d+)?)(Mi|Gi)")


def study_name(value: object) -> str:
    """Check the name of a study."""
    if not isinstance(value, str):
        message = f"study_name must be text, not {type(value).__name__}."
        raise ArgumentTypeError(message, argument="study_name")
    if not STUDY_NAME.fullmatch(value):
        message = (
            f"study_name {value!r} can't be used: a name has 1 to 63 letters (a-z, A-Z), digits, "
            "'_', '-' and '.', and begins and ends with a letter or a digit."
        )
        raise ArgumentValueError(message, argument="study_name")
    return value


def directions(direction: object, several: object) -> list[str]:
    """Decide on the directions of a study: one for every value of the objective.

    Args:
        direction: The argument ``direction``; a list in it stands for ``directions``.
        several: The argument ``directions``.
    """
    if direction is not None and several is not None:
        message = (
            "direction and directions were both given: pass direction='minimize' for one objective "
            "or directions=['minimize', 'maximize'] for several."
        )
        raise ArgumentValueError(message, argument="direction")
    name = "direction" if several is None else "directions"
    given = direction if several is None else several
    if given is None:
        return ["minimize"]  # as in Optuna
    if isinstance(given, (list, tuple)):
        each = cast("list[object] | tuple[object, ...]", given)
        if not each:
            message = f"{name} is empty: name a direction for every value of the objective."
            raise ArgumentValueError(message, argument=name)
        return [_direction(one, name) for one in each]
    if name == "directions":
        message = (
            f"directions must be a list such as ['minimize', 'maximize'], not {given!r}: for one "
            "objective pass direction."
        )
        raise ArgumentTypeError(message, argument=name)
    return [_direction(given, name)]


def _direction(value: object, name: str) -> str:
    # optuna.study.StudyDirection is accepted as Optuna accepts it.
    text = value.name.lower() if isinstance(value, Enum) else value
    if not isinstance(text, str):
        message = f"{name} must be 'minimize' or 'maximize', not {type(value).__name__}."
        raise ArgumentTypeError(message, argument=name)
    if text not in DIRECTIONS:
        message = f"{name} is {text!r}: it must be 'minimize' or 'maximize'."
        raise ArgumentValueError(message, argument=name)
    return text


def count(
    value: object, name: str, *, what: str, minimum: int = 1, maximum: int = MAX_INT32
) -> int:
    """Check a number of things."""
    number = _whole(value)
    if number is None:
        message = f"{name} must be a whole number ({what}), not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    if not minimum <= number <= maximum:
        message = (
            f"{name} is {number}: it must be at least {minimum} and at most {maximum} ({what})."
        )
        raise ArgumentValueError(message, argument=name)
    return number


def _whole(value: object) -> int | None:
    # numpy's integers are integers; True is one only to Python.
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        return int(value)
    return None


def flag(value: object, name: str) -> bool:
    """Check a yes or no."""
    if not isinstance(value, bool):
        message = f"{name} must be True or False, not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    return value


def text(value: object, name: str) -> str:
    """Check a text; None stands for an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        message = f"{name} must be text, not {type(value).__name__}."
        raise ArgumentTypeError(message, argument=name)
    return value


def seconds(value: object, name: str, *, maximum: float = math.inf) -> float | None:
    """Check a time limit; None stands for none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"{name} must be a number of seconds, or None for no limit, not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    if not value > 0:
        message = f"{name} is {value}: it must be more than 0 seconds, or None for no limit."
        raise ArgumentValueError(message, argument=name)
    if value == math.inf:
        return None
    if value > maximum:
        message = (
            f"{name} is {value}: it must be at most {maximum:g} seconds, or None for no limit."
        )
        raise ArgumentValueError(message, argument=name)
    return float(value)


def option(value: object, kind: type[EnumT], name: str) -> EnumT:
    """Check a choice: a member of an enum, or its name as text."""
    if isinstance(value, kind):
        return value
    choices = ", ".join(kind.__members__)
    if not isinstance(value, str):
        message = f"{name} must be one of {choices}, not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    if value not in kind.__members__:
        message = f"{name} is {value!r}: it must be one of {choices}."
        raise ArgumentValueError(message, argument=name)
    return kind[value]


def trial(value: object, name: str) -> int | str:
    """Check what names a trial: its number in the study, or its name."""
    if isinstance(value, str):
        return value
    number = _whole(value)
    if number is None:
        message = f"{name} must be the number of a trial, or its name, not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    return number


def trial_number(value: object, name: str) -> int | None:
    """Check the number of a trial; None stands for every trial."""
    if value is None:
        return None
    return count(value, name, what="the number of a trial", minimum=0)


def parameters(value: object, name: str) -> dict[str, Any]:
    """Check parameters by their name; a trial stands for its own."""
    given: object = getattr(value, "params", value)
    if not isinstance(given, Mapping):
        message = (
            f"{name} must be a dict of values by the name of the parameter, or a trial, not "
            f"{type(value).__name__}."
        )
        raise ArgumentTypeError(message, argument=name)
    return dict(cast("Mapping[str, Any]", given))


def objective(value: object) -> Callable[..., object]:
    """Check that an objective can be called with a trial, and may return a value."""
    if not callable(value):
        message = (
            f"objective must be a function that takes a trial, not {value!r}: pass the function "
            "itself, without calling it."
        )
        raise ArgumentTypeError(message, argument="objective")
    # What a call of an object runs is a method of its class.
    for function in (value, getattr(type(value), "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(function):
            message = (
                "objective is a coroutine function, and a call of one returns no value yet: define "
                "it with def, and use asyncio.run() within it."
            )
            raise ArgumentTypeError(message, argument="objective")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            message = "objective is a generator function: let it return its value, and not yield."
            raise ArgumentTypeError(message, argument="objective")
    _check_takes_a_trial(value)
    return value


def _check_takes_a_trial(function: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # of what is written in C it may not be known
    try:
        signature.bind(None)
    except TypeError as error:
        message = (
            f"objective must take one argument, the trial ({error}): for others use "
            "functools.partial or a lambda."
        )
        raise ArgumentTypeError(message, argument="objective") from None


def requirements(file: object, packages: object) -> str:
    """Gather what the workers install first, in the format of requirements.txt."""
    if file is not None and packages is not None:
        message = (
            "requirements_file and requirements_list were both given: pass the path of a file, or "
            "a list of packages."
        )
        raise ArgumentValueError(message, argument="requirements_file")
    if file is not None:
        return _requirements_file(file)
    if packages is None:
        return ""
    name = "requirements_list"
    if not isinstance(packages, (list, tuple)):
        message = f"{name} must be a list of packages such as ['torch'], not {packages!r}."
        raise ArgumentTypeError(message, argument=name)
    lines: list[str] = []
    for package in cast("list[object] | tuple[object, ...]", packages):
        if not isinstance(package, str):
            message = f"{name} holds {package!r}: every package must be text, such as 'torch>=2'."
            raise ArgumentTypeError(message, argument=name)
        if not package.strip() or "\n" in package.strip():
            message = f"{name} holds {package!r}: every package must be one line, such as 'torch'."
            raise ArgumentValueError(message, argument=name)
        requirement_lines.check(package.strip(), name)
        lines.append(package.strip())
    return "".join(f"{line}\n" for line in lines)


def _requirements_file(file: object) -> str:
    name = "requirements_file"
    if not isinstance(file, (str, os.PathLike)):
        message = f"{name} must be a path, not {file!r}: for a list pass requirements_list."
        raise ArgumentTypeError(message, argument=name)
    return requirement_lines.read(Path(cast("str | os.PathLike[str]", file)))


def resources(
    requests: object, limits: object, default: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Decide on what a worker asks for and what it may use at most.

    Where only one of the two is given, it counts for both.
    """
    asked = None if requests is None else _resources(requests, "resources_requests")
    allowed = None if limits is None else _resources(limits, "resources_limits")
    asked, allowed = asked or allowed or dict(default), allowed or asked or dict(default)
    for kind in asked.keys() & allowed.keys():
        wanted, most = amount_of(asked[kind]), amount_of(allowed[kind])
        if wanted is not None and most is not None and wanted > most:
            message = (
                f"resources_requests asks for {kind} {asked[kind]!r}, and resources_limits allows "
                f"{allowed[kind]!r}: a limit can't be less than the request."
            )
            raise ArgumentValueError(message, argument="resources_requests")
    return asked, allowed


def _resources(value: object, name: str) -> dict[str, str]:
    example = "{'cpu': '500m', 'memory': '1Gi'}"
    if not isinstance(value, Mapping):
        message = f"{name} must be a dict such as {example}, not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    checked: dict[str, str] = {}
    for kind, amount in cast("Mapping[object, object]", value).items():
        if not (isinstance(kind, str) and isinstance(amount, str)):
            message = f"{name} holds {kind!r}: {amount!r}: both must be text, as in {example}."
            raise ArgumentTypeError(message, argument=name)
        if not is_kind(kind):
            message = (
                f"{name} holds {kind!r}, and no resource has that name: there are 'cpu', 'memory', "
                "'ephemeral-storage', and those of devices, such as 'nvidia.com/gpu'."
            )
            raise ArgumentValueError(message, argument=name)
        if not amount_of(amount):
            message = (
                f"{name} holds {kind!r}: {amount!r}: it must be a positive Kubernetes quantity, as "
                f"in {example}."
            )
            raise ArgumentValueError(message, argument=name)
        checked[kind] = amount
    return checked


def size(value: object, name: str, *, maximum_gi: float) -> str:
    """Check a size such as ``500Mi``."""
    if not isinstance(value, str):
        message = f"{name} must be text such as '500Mi' or '2Gi', not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    match = SIZE.fullmatch(value)
    amount = 0.0 if match is None else float(match[1]) / (1024 if match[2] == "Mi" else 1)
    if not 0 < amount <= maximum_gi:
        message = (
            f"{name} is {value!r}: it must be a size in Mi or Gi, such as '500Mi', of at most "
            f"{maximum_gi:g}Gi."
        )
        raise ArgumentValueError(message, argument=name)
    return value


def folder(value: object, name: str) -> str:
    """Check an absolute path on a worker."""
    if not isinstance(value, str):
        message = f"{name} must be text such as '/mnt/cache', not {value!r}."
        raise ArgumentTypeError(message, argument=name)
    if not value.startswith("/") or "\0" in value or ".." in value.split("/"):
        message = f"{name} is {value!r}: it must be an absolute path such as '/mnt/cache'."
        raise ArgumentValueError(message, argument=name)
    return value


def gpu_models(value: object, n_trials: int) -> dict[str, int]:
    """Decide how many trials go to which GPU model; the models are named as the cluster does."""
    name = "gpu_model"
    if value is None:
        return {}
    if isinstance(value, str):
        value = {value: n_trials}
    if not isinstance(value, Mapping):
        message = (
            f"{name} must be the name of a model, or a dict of trials by model, not {value!r}."
        )
        raise ArgumentTypeError(message, argument=name)
    shares: dict[str, int] = {}
    for model, trials in cast("Mapping[object, object]", value).items():
        if not isinstance(model, str) or not model:
            message = f"{name} holds {model!r}: a model is named by text."
            raise ArgumentTypeError(message, argument=name)
        # Kubernetes' names have no underscores; people write them.
        share = count(trials, name, what=f"trials for {model}")
        shares[model.replace("_", "-")] = share
    if sum(shares.values()) > n_trials:
        message = f"{name} gives out {sum(shares.values())} trials, and n_trials is {n_trials}."
        raise ArgumentValueError(message, argument=name)
    return shares
