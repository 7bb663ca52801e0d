"""Checks journal entries on arrival.

Every client replays every entry, so one that can't be replayed would stop them all. The entries are
those of `optuna.storages.JournalStorage`; what its replay takes for granted is checked here.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from optuna.distributions import CategoricalDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from aiauto.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.distributions import BaseDistribution

MAX_ENTRY_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NAME_LENGTH = 1024
# Distributions are read once for many entries. A thousand of longer ones would fill the memory.
MAX_KEPT_CHARACTERS = 16 * 1024
# Ids and steps of 64 bits and more would stop programs that keep them in columns.
MAX_INTEGER = 2**53
# Later versions of Python read more than 3.10 does, and a client with that must replay it, too.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{3}([0-9]{3})?)?"
    r"([+-][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{6})?)?)?"
)
# Of others not every system knows the local time: Windows knows none before 1970, and asks for that
# of the day before, too.
_YEARS = range(1971, 3000)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKET = re.compile(r"[\[\]{}]")
# Python reads no whole number of more digits than this, but for the first releases of 3.10.
MAX_DIGITS = 4300
_LONG_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{MAX_DIGITS + 1}}}")
_STEP = re.compile(r"-?[0-9]{1,16}")

Entry = dict[str, Any]

_STATES: Final = {int(state): state for state in TrialState}


class Operation(IntEnum):
    """What an entry does: `op_code` of Optuna's journal."""

    CREATE_STUDY = 0
    DELETE_STUDY = 1
    SET_STUDY_USER_ATTR = 2
    SET_STUDY_SYSTEM_ATTR = 3
    CREATE_TRIAL = 4
    SET_TRIAL_PARAM = 5
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_INTERMEDIATE_VALUE = 7
    SET_TRIAL_USER_ATTR = 8
    SET_TRIAL_SYSTEM_ATTR = 9


def check(text: str) -> Entry:
    """Read an entry and make sure that every client can replay it.

    Args:
        text: The entry as JSON.

    Returns:
        The entry.

    Raises:
        InvalidArgumentError: It can't be replayed; the message says what is wrong.
    """
    if len(text) > MAX_ENTRY_BYTES:
        raise _refused(f"it is longer than {MAX_ENTRY_BYTES} characters")
    try:
        entry: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _refused("it is not JSON") from None
    if not isinstance(entry, dict):
        raise _refused("it is not a JSON object")
    fields: Entry = entry  # pyright: ignore[reportUnknownVariableType]
    if "\n" in text or "\r" in text:
        raise _refused("it has a line break outside of text")
    if problem := _beyond_some(text):
        raise _refused(problem)
    code = fields.get("op_code")
    if type(code) is not int or code not in _CHECKS:
        raise _refused(f"op_code is {code!r}, which is no operation of Optuna's journal")
    _text(fields, "worker_id")
    _CHECKS[code](fields)
    return fields


def _refused(reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"A journal entry can't be replayed: {reason}.")


def _beyond_some(text: str) -> str:
    """What of JSON not everybody can read; empty where there is no such thing.

    What is read does not tell: of a key that comes twice the first value is lost.
    """
    # Most entries are shorter, and don't have as many brackets in all.
    if len(text) <= MAX_DIGITS and text.count("{") + text.count("[") <= MAX_DEPTH:
        return ""
    bare = _STRING.sub("", text)
    if _LONG_NUMBER.search(bare) is not None:
        return f"it has a number of more than {MAX_DIGITS} digits"
    steps = (1 if one in "{[" else -1 for one in _BRACKET.findall(bare))
    if max(accumulate(steps), default=0) > MAX_DEPTH:
        return f"it is nested more than {MAX_DEPTH} deep"
    return ""


def _is_number(value: object) -> bool:
    # The size of an integer that no float holds would be met only by whoever calculates with it.
    return type(value) is float or (type(value) is int and abs(value) <= MAX_INTEGER)


def _is_step(text: str) -> bool:
    return _STEP.fullmatch(text) is not None and abs(int(text)) <= MAX_INTEGER


def _text(entry: Entry, key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or len(value) > MAX_NAME_LENGTH:
        raise _refused(f"{key} must be text of at most {MAX_NAME_LENGTH} characters")
    return value


def _id(entry: Entry, key: str) -> int:
    value = entry.get(key)
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise _refused(f"{key} must be an id")
    return value


def _state(entry: Entry) -> TrialState:
    number = entry.get("state")
    if type(number) is not int or number not in _STATES:
        raise _refused("state is not the number of a trial's state")
    return _STATES[number]


def _time(entry: Entry, key: str, *, optional: bool = False) -> None:
    value = entry.get(key)
    if value is None and optional:
        return
    # Replay turns it into local time, wherever that is.
    if not isinstance(value, str) or _TIME.fullmatch(value) is None or not _is_time(value):
        raise _refused(f"{key} must be a time from 1971 to 2999, as datetime.isoformat() writes it")


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).year in _YEARS
    except ValueError:
        return False


def _values(entry: Entry, key: str) -> None:
    if entry.get(key) is None:
        return
    values = _list(entry, key)
    if not values or not all(map(_is_number, values)):
        raise _refused(f"{key} must be null or a list of numbers")


def _value(entry: Entry) -> None:
    if not _is_number(entry["value"]):
        raise _refused("value must be a number")
    if entry.get("values") is not None:
        raise _refused("it must have value or values, not both")


def _list(entry: Entry, key: str) -> list[Any]:
    value = entry.get(key)
    if not isinstance(value, list):
        raise _refused(f"{key} must be a list")
    return value  # pyright: ignore[reportUnknownVariableType]


