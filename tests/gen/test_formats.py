"""Messages in binary and in JSON, side by side with Google's own runtime."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiauto.connect import binary_format, json_format

if TYPE_CHECKING:
    from types import ModuleType

    from tests.gen.conftest import Generated


google_json: Any = importlib.import_module("google.protobuf.json_format")


@pytest.fixture(scope="module")
def shop(generated: Generated) -> Any:
    return generated.module("acme.shop.v1")


@pytest.fixture(scope="module")
def order(reference: ModuleType) -> Any:
    return reference.Order


def ints(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    if signed:
        return st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return st.integers(0, (1 << bits) - 1)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
DOUBLE = st.floats(allow_nan=False)
FLOAT = st.floats(width=32, allow_nan=False)
STATES = st.sampled_from([0, 1, 2, -1])
LINE = st.fixed_dictionaries({}, optional={"text": TEXT, "amount": ints(32, signed=False)})
MONEY = st.fixed_dictionaries({}, optional={"currency": TEXT, "cents": ints(64, signed=True)})
# Python's times have microseconds.
TIME = st.fixed_dictionaries(
    {
        "seconds": st.integers(-60_000_000_000, 250_000_000_000),
        "nanos": st.integers(0, 999_999).map(lambda micros: micros * 1000),
    }
)


def duration_of(micros: int) -> dict[str, int]:
    # Seconds and nanoseconds have the same sign.
    seconds, rest = divmod(abs(micros), 1_000_000)
    sign = -1 if micros < 0 else 1
    return {"seconds": sign * seconds, "nanos": sign * rest * 1000}


DURATION = st.integers(-(10**16), 10**16).map(duration_of)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": TEXT,
    "urgent": st.booleans(),
    "an_int32": ints(32, signed=True),
    "an_int64": ints(64, signed=True),
    "a_uint32": ints(32, signed=False),
    "a_uint64": ints(64, signed=False),
    "a_sint32": ints(32, signed=True),
    "a_sint64": ints(64, signed=True),
    "a_fixed32": ints(32, signed=False),
    "a_fixed64": ints(64, signed=False),
    "a_sfixed32": ints(32, signed=True),
    "a_sfixed64": ints(64, signed=True),
    "a_float": FLOAT,
    "a_double": DOUBLE,
    "data": st.binary(max_size=8),
    "state": STATES,
    "first": LINE,
    "lines": st.lists(LINE, max_size=3),
    "tags": st.lists(TEXT, max_size=3),
    "numbers": st.lists(ints(32, signed=True), max_size=3),
    "weights": st.lists(DOUBLE, max_size=3),
    "states": st.lists(STATES, max_size=3),
    "labels": st.dictionaries(TEXT, TEXT, max_size=3),
    "by_number": st.dictionaries(ints(32, signed=True), LINE, max_size=3),
    "by_flag": st.dictionaries(st.booleans(), STATES, max_size=2),
    "maybe": ints(32, signed=True),
    "note": TEXT,
    "from": TEXT,
    "class": TEXT,
    "made_at": TIME,
    "took": DURATION,
    "wrapped": TEXT.map(lambda value: {"value": value}),
    "wrapped_number": ints(64, signed=True).map(lambda value: {"value": value}),
    "times": st.lists(TIME, max_size=2),
    "parent": st.fixed_dictionaries({}, optional={"id": TEXT, "first": LINE}),
    "line_2_text": TEXT,
    "far_away": ints(32, signed=True),
}
PAYMENTS: list[dict[str, st.SearchStrategy[Any]]] = [
    {},
    {"cash": MONEY},
    {"card": TEXT},
    {"free": st.booleans()},
]
ORDERS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    [st.fixed_dictionaries(payment, optional=FIELDS) for payment in PAYMENTS]
)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def json_of(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = google_json.MessageToDict(message)
    return found


@quick
@given(fields=ORDERS)
def test_binary(shop: Any, order: Any, fields: dict[str, Any]) -> None:
    theirs = order(**fields)
    ours = binary_format.load(shop.Order, theirs.SerializeToString())
    data = binary_format.dump(ours)
    # Read back by the other side, it is the same; and so it is by the message library.
    assert order.FromString(data) == theirs
    assert shop.Order.parse(data) == ours


# Google's own reader, on Python 3.15.
@pytest.mark.filterwarnings("ignore:invalid character .* in URL-safe Base64:FutureWarning")
@quick
@given(fields=ORDERS)
def test_json(shop: Any, order: Any, fields: dict[str, Any]) -> None:
    theirs = order(**fields)
    ours = json_format.load(shop.Order, google_json.MessageToJson(theirs).encode())
    assert ours == binary_format.load(shop.Order, theirs.SerializeToString())
    data = json_format.dump(ours)
    assert google_json.Parse(data, order()) == theirs
    # Names as in the schema are read as well.
    as_in_schema = google_json.MessageToJson(theirs, preserving_proto_field_name=True)
    assert json_format.load(shop.Order, as_in_schema.encode()) == ours


@quick
@given(fields=ORDERS, cut=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_broken_binary(
    shop: Any, order: Any, fields: dict[str, Any], cut: float, flip: int
) -> None:
    data = order(**fields).SerializeToString()
    at = int(len(data) * cut)
    for broken in (data[:at], data[:at] + bytes([flip]) + data[at + 1 :], data[at:]):
        try:
            found = binary_format.load(shop.Order, broken)
        except ValueError:
            continue
        # What can be read can be written.
        binary_format.dump(found)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=40))
def test_arbitrary_bytes(shop: Any, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        binary_format.load(shop.Order, data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*FIELDS, "madeAt", "anInt32", "cash", "card", "more", "anyJson", "took"])


@settings(max_examples=100, deadline=None)
@given(found=st.dictionaries(NAMES, VALUES, max_size=4))
def test_arbitrary_json(shop: Any, found: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):
        binary_format.dump(json_format.load(shop.Order, json.dumps(found).encode()))


# ------------------------------------------------------------------------------- by hand


def test_json_names(shop: Any) -> None:
    message = shop.Order(from_="a", line_2_text="b", class_="c")
    assert json.loads(json_format.dump(message)) == {"from": "a", "line2Text": "b", "class": "c"}


def test_json_names_of_the_schema(generated: Generated, reference: ModuleType) -> None:
    base = generated.module("acme.base.v1")
    message = base.Report(kind="a", http_code=404, deep=[base.ReportDeep(inner="b")])
    data = json_format.dump(message)
    found = {"@type": "a", "HTTPCode": 404, "deep": [{"innermost": "b"}]}
    assert json.loads(data) == found
    assert json_format.load(base.Report, data) == message
    theirs = importlib.import_module("acme.base.v1.report_pb2").Report
    assert json_of(theirs.FromString(binary_format.dump(message))) == found


def test_packages_that_import_each_other(generated: Generated, shop: Any) -> None:
    base = generated.module("acme.base.v1")
    order = shop.Order(cash=base.Money(currency="KRW", cents=5))
    message = base.Report(order=order)
    assert json_format.load(base.Report, json_format.dump(message)) == message
    assert binary_format.load(base.Report, binary_format.dump(message)).order == order


@pytest.mark.parametrize("paths", [[], ["order"], ["order.far_away", "deep.inner"]])
def test_field_masks(generated: Generated, reference: ModuleType, paths: list[str]) -> None:
    base = generated.module("acme.base.v1")
    mask = generated.module("google.protobuf").FieldMask(paths=paths)
    message = base.Report(mask=mask)
    data = json_format.dump(message)
    theirs = importlib.import_module("acme.base.v1.report_pb2").Report
    assert json.loads(data) == json_of(theirs.FromString(binary_format.dump(message)))
    assert json_format.load(base.Report, data) == message
    with pytest.raises(ValueError, match="mask: expected paths in a string"):
        json_format.load(base.Report, b'{"mask": {"paths": []}}')


def test_free_form_json(shop: Any) -> None:
    text = {"more": {"a": [1, None, {"b": "c"}]}, "anyJson": None, "took": "1.500s"}
    message = json_format.load(shop.Order, json.dumps(text).encode())
    assert message.took.total_seconds() == 1.5
    assert json.loads(json_format.dump(message))["more"] == text["more"]
    assert binary_format.load(shop.Order, binary_format.dump(message)) == message


def test_any(generated: Generated, shop: Any, order: Any) -> None:
    any_type = generated.module("google.protobuf").Any
    message = shop.Order(anything=any_type.pack(shop.OrderLine(text="x")))
    data = json_format.dump(message)
    assert json.loads(data) == {
        "anything": {"@type": "type.googleapis.com/acme.shop.v1.Order.Line", "text": "x"}
    }
    assert json_format.load(shop.Order, data) == message
    assert json_of(order.FromString(binary_format.dump(message))) == json.loads(data)


@pytest.mark.parametrize("text", ['"NaN"', '"Infinity"', '"-Infinity"', '"1e3"', "-0.0", "5"])
def test_floats(shop: Any, text: str) -> None:
    message = json_format.load(shop.Order, f'{{"aDouble": {text}}}'.encode())
    copied = binary_format.load(shop.Order, binary_format.dump(message))
    again = json_format.load(shop.Order, json_format.dump(message))
    for found in (copied, again):
        same = found.a_double == message.a_double or math.isnan(message.a_double)
        assert same
    assert math.copysign(1, copied.a_double) == math.copysign(1, message.a_double)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"first": {"amount": -1}}', "first.amount: -1 is not between 0 and 4294967295"),
        ('{"lines": [{}, {"text": 1}]}', "lines[1].text: expected a string, found 1"),
        ('{"lines": {}}', "lines: expected a list, found {}"),
        ('{"lines": [null]}', "lines[0]: expected an object, found null"),
        ('{"labels": {"a": null}}', 'labels["a"]: expected a string, found null'),
        ('{"byNumber": {"x": {}}}', 'byNumber (a key): expected a whole number, found "x"'),
        ('{"byFlag": {"maybe": 1}}', 'byFlag (a key): expected true or false, found "maybe"'),
        ('{"urgent": "true"}', 'urgent: expected true or false, found "true"'),
        ('{"urgent": []}', "urgent: expected true or false, found []"),
        ('{"anInt32": 1.5}', "anInt32: expected a whole number, found 1.5"),
        ('{"anInt32": true}', "anInt32: expected a whole number, found true"),
        ('{"anInt64": "9223372036854775808"}', "anInt64: 9223372036854775808 is not between"),
        ('{"aDouble": "many"}', 'aDouble: expected a number, found "many"'),
        ('{"aFloat": 1e39}', "aFloat: 1e+39 is too large for the field"),
        (f'{{"aDouble": {10**400}}}', "aDouble: the number is too large for the field"),
        ('{"data": "a?"}', "data: not base64"),
        ('{"data": 1}', "data: expected base64 in a string, found 1"),
        ('{"state": "STATE_NEW"}', "state: 'STATE_NEW' is none of STATE_UNSPECIFIED, STATE_OPEN"),
        ('{"cash": {}, "card": "x"}', "card: only one of cash and card can be set"),
        ('{"madeAt": "yesterday"}', 'madeAt: not a Timestamp: "yesterday"'),
        (r'{"id": "a\ud800"}', r'id: "a\ud800" holds half of a surrogate pair'),
        (r'{"tags": ["", "\udce9"]}', r'tags[1]: "\udce9" holds half of a surrogate pair'),
        (r'{"labels": {"\ud800": ""}}', r'labels (a key): "\ud800" holds half of a surrogate'),
        (r'{"labels": {"a": "\ud800"}}', r'labels["a"]: "\ud800" holds half of a surrogate'),
        (r'{"wrapped": "\ud800"}', r'wrapped: "\ud800" holds half of a surrogate pair'),
        (r'{"more": {"a": ["\ud800"]}}', r'more: {"a": ["\ud800"]} holds half of a surrogate'),
        (r'{"data": "\ud800"}', "data: not base64"),
        (r'{"state": "\ud800"}', r"state: '\ud800' is none of STATE_UNSPECIFIED"),
        (r'{"madeAt": "\ud800"}', "madeAt: "),
    ],
)
def test_mistakes_in_json_are_told_with_their_place(shop: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        json_format.load(shop.Order, text.encode())
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 5),
        ("id", "\ud800"),
        ("tags", ["", "\ud800"]),
        ("an_int32", 1 << 31),
        ("an_int32", "5"),
        ("a_uint32", -1),
        ("a_fixed32", -1),
        ("a_sint64", 1 << 63),
        ("a_float", "x"),
        ("data", "text"),
        ("first", "text"),
        ("lines", ["text"]),
        ("labels", {"a": 5}),
        ("labels", {"\ud800": ""}),
        ("made_at", 5),
        ("numbers", [0.5]),
    ],
)
def test_wrong_values_are_told_with_their_field(shop: Any, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"Order\.{field} can't hold "):
        binary_format.dump(shop.Order(**{field: value}))


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "\ud800"},
        {"tags": ["", "\ud800"]},
        {"labels": {"\ud800": ""}},
        {"labels": {"": "\ud800"}},
        {"wrapped": "\ud800"},
    ],
)
def test_what_is_no_text_is_not_written_as_json(shop: Any, fields: dict[str, Any]) -> None:
    """A peer in another language would refuse it, or read something else."""
    with pytest.raises(ValueError, match=r'"\\ud800" holds half of a surrogate pair'):
        json_format.dump(shop.Order(**fields))


def test_a_pair_of_surrogates_is_text(shop: Any) -> None:
    message = json_format.load(shop.Order, rb'{"id": "\ud83d\ude00", "tags": ["\uc548"]}')
    assert (message.id, message.tags) == ("\U0001f600", ["\uc548"])
    assert json_format.load(shop.Order, json_format.dump(message)) == message


def test_what_comes_twice(shop: Any) -> None:
    def dump(**fields: Any) -> bytes:
        return binary_format.dump(shop.Order(**fields))

    twice = dump(first=shop.OrderLine(text="a")) + dump(first=shop.OrderLine(amount=5))
    assert binary_format.load(shop.Order, twice).first == shop.OrderLine(text="a", amount=5)
    rivals = binary_format.load(shop.Order, dump(card="a") + dump(free=True))
    assert (rivals.card, rivals.free) == (None, True)
    with pytest.raises(ValueError, match="only one of"):
        json_format.load(shop.Order, b'{"card": "a", "free": true}')


def test_numbers_packed_or_not(shop: Any) -> None:
    packed = binary_format.dump(shop.Order(numbers=[1, -1]))
    plain = b"\xa0\x01\x01" + b"\xa0\x01" + b"\xff" * 9 + b"\x01"
    assert binary_format.load(shop.Order, plain) == binary_format.load(shop.Order, packed)


def test_fields_that_the_class_does_not_have_are_kept(shop: Any) -> None:
    data = binary_format.dump(shop.Order(id="7", tags=["a"], a_double=1.5, far_away=3))
    found = binary_format.load(shop.GetOrderRequest, data)
    assert found.id == "7"
    assert binary_format.load(shop.Order, binary_format.dump(found)).tags == ["a"]


def test_nesting_has_an_end(shop: Any) -> None:
    data = b""
    for _ in range(3000):
        data = binary_format.dump(shop.Order()) + b"\xca\x02" + _varint(len(data)) + data
    with pytest.raises(ValueError, match="nested too deeply"):
        binary_format.load(shop.Order, data)
    with pytest.raises(ValueError, match="nested too deeply"):
        json_format.load(shop.Order, b'{"parent":' * 3000 + b"{}" + b"}" * 3000)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
