"""Single values in Protobuf's binary form: numbers, texts and bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import betterproto2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiauto.connect.message_fields import Value

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

Put: TypeAlias = Callable[[bytearray, Any], None]
"""Appends a value, without a tag."""
Get: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]
"""Reads a value of data, from a position up to an end; gives it and the position behind it.

Raises an IndexError where the data ends too early.
"""

_U64: Final = (1 << 64) - 1
_LONGEST_VARINT: Final = 10


class Form(NamedTuple):
    """How values of a kind are laid out.

    Attributes:
        wire_type: Which of the four layouts it is.
        put: Writes one.
        get: Reads one.
        zero: Gives the default value.
        layout: Of what has a fixed size its letter in the module `struct`.
    """

    wire_type: int
    put: Put
    get: Get
    zero: Callable[[], Any]
    layout: str = ""


def scalar(value: Value) -> Form:
    """The form of a kind of value that is no message."""
    if value.kind == betterproto2.TYPE_ENUM:
        return _enum(value.hint)
    return _SCALARS[value.kind]


def put_varint(out: bytearray, value: int) -> None:
    """Writes a number of 0 or more."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def get_varint(data: bytes, at: int) -> tuple[int, int]:
    """Reads a number of 0 or more."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value = byte & 0x7F
    for shift in range(7, 7 * _LONGEST_VARINT, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _U64, at
    raise ValueError("a number in it is too long")


def get_span(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Reads the length of something; gives where it begins and where it stops."""
    # Most lengths are one byte, here and below: a call of `get_varint` costs as much as the rest.
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


def _signed_varint(bits: int) -> Form:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def put(out: bytearray, value: int) -> None:
        _check_range(value, low, high)
        put_varint(out, value & _U64)

    def get(data: bytes, at: int, _end: int) -> tuple[int, int]:
        value, at = get_varint(data, at)
        return (value if value <= high else _signed(value, bits)), at

    return Form(VARINT, put, get, int)


def _unsigned_varint(bits: int) -> Form:
    high = (1 << bits) - 1

    def put(out: bytearray, value: int) -> None:
        _check_range(value, 0, high)
        put_varint(out, value)

    def get(data: bytes, at: int, _end: int) -> tuple[int, int]:
        value, at = get_varint(data, at)
        return value & high, at

    return Form(VARINT, put, get, int)


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

    return Form(VARINT, put, get, int)


def _fixed(layout: str, wire_type: int, zero: Callable[[], Any]) -> Form:
    packer = struct.Struct(layout)
    size, pack, unpack = packer.size, packer.pack, packer.unpack_from

    def put(out: bytearray, value: float) -> None:
        out += pack(value)

    def get(data: bytes, at: int, end: int) -> tuple[Any, int]:
        stop = at + size
        if stop > end:
            raise IndexError
        return unpack(data, at)[0], stop

    return Form(wire_type, put, get, zero, layout[1:])


def _enum(enum_type: type[betterproto2.Enum]) -> Form:
    number = _signed_varint(32)

    def get(data: bytes, at: int, end: int) -> tuple[betterproto2.Enum, int]:
        value, at = number.get(data, at, end)
        return enum_type(value), at

    return Form(VARINT, number.put, get, lambda: enum_type(0))


def _put_bool(out: bytearray, value: object) -> None:
    out.append(1 if value else 0)


def _get_bool(data: bytes, at: int, _end: int) -> tuple[bool, int]:
    value, at = get_varint(data, at)
    return value != 0, at


def _put_string(out: bytearray, value: str) -> None:
    data = value.encode()
    size = len(data)
    if size < 0x80:
        out.append(size)
    else:
        put_varint(out, size)
    out += data


def _get_string(data: bytes, at: int, end: int) -> tuple[str, int]:
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = get_varint(data, at - 1)
    stop = at + size
    if stop > end:
        raise IndexError
    try:
        return data[at:stop].decode(), stop
    except UnicodeDecodeError as error:
        raise ValueError(f"a text in it is not UTF-8: {error.reason}") from error


def _put_bytes(out: bytearray, value: bytes) -> None:
    put_varint(out, len(value))
    out += value


def _get_bytes(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    at, stop = get_span(data, at, end)
    return data[at:stop], stop


_SCALARS: Final[Mapping[str, Form]] = {
    betterproto2.TYPE_BOOL: Form(VARINT, _put_bool, _get_bool, bool),
    betterproto2.TYPE_INT32: _signed_varint(32),
    betterproto2.TYPE_INT64: _signed_varint(64),
    betterproto2.TYPE_UINT32: _unsigned_varint(32),
    betterproto2.TYPE_UINT64: _unsigned_varint(64),
    betterproto2.TYPE_SINT32: _zigzag_varint(32),
    betterproto2.TYPE_SINT64: _zigzag_varint(64),
    betterproto2.TYPE_FIXED32: _fixed("<I", FIXED32, int),
    betterproto2.TYPE_FIXED64: _fixed("<Q", FIXED64, int),
    betterproto2.TYPE_SFIXED32: _fixed("<i", FIXED32, int),
    betterproto2.TYPE_SFIXED64: _fixed("<q", FIXED64, int),
    betterproto2.TYPE_FLOAT: _fixed("<f", FIXED32, float),
    betterproto2.TYPE_DOUBLE: _fixed("<d", FIXED64, float),
    betterproto2.TYPE_STRING: Form(LENGTH, _put_string, _get_string, str),
    betterproto2.TYPE_BYTES: Form(LENGTH, _put_bytes, _get_bytes, bytes),
}
