"""Every call, by everybody who has no business there.

The calls are those of the running server: one that is added fails here until it is said what it
names.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs
from sqlalchemy import update

from aiauto import connect
from aiauto.server.browsers import PAGE_SERVICES
from aiauto.server.database.models import Token, User, now
from tests.server.isolation.house import (
    ADMINS,
    CONTENT,
    NOTHING,
    REQUESTS,
    House,
    begin_batch,
    digest,
)

if TYPE_CHECKING:
    from aiauto.connect.method import MethodInfo

pytestmark = pytest.mark.once


async def test_every_call_is_known_here(house: House) -> None:
    assert {method.path.removeprefix("/aiauto.v1.") for method in house.methods} == set(REQUESTS)


async def test_nobody_without_a_valid_token(house: House) -> None:
    expired, revoked = await house.newcomer("carol"), await house.newcomer("dave")
    disabled = await house.newcomer("eve", admin=True)
    ended = house.worker_token
    past = now() - timedelta(seconds=1)

    def end(session: Any) -> None:
        session.execute(update(Token).values(expires_at=past).where(Token.hash == digest(expired)))
        session.execute(update(Token).values(hash="revoked").where(Token.hash == digest(revoked)))
        session.execute(update(Token).values(expires_at=past).where(Token.hash == digest(ended)))
        session.execute(update(User).values(disabled=True).where(User.name == "eve"))

    await house.app.parts.database.write(end)
    house.app.parts.auth.forget()
    refusals: set[tuple[str, str]] = set()
    for token in ("garbage", f"{expired[:-1]}", expired, revoked, disabled, ended):
        caller = house.caller(token)
        for method in house.methods:
            code, message = await caller.call(method, house.things)
            assert code == "UNAUTHENTICATED", (method.path, token)
            refusals.add((code, message))
    stranger = house.caller(None)
    for method in house.methods:
        code, message = await stranger.call(method, house.things)
        assert (code, "no token" in message) == ("UNAUTHENTICATED", True), method.path
    # In the same words for all: nothing is learnt about what was tried.
    assert len(refusals) == 1


@pytest.mark.parametrize("admin", [False, True])
async def test_another_user_finds_nothing(house: House, admin: bool) -> None:  # noqa: FBT001
    methods = [one for one in house.methods if not (admin and one.path.startswith(ADMINS))]
    for number, method in enumerate(methods):
        # Each call by somebody new, since some are about the caller's own token and workspace.
        answers: list[tuple[str, str]] = []
        for things in (house.things, NOTHING):
            name = f"user{number}{'' if things is NOTHING else 'x'}"
            caller = house.caller(await house.newcomer(name, admin=admin))
            code, text = await caller.call(method, things)
            assert "secret" not in text, method.path
            assert base64.b64encode(CONTENT).decode() not in text, method.path
            answers.append((code, told(method, text)))
        assert answers[0] == answers[1], method.path


async def test_a_browser_of_another_user_finds_nothing(house: House) -> None:
    for number, method in enumerate(house.methods):
        answers: list[tuple[str, str]] = []
        for things in (house.things, NOTHING):
            name = f"user{number}{'' if things is NOTHING else 'x'}"
            browser = await house.browser(await house.newcomer(name))
            code, text = await browser.call(method, things)
            assert "secret" not in text, method.path
            assert base64.b64encode(CONTENT).decode() not in text, method.path
            of_pages = method.path.split("/")[1] in PAGE_SERVICES
            assert (code != "UNAUTHENTICATED") == of_pages, method.path
            answers.append((code, told(method, text)))
        assert answers[0] == answers[1], method.path


async def test_who_is_no_admin_learns_of_no_user(house: House) -> None:
    methods = [one for one in house.methods if one.path.startswith(ADMINS)]
    assert len(methods) == 8
    caller = house.caller(await house.newcomer("frank"))
    answers = [
        await caller.call(method, things)
        for method in methods
        for things in (house.things, NOTHING)
    ]
    assert set(answers) == {("PERMISSION_DENIED", "Only admins may call this.")}


@pytest.mark.parametrize("admin", [False, True])
async def test_a_worker_of_another_user_finds_nothing(house: House, admin: bool) -> None:  # noqa: FBT001
    batch = await house.batch_of("bob", admin=admin)
    # After these calls there is nothing left to do for the workers of a batch.
    last = {"FailWorker", "StopBatch"}
    methods = sorted(house.methods, key=lambda method: method.path.rpartition("/")[2] in last)
    for method in methods:
        if method.path.rpartition("/")[2] in last:
            batch = await house.batch_of(method.path.rpartition("/")[2])
        is_users = not method.path.startswith(
            tuple(f"/aiauto.v1.{name}" for name in ("Runner", "Journal", "File"))
        )
        answers: list[tuple[str, str]] = []
        token = await house.worker_of(batch)
        for things in (house.things, NOTHING):
            code, text = await house.caller(token).call(method, things)
            assert "secret" not in text, method.path
            assert base64.b64encode(CONTENT).decode() not in text, method.path
            assert (code == "PERMISSION_DENIED") == is_users, method.path
            answers.append((code, told(method, text)))
        assert answers[0] == answers[1], method.path


def told(method: MethodInfo[Any, Any], text: str) -> str:
    """What an answer says; nothing of one that is about the caller's own, and never the same."""
    own = (
        "EnsureWorkspace",
        "ListWorkspaces",
        "ListTokens",
        "CreateToken",
        "RotateToken",
        "GetActiveToken",
        "BeginUpload",
        "Optimize",
        "CreateStudy",
        "AcquireLease",
        "RegisterWorker",
        "ReadEntries",
    )
    return "" if method.path.endswith(own) else text


