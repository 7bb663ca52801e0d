"""Messages of the schema with anything in their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import betterproto2
from aiauto_gen.aiauto.v1 import connect as stubs
from aiauto_gen.connect import Method
from hypothesis import strategies as st

from aiauto.connect.message_fields import Field, Value, fields_of
from tests.fuzz.conftest import STUDY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

METHODS: list[Method[Any, Any]] = [one for one in vars(stubs).values() if isinstance(one, Method)]

HOSTILE = (
    "",
    STUDY,
    "../../../etc/passwd",
    "/etc/passwd",
    "a/../b",
    "..%2f..%2fetc",
    "nul\0byte",
    "line\r\nbreak: header",
    # Halves of surrogate pairs, which JSON can spell though nothing can write them down: none of
    # them is in what `st.text()` draws.
    "\ud800",
    "caf\udce9.txt",
    "'; DROP TABLE token; --",
    "${jndi:ldap://x}{{7*7}}%s%n",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH JOINER}",
    "9" * 400,
    "-1",
    "1e999",
    "a" * 70_000,
    "minimize",
    "[[[[",
    '{"op_code": 4}',
)
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
NUMBERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**31 - 1, -(2**31), 2**53, 2**63 - 1, 2**64, 10**30])
)
# Whatever stands where something else belongs.
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def objects(
    message_type: type[betterproto2.Message], depth: int = 0
) -> st.SearchStrategy[dict[str, object]]:
    """A message as JSON has it: what belongs into its fields, and now and then what does not."""
    fields = {_camel(field.name): _field(field, depth) for field in fields_of(message_type)}
    return st.fixed_dictionaries({}, optional=fields)


def without_text(
    message_type: type[betterproto2.Message], depth: int = 0
) -> Iterator[Mapping[str, object]]:
    """Messages as JSON, each with one text in it that is none."""
    for field in fields_of(message_type):
        values: Iterable[object] = ()
        if field.value.kind == betterproto2.TYPE_STRING:
            values = ["\ud800"]
        elif field.value.kind == betterproto2.TYPE_MESSAGE and depth < 3:
            values = without_text(field.value.wrapper or field.value.hint, depth + 1)
        name = _camel(field.name)
        if field.key is not None:
            yield {name: {"\ud800": None}}
            yield from ({name: {"a": value}} for value in values)
        else:
            yield from ({name: [value] if field.repeated else value} for value in values)


def _field(field: Field, depth: int) -> st.SearchStrategy[object]:
    fitting: st.SearchStrategy[object] = _value(field.value, depth)
    if field.key is not None:
        fitting = st.dictionaries(TEXTS, fitting, max_size=3)
    elif field.repeated:
        fitting = st.lists(fitting, max_size=3)
    # Drawn three times as often as what does not fit.
    return st.one_of(fitting, fitting, fitting, ANYTHING)


SCALARS: dict[str, st.SearchStrategy[object]] = {
    betterproto2.TYPE_STRING: TEXTS,
    betterproto2.TYPE_BYTES: st.sampled_from(["", "AAAA", "not base64!", "gAROLg=="]),
    betterproto2.TYPE_BOOL: st.booleans(),
    betterproto2.TYPE_FLOAT: st.floats() | NUMBERS,
    betterproto2.TYPE_DOUBLE: st.floats() | NUMBERS,
}


def _value(value: Value, depth: int) -> st.SearchStrategy[object]:
    if value.kind != betterproto2.TYPE_MESSAGE:
        return SCALARS.get(value.kind, NUMBERS)
    if value.wrapper is not None or depth > 2:
        return ANYTHING
    return objects(value.hint, depth + 1)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))
