"""Messages to Protobuf's binary form and back.

The message library has this too. This one works out the fields of a class once and is several
times as fast, tells which field holds a wrong value, refuses data that ends too early, and follows
the rules for what comes twice: a message is merged, and of a oneof the last member counts.
"""

# ruff: noqa: ANN401 - fields hold anything

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import betterproto2

from aiauto.connect import durations
from aiauto.connect.binary_values import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    Form,
    get_span,
    get_varint,
    put_varint,
    scalar,
)
from aiauto.connect.message_fields import (
    UNKNOWN,
    Field,
    Value,
    fields_of,
    is_negative_zero,
    new_message,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["dump", "load"]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)

_Write: TypeAlias = Callable[[bytearray, Any], None]
"""Appends all that a field holds, tags included."""
_Read: TypeAlias = Callable[[bytes, int, int, dict[str, Any]], int]
"""Reads what stands behind a tag into the attributes of a message; gives where it stops."""


def dump(message: betterproto2.Message) -> bytes:
    """Writes a message.

    Raises:
        ValueError: A field holds a value of a wrong type or out of its range.
    """
    out = bytearray()
    _write_message(out, message)
    return bytes(out)


def load(message_type: type[MessageT], data: bytes) -> MessageT:
    """Reads a message. The data of fields that its class does not have is kept and written again.

    Raises:
        ValueError: The data is broken, or is something else.
    """
    message = new_message(message_type)
    try:
        _read_message(message, data, 0, len(data))
    except IndexError:
        raise ValueError("it ends in the middle of a field") from None
    except OverflowError as error:
        raise ValueError(f"it has a time that Python has not: {error}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return message


# -------------------------------------------------------------------------------- writing


def _write_message(out: bytearray, message: betterproto2.Message) -> None:
    values = vars(message)
    for name, presence, tag, write in _writers(type(message)):
        value = values[name]
        if (value is not None) if presence else (value or is_negative_zero(value)):
            try:
                out += tag
                write(out, value)
            except (TypeError, AttributeError, struct.error, OverflowError) as error:
                place = f"{type(message).__name__}.{name}"
                raise ValueError(f"{place} can't hold {_show(value)}: {error}") from error
    out += values[UNKNOWN]


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _writers(
    message_type: type[betterproto2.Message],
) -> tuple[tuple[str, bool, bytes, _Write], ...]:
    """Name, presence, tag and writer of every field. Lists and maps write their tags themselves."""
    return tuple((one.name, one.presence, *_writer(one)) for one in fields_of(message_type))


def _tag(number: int, wire_type: int) -> bytes:
    out = bytearray()
    put_varint(out, number << 3 | wire_type)
    return bytes(out)


def _writer(field: Field) -> tuple[bytes, _Write]:
    if field.key is not None:
        return b"", _map_writer(_tag(field.number, LENGTH), field.key, field.value)
    wire_type, put, _, _, layout = _form(field.value)
    tag = _tag(field.number, wire_type)
    if not field.repeated:
        return tag, put
    if wire_type == LENGTH:

        def write_each(out: bytearray, values: list[Any]) -> None:
            for value in values:
                out += tag
                put(out, value)

        return b"", write_each
    tag = _tag(field.number, LENGTH)
    if layout:

        def write_fixed(out: bytearray, values: list[Any]) -> None:
            _put_block(out, tag, struct.pack(f"<{len(values)}{layout}", *values))

        return b"", write_fixed

    def write_packed(out: bytearray, values: list[Any]) -> None:
        inner = bytearray()
        for value in values:
            put(inner, value)
        _put_block(out, tag, inner)

    return b"", write_packed


def _map_writer(tag: bytes, key: Value, value: Value) -> _Write:
    key_form, value_form = _form(key), _form(value)
    key_tag, value_tag = _tag(1, key_form.wire_type), _tag(2, value_form.wire_type)

    def write(out: bytearray, values: dict[Any, Any]) -> None:
        for name, held in values.items():
            inner = bytearray(key_tag)
            key_form.put(inner, name)
            inner += value_tag
            value_form.put(inner, held)
            _put_block(out, tag, inner)

    return write


def _put_block(out: bytearray, tag: bytes, block: bytearray | bytes) -> None:
    out += tag
    size = len(block)
    if size < 0x80:
        out.append(size)
    else:
        put_varint(out, size)
    out += block


# -------------------------------------------------------------------------------- reading


def _read_message(message: betterproto2.Message, data: bytes, at: int, end: int) -> None:
    readers = _readers(type(message))
    values = vars(message)
    while at < end:
        start = at
        tag = data[at]
        at += 1
        if tag > 0x7F:
            tag, at = get_varint(data, start)
        name, read = readers.get(tag, _NO_READER)
        if name is not None:
            values[name], at = read(data, at, end)
        elif read is not None:
            at = read(data, at, end, values)
        else:
            at = _skip(data, tag, at, end)
            values[UNKNOWN] += data[start:at]
    if at > end:
        raise IndexError


def _skip(data: bytes, tag: int, at: int, end: int) -> int:
    """The position behind what a field holds that the class does not have."""
    wire_type = tag & 7
    if wire_type == VARINT:
        at = get_varint(data, at)[1]
    elif wire_type == LENGTH:
        at = get_span(data, at, end)[1]
    elif wire_type == FIXED32:
        at += 4
    elif wire_type == FIXED64:
        at += 8
    else:
        raise ValueError(f"a field in it has the layout {wire_type}, which there is not")
    if tag < 8:
        raise ValueError("a field in it has the number 0")
    if at > end:
        raise IndexError
    return at


_Reader: TypeAlias = tuple[str | None, Any]
"""The name of a field and what gets its value; or no name, and a `_Read` that sets it itself."""
_NO_READER: Final[_Reader] = (None, None)


@cache
def _readers(message_type: type[betterproto2.Message]) -> Mapping[int, _Reader]:
    """The readers by tag, which is a field's number and the layout of what it holds."""
    fields = fields_of(message_type)
    readers: dict[int, _Reader] = {}
    for one in fields:
        rivals = [
            other.name
            for other in fields
            if other.group == one.group is not None and other.name != one.name
        ]
        for wire_type, read in _field_readers(one).items():
            readers[one.number << 3 | wire_type] = _clearing(rivals, read) if rivals else read
    return readers


def _clearing(rivals: list[str], reader: _Reader) -> _Reader:
    """Reads a member of a oneof, which unsets the others."""
    name, read = reader

    def read_and_clear(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        for rival in rivals:
            values[rival] = None
        if name is None:
            stop: int = read(data, at, end, values)
            return stop
        values[name], at = read(data, at, end)
        return at

    return None, read_and_clear


def _field_readers(field: Field) -> Mapping[int, _Reader]:
    """The readers of a field by layout."""
    name = field.name
    if field.key is not None:
        return {LENGTH: (None, _map_reader(name, field.key, field.value))}
    is_message = field.value.kind == betterproto2.TYPE_MESSAGE and field.value.wrapper is None
    if is_message and not field.repeated:
        return {LENGTH: (None, _message_reader(name, field.value.hint))}
    wire_type, _, get, _, layout = _form(field.value)
    if not field.repeated:
        return {wire_type: (name, get)}

    size = struct.calcsize(f"<{layout}") if layout else 0

    def read_next(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        value, at = get(data, at, end)
        values[name].append(value)
        return at

    def read_packed(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        at, stop = get_span(data, at, end)
        if layout:
            count, rest = divmod(stop - at, size)
            if rest:
                raise IndexError
            values[name] += struct.unpack_from(f"<{count}{layout}", data, at)
            return stop
        append = values[name].append
        while at < stop:
            value, at = get(data, at, stop)
            append(value)
        if at > stop:
            raise IndexError
        return at

    return {LENGTH: (None, read_packed), wire_type: (None, read_next)}


def _message_reader(name: str, message_type: type[betterproto2.Message]) -> _Read:
    def read(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        at, stop = get_span(data, at, end)
        message = values[name]
        if message is None:
            message = values[name] = new_message(message_type)
        _read_message(message, data, at, stop)
        return stop

    return read


_LEFT_OUT: Final[Any] = object()
"""Stands for a map's key or value that is not in the data, since it is the default."""


def _map_reader(name: str, key: Value, value: Value) -> _Read:
    key_form, value_form = _form(key), _form(value)
    key_tag, value_tag = 1 << 3 | key_form.wire_type, 2 << 3 | value_form.wire_type
    get_key, get_value = key_form.get, value_form.get

    def read(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        at, stop = get_span(data, at, end)
        found_key = found = _LEFT_OUT
        while at < stop:
            tag = data[at]
            at += 1
            if tag == key_tag:
                found_key, at = get_key(data, at, stop)
            elif tag == value_tag:
                found, at = get_value(data, at, stop)
            else:
                tag, at = get_varint(data, at - 1)
                at = _skip(data, tag, at, stop)
        if at > stop:
            raise IndexError
        if found_key is _LEFT_OUT:
            found_key = key_form.zero()
        values[name][found_key] = value_form.zero() if found is _LEFT_OUT else found
        return stop

    return read


# --------------------------------------------------------------------------------- values


def _form(value: Value) -> Form:
    if value.kind != betterproto2.TYPE_MESSAGE:
        return scalar(value)
    return _message_form(value.hint) if value.wrapper is None else _wrapped_form(value.wrapper)


def _message_form(message_type: type[betterproto2.Message]) -> Form:
    def put(out: bytearray, value: betterproto2.Message) -> None:
        if not isinstance(value, message_type):
            raise TypeError(f"it is no {message_type.__name__}")
        inner = bytearray()
        _write_message(inner, value)
        put_varint(out, len(inner))
        out += inner

    def get(data: bytes, at: int, end: int) -> tuple[betterproto2.Message, int]:
        at, stop = get_span(data, at, end)
        message = new_message(message_type)
        _read_message(message, data, at, stop)
        return message, stop

    return Form(LENGTH, put, get, lambda: new_message(message_type))


def _wrapped_form(message_type: type[Any]) -> Form:
    """A message that stands in Python as something simpler, such as a time as a `datetime`."""
    plain = _message_form(message_type)

    def put(out: bytearray, value: Any) -> None:
        try:
            message = durations.from_python(message_type, value)
        except ValueError as error:
            raise TypeError(str(error)) from error
        plain.put(out, message)

    def get(data: bytes, at: int, end: int) -> tuple[Any, int]:
        message, at = plain.get(data, at, end)
        return message.to_wrapped(), at

    return Form(LENGTH, put, get, lambda: message_type().to_wrapped())
