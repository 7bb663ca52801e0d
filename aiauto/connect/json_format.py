"""Messages to JSON and back, by the mapping that Protobuf defines for it.

The message library has such a mapping too. This one tells the caller where in its JSON a mistake
is, takes every form of a number and of base64 that the mapping allows, and works out the fields of
a class once.
"""

# ruff: noqa: ANN401 - type hints of fields, and what they hold, are of any type

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import struct
import typing
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import betterproto2

from aiauto.connect.message_fields import Field, Value, fields_of, is_negative_zero, new_message
from aiauto.connect.protocol import from_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["dump", "load"]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)

# Writes a value as what `json` takes; reads a value, or raises a ValueError that begins with the
# place (the second argument).
_Write = typing.Callable[[Any], object]
_Read = typing.Callable[[object, str], Any]

_BITS: Final[Mapping[str, tuple[int, bool]]] = {
    betterproto2.TYPE_INT32: (32, True),
    betterproto2.TYPE_SINT32: (32, True),
    betterproto2.TYPE_SFIXED32: (32, True),
    betterproto2.TYPE_UINT32: (32, False),
    betterproto2.TYPE_FIXED32: (32, False),
    betterproto2.TYPE_INT64: (64, True),
    betterproto2.TYPE_SINT64: (64, True),
    betterproto2.TYPE_SFIXED64: (64, True),
    betterproto2.TYPE_UINT64: (64, False),
    betterproto2.TYPE_FIXED64: (64, False),
}
_FLOAT32: Final = struct.Struct("<f")
_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_NAMED_FLOATS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


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
    write: _Write
    read: _Read
    takes_null: bool


@cache
def _fields(message_type: type[betterproto2.Message]) -> tuple[_Field, ...]:
    return tuple(_field(one) for one in fields_of(message_type))


@cache
def _fields_by_json_name(message_type: type[betterproto2.Message]) -> Mapping[str, _Field]:
    # Names as in the schema are understood as well, as the mapping wants it.
    fields = _fields(message_type)
    by_name = {one.name.rstrip("_"): one for one in fields}
    return by_name | {one.json_name: one for one in fields}


