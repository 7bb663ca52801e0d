"""Single values in JSON, by the mapping that Protobuf defines: numbers, texts, bytes and enums."""

# ruff: noqa: ANN401 - fields hold anything

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import betterproto2

from aiauto.connect.protocol import from_base64

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiauto.connect.message_fields import Value

Write: TypeAlias = Callable[[Any], object]
"""Turns a value into what `json` takes."""
Read: TypeAlias = Callable[[object, str], Any]
"""Turns what `json` gives into a value, or raises a ValueError that begins with the place."""

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


def scalar(value: Value) -> tuple[Write, Read]:
    """The writer and the reader of a kind of value that is no message."""
    if value.kind == betterproto2.TYPE_ENUM:
        return _enum(value.hint)
    if value.kind in _BITS:
        bits, signed = _BITS[value.kind]
        # A number of JSON has 53 bits.
        return (str if bits == 64 else int), _integer(bits, signed=signed)
    return _SCALARS[value.kind]


def no_text(found: object) -> str:
    """What keeps the strings in a piece of JSON from being text, where something does.

    JSON can spell half of a surrogate pair, and so can Python, where a file's name is not UTF-8;
    but it is no character, and nothing else can write it down.
    """
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{show(found)} holds half of a surrogate pair, which is no character"
    return ""


def show(found: object) -> str:
    """A piece of JSON, short enough for an error's text."""
    text = json.dumps(found)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _enum(enum_type: type[betterproto2.Enum]) -> tuple[Write, Read]:
    by_name = {one.name: one for one in enum_type}
    for name, value in enum_type.betterproto_renamed_proto_names_to_value().items():
        by_name[name] = enum_type(value)
    read_number = _integer(32, signed=True)

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
            raise ValueError(f"{place}: expected a whole number, found {show(found)}")
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
        try:
            return float(found)
        except OverflowError:
            raise ValueError(f"{place}: the number is too large for the field") from None
    if isinstance(found, str) and found in _NAMED_FLOATS:
        return _NAMED_FLOATS[found]
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        return float(found)
    raise ValueError(f"{place}: expected a number, found {show(found)}")


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
    raise ValueError(f"{place}: expected true or false, found {show(found)}")


def _write_string(value: str) -> object:
    if problem := no_text(value):
        raise ValueError(problem)
    return value


def _read_string(found: object, place: str) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{place}: expected a string, found {show(found)}")  # noqa: TRY004
    if problem := no_text(found):
        raise ValueError(f"{place}: {problem}")
    return found


def _write_bytes(value: bytes) -> object:
    return base64.b64encode(value).decode()


def _read_bytes(found: object, place: str) -> bytes:
    if isinstance(found, str):
        try:
            return from_base64(found)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    raise ValueError(f"{place}: expected base64 in a string, found {show(found)}")


_SCALARS: Final[Mapping[str, tuple[Write, Read]]] = {
    betterproto2.TYPE_DOUBLE: (_write_float, _read_float),
    betterproto2.TYPE_FLOAT: (_write_float, _read_float32),
    betterproto2.TYPE_BOOL: (_same, _read_bool),
    betterproto2.TYPE_STRING: (_write_string, _read_string),
    betterproto2.TYPE_BYTES: (_write_bytes, _read_bytes),
}
