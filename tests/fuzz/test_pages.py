"""Pages at any address: nothing is there, or something is; never a fault of the server's."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import MEBIBYTE
from tests.fuzz.inputs import many

if TYPE_CHECKING:
    from tests.fuzz.conftest import Target
    from tests.fuzz.inputs import Count

# The same on every Python.
pytestmark = pytest.mark.once

PLACES = (
    "", "login", "logout", "dashboard", "api", "studies", "artifacts", "csv", "static", "healthz",
    "readyz", "metrics", "trials", "0", "1", "-1", "99999999999999999999", "..", "%2e%2e", "%00",
    "token", "workspace", "study", "trialbatch", "assets", "app.js",
    "param_importances", "meta", "cdn", "user-attrs", "note", "preference", "json",
)  # fmt: skip

DIGITS = "9" * 5000
FORM = "application/x-www-form-urlencoded"
# What bodies are said to be, truly or not.
KINDS = (
    "application/json", "application/json; charset=hex", FORM, f"{FORM}; charset=hex",
    f"{FORM}; charset=utf-16", f"{FORM}; charset=utf-7", "multipart/form-data",
    "multipart/form-data; boundary=x", 'multipart/form-data; boundary="', "multipart/x; boundary=x",
    "text/plain; charset=\xff", "x", "",
)  # fmt: skip
PART = b"--x\r\n%s\r\n\r\n\xff\r\n--x--\r\n"
BODIES = (
    b"", b"{}", b"[]", b"null", b'{"study_name": 1}', b'{"study_name": "\\ud800"}',
    b"token=x", b"token=%ff&next=%ed%a0%80", b"token=\xff", b"token=+2AA-", b"&" * 3000,
    "token=\ud800".encode("utf-16", "surrogatepass"), b"--x", b"--x--\r\n", PART % b"A: b",
    PART % b'Content-Disposition: form-data; name="token"',
    PART % b"Content-Transfer-Encoding: odd",
    PART % b'Content-Disposition: form-data; name="token"; filename*=odd\'\'%ff',
    PART % b'Content-Type: multipart/mixed; boundary=y\r\nContent-Disposition: form-data; name="a"',
)  # fmt: skip
# Those that Optuna's dashboard has.
TEMPLATES = (
    "artifacts/{}/{}/0f0e0d0c-0000-4000-8000-000000000000", "artifacts/{}/abc", "csv/{}",
    "api/studies/{}", "api/studies/{}/rename", "api/studies/{}/param_importances",
    "api/studies/{}/plot/contour", "api/studies/{}/plot/{}", "api/studies/{}/note",
    "api/studies/{}/preference", "api/studies/{}/preference_feedback_component",
    "api/studies/{}/preference/{}", "api/trials/{}/tell", "api/trials/{}/user-attrs",
    "api/studies/{}/{}/skip", "api/studies/{}/{}/note", "api/artifacts/{}/{}", "api/artifacts/{}",
    "api/artifacts/{}/{}/abc", "dashboard/studies/{}",
)  # fmt: skip


def test_pages(target: Target, count: Count) -> None:
    parts = st.one_of(
        st.sampled_from(PLACES),
        st.text(max_size=8).map(lambda one: urllib.parse.quote(one, "")),
        st.binary(max_size=8).map(lambda one: urllib.parse.quote(one, "")),
    )

    @many
    @given(
        verb=st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]),
        path=st.one_of(
            st.lists(parts, max_size=5).map("/".join),
            st.just("login"),
            st.builds(
                str.format,
                st.sampled_from(TEMPLATES),
                st.sampled_from(["0", "1", "77", "99999999999999999999", DIGITS]),
                st.sampled_from(["0", "5", "x"]),
            ),
        ),
        query=st.sampled_from(
            ["", "?key=1-x", "?next=//elsewhere", "?after=x", "?%ff=%00", "?key=%ff"]
        ),
        body=st.sampled_from(BODIES),
        kind=st.sampled_from(KINDS),
        more=st.fixed_dictionaries(
            {},
            optional={
                "content-encoding": st.sampled_from(["gzip", "deflate", "x"]),
                "authorization": st.sampled_from(["", "Bearer aiauto_\xff", "Basic \xff"]),
                "cookie": st.just(f"{target.session_cookie}=1.\xff"),
            },
        ),
    )
    def visit(
        verb: str, path: str, query: str, body: bytes, kind: str, more: dict[str, str]
    ) -> None:
        headers = {"content-type": kind, "accept": "text/html", "sec-fetch-site": "none", **more}
        answer = target.ask(verb, f"/{path}{query}", body, headers)
        assert answer.status < 500, (verb, path, query, body, answer)
        assert b"Traceback" not in answer.body
        count()

    with target.within(96 * MEBIBYTE):
        visit()
