"""Calls with anything in them: the caller is told what is wrong, and others are served."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto.v1.connect import JournalServiceClientSync
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    distribution_to_json,
)

from aiauto import connect
from aiauto.connect.codec import CODECS
from aiauto.connect.contract import StreamKind
from aiauto.storage import open_storage
from tests.fuzz.conftest import MEBIBYTE, STUDY
from tests.fuzz.inputs import many
from tests.fuzz.messages import ANYTHING, METHODS, NUMBERS, TEXTS, objects, without_text

if TYPE_CHECKING:
    from aiauto.connect.method import MethodInfo
    from tests.fuzz.conftest import Target
    from tests.fuzz.inputs import Count

# The same on every Python.
pytestmark = pytest.mark.once

# They do what they are for whatever is in them, and then there is nothing more to try.
LAST_CALLS = {"DeleteToken", "RotateToken", "DeleteWorkspace"}
CALLS = [one for one in METHODS if one.name not in LAST_CALLS]
GROWTH = 96 * MEBIBYTE
DISTRIBUTIONS = (
    distribution_to_json(FloatDistribution(0, 1)),
    distribution_to_json(CategoricalDistribution([1, "a", None])),
    '{"name": "IntDistribution", "attributes": {"low": 1, "high": 0}}',
    "{",
    "null",
)


def content_type(method: MethodInfo[Any, Any], codec: str) -> str:
    prefix = "application/" if method.kind == StreamKind.UNARY else "application/connect+"
    return prefix + codec


def framed(method: MethodInfo[Any, Any], body: bytes) -> bytes:
    if method.kind == StreamKind.UNARY:
        return body
    return struct.pack(">BI", 0, len(body)) + body


def test_json(target: Target, count: Count) -> None:
    @many
    @given(data=st.data())
    def tell(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(CALLS))
        told = data.draw(st.one_of(objects(method.request_type), ANYTHING))
        body = framed(method, json.dumps(told).encode())
        headers = {"content-type": content_type(method, "json")}
        target.ask("POST", method.path, body, headers).check()
        count()

    with target.within(GROWTH):
        tell()


def test_what_is_no_text_in_any_field(target: Target, count: Count) -> None:
    codes: set[str] = set()
    with target.within(GROWTH):
        for method in CALLS:
            headers = {"content-type": content_type(method, "json")}
            for told in without_text(method.request_type):
                body = framed(method, json.dumps(told).encode())
                codes.add(target.ask("POST", method.path, body, headers).check())
                count()
    # The latter by calls that are not for users, whatever is in them.
    assert codes == {"invalid_argument", "permission_denied"}


def test_binary(target: Target, count: Count) -> None:
    @many
    @given(data=st.data())
    def tell(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(CALLS))
        told = json.dumps(data.draw(objects(method.request_type))).encode()
        try:
            body = CODECS["proto"].encode(CODECS["json"].decode(method.request_type, told))
        except ValueError:
            body = data.draw(st.binary(max_size=60))
        cut = data.draw(st.integers(0, len(body)))
        middle = data.draw(st.one_of(st.just(b""), st.binary(max_size=4)))
        body = framed(method, body[:cut] + middle + body[data.draw(st.integers(0, len(body))) :])
        headers = {"content-type": content_type(method, "proto")}
        target.ask("POST", method.path, body, headers).check()
        count()

    with target.within(GROWTH):
        tell()


def test_headers_frames_and_methods(target: Target, count: Count) -> None:
    # The bytes of headers that get as far as the server: more than ASCII, and no text in any code.
    printable = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
    odd = {
        "content-type": ["application/json", "application/connect+proto", "text/plain", ""],
        "content-encoding": ["gzip", "identity", "br", "gzip, gzip"],
        "connect-content-encoding": ["gzip", "zstd"],
        "accept-encoding": ["gzip;q=0", "*", "gzip;q=x"],
        "connect-protocol-version": ["1", "2", "x"],
        "connect-timeout-ms": ["0", "1", "-1", "99999999999", "1e3", "NaN"],
        "authorization": [
            "Bearer",
            "Basic eDp5",
            "Bearer a b",
            "bearer aiauto_x",
            "Bearer aiauto_\xff",
        ],
        "cookie": ["a=b; c", "=", "session=1.2.3", f"{target.session_cookie}=1.\xff"],
        "origin": ["null", "https://elsewhere.example"],
        "host": ["127.0.0.1", "localhost:1", "elsewhere.example", "[::1", ""],
    }
    headers = st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(few) | printable for name, few in odd.items()}
    )

    @many
    @given(data=st.data())
    def tell(data: st.DataObject) -> None:
        method = data.draw(st.sampled_from(CALLS))
        verb = data.draw(st.sampled_from(["POST", "POST", "GET", "PUT", "HEAD", "OPTIONS"]))
        path = method.path + data.draw(st.sampled_from(["", "", "/x", "?message=%7B", "?a=%ff"]))
        answer = target.ask(verb, path, data.draw(st.binary(max_size=40)), data.draw(headers))
        assert b"Traceback" not in answer.body
        assert answer.status != 500
        count()

    with target.within(GROWTH):
        tell()


def test_journal_entries(target: Target, count: Count) -> None:
    """Whatever is taken into the journal, every program can replay it."""
    fields = {
        "op_code": st.integers(-1, 11),
        "worker_id": TEXTS,
        "study_id": st.integers(-1, 2) | NUMBERS,
        "trial_id": st.integers(-1, 3) | NUMBERS,
        "study_name": TEXTS,
        "directions": st.lists(st.integers(0, 3), max_size=3),
        "state": st.integers(-1, 5),
        "values": st.none() | st.lists(st.floats() | NUMBERS, max_size=3),
        "value": st.none() | st.floats() | NUMBERS,
        "step": NUMBERS,
        "intermediate_value": st.floats() | st.none(),
        "param_name": TEXTS,
        "param_value_internal": st.floats() | NUMBERS,
        "distribution": st.sampled_from(DISTRIBUTIONS),
        "user_attr": st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "system_attr": st.dictionaries(TEXTS, ANYTHING, max_size=2),
        "user_attrs": st.dictionaries(TEXTS, ANYTHING, max_size=1),
        "system_attrs": st.dictionaries(
            TEXTS | st.sampled_from(["fixed_params", "constraints"]), ANYTHING, max_size=2
        ),
        "params": st.dictionaries(TEXTS, ANYTHING, max_size=1),
        "distributions": st.dictionaries(TEXTS, TEXTS, max_size=1),
        "datetime_start": st.sampled_from(["2026-01-01T00:00:00", "x", None, 5]),
        "datetime_complete": st.sampled_from(["2026-01-01T00:00:00+99:00", None, ""]),
        "intermediate_values": st.dictionaries(TEXTS, st.floats(), max_size=2),
    }
    always = {name: fields.pop(name) for name in ("op_code", "worker_id", "study_id", "trial_id")}
    fitting = st.fixed_dictionaries(always, optional=fields)
    path = "/aiauto.v1.JournalService/AppendEntries"
    taken = 0

    @many
    @given(entries=st.lists(fitting | ANYTHING, min_size=1, max_size=2), number=st.uuids())
    def tell(entries: list[object], number: object) -> None:
        nonlocal taken
        told = {"entries": [json.dumps(one) for one in entries], "requestId": str(number)}
        headers = {"content-type": "application/json"}
        taken += target.ask("POST", path, json.dumps(told).encode(), headers).check() == ""
        count()

    with target.within(GROWTH):
        tell()
    assert taken
    with connect.SyncTransport(target.server.url, token=target.server.token) as transport:
        storage = open_storage(JournalServiceClientSync(transport))
        studies = storage.get_all_studies()
        assert STUDY in {study.study_name for study in studies}
        for study in studies:
            storage.get_all_trials(study._study_id)
    # And nothing in it keeps what is well from being told.
    for path, told in (
        ("TrialService/ListTrials", {"studyName": STUDY, "pageSize": 500}),
        ("AIAutoService/GetStatus", {"studyName": STUDY, "includeTrials": True}),
        ("AIAutoService/ListStudies", {"includeBest": True}),
    ):
        for codec in ("json", "proto"):
            method = next(one for one in CALLS if one.path.endswith(path))
            request = CODECS["json"].decode(method.request_type, json.dumps(told).encode())
            body = CODECS[codec].encode(request)
            headers = {"content-type": content_type(method, codec)}
            assert target.ask("POST", method.path, body, headers).check() == ""
