"""Values that implementations read differently where one of them is wrong."""

from __future__ import annotations

import datetime
import json
import math
import struct
from typing import TYPE_CHECKING, Any

import pytest

from aiauto.connect.codec import JSON
from tests.interop.calls import Call, Json

if TYPE_CHECKING:
    from tests.interop import ours
    from tests.interop.conftest import Pair

pytestmark = [pytest.mark.xdist_group("interop"), pytest.mark.once]

# As Protobuf's mapping to JSON has them, written by hand.
VALUES: Json = {
    "anInt64": "-9223372036854775808",
    "aUint64": "18446744073709551615",
    "aSint64": "-9007199254740993",
    "aFixed64": "18446744073709551614",
    "aSfixed32": -2147483648,
    "int64s": ["9223372036854775807", "0", "-1", "9007199254740993"],
    "truth": True,
    "text": '\x00\u2028\U0001f600 \u00e9 "q" \\ </script> \ufeff',
    "data": "AP+++//+8A==",
    "doubles": ["NaN", "Infinity", "-Infinity", 5e-324, 1.7976931348623157e308, 0.1, 1e21, 0.0],
    "floats": ["NaN", "-Infinity", 0.1, 3.4028234663852886e38, 1.401298464324817e-45],
    "color": "COLOR_NEGATIVE",
    "colors": ["COLOR_RED", "COLOR_UNSPECIFIED", "COLOR_NEGATIVE"],
    "counts": {"": "0", "a b": "9223372036854775807", "\u00fc": "-1"},
    "inners": {"0": {}, "-2147483648": {"name": "a", "children": [{}, {"name": "b"}]}},
    "answers": {"true": "yes", "false": ""},
    "zero": 0,
    "at": "2024-02-29T23:59:59.987654Z",
    "took": "1.500s",
    "word": "",
    "tree": {"a": [1.5, None, True, "x", {"b": -0.5}, []], "": {}},
    "boxed": "9007199254740993",
    "mask": "an,an.otherOne",
    "other-name": "renamed",
    "from": "a keyword",
    "optionalColor2": "COLOR_RED",
}


def normal(values: Json) -> Json:
    """Values as they compare: a float is written as short as can be, or as the double it is."""
    found = dict(values)
    if "floats" in found:
        found["floats"] = [struct.pack("<f", float(number)) for number in found["floats"]]
    return found


def both_views(response: Json) -> tuple[Json, Json]:
    """Values as the client got them, and as the server did."""
    return normal(response["values"]), normal(json.loads(response["seen"]["valuesJson"]))


def differing(found: Json, expected: Json) -> Json:
    """The fields that are not as expected."""
    return {
        name: (found.get(name), expected.get(name))
        for name in {*found, *expected}
        if found.get(name) != expected.get(name)
    }


def call_with(method: str, values: Json, codec: str) -> Call:
    return Call(method, [{"values": values, "repeat": 1}], codec=codec, get=method == "get")


@pytest.mark.parametrize("method", ["unary", "get", "server_stream"])
def test_every_type(pair: Pair, method: str, codec: str) -> None:
    client, server = both_views(pair.call(call_with(method, VALUES, codec)).only)
    assert differing(client, normal(VALUES)) == {}
    assert differing(server, normal(VALUES)) == {}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"number": "0"},
        {"inner": {}},
        {"inner": {"children": [{"children": [{"name": "deep"}]}]}},
        {"boxed": "0"},
        {"tree": {}},
        {"mask": ""},
        {"absent": ""},
        {"took": "0s"},
        {"took": "-1.500s"},
        {"took": "-0.500s"},
        {"took": "-0.000001s"},
        {"took": "-315576000000s"},
        {"took": "315576000000s"},
        {"took": "0.000001s"},
        {"at": "1970-01-01T00:00:00Z"},
        {"at": "0001-01-01T00:00:00Z"},
        {"at": "1969-12-31T23:59:59.999999Z"},
        {"at": "9999-12-31T23:59:59.999999Z"},
    ],
    ids=str,
)
def test_what_is_there_and_what_is_not(pair: Pair, codec: str, values: Json) -> None:
    assert both_views(pair.call(call_with("unary", values, codec)).only) == (values, values)


