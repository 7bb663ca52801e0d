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

BLAMED_ITSELF = b'{"reason": "internal server error"}'
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
        st.sampled_from(PLACES), st.text(max_size=8).map(lambda one: urllib.parse.quote(one, ""))
    )

    @many
    @given(
        verb=st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]),
        path=st.one_of(
            st.lists(parts, max_size=5).map("/".join),
            st.builds(
                str.format,
                st.sampled_from(TEMPLATES),
                st.sampled_from(["0", "1", "77", "99999999999999999999"]),
                st.sampled_from(["0", "5", "x"]),
            ),
        ),
        query=st.sampled_from(["", "?key=1-x", "?next=//elsewhere", "?after=x", "?%ff=%00"]),
        body=st.sampled_from([b"", b"{}", b"[]", b"null", b'{"study_name": 1}', b"token=x"]),
        kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "x"]),
    )
    def visit(verb: str, path: str, query: str, body: bytes, kind: str) -> None:
        headers = {"content-type": kind, "accept": "text/html"}
        answer = target.ask(verb, f"/{path}{query}", body, headers)
        # The dashboard says this itself of a request that does not fit, and nothing more.
        blamed_itself = answer.body == BLAMED_ITSELF or (
            verb == "HEAD" and answer.headers.get("content-length") == str(len(BLAMED_ITSELF))
        )
        assert answer.status < 500 or blamed_itself, (verb, path, query, body, answer)
        assert b"Traceback" not in answer.body
        count()

    with target.within(96 * MEBIBYTE):
        visit()
