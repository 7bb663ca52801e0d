"""How messages of a class are written in Protobuf's binary form."""

# ruff: noqa: ANN401 - fields hold anything

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import betterproto2

from aiauto.connect import durations
from aiauto.connect.binary_values import CALL_PUT, LENGTH, put_varint, scalar, varint
from aiauto.connect.message_fields import UNKNOWN, fields_of, is_negative_zero
from aiauto.connect.source import Source

if TYPE_CHECKING:
    from aiauto.connect.binary_values import Put
    from aiauto.connect.message_fields import Field, Value

__all__ = ["writer_of"]

# The size of a block is one byte nearly always. Where it is not, the rest makes room for it.
_BEGIN_BLOCK: Final = """
start = len(out)
append(0)
"""
_END_BLOCK: Final = """
size = len(out) - start - 1
if size <= 127:
    out[start] = size
else:
    out[start : start + 1] = varint(size)
"""
_FLOATS: Final = {betterproto2.TYPE_FLOAT, betterproto2.TYPE_DOUBLE}


@cache
def writer_of(message_type: type[betterproto2.Message]) -> Put:
    """The function that appends a message of a class.

    It raises a ValueError where a field holds a value of a wrong type or out of its range.
    """
    source = Source(
        "def write(out, message):",
        is_negative_zero=is_negative_zero,
        mistake=_mistake,
        mistakes=(TypeError, AttributeError, UnicodeEncodeError, struct.error, OverflowError),
        pack=struct.pack,
        put_varint=put_varint,
        varint=varint,
    )
    source.add(
        1,
        """
        append = out.append
        values = vars(message)
        field = ''
        try:
        """,
    )
    for one in fields_of(message_type):
        _add_field(source, one)
    source.add(
        1,
        f"""
            out += values[{UNKNOWN!r}]
        except mistakes as error:
            raise mistake(message, field, error) from error
        """,
    )
    found: Put = source.compile(f"writer of {message_type.__name__}")
    return found


def _mistake(message: betterproto2.Message, field: str, error: Exception) -> ValueError:
    text = repr(vars(message)[field])
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return ValueError(f"{type(message).__name__}.{field} can't hold {shown}: {error}")


def _add_field(source: Source, field: Field) -> None:
    condition = "value"
    if field.presence:
        condition = "value is not None"
    elif field.value.kind in _FLOATS and field.key is None and not field.repeated:
        condition = "value or is_negative_zero(value)"
    source.add(2, f"field = {field.name!r}\nvalue = values[field]\nif {condition}:")
    if field.key is not None:
        _add_map(source, field.number, field.key, field.value)
    elif not field.repeated:
        _add_value(source, 3, field.number, field.value)
    elif _wire_type(field.value) == LENGTH:
        source.add(3, "for value in value:")
        _add_value(source, 4, field.number, field.value)
    else:
        _add_packed(source, field)


def _add_map(source: Source, number: int, key: Value, value: Value) -> None:
    source.add(3, "for key, held in value.items():")
    _add_tag(source, 4, number, LENGTH)
    source.add(4, _BEGIN_BLOCK)
    source.add(4, "value = key")
    _add_value(source, 4, 1, key)
    source.add(4, "value = held")
    _add_value(source, 4, 2, value)
    source.add(4, _END_BLOCK)


def _add_packed(source: Source, field: Field) -> None:
    _add_tag(source, 3, field.number, LENGTH)
    source.add(3, _BEGIN_BLOCK)
    layout = scalar(field.value.kind, field.value.hint).layout
    if layout:
        source.add(3, f"out += pack(f'<{{len(value)}}{layout}', *value)")
    else:
        source.add(3, "for value in value:")
        _add_bare_value(source, 4, field.value)
    source.add(3, _END_BLOCK)


def _add_value(source: Source, depth: int, number: int, value: Value) -> None:
    _add_tag(source, depth, number, _wire_type(value))
    _add_bare_value(source, depth, value)


def _add_tag(source: Source, depth: int, number: int, wire_type: int) -> None:
    tag = varint(number << 3 | wire_type)
    source.add(depth, f"append({tag[0]})" if len(tag) == 1 else f"out += {tag!r}")


def _add_bare_value(source: Source, depth: int, value: Value) -> None:
    if value.kind == betterproto2.TYPE_MESSAGE:
        code = CALL_PUT.replace("{call}", source.name(_put_message(value)))
    else:
        form = scalar(value.kind, value.hint)
        code = form.put_code.replace("{call}", source.name(form.put))
    source.add(depth, code)


def _put_message(value: Value) -> Put:
    message_type: type[betterproto2.Message] = value.wrapper or value.hint

    def put(out: bytearray, message: betterproto2.Message) -> None:
        if not isinstance(message, message_type):
            raise TypeError(f"it is no {message_type.__name__}")
        inner = bytearray()
        writer_of(type(message))(inner, message)
        put_varint(out, len(inner))
        out += inner

    def put_wrapped(out: bytearray, wrapped: Any) -> None:
        try:
            message = durations.from_python(message_type, wrapped)
        except ValueError as error:
            raise TypeError(str(error)) from error
        put(out, message)

    return put if value.wrapper is None else put_wrapped


def _wire_type(value: Value) -> int:
    if value.kind == betterproto2.TYPE_MESSAGE:
        return LENGTH
    return scalar(value.kind, value.hint).wire_type
