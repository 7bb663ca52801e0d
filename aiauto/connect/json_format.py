"""Messages to JSON and back, by the mapping that Protobuf defines for it.

The message library has such a mapping too. This one tells the caller where in its JSON a mistake
is, takes every form of a number and of base64 that the mapping allows, and works out the fields of
a class once.
"""

# ruff: noqa: ANN401 - type hints of fields, and what they hold, are of any type

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import betterproto2

from aiauto.connect import durations
from aiauto.connect.json_values import Read, Write, no_text, scalar, show
from aiauto.connect.message_fields import Field, Value, fields_of, is_negative_zero, new_message

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JSON_NAMES", "default_json_name", "dump", "load"]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)

JSON_NAMES: Final = "JSON_NAMES"
"""Where the generated module `connect` beside the messages lists names that are not the default."""


def dump(message: betterproto2.Message) -> bytes:
    """Writes a message as JSON.

    Raises:
        ValueError: A field holds a value of a wrong type.
    """
    try:
        found = _write_message(message)
        return json.dumps(found, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, AttributeError) as error:
        name = type(message).__name__
        raise ValueError(f"a field of {name} has a value of a wrong type: {error}") from error


def load(message_type: type[MessageT], data: bytes) -> MessageT:
    """Reads a message. Fields that the message does not have are passed over.

    Raises:
        ValueError: The data is no JSON, or no JSON of this message; the text tells the place.
    """
    try:
        return _read_message(message_type, _parse(data), "")
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _parse(data: bytes) -> object:
    try:
        found: object = json.loads(data)
    except ValueError as error:
        raise ValueError(f"the data is no JSON: {error}") from error
    return found


# ------------------------------------------------------------------------------- messages


@dataclasses.dataclass(frozen=True)
class _Field:
    """A field of a message class.

    Attributes:
        name: Its name in Python.
        json_name: Its name in JSON.
        presence: Whether it tells its default value from none.
        group: The oneof that it belongs to, if any.
    """

    name: str
    json_name: str
    presence: bool
    group: str | None
    write: Write
    read: Read
    takes_null: bool


@cache
def _fields(message_type: type[betterproto2.Message]) -> tuple[_Field, ...]:
    names = _own_names(message_type)
    return tuple(_field(one, names.get(one.name)) for one in fields_of(message_type))


def _own_names(message_type: type[betterproto2.Message]) -> Mapping[str, str]:
    """Names in JSON that the schema sets itself. The message classes do not have them."""
    try:
        module: Any = importlib.import_module(f"{message_type.__module__}.connect")
    except ModuleNotFoundError:
        return {}
    names: Mapping[type, Mapping[str, str]] = getattr(module, JSON_NAMES, {})
    return names.get(message_type, {})


@cache
def _fields_by_json_name(message_type: type[betterproto2.Message]) -> Mapping[str, _Field]:
    # Names as in the schema are understood as well, as the mapping wants it.
    fields = _fields(message_type)
    by_name = {one.name.rstrip("_"): one for one in fields}
    return by_name | {one.json_name: one for one in fields}


def _field(field: Field, json_name: str | None) -> _Field:
    write, read = _value(field.value)
    if field.key is not None:
        write, read = _map(_value(field.key), (write, read))
    elif field.repeated:
        write, read = _list((write, read))
    return _Field(
        name=field.name,
        json_name=json_name or default_json_name(field.name),
        presence=field.presence,
        group=field.group,
        write=write,
        read=read,
        # null is a value of google.protobuf.Value, and the absence of any other.
        takes_null=field.presence and _well_known_name(field.value.hint) == "Value",
    )


def _well_known_name(hint: Any) -> str:
    module = str(getattr(hint, "__module__", ""))
    return str(hint.__name__) if module.endswith("google.protobuf") else ""


def default_json_name(name: str) -> str:
    """lowerCamelCase, as Protobuf makes it of the name of a field.

    Args:
        name: Name of the field in Python.
    """
    return re.sub(r"_+([^_])", lambda found: found[1].upper(), name.rstrip("_"))


def _is_special(message_type: type[betterproto2.Message]) -> bool:
    """Whether the message has a JSON form of its own: a time, a wrapper, `Any` and the like."""
    return message_type.to_dict is not betterproto2.Message.to_dict or _is_mask(message_type)


def _is_mask(message_type: type[betterproto2.Message]) -> bool:
    return _well_known_name(message_type) == "FieldMask"


def _is_duration(message_type: type[betterproto2.Message]) -> bool:
    return _well_known_name(message_type) == "Duration"


def _read_paths(found: object, place: str) -> list[str]:
    if not isinstance(found, str):
        raise ValueError(f"{_at(place)}expected paths in a string, found {show(found)}")  # noqa: TRY004
    paths = found.split(",") if found else []
    return [re.sub("[A-Z]", lambda one: f"_{one[0].lower()}", path) for path in paths]


