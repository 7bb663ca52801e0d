"""Names that people and programs choose: they are taken as they are, or refused."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import MEBIBYTE
from tests.fuzz.inputs import many
from tests.fuzz.messages import HOSTILE

if TYPE_CHECKING:
    from tests.fuzz.conftest import Target
    from tests.fuzz.inputs import Count

# The same on every Python.
pytestmark = pytest.mark.once

JSON = {"content-type": "application/json"}
PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,63}")
# What is taken most often, what looks like it, and anything at all.
NAMES = st.one_of(
    st.from_regex(PLAIN, fullmatch=True),
    st.text(st.sampled_from("aZ09_.-/\\%~ \0\n\t\u2024\u202e\u0660é한"), max_size=70),
    st.text(max_size=300),
    st.sampled_from(HOSTILE),
)
GROWTH = 96 * MEBIBYTE


class Service:
    """Calls of one service, in JSON."""

    def __init__(self, target: Target, name: str) -> None:
        self._target = target
        self._name = name

    def code(self, method: str, **told: object) -> str:
        """The code of the error; empty where there is none."""
        code: str = self._ask(method, told).check()
        return code

    def answer(self, method: str, **told: object) -> Any:
        answer = self._ask(method, told)
        assert answer.check() == ""
        return json.loads(answer.body)

    def _ask(self, method: str, told: dict[str, object]) -> Any:
        body = json.dumps(told).encode()
        return self._target.ask("POST", f"/aiauto.v1.{self._name}/{method}", body, JSON)


def test_studies(target: Target, count: Count) -> None:
    service = Service(target, "AIAutoService")
    taken: set[str] = set()

    @many
    @given(name=NAMES)
    def tell(name: str) -> None:
        code = service.code("CreateStudy", spec={"studyName": name, "direction": "minimize"})
        if code == "":
            assert PLAIN.fullmatch(name)
            taken.add(name)
            assert service.answer("GetStatus", studyName=name)["studyName"] == name
        else:
            assert code == "invalid_argument"
            # What is no text is no name that there could be.
            is_text = not any("\ud800" <= one <= "\udfff" for one in name)
            refusal = "not_found" if is_text else "invalid_argument"
            assert service.code("GetStatus", studyName=name) == refusal
        page = f"/study/{urllib.parse.quote(name, '', errors='surrogatepass')}"
        # The first line of a request has its limit.
        assert target.ask("GET", page).status in ({200, 404} if len(page) < 60_000 else {400})
        count()

    with target.within(GROWTH):
        tell()
    listed = [one["name"] for one in service.answer("ListStudies")["studies"]]
    assert len(listed) == len(set(listed))
    assert taken <= set(listed)
    assert all(map(PLAIN.fullmatch, listed))


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("GetTrialBatch", "name"),
        ("DeleteTrialBatch", "name"),
        ("CancelTrialBatch", "name"),
        ("ListTrialBatchPods", "trialbatchName"),
        ("GetOptunaWorkspaceStatus", "workspaceName"),
        ("RevokeToken", "tokenId"),
    ],
)
def test_what_is_not_there_by_any_name(
    target: Target, count: Count, method: str, field: str
) -> None:
    service = Service(target, "AIAutoService")

    @many
    @given(name=NAMES.filter(lambda name: name and not name.isdigit()))
    def tell(name: str) -> None:
        told = {field: name}
        code = service.code(method, **told)
        # What is to go and is not there has gone.
        assert code in {"not_found", "invalid_argument"} or method in {
            "DeleteTrialBatch",
            "RevokeToken",
        }
        count()

    with target.within(GROWTH):
        tell()


def test_tokens(target: Target, count: Count) -> None:
    service = Service(target, "AIAutoService")

    @many
    @given(name=NAMES)
    def tell(name: str) -> None:
        if service.code("CreateToken", name=name) == "":
            assert name.isprintable()
            issued = service.answer("ListTokens")["tokens"][-1]
            assert issued.get("name", "") == name
            assert service.answer("RevokeToken", tokenId=issued["id"]) == {"found": True}
        count()

    with target.within(GROWTH):
        tell()


def test_users(target: Target, count: Count) -> None:
    service = Service(target, "UserService")

    def listed() -> list[str]:
        return [one["name"] for one in service.answer("ListUsers")["users"]]

    before = listed()

    @many
    @given(name=NAMES | st.from_regex(r"[a-z][a-z0-9_.-]{0,31}", fullmatch=True))
    def tell(name: str) -> None:
        if service.code("CreateUser", name=name) == "":
            assert re.fullmatch(r"[a-z](?:[a-z0-9_.-]{0,30}[a-z0-9])?", name)
            assert listed() == [*before, name]
            assert service.answer("DeleteUser", name=name) == {"found": True}
        assert listed() == before
        count()

    with target.within(GROWTH):
        tell()


def test_files(target: Target, count: Count) -> None:
    service = Service(target, "FileService")
    place = {"place": "FILE_PLACE_SHARED_CACHE"}
    digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # of nothing
    taken = 0

    def listed() -> list[str]:
        files = service.answer("ListFiles", **place).get("files", [])
        return [one["path"] for one in files]

    @many
    @given(path=st.lists(NAMES, min_size=1, max_size=3).map("/".join))
    def tell(path: str) -> None:
        nonlocal taken
        begun = {**place, "path": path, "size": "0", "sha256": digest}
        if service.code("BeginUpload", **begun) == "":
            upload = service.answer("BeginUpload", **begun)
            if "uploadId" in upload:
                service.answer("FinishUpload", uploadId=upload["uploadId"])
            assert listed() == [path]
            taken += 1
            service.answer("DeleteFile", **place, path=path.partition("/")[0])
        assert listed() == []
        count()

    with target.within(GROWTH):
        tell()
    assert taken