def test_negative_zero(pair: Pair, codec: str) -> None:
    found = both_views(pair.call(call_with("unary", {"doubles": [-0.0]}, codec)).only)
    signs = [math.copysign(1, values["doubles"][0]) for values in found]
    # JavaScript writes it as 0 in JSON: what such a program says in JSON is of no sign.
    client_is_js, server_is_js = pair.client == "node_client", pair.server == "node_server"
    is_lost = codec == "json" and (client_is_js or server_is_js)
    client_sign = 1.0 if client_is_js or is_lost else -1.0
    server_sign = 1.0 if server_is_js or (codec == "json" and client_is_js) else -1.0
    assert signs == [client_sign, server_sign]


def test_an_enum_value_of_a_newer_schema(pair: Pair, codec: str) -> None:
    values = {"colors": ["COLOR_RED", 77]}
    client, server = both_views(pair.call(call_with("unary", values, codec)).only)
    # The peer of Python, where it reads JSON, passes it over as if it were an unknown field.
    passed_over = {"colors": ["COLOR_RED"]}
    is_json = codec == "json"
    if is_json and pair.server == "python_server":
        assert (client, server) == (passed_over, passed_over)
    elif is_json and pair.client == "python_client":
        assert (client, server) == (passed_over, values)
    else:
        assert (client, server) == (values, values)


def test_our_objects_are_these_values(code: ours.Code) -> None:
    messages: Any = code.messages
    color = messages.Color
    values = JSON.decode(messages.Values, json.dumps(VALUES).encode())
    doubles, floats = values.doubles, values.floats
    assert math.isnan(doubles.pop(0))
    assert math.isnan(floats.pop(0))
    assert doubles == [math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1, 1e21, 0.0]
    assert floats[0] == -math.inf
    assert values.color is color.NEGATIVE
    assert values.colors == [color.RED, color.UNSPECIFIED, color.NEGATIVE]
    assert values.int64s == [2**63 - 1, 0, -1, 2**53 + 1]
    assert (values.an_int64, values.a_uint64, values.a_sint64) == (
        -(2**63),
        2**64 - 1,
        -(2**53) - 1,
    )
    assert (values.a_fixed64, values.a_sfixed32) == (2**64 - 2, -(2**31))
    assert values.data == b"\x00\xff\xbe\xfb\xff\xfe\xf0"
    assert values.counts == {"": 0, "a b": 2**63 - 1, "\u00fc": -1}
    inner = messages.Inner(name="a", children=[messages.Inner(), messages.Inner(name="b")])
    assert values.inners == {0: messages.Inner(), -(2**31): inner}
    assert values.answers == {True: "yes", False: ""}
    assert (values.zero, values.absent) == (0, None)
    assert values.at == datetime.datetime(2024, 2, 29, 23, 59, 59, 987654, datetime.timezone.utc)
    assert values.took == datetime.timedelta(seconds=1.5)
    assert (values.word, values.number, values.inner) == ("", None, None)
    assert values.boxed == 2**53 + 1
    assert values.mask.paths == ["an", "an.other_one"]
    assert (values.renamed, values.from_) == ("renamed", "a keyword")
    assert values.optional_color_2 is color.RED


def test_nanoseconds(pair: Pair, codec: str) -> None:
    # Ours has them as Python has times, in microseconds.
    sent = {"at": "2024-02-29T23:59:59.987654321Z", "took": "1.987654321s"}
    found = both_views(pair.call(call_with("unary", sent, codec)).only)
    rounded = {"at": "2024-02-29T23:59:59.987654Z", "took": "1.987654s"}
    assert found == (rounded, rounded)