def _is_wrapper(message_type: type[betterproto2.Message]) -> bool:
    """Whether the message holds one value, and its JSON is that of the value."""
    return _well_known_name(message_type).endswith("Value") and [
        one.name for one in fields_of(message_type)
    ] == ["value"]


def _write_message(message: betterproto2.Message) -> object:
    if _is_special(type(message)):
        if _is_wrapper(type(message)):
            return _fields(type(message))[0].write(vars(message)["value"])
        if _is_mask(type(message)):
            return ",".join(default_json_name(path) for path in vars(message)["paths"])
        if _is_duration(type(message)):
            return durations.to_json(message)
        return message.to_dict()
    found: dict[str, object] = {}
    for one in _fields(type(message)):
        value = getattr(message, one.name)
        if (value is not None) if one.presence else (value or is_negative_zero(value)):
            found[one.json_name] = one.write(value)
    return found


def _read_message(message_type: type[MessageT], found: object, place: str) -> MessageT:
    if _is_special(message_type):
        return _read_special(message_type, found, place)
    if not isinstance(found, dict):
        raise ValueError(f"{_at(place)}expected an object, found {show(found)}")  # noqa: TRY004
    fields = _fields_by_json_name(message_type)
    message = new_message(message_type)
    values = vars(message)
    groups: dict[str, str] = {}
    for name, value in cast("dict[str, object]", found).items():
        one = fields.get(name)
        if one is None or (value is None and not one.takes_null):
            continue
        inner = f"{place}.{name}" if place else name
        if one.group is not None and groups.setdefault(one.group, name) != name:
            raise ValueError(f"{_at(inner)}only one of {groups[one.group]} and {name} can be set")
        values[one.name] = one.read(value, inner)
    return message


def _read_special(message_type: type[MessageT], found: object, place: str) -> MessageT:
    if _is_wrapper(message_type):
        message = new_message(message_type)
        vars(message)["value"] = _fields(message_type)[0].read(found, place or "value")
        return message
    if problem := no_text(found):
        # The message library would take it, and fail when it has to write it.
        raise ValueError(f"{_at(place)}{problem}")
    if _is_mask(message_type):
        message = new_message(message_type)
        vars(message)["paths"] = _read_paths(found, place)
        return message
    try:
        if _is_duration(message_type):
            return cast("MessageT", durations.from_json(message_type, found))
        return message_type.from_dict(cast("Any", found), ignore_unknown_fields=True)
    except Exception as error:
        # The message library checks these forms by whatever goes wrong with them.
        name = message_type.__name__
        raise ValueError(f"{_at(place)}not a {name}: {show(found)} ({error})") from error


def _at(place: str) -> str:
    return f"{place}: " if place else ""


# --------------------------------------------------------------------------------- values


def _list(value: tuple[Write, Read]) -> tuple[Write, Read]:
    write_one, read_one = value

    def write(values: list[Any]) -> object:
        return [write_one(one) for one in values]

    def read(found: object, place: str) -> list[Any]:
        if not isinstance(found, list):
            raise ValueError(f"{place}: expected a list, found {show(found)}")  # noqa: TRY004
        items = cast("list[object]", found)
        return [read_one(one, f"{place}[{index}]") for index, one in enumerate(items)]

    return write, read


def _map(key: tuple[Write, Read], value: tuple[Write, Read]) -> tuple[Write, Read]:
    write_value, read_value = value
    write_plain_key, read_key = key

    def write_key(one: Any) -> str:
        text = str(write_plain_key(one))
        return text.lower() if isinstance(one, bool) else text

    def write(values: dict[Any, Any]) -> object:
        return {write_key(one): write_value(values[one]) for one in values}

    def read(found: object, place: str) -> dict[Any, Any]:
        if not isinstance(found, dict):
            raise ValueError(f"{place}: expected an object, found {show(found)}")  # noqa: TRY004
        items = cast("dict[str, object]", found)
        return {
            read_key(one, f"{place} (a key)"): read_value(items[one], f"{place}[{show(one)}]")
            for one in items
        }

    return write, read


def _value(value: Value) -> tuple[Write, Read]:
    if value.kind == betterproto2.TYPE_MESSAGE:
        return _message(value.hint) if value.wrapper is None else _wrapped(value.wrapper)
    return scalar(value)


def _message(message_type: type[betterproto2.Message]) -> tuple[Write, Read]:
    def read(found: object, place: str) -> betterproto2.Message:
        return _read_message(message_type, found, place)

    return _write_message, read


def _wrapped(wrapper: type[Any]) -> tuple[Write, Read]:
    """A message that stands in Python as something simpler, such as a time as a `datetime`."""
    message_type = cast("type[betterproto2.Message]", wrapper)
    if _is_wrapper(message_type):
        return _value(fields_of(message_type)[0].value)

    def write(value: Any) -> object:
        return _write_message(durations.from_python(wrapper, value))

    def read(found: object, place: str) -> Any:
        try:
            return _read_message(wrapper, found, place).to_wrapped()
        except OverflowError as error:
            raise ValueError(f"{place}: {show(found)}: {error}") from error

    return write, read
