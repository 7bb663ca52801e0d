"""Single values in Protobuf's binary form: numbers, texts and bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import betterproto2

if TYPE_CHECKING:
    from collections.abc import Mapping

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

Put: TypeAlias = Callable[[bytearray, Any], None]
"""Appends a value, without a tag."""

_U64: Final = (1 << 64) - 1
_LONGEST_VARINT: Final = 10


class Form(NamedTuple):
    """How values of a kind are laid out.

    Writers and readers of messages are code. What puts and gets a value is a part of it: in place
    where that is a few lines or where most values are small, else a call.

    Attributes:
        wire_type: Which of the four layouts it is.
        put_code: Appends `value` to `out`; `{call}` stands for `put`.
        get_code: Reads `value` of `data` from `at` up to `{end}`; `{call}` stands for `get`.
        zero: Gives the default value.
        put: What the code calls, if anything.
        get: The same for reading: of plain numbers it tells what a large one means. All others read
            by themselves, and raise an IndexError where the data ends too early.
        layout: Of what has a fixed size its letter in the module `struct`.
    """

    wire_type: int
    put_code: str
    get_code: str
    zero: Callable[[], Any]
    put: Callable[..., Any] | None = None
    get: Callable[..., Any] | None = None
    layout: str = ""


# What is written here again and again in place of a call, since that costs as much as the rest.
GET_SPAN: Final = """
size = data[at]
at += 1
if size > 127:
    size, at = get_varint(data, at - 1)
stop = at + size
if stop > {end}:
    raise IndexError
"""
CALL_PUT: Final = "{call}(out, value)"
CALL_GET: Final = "value, at = {call}(data, at, {end})"
_SMALL_PUT: Final = """
if 0 <= value <= 127:
    append(value)
elif 0 <= value <= {high}:
    put_varint(out, value)
else:
    {call}(out, value)
"""
_SMALL_GET: Final = """
value = data[at]
at += 1
if value > 127:
    value, at = get_varint(data, at - 1)
    if value > {high}:
        value = {call}(value)
"""
_BOOL_GET: Final = """
value = data[at]
at += 1
if value > 127:
    value, at = get_varint(data, at - 1)
value = value != 0
"""
_STRING_PUT: Final = """
text = value.encode()
size = len(text)
if size <= 127:
    append(size)
else:
    put_varint(out, size)
out += text
"""
_BYTES_PUT: Final = """
put_varint(out, len(value))
out += value
"""
_BYTES_GET: Final = f"""
{GET_SPAN}
value = data[at:stop]
at = stop
"""
_STRING_GET: Final = _BYTES_GET.replace("data[at:stop]", "data[at:stop].decode()")
_FIXED_GET: Final = """
stop = at + {size}
if stop > {end}:
    raise IndexError
(value,) = {call}(data, at)
at = stop
"""


def scalar(kind: str, hint: type[Any]) -> Form:
    """The form of a kind of value that is no message.

    Args:
        kind: One of the constants `betterproto2.TYPE_...`.
        hint: Its Python type.
    """
    return _enum(hint) if kind == betterproto2.TYPE_ENUM else _SCALARS[kind]


def put_varint(out: bytearray, value: int) -> None:
    """Writes a number of 0 or more."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def varint(value: int) -> bytes:
    """A number of 0 or more, as `put_varint` writes it."""
    out = bytearray()
    put_varint(out, value)
    return bytes(out)


def get_varint(data: bytes, at: int) -> tuple[int, int]:
    """Reads a number of 0 or more."""
    first = data[at]
    if first <= 0x7F:
        return first, at + 1
    second = data[at + 1]
    if second <= 0x7F:
        return first & 0x7F | second << 7, at + 2
    value = shift = 0
    for byte in data[at : at + _LONGEST_VARINT]:
        at += 1
        if byte <= 0x7F:
            return (value | byte << shift) & _U64, at
        value |= (byte & 0x7F) << shift
        shift += 7
    if shift < 7 * _LONGEST_VARINT:
        raise IndexError
    raise ValueError("a number in it is too long")


def get_span(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Reads the length of something; gives where it begins and where it stops."""
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = get_varint(data, at - 1)
    stop = at + size
    if stop > end:
        raise IndexError
    return at, stop


def _check_range(value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise OverflowError(f"it is not between {low} and {high}")


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _plain_varint(low: int, high: int, from_wire: Callable[[int], int]) -> Form:
    """Numbers as they are; `from_wire` tells what is meant by one that is higher than `high`."""

    def put(out: bytearray, value: int) -> None:
        _check_range(value, low, high)
        put_varint(out, value & _U64)

    put_code, get_code = (code.replace("{high}", str(high)) for code in (_SMALL_PUT, _SMALL_GET))
    return Form(VARINT, put_code, get_code, int, put, from_wire)


def _signed_varint(bits: int) -> Form:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return _plain_varint(low, high, lambda value: _signed(value, bits))


def _unsigned_varint(bits: int) -> Form:
    high = (1 << bits) - 1
    return _plain_varint(0, high, lambda value: value & high)


def _zigzag_varint(bits: int) -> Form:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    mask = (1 << bits) - 1

    def put(out: bytearray, value: int) -> None:
        _check_range(value, low, high)
        put_varint(out, (value << 1 ^ value >> (bits - 1)) & mask)

    def get(data: bytes, at: int, _end: int) -> tuple[int, int]:
        value, at = get_varint(data, at)
        value &= mask
        return value >> 1 ^ -(value & 1), at

    return Form(VARINT, CALL_PUT, CALL_GET, int, put, get)


def _fixed(layout: str, wire_type: int, zero: Callable[[], Any]) -> Form:
    packer = struct.Struct(f"<{layout}")
    get_code = _FIXED_GET.replace("{size}", str(packer.size))
    put_code = "out += {call}(value)"
    return Form(wire_type, put_code, get_code, zero, packer.pack, packer.unpack_from, layout)


def _enum(enum_type: type[betterproto2.Enum]) -> Form:
    number = _signed_varint(32)

    def get(data: bytes, at: int, _end: int) -> tuple[betterproto2.Enum, int]:
        value, at = get_varint(data, at)
        return enum_type(_signed(value, 32)), at

    return Form(VARINT, number.put_code, CALL_GET, lambda: enum_type(0), number.put, get)


_SCALARS: Final[Mapping[str, Form]] = {
    betterproto2.TYPE_BOOL: Form(VARINT, "append(1 if value else 0)", _BOOL_GET, bool),
    betterproto2.TYPE_INT32: _signed_varint(32),
    betterproto2.TYPE_INT64: _signed_varint(64),
    betterproto2.TYPE_UINT32: _unsigned_varint(32),
    betterproto2.TYPE_UINT64: _unsigned_varint(64),
    betterproto2.TYPE_SINT32: _zigzag_varint(32),
    betterproto2.TYPE_SINT64: _zigzag_varint(64),
    betterproto2.TYPE_FIXED32: _fixed("I", FIXED32, int),
    betterproto2.TYPE_FIXED64: _fixed("Q", FIXED64, int),
    betterproto2.TYPE_SFIXED32: _fixed("i", FIXED32, int),
    betterproto2.TYPE_SFIXED64: _fixed("q", FIXED64, int),
    betterproto2.TYPE_FLOAT: _fixed("f", FIXED32, float),
    betterproto2.TYPE_DOUBLE: _fixed("d", FIXED64, float),
    betterproto2.TYPE_STRING: Form(LENGTH, _STRING_PUT, _STRING_GET, str),
    betterproto2.TYPE_BYTES: Form(LENGTH, _BYTES_PUT, _BYTES_GET, bytes),
}