def _field(field: Field) -> _Field:
    write, read = _value(field.value)
    if field.key is not None:
        write, read = _map(_value(field.key), (write, read))
    elif field.repeated:
        write, read = _list((write, read))
    return _Field(
        name=field.name,
        json_name=_json_name(field.name),
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


def _json_name(name: str) -> str:
    """lowerCamelCase, as Protobuf makes it of the name of a field."""
    return re.sub(r"_+([^_])", lambda found: found[1].upper(), name.rstrip("_"))


def _is_special(message_type: type[betterproto2.Message]) -> bool:
    """Whether the message has a JSON form of its own: a time, a wrapper, `Any` and the like."""
    return message_type.to_dict is not betterproto2.Message.to_dict


def _is_wrapper(message_type: type[betterproto2.Message]) -> bool:
    """Whether the message holds one value, and its JSON is that of the value."""
    return _well_known_name(message_type).endswith("Value") and [
        one.name for one in fields_of(message_type)
    ] == ["value"]


def _write_message(message: betterproto2.Message) -> object:
    if _is_special(type(message)):
        if _is_wrapper(type(message)):
            return _fields(type(message))[0].write(vars(message)["value"])
        return message.to_dict()
    found: dict[str, object] = {}
    for one in _fields(type(message)):
        value = getattr(message, one.name)
        if (value is not None) if one.presence else (value or is_negative_zero(value)):
            found[one.json_name] = one.write(value)
    return found


def _read_message(message_type: type[MessageT], found: object, place: str) -> MessageT:
    if _is_special(message_type):
        if _is_wrapper(message_type):
            message = new_message(message_type)
            vars(message)["value"] = _fields(message_type)[0].read(found, place or "value")
            return message
        try:
            return message_type.from_dict(cast("Any", found), ignore_unknown_fields=True)
        except Exception as error:
            # The message library checks these forms by whatever goes wrong with them.
            name = message_type.__name__
            raise ValueError(f"{_at(place)}not a {name}: {_show(found)} ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{_at(place)}expected an object, found {_show(found)}")  # noqa: TRY004
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


def _at(place: str) -> str:
    return f"{place}: " if place else ""


def _show(found: object) -> str:
    """A piece of JSON, short enough for an error's text."""
    text = json.dumps(found)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --------------------------------------------------------------------------------- values


def _list(value: tuple[_Write, _Read]) -> tuple[_Write, _Read]:
    write_one, read_one = value

    def write(values: list[Any]) -> object:
        return [write_one(one) for one in values]

    def read(found: object, place: str) -> list[Any]:
        if not isinstance(found, list):
            raise ValueError(f"{place}: expected a list, found {_show(found)}")  # noqa: TRY004
        items = cast("list[object]", found)
        return [read_one(one, f"{place}[{index}]") for index, one in enumerate(items)]

    return write, read


def _map(key: tuple[_Write, _Read], value: tuple[_Write, _Read]) -> tuple[_Write, _Read]:
    write_value, read_value = value
    read_key = key[1]

    def write(values: dict[Any, Any]) -> object:
        return {
            str(one).lower() if isinstance(one, bool) else str(one): write_value(values[one])
            for one in values
        }

    def read(found: object, place: str) -> dict[Any, Any]:
        if not isinstance(found, dict):
            raise ValueError(f"{place}: expected an object, found {_show(found)}")  # noqa: TRY004
        items = cast("dict[str, object]", found)
        return {
            read_key(one, f"{place} (a key)"): read_value(items[one], f"{place}[{_show(one)}]")
            for one in items
        }

    return write, read


def _value(value: Value) -> tuple[_Write, _Read]:
    kind = value.kind
    if kind == betterproto2.TYPE_MESSAGE:
        return _message(value.hint) if value.wrapper is None else _wrapped(value.wrapper)
    if kind == betterproto2.TYPE_ENUM:
        return _enum(value.hint)
    if kind in _BITS:
        bits, signed = _BITS[kind]
        return (str if bits == 64 else int), _integer(bits, signed=signed)
    return {
        betterproto2.TYPE_DOUBLE: (_write_float, _read_float),
        betterproto2.TYPE_FLOAT: (_write_float, _read_float32),
        betterproto2.TYPE_BOOL: (_same, _read_bool),
        betterproto2.TYPE_STRING: (_same, _read_string),
        betterproto2.TYPE_BYTES: (_write_bytes, _read_bytes),
    }[kind]


def _message(message_type: type[betterproto2.Message]) -> tuple[_Write, _Read]:
    def read(found: object, place: str) -> betterproto2.Message:
        return _read_message(message_type, found, place)

    return _write_message, read


def _wrapped(wrapper: type[Any]) -> tuple[_Write, _Read]:
    """A message that stands in Python as something simpler, such as a time as a `datetime`."""
    message_type = cast("type[betterproto2.Message]", wrapper)
    if _is_wrapper(message_type):
        return _value(fields_of(message_type)[0].value)

    def write(value: Any) -> object:
        return wrapper.from_wrapped(value).to_dict()

    def read(found: object, place: str) -> Any:
        try:
            return _read_message(wrapper, found, place).to_wrapped()
        except OverflowError as error:
            raise ValueError(f"{place}: {_show(found)}: {error}") from error

    return write, read


def _enum(enum_type: type[betterproto2.Enum]) -> tuple[_Write, _Read]:
    by_name = {one.name: one for one in enum_type}
    for name, value in enum_type.betterproto_renamed_proto_names_to_value().items():
        by_name[name] = enum_type(value)

    def write(value: int) -> object:
        member = enum_type(value)
        return (member.proto_name or member.name) if member.name else int(value)

    def read(found: object, place: str) -> betterproto2.Enum:
        if isinstance(found, str):
            member = by_name.get(found)
            if member is not None:
                return member
            known = ", ".join(enum_type(one).proto_name or one.name for one in enum_type)
            raise ValueError(f"{place}: {found!r} is none of {known}")
        return enum_type(read_number(found, place))

    read_number = _integer(32, signed=True)
    return write, read


def _integer(bits: int, *, signed: bool) -> Callable[[object, str], int]:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)

    def read(found: object, place: str) -> int:
        number: int | None = None
        if isinstance(found, str) and _INTEGER.fullmatch(found):
            number = int(found)
        elif isinstance(found, int) and not isinstance(found, bool):
            number = found
        elif isinstance(found, float) or (isinstance(found, str) and _NUMBER.fullmatch(found)):
            # 1.0 and 1e3 are whole numbers too.
            real = float(found)
            number = int(real) if real.is_integer() else None
        if number is None:
            raise ValueError(f"{place}: expected a whole number, found {_show(found)}")
        if not low <= number <= high:
            raise ValueError(f"{place}: {number} is not between {low} and {high}")
        return number

    return read


def _same(value: Any) -> object:
    return value


def _write_float(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _read_float(found: object, place: str) -> float:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    if isinstance(found, str) and found in _NAMED_FLOATS:
        return _NAMED_FLOATS[found]
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        return float(found)
    raise ValueError(f"{place}: expected a number, found {_show(found)}")


def _read_float32(found: object, place: str) -> float:
    value = _read_float(found, place)
    try:
        # Rounded to what the field can hold, so that it is the same after a journey in binary.
        rounded: float = _FLOAT32.unpack(_FLOAT32.pack(value))[0]
    except OverflowError:
        raise ValueError(f"{place}: {value} is too large for the field") from None
    return rounded


def _read_bool(found: object, place: str) -> bool:
    if isinstance(found, bool):
        return found
    # Keys of a map are always text.
    if found in ("true", "false") and place.endswith("(a key)"):
        return found == "true"
    raise ValueError(f"{place}: expected true or false, found {_show(found)}")


def _read_string(found: object, place: str) -> str:
    if isinstance(found, str):
        return found
    raise ValueError(f"{place}: expected a string, found {_show(found)}")


def _write_bytes(value: bytes) -> object:
    return base64.b64encode(value).decode()


def _read_bytes(found: object, place: str) -> bytes:
    if isinstance(found, str):
        try:
            return from_base64(found)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    raise ValueError(f"{place}: expected base64 in a string, found {_show(found)}")