# What a worker may do in the whole workspace of its batch, as docs/security.md has it.
WORKSPACE_WIDE = ("/aiauto.v1.FileService/", "/aiauto.v1.JournalService/Read")


async def test_a_worker_of_another_batch_has_no_part_in_this_one(house: House) -> None:
    token = await house.app.token_of("alice")
    async with connect.Transport(house.app.url, token=token) as transport:
        batch = await begin_batch(transport, "study-beside")
        # After these calls there is nothing left to do for the workers of a batch.
        last = ("FailWorker", "StopBatch")
        methods = sorted(house.methods, key=lambda method: method.path.endswith(last))
        tried = 0
        for method in methods:
            if method.path.startswith(WORKSPACE_WIDE):
                continue
            caller = house.caller(await house.worker_of(batch))
            theirs, nothing = [
                await caller.call(method, things) for things in (house.things, NOTHING)
            ]
            assert theirs[0] == nothing[0], method.path
            assert told(method, theirs[1]) == told(method, nothing[1]), method.path
            is_users = not method.path.startswith(
                ("/aiauto.v1.RunnerService/", "/aiauto.v1.JournalService/")
            )
            assert (theirs[0] == "PERMISSION_DENIED") == is_users, method.path
            tried += 1
        assert tried > 35
        client = stubs.AIAutoServiceClient(transport)
        await client.delete_study(v1.DeleteStudyRequest(name="study-beside"))
        await client.delete_token(v1.DeleteTokenRequest())


async def test_an_enrollment_token_makes_workers_of_its_batch_and_nothing_else(
    house: House,
) -> None:
    batch = await house.batch_of("bob")
    token = await house.app.parts.batches.enrollment.issue_token(batch)
    caller = house.caller(token)
    for method in house.methods:
        answers = [await caller.call(method, things) for things in (house.things, NOTHING)]
        if method.path.endswith("/EnrollWorker"):
            # Of no batch but its own, whether there is another of that name or not.
            assert {code for code, _ in answers} == {"INVALID_ARGUMENT"}
        else:
            refusal = "An enrollment token does not allow this call."
            assert set(answers) == {("PERMISSION_DENIED", refusal)}, method.path


async def test_nobody_makes_workers_but_by_an_enrollment_token(house: House) -> None:
    (method,) = [one for one in house.methods if one.path.endswith("/EnrollWorker")]
    for token in (
        await house.newcomer("erin"),
        await house.newcomer("admin", admin=True),
        house.worker_token,
    ):
        code, text = await house.caller(token).call(method, house.things)
        assert (code, "Only Pods" in text) == ("PERMISSION_DENIED", True)
