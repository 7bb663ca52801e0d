"""The state that a journal leads to, as a shorter journal that leads to the same.

A trial that was created, given parameters, reports and attributes, and ended is many entries in a
journal, and one here. What is left is replayed by the same rules as ever, those of
`optuna.storages.JournalStorage`, so that nobody needs to know where entries came from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from optuna.distributions import check_distribution_compatibility, json_to_distribution
from optuna.trial import TrialState

from aiauto.server.journal.entries import MAX_KEPT_CHARACTERS, Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aiauto.server.journal.entries import Entry

# Nobody takes an entry without a worker for their own.
NOBODY = ""
# Of a trial in one entry, which must fit into a message. All that came as one entry do, though of
# each of its characters JSON may have made twelve.
MAX_CHARACTERS = 16 * 1024 * 1024


@dataclass
class _Study:
    """A study, deleted ones included: their ids are not given again.

    Attributes:
        name: Its name.
        directions: Its directions, as numbers.
        user_attrs: What its user has set.
        system_attrs: What Optuna has set.
        first: For each parameter the first of its trials that has it, and the distribution there,
            which those of later trials must be compatible with.
        is_deleted: Whether it is gone.
    """

    name: str
    directions: list[int]
    user_attrs: dict[str, Any] = field(default_factory=dict[str, Any])
    system_attrs: dict[str, Any] = field(default_factory=dict[str, Any])
    first: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    is_deleted: bool = False


class State:
    """Studies and trials of one workspace, folded from entries."""

    def __init__(self) -> None:
        self._studies: list[_Study] = []
        # Each as the entry that would create it as it is.
        self._trials: list[Entry] = []
        self._apply: dict[int, Callable[[Entry], None]] = {
            Operation.CREATE_STUDY: self._create_study,
            Operation.DELETE_STUDY: self._delete_study,
            Operation.SET_STUDY_USER_ATTR: self._set_study_attribute,
            Operation.SET_STUDY_SYSTEM_ATTR: self._set_study_attribute,
            Operation.CREATE_TRIAL: self._create_trial,
            Operation.SET_TRIAL_PARAM: self._set_parameter,
            Operation.SET_TRIAL_STATE_VALUES: self._set_state,
            Operation.SET_TRIAL_INTERMEDIATE_VALUE: self._set_intermediate_value,
            Operation.SET_TRIAL_USER_ATTR: self._set_trial_attribute,
            Operation.SET_TRIAL_SYSTEM_ATTR: self._set_trial_attribute,
        }

    def apply(self, entries: Iterable[Entry]) -> None:
        """Take entries, checked as `entries.check` does."""
        for entry in entries:
            self._apply[entry["op_code"]](entry)

    def entries(self) -> Iterator[str]:
        """The shorter journal, an entry at a time, as JSON."""
        names = {study.name for study in self._studies if not study.is_deleted}
        for number, study in enumerate(self._studies):
            name = study.name
            # One that is gone may have had the name that another one has now.
            while study.is_deleted and name in names:
                name += "/deleted"
            names.add(name)
            yield _json(Operation.CREATE_STUDY, study_name=name, directions=study.directions)
            if study.is_deleted:
                continue
            for key, value in study.user_attrs.items():
                attribute = {key: value}
                yield _json(Operation.SET_STUDY_USER_ATTR, study_id=number, user_attr=attribute)
            for key, value in study.system_attrs.items():
                attribute = {key: value}
                yield _json(Operation.SET_STUDY_SYSTEM_ATTR, study_id=number, system_attr=attribute)
        for trial_id, trial in enumerate(self._trials):
            study_id: int = trial["study_id"]
            if self._studies[study_id].is_deleted:
                yield bare_trial(study_id)
            else:
                yield from _dumped(trial_id, trial)
        for number, study in enumerate(self._studies):
            if study.is_deleted:
                yield _json(Operation.DELETE_STUDY, study_id=number)

    def _moved(self, trial_id: int, before: TrialState | None) -> None:
        """Called when a trial has another state than before; than None where it is new."""

    def _study(self, study_id: int) -> _Study | None:
        if study_id >= len(self._studies) or self._studies[study_id].is_deleted:
            return None
        return self._studies[study_id]

    def _running(self, entry: Entry) -> Entry | None:
        """The trial that an entry speaks of, where it may still change."""
        trial_id: int = entry["trial_id"]
        if trial_id >= len(self._trials):
            return None
        trial = self._trials[trial_id]
        return None if TrialState(trial["state"]).is_finished() else trial

    def _create_study(self, entry: Entry) -> None:
        name: str = entry["study_name"]
        if not any(one.name == name for one in self._studies if not one.is_deleted):
            self._studies.append(_Study(name, entry["directions"]))

    def _delete_study(self, entry: Entry) -> None:
        if (study := self._study(entry["study_id"])) is not None:
            study.is_deleted = True

    def _set_study_attribute(self, entry: Entry) -> None:
        if (study := self._study(entry["study_id"])) is not None:
            study.user_attrs.update(entry.get("user_attr", {}))
            study.system_attrs.update(entry.get("system_attr", {}))

    def _create_trial(self, entry: Entry) -> None:
        study = self._study(entry["study_id"])
        if study is None:
            return
        trial: Entry = {
            "op_code": int(Operation.CREATE_TRIAL),
            "worker_id": NOBODY,
            "study_id": entry["study_id"],
            "state": entry.get("state", int(TrialState.RUNNING)),
            **{
                key: value
                for key, value in entry.items()
                if key not in {"op_code", "worker_id", "study_id", "state"}
            },
        }
        for key in ("distributions", "params", "user_attrs", "system_attrs", "intermediate_values"):
            trial[key] = dict(entry.get(key, {}))
        for name in trial["params"]:
            study.first.setdefault(name, (len(self._trials), trial["distributions"][name]))
        self._trials.append(trial)
        self._moved(len(self._trials) - 1, None)

    def _set_parameter(self, entry: Entry) -> None:
        if (trial := self._running(entry)) is None:
            return
        name: str = entry["param_name"]
        this: tuple[int, str] = entry["trial_id"], entry["distribution"]
        study_id: int = trial["study_id"]
        study = self._studies[study_id]
        first = study.first.get(name, this)
        if not _are_compatible(first[1], this[1]):
            return
        study.first[name] = min(first, this, key=lambda one: one[0])
        trial["distributions"][name] = entry["distribution"]
        trial["params"][name] = entry["param_value_internal"]

    def _set_state(self, entry: Entry) -> None:
        trial = self._running(entry)
        state = TrialState(entry["state"])
        if trial is None or state == trial["state"] == TrialState.RUNNING:
            return
        before, trial["state"] = TrialState(trial["state"]), entry["state"]
        if state == TrialState.RUNNING:
            trial["datetime_start"] = entry["datetime_start"]
        if state.is_finished():
            trial["datetime_complete"] = entry["datetime_complete"]
        if entry.get("values") is not None:
            trial["value"], trial["values"] = None, entry["values"]
        self._moved(entry["trial_id"], before)

    def _set_intermediate_value(self, entry: Entry) -> None:
        if (trial := self._running(entry)) is not None:
            trial["intermediate_values"][str(entry["step"])] = entry["intermediate_value"]

    def _set_trial_attribute(self, entry: Entry) -> None:
        if (trial := self._running(entry)) is not None:
            trial["user_attrs"].update(entry.get("user_attr", {}))
            trial["system_attrs"].update(entry.get("system_attr", {}))


def dump(entry: Entry) -> str:
    """An entry as it travels."""
    return json.dumps(entry, separators=(",", ":"))


def _dumped(trial_id: int, trial: Entry) -> Iterator[str]:
    """A trial in one entry, or in several where that would be too long."""
    if len(text := dump(trial)) <= MAX_CHARACTERS:
        yield text
        return
    state = TrialState(trial["state"])
    # One that has ended takes nothing more.
    begun = TrialState.RUNNING if state.is_finished() else state
    taken_out: Entry = {"user_attrs": {}, "system_attrs": {}, "intermediate_values": {}}
    yield dump({**trial, "state": int(begun), **taken_out})
    for key, value in trial["user_attrs"].items():
        attribute = {key: value}
        yield _json(Operation.SET_TRIAL_USER_ATTR, trial_id=trial_id, user_attr=attribute)
    for key, value in trial["system_attrs"].items():
        attribute = {key: value}
        yield _json(Operation.SET_TRIAL_SYSTEM_ATTR, trial_id=trial_id, system_attr=attribute)
    for step, value in trial["intermediate_values"].items():
        report = {"step": int(step), "intermediate_value": value}
        yield _json(Operation.SET_TRIAL_INTERMEDIATE_VALUE, trial_id=trial_id, **report)
    if state.is_finished():
        end = {"state": int(state), "values": None, "datetime_complete": trial["datetime_complete"]}
        yield _json(Operation.SET_TRIAL_STATE_VALUES, trial_id=trial_id, **end)


def bare_trial(study_id: int) -> str:
    """An entry for a trial of which nothing is wanted but that there is one."""
    # It can't begin, so nobody will enqueue it, run it or end it.
    state = int(TrialState.FAIL)
    return _json(Operation.CREATE_TRIAL, study_id=study_id, state=state, datetime_start=None)


def operation_prefix(operation: Operation) -> str:
    """What the entries of an operation begin with, here; its study comes next, if it has one."""
    return _json(operation)[:-1] + ","


def _json(operation: Operation, **fields: Any) -> str:  # noqa: ANN401 - JSON
    return dump({"op_code": int(operation), "worker_id": NOBODY, **fields})


def _are_compatible(first: str, second: str) -> bool:
    """Whether a parameter may have both distributions, as Optuna sees it."""
    if first == second:
        return True
    is_kept = len(first) + len(second) <= MAX_KEPT_CHARACTERS
    return (_compared_once if is_kept else _compared)(first, second)


def _compared(first: str, second: str) -> bool:
    try:
        check_distribution_compatibility(json_to_distribution(first), json_to_distribution(second))
    except ValueError:
        return False
    return True


_compared_once = lru_cache(maxsize=4096)(_compared)
