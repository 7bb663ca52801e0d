"""What the generated message classes say about their fields."""

from __future__ import annotations

import dataclasses
import math
import typing
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import betterproto2

from aiauto.connect.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UNKNOWN", "Field", "Value", "fields_of", "is_negative_zero", "new_message"]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)

UNKNOWN: Final = "_unknown_fields"
"""Attribute in which a message keeps the data of fields that its class does not have."""


@dataclasses.dataclass(frozen=True)
class Value:
    """What stands in a field, or once in a list or map.

    Attributes:
        kind: Its type in the schema, one of the constants `betterproto2.TYPE_...`.
        hint: Its Python type. For a message that stands in Python as something simpler, such as a
            time as a `datetime`, the type of that.
        wrapper: That message's class.
    """

    kind: str
    hint: Any
    wrapper: type[Any] | None


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        name: Its name in Python.
        number: Its number.
        value: What stands in it; of a map its values.
        key: Of a map its keys.
        repeated: Whether it is a list.
        presence: Whether it tells its default value from none.
        group: The oneof that it belongs to, if any.
    """

    name: str
    number: int
    value: Value
    key: Value | None
    repeated: bool
    presence: bool
    group: str | None


@cache
def fields_of(message_type: type[betterproto2.Message]) -> tuple[Field, ...]:
    """The fields of a message class, in the order of their numbers."""
    hints = typing.get_type_hints(message_type)
    found = (
        _field(one.name, one.metadata["betterproto"], hints[one.name])
        for one in dataclasses.fields(cast("Any", message_type))
    )
    return tuple(sorted(found, key=lambda one: one.number))


def _field(name: str, meta: betterproto2.FieldMetadata, hint: object) -> Field:
    inner: tuple[Any, ...] = typing.get_args(hint)
    key: Value | None = None
    if meta.map_meta is not None:
        key = _value(meta.map_meta[0], inner[0])
        value = _value(meta.map_meta[1], inner[1])
    else:
        value = _value(meta, inner[0] if meta.repeated or meta.optional else hint)
    return Field(
        name=name,
        number=meta.number,
        value=value,
        key=key,
        repeated=bool(meta.repeated),
        presence=bool(meta.optional),
        group=meta.group,
    )


def _value(meta: betterproto2.FieldMetadata, hint: object) -> Value:
    return Value(meta.proto_type, hint, meta.unwrap() if meta.unwrap is not None else None)


@cache
def _maker_of(message_type: type[MessageT]) -> Callable[[], MessageT]:
    """The function that makes an empty message.

    Not by the constructor, which takes its time to ask every field for its default, and warns of
    deprecated messages though nobody here chose them.
    """
    empty: dict[str, Any] = {UNKNOWN: b""}
    for one in dataclasses.fields(cast("Any", message_type)):
        empty[one.name] = cast("Callable[[], Any]", one.default_factory)()
    source = Source(
        "def make():",
        empty=empty,
        message_type=message_type,
        new=object.__new__,
        set_attribute=object.__setattr__,
    )
    source.add(1, "values = empty.copy()")
    for name, value in empty.items():
        if isinstance(value, (list, dict)):
            source.add(1, f"values[{name!r}] = {value!r}")
    source.add(
        1,
        """
        message = new(message_type)
        set_attribute(message, '__dict__', values)
        return message
        """,
    )
    found: Callable[[], MessageT] = source.compile(f"maker of {message_type.__name__}")
    return found


def new_message(message_type: type[MessageT]) -> MessageT:
    """Makes an empty message."""
    make: Callable[[], MessageT] = _maker_of(message_type)
    return make()


def is_negative_zero(value: object) -> bool:
    """Whether it is -0.0, which is false and still not the default of a field."""
    return isinstance(value, float) and math.copysign(1.0, value) < 0
