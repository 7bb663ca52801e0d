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
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import betterproto2

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
    for name, presence, write in _writers(type(message)):
        value = values[name]
        if (value is not None) if presence else (value or is_negative_zero(value)):
            try:
                write(out, value)
            except (TypeError, AttributeError, struct.error, OverflowError) as error:
                place = f"{type(message).__name__}.{name}"
                raise ValueError(f"{place} can't hold {_show(value)}: {error}") from error
    out += values[UNKNOWN]


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _writers(message_type: type[betterproto2.Message]) -> tuple[tuple[str, bool, _Write], ...]:
    """Name, presence and writer of every field."""
    return tuple((one.name, one.presence, _writer(one)) for one in fields_of(message_type))


def _tag(number: int, wire_type: int) -> bytes:
    out = bytearray()
    put_varint(out, number << 3 | wire_type)
    return bytes(out)


def _writer(field: Field) -> _Write:
    if field.key is not None:
        return _map_writer(_tag(field.number, LENGTH), field.key, field.value)
    wire_type, put, _, _ = _form(field.value)
    tag = _tag(field.number, wire_type)
    if not field.repeated:

        def write_one(out: bytearray, value: Any) -> None:
            out += tag
            put(out, value)

        return write_one
    if wire_type == LENGTH:

        def write_each(out: bytearray, values: list[Any]) -> None:
            for value in values:
                out += tag
                put(out, value)

        return write_each
    tag = _tag(field.number, LENGTH)

    def write_packed(out: bytearray, values: list[Any]) -> None:
        inner = bytearray()
        for value in values:
            put(inner, value)
        _put_block(out, tag, inner)

    return write_packed


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


def _put_block(out: bytearray, tag: bytes, block: bytearray) -> None:
    out += tag
    put_varint(out, len(block))
    out += block


# -------------------------------------------------------------------------------- reading


def _read_message(message: betterproto2.Message, data: bytes, at: int, end: int) -> None:
    readers = _readers(type(message))
    values = vars(message)
    while at < end:
        start = at
        tag, at = get_varint(data, at)
        read = readers.get(tag)
        if read is not None:
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


@cache
def _readers(message_type: type[betterproto2.Message]) -> Mapping[int, _Read]:
    """The readers by tag, which is a field's number and the layout of what it holds."""
    fields = fields_of(message_type)
    readers: dict[int, _Read] = {}
    for one in fields:
        rivals = [
            other.name
            for other in fields
            if other.group == one.group is not None and other.name != one.name
        ]
        for wire_type, read in _field_readers(one).items():
            reader = _clearing(rivals, read) if rivals else read
            readers[one.number << 3 | wire_type] = reader
    return readers


def _clearing(rivals: list[str], read: _Read) -> _Read:
    """Reads a member of a oneof, which unsets the others."""

    def read_and_clear(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        for name in rivals:
            values[name] = None
        return read(data, at, end, values)

    return read_and_clear


def _field_readers(field: Field) -> Mapping[int, _Read]:
    """The readers of a field by layout."""
    name = field.name
    if field.key is not None:
        return {LENGTH: _map_reader(name, field.key, field.value)}
    is_message = field.value.kind == betterproto2.TYPE_MESSAGE and field.value.wrapper is None
    if is_message and not field.repeated:
        return {LENGTH: _message_reader(name, field.value.hint)}
    wire_type, _, get, _ = _form(field.value)
    if not field.repeated:

        def read_one(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
            values[name], at = get(data, at, end)
            return at

        return {wire_type: read_one}

    def read_next(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        value, at = get(data, at, end)
        values[name].append(value)
        return at

    def read_packed(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        at, stop = get_span(data, at, end)
        append = values[name].append
        while at < stop:
            value, at = get(data, at, stop)
            append(value)
        if at > stop:
            raise IndexError
        return at

    return {LENGTH: read_packed, wire_type: read_next}


def _message_reader(name: str, message_type: type[betterproto2.Message]) -> _Read:
    def read(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        at, stop = get_span(data, at, end)
        message = values[name]
        if message is None:
            message = values[name] = new_message(message_type)
        _read_message(message, data, at, stop)
        return stop

    return read


def _map_reader(name: str, key: Value, value: Value) -> _Read:
    key_form, value_form = _form(key), _form(value)
    key_tag, value_tag = 1 << 3 | key_form.wire_type, 2 << 3 | value_form.wire_type

    def read(data: bytes, at: int, end: int, values: dict[str, Any]) -> int:
        at, stop = get_span(data, at, end)
        # What is its default may be left out.
        found_key, found = key_form.zero(), value_form.zero()
        while at < stop:
            tag, at = get_varint(data, at)
            if tag == key_tag:
                found_key, at = key_form.get(data, at, stop)
            elif tag == value_tag:
                found, at = value_form.get(data, at, stop)
            else:
                at = _skip(data, tag, at, stop)
        if at > stop:
            raise IndexError
        values[name][found_key] = found
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
            message = message_type.from_wrapped(value)
        except ValueError as error:
            raise TypeError(str(error)) from error
        plain.put(out, message)

    def get(data: bytes, at: int, end: int) -> tuple[Any, int]:
        message, at = plain.get(data, at, end)
        return message.to_wrapped(), at

    return Form(LENGTH, put, get, lambda: message_type().to_wrapped())