def _mapping(entry: Entry, key: str) -> dict[str, Any]:
    value = entry.get(key)
    if not isinstance(value, dict):
        raise _refused(f"{key} must be an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def _optional_mapping(entry: Entry, key: str) -> dict[str, Any]:
    return _mapping(entry, key) if key in entry else {}


def _attribute(entry: Entry, key: str) -> None:
    if len(_mapping(entry, key)) != 1:
        raise _refused(f"{key} must hold one attribute")


def _parsed_distribution(text: str) -> BaseDistribution | None:
    return (_kept_distribution if len(text) <= MAX_KEPT_CHARACTERS else _read_distribution)(text)


def _read_distribution(text: str) -> BaseDistribution | None:
    if _beyond_some(text):
        return None
    try:
        return json_to_distribution(text)
    except Exception:  # noqa: BLE001 - Optuna raises whatever its classes raise
        return None


_kept_distribution = lru_cache(maxsize=1024)(_read_distribution)


def _distribution(text: object) -> BaseDistribution:
    distribution = _parsed_distribution(text) if isinstance(text, str) else None
    if distribution is None:
        raise _refused("a distribution is not one of Optuna's")
    return distribution


def external_value(entry: Entry) -> Any:  # noqa: ANN401 - a parameter is of any type
    """The value that a checked SET_TRIAL_PARAM gives to its parameter, as users know it."""
    return _distribution(entry["distribution"]).to_external_repr(entry["param_value_internal"])


def _parameter(distribution: BaseDistribution, value: object) -> None:
    if not _is_number(value):
        raise _refused("the value of a parameter must be a number")
    if isinstance(distribution, CategoricalDistribution):
        number: Any = value
        if number != number or not 0 <= number < len(distribution.choices):  # noqa: PLR0124 - NaN
            raise _refused("the value of a categorical parameter must be the index of a choice")
    else:
        try:
            distribution.to_external_repr(value)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            raise _refused("the value of a parameter does not fit its distribution") from None


def _check_create_study(entry: Entry) -> None:
    _text(entry, "study_name")
    known = {int(direction) for direction in StudyDirection}
    directions = _list(entry, "directions")
    if not directions or not all(type(one) is int and one in known for one in directions):
        raise _refused("directions must be a list of directions")


def _check_study(entry: Entry) -> None:
    _id(entry, "study_id")


def _check_study_user_attr(entry: Entry) -> None:
    _id(entry, "study_id")
    _attribute(entry, "user_attr")


def _check_study_system_attr(entry: Entry) -> None:
    _id(entry, "study_id")
    _attribute(entry, "system_attr")


def _check_create_trial(entry: Entry) -> None:
    _id(entry, "study_id")
    if "datetime_start" not in entry:
        raise _refused("datetime_start is missing")
    _time(entry, "datetime_start", optional=True)
    if "datetime_complete" in entry:
        _time(entry, "datetime_complete")
    if "state" in entry:
        _state(entry)
    _values(entry, "values")
    if entry.get("value") is not None:
        _value(entry)
    for key in ("user_attrs", "system_attrs"):
        _optional_mapping(entry, key)
    for step, value in _optional_mapping(entry, "intermediate_values").items():
        # The keys of a JSON object are text.
        if not _is_step(step) or not _is_number(value):
            raise _refused("intermediate_values must map steps to numbers")
    texts = _optional_mapping(entry, "distributions")
    distributions = {name: _distribution(text) for name, text in texts.items()}
    for name, value in _optional_mapping(entry, "params").items():
        if name not in distributions:
            raise _refused(f"the parameter {name[:50]!r} has no distribution")
        _parameter(distributions[name], value)


def _check_trial_param(entry: Entry) -> None:
    _id(entry, "trial_id")
    _text(entry, "param_name")
    _parameter(_distribution(entry.get("distribution")), entry.get("param_value_internal"))


def _check_trial_state(entry: Entry) -> None:
    _id(entry, "trial_id")
    state = _state(entry)
    if "values" not in entry:
        raise _refused("values is missing")
    _values(entry, "values")
    if state == TrialState.RUNNING:
        _time(entry, "datetime_start")
    elif state.is_finished():
        _time(entry, "datetime_complete")


def _check_intermediate_value(entry: Entry) -> None:
    _id(entry, "trial_id")
    step = entry.get("step")
    if type(step) is not int or abs(step) > MAX_INTEGER:
        raise _refused("step must be a whole number")
    if not _is_number(entry.get("intermediate_value")):
        raise _refused("intermediate_value must be a number")


def _check_trial_user_attr(entry: Entry) -> None:
    _id(entry, "trial_id")
    _attribute(entry, "user_attr")


def _check_trial_system_attr(entry: Entry) -> None:
    _id(entry, "trial_id")
    _attribute(entry, "system_attr")


_CHECKS: dict[int, Callable[[Entry], None]] = {
    Operation.CREATE_STUDY: _check_create_study,
    Operation.DELETE_STUDY: _check_study,
    Operation.SET_STUDY_USER_ATTR: _check_study_user_attr,
    Operation.SET_STUDY_SYSTEM_ATTR: _check_study_system_attr,
    Operation.CREATE_TRIAL: _check_create_trial,
    Operation.SET_TRIAL_PARAM: _check_trial_param,
    Operation.SET_TRIAL_STATE_VALUES: _check_trial_state,
    Operation.SET_TRIAL_INTERMEDIATE_VALUE: _check_intermediate_value,
    Operation.SET_TRIAL_USER_ATTR: _check_trial_user_attr,
    Operation.SET_TRIAL_SYSTEM_ATTR: _check_trial_system_attr,
}
