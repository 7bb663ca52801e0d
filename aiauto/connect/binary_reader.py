"""How messages of a class are read from Protobuf's binary form."""

# ruff: noqa: ANN401 - fields hold anything

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import betterproto2

from aiauto.connect.binary_values import (
    CALL_GET,
    FIXED32,
    FIXED64,
    GET_SPAN,
    LENGTH,
    VARINT,
    Form,
    get_span,
    get_varint,
    scalar,
    varint,
)
from aiauto.connect.message_fields import UNKNOWN, fields_of, new_message
from aiauto.connect.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiauto.connect.message_fields import Field, Value

__all__ = ["read_message"]

_Read: TypeAlias = Callable[[bytes, int, int, dict[str, Any]], int]
"""Reads from a position up to an end into the attributes of a message; gives where it stops."""
_Add: TypeAlias = Callable[[Source, "Field"], None]
"""Adds what reads a field."""

_LEFT_OUT: Final[Any] = object()
"""Stands for a map's key or value that is not in the data, since it is the default."""


def read_message(message: betterproto2.Message, data: bytes, at: int, end: int) -> None:
    """Reads data into a message, from a position up to an end.

    Raises:
        IndexError: The data ends too early.
        ValueError: It is broken, or is something else.
    """
    if at < end and _reader_of(type(message))(data, at, end, vars(message)) > end:
        raise IndexError


@cache
def _reader_of(message_type: type[betterproto2.Message]) -> _Read:
    """The function that reads what is not empty.

    Fields come in the order of their numbers nearly always, so each is looked for where it would
    come then. Where one comes out of order, the code begins again at the first.
    """
    source = Source(
        "def read(data, at, end, values):",
        get_span=get_span,
        get_varint=get_varint,
        left_out=_LEFT_OUT,
        new_message=new_message,
        read_message=read_message,
        skip=_skip,
        unpack=struct.unpack_from,
        varint=varint,
    )
    _add_next_tag(source, 1)
    source.add(1, "while True:")
    fields = fields_of(message_type)
    tags: set[int] = set()
    for one in fields:
        tags.update(_add_field(source, one, fields))
    source.add(
        2,
        f"""
        if tag in {source.name(frozenset(tags))}:
            continue
        start, at = at, skip(data, tag, at, end)
        values[{UNKNOWN!r}] += varint(tag) + data[start:at]
        if at >= end:
            return at
        """,
    )
    _add_next_tag(source, 2)
    found: _Read = source.compile(f"reader of {message_type.__name__}")
    return found


def _add_next_tag(source: Source, depth: int) -> None:
    source.add(
        depth,
        """
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = get_varint(data, at - 1)
        """,
    )


def _add_field(source: Source, field: Field, fields: tuple[Field, ...]) -> Iterator[int]:
    """Adds what reads a field, and gives its tags: one for each layout that it may have."""
    for wire_type, add in _layouts(field).items():
        tag = field.number << 3 | wire_type
        yield tag
        is_many = field.repeated or field.key is not None
        source.add(2, f"{'while' if is_many else 'if'} tag == {tag}:")
        for other in fields:
            if other.group == field.group is not None and other is not field:
                source.add(3, f"values[{other.name!r}] = None")
        add(source, field)
        source.add(3, "if at >= end:\n    return at")
        _add_next_tag(source, 3)


def _layouts(field: Field) -> dict[int, _Add]:
    if field.key is not None:
        return {LENGTH: _add_map}
    if field.value.kind == betterproto2.TYPE_MESSAGE:
        is_plain = not field.repeated and field.value.wrapper is None
        return {LENGTH: _add_merged if is_plain else _add_one}
    wire_type = _form(field.value).wire_type
    if field.repeated and wire_type != LENGTH:
        return {LENGTH: _add_packed, wire_type: _add_one}
    return {wire_type: _add_one}


def _add_one(source: Source, field: Field) -> None:
    _add_value(source, 3, field.value, "end")
    place = f"values[{field.name!r}]"
    source.add(3, f"{place}.append(value)" if field.repeated else f"{place} = value")


def _add_merged(source: Source, field: Field) -> None:
    """Reads a message into the one that is there."""
    source.add(
        3,
        f"""
        at, stop = get_span(data, at, end)
        value = values[{field.name!r}]
        if value is None:
            value = values[{field.name!r}] = new_message({source.name(field.value.hint)})
        read_message(value, data, at, stop)
        at = stop
        """,
    )


def _add_packed(source: Source, field: Field) -> None:
    _add_block(source)
    source.add(3, f"found = values[{field.name!r}]")
    layout = _form(field.value).layout
    if layout:
        source.add(
            3,
            f"""
            count, rest = divmod(block_end - at, {struct.calcsize(f"<{layout}")})
            if rest:
                raise IndexError
            found += unpack(f'<{{count}}{layout}', data, at)
            at = block_end
            """,
        )
    else:
        source.add(3, "while at < block_end:")
        _add_value(source, 4, field.value, "block_end")
        source.add(4, "found.append(value)")
        source.add(3, "if at > block_end:\n    raise IndexError")


def _add_map(source: Source, field: Field) -> None:
    keys = cast("Value", field.key)
    key, value = _form(keys), _form(field.value)
    _add_block(source)
    source.add(
        3,
        f"""
        key = held = left_out
        while at < block_end:
            tag = data[at]
            at += 1
            if tag == {1 << 3 | key.wire_type}:
        """,
    )
    _add_value(source, 5, keys, "block_end")
    source.add(5, "key = value")
    source.add(4, f"elif tag == {2 << 3 | value.wire_type}:")
    _add_value(source, 5, field.value, "block_end")
    source.add(5, "held = value")
    source.add(
        3,
        f"""
            else:
                tag, at = get_varint(data, at - 1)
                at = skip(data, tag, at, block_end)
        if at > block_end:
            raise IndexError
        if key is left_out:
            key = {source.name(key.zero)}()
        if held is left_out:
            held = {source.name(value.zero)}()
        values[{field.name!r}][key] = held
        """,
    )


def _add_block(source: Source) -> None:
    source.add(3, GET_SPAN.replace("{end}", "end"))
    source.add(3, "block_end = stop")


def _add_value(source: Source, depth: int, value: Value, end: str) -> None:
    form = _form(value)
    code = form.get_code.replace("{end}", end).replace("{call}", source.name(form.get))
    source.add(depth, code)


def _form(value: Value) -> Form:
    if value.kind != betterproto2.TYPE_MESSAGE:
        return scalar(value.kind, value.hint)
    message_type, is_wrapped = value.wrapper or value.hint, value.wrapper is not None

    def get(data: bytes, at: int, end: int) -> tuple[Any, int]:
        at, stop = get_span(data, at, end)
        message = new_message(message_type)
        read_message(message, data, at, stop)
        return message.to_wrapped() if is_wrapped else message, stop

    def zero() -> Any:
        message = new_message(message_type)
        return message.to_wrapped() if is_wrapped else message

    return Form(LENGTH, "", CALL_GET, zero, get=get)


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
