"""Which user somebody is: made when they first come, kept out, deleted, linked and forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiauto_gen.aiauto import v1
from sqlalchemy import create_engine, orm, select

from aiauto import errors
from aiauto.server import users as making
from aiauto.server.database.models import Identity, User
from aiauto.server.openid import identities
from aiauto.server.openid.admission import Admission
from aiauto.server.users import NAME, free_name, new_user
from tests.server.people import People

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.orm import Session

    from tests.issuer import LocalIssuer
    from tests.postgresql import PostgreSQL
    from tests.server.conftest import Lab
    from tests.server.people import Person

pytestmark = pytest.mark.usefixtures("unhurried")
SUBJECT = "f3b1-ada"


class Admin:
    """Who runs a lab."""

    def __init__(self, lab: Lab, person: Person) -> None:
        self.lab = lab
        self.person = person

    async def link(self, name: str, subject: str = SUBJECT) -> None:
        request = v1.LinkIdentityRequest(name=name, subject=subject)
        await self.person.users.link_identity(request)

    async def unlink(self, subject: str = SUBJECT) -> bool:
        request = v1.UnlinkIdentityRequest(subject=subject)
        return (await self.person.users.unlink_identity(request)).found

    async def known(self) -> dict[str, list[str]]:
        """The subjects of every user."""
        listed = await self.person.listed()
        return {name: [one.subject for one in user.identities] for name, user in listed.items()}


@pytest.fixture
async def admin_of() -> AsyncIterator[Callable[[Lab], Awaitable[Admin]]]:
    made: list[People] = []

    async def find(lab: Lab) -> Admin:
        made.append(People(lab.app))
        return Admin(lab, await made[-1].admin())

    yield find
    for people in made:
        await people.close()


@pytest.fixture
async def lab(open_lab: Callable[..., Awaitable[Lab]], database_url: str) -> Lab:
    return await open_lab(database_url=database_url)


@pytest.fixture
async def admin(lab: Lab, admin_of: Callable[[Lab], Awaitable[Admin]]) -> Admin:
    return await admin_of(lab)


async def test_who_comes_first_becomes_a_user(lab: Lab, admin: Admin) -> None:
    visitor = lab.visitor()
    await visitor.log_in()
    ada = (await admin.person.listed())["ada"]
    assert (ada.is_admin, ada.disabled, ada.token_count) == (False, False, 0)
    (known,) = ada.identities
    assert (known.issuer, known.subject) == (lab.issuer.url, SUBJECT)
    assert (known.email, known.linked) == ("ada@example.org", False)
    assert known.last_login_at.endswith("Z")


async def test_nobody_becomes_who_is_there_already(lab: Lab, admin: Admin) -> None:
    # By the same name and address as somebody's who has only a token.
    await admin.person.add("ada", admin=True)
    visitor = lab.visitor()
    await visitor.log_in()
    assert await visitor.name() == "ada-2"
    assert await admin.known() == {"root": [], "ada": [], "ada-2": [SUBJECT]}


@pytest.mark.once
async def test_two_servers_meet_somebody_new_at_once(
    open_lab: Callable[..., Awaitable[Lab]],
    admin_of: Callable[[Lab], Awaitable[Admin]],
    postgresql: PostgreSQL,
) -> None:
    url = postgresql.create_database()
    labs = [await open_lab(database_url=url) for _ in range(2)]
    admin = await admin_of(labs[0])
    visitors = [one.visitor() for one in labs for _ in range(3)]
    backs = [await one.way_back() for one in visitors]
    answers = await asyncio.gather(
        *(one.get(back) for one, back in zip(visitors, backs, strict=True))
    )
    assert {one.status for one in answers} == {303}
    assert await admin.known() == {"root": [], "ada": [SUBJECT]}


@pytest.mark.once
async def test_another_server_makes_a_user_of_the_name_meanwhile(
    open_lab: Callable[..., Awaitable[Lab]],
    admin_of: Callable[[Lab], Awaitable[Admin]],
    postgresql: PostgreSQL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = postgresql.create_database()
    lab = await open_lab(database_url=url)
    admin = await admin_of(lab)
    theirs = create_engine(url)
    looks: list[str] = []

    def overtaken(session: Session, wish: str) -> str:
        name = free_name(session, wish)
        looks.append(name)
        if len(looks) < 3:
            with orm.Session(theirs) as elsewhere, elsewhere.begin():
                elsewhere.add(User(name=name, is_admin=False))
        return name

    monkeypatch.setattr(identities, "free_name", overtaken)
    visitor = lab.visitor()
    await visitor.log_in()
    theirs.dispose()
    assert await visitor.name() == "ada-3"
    assert looks == ["ada", "ada-2", "ada-3"]
    assert await admin.known() == {"root": [], "ada": [], "ada-2": [], "ada-3": [SUBJECT]}


@pytest.mark.parametrize(
    ("allowed", "person", "told"),
    [
        ("", {}, f"this server is not open to you. Ask its admin to let you in{SUBJECT}"),
        ("*@elsewhere.org", {}, "this server is not open to you"),
        ("*@example.org", {"email_verified": False}, "has not verified your e-mail address"),
        ("*@example.org", {"email_verified": "true"}, "has not verified your e-mail address"),
        ("*@example.org", {"email": None}, "this server is not open to you"),
        ("groups=lab", {"groups": ["other"]}, "this server is not open to you"),
    ],
)
async def test_who_may_not_come_in(
    open_lab: Callable[..., Awaitable[Lab]],
    admin_of: Callable[[Lab], Awaitable[Admin]],
    allowed: str,
    person: dict[str, Any],
    told: str,
) -> None:
    lab = await open_lab(allowed)
    admin = await admin_of(lab)
    lab.issuer.person |= person
    visitor = lab.visitor()
    answer = await visitor.log_in()
    await visitor.stays_out(answer, 403, told.removesuffix(SUBJECT))
    # By this an admin may let them in.
    assert ("verified" in told) != (SUBJECT in answer.notice)
    assert await admin.known() == {"root": []}


async def test_who_is_not_named_any_more(
    open_lab: Callable[..., Awaitable[Lab]], issuer: LocalIssuer, database_url: str
) -> None:
    await (await open_lab(database_url=database_url)).visitor().log_in()
    later = await open_lab("bob@example.org", database_url=database_url)
    visitor = later.visitor()
    await visitor.stays_out(await visitor.log_in(), 403, "not open to you")


async def test_who_is_disabled(lab: Lab, admin: Admin, caplog: pytest.LogCaptureFixture) -> None:
    visitor = lab.visitor()
    await visitor.log_in()
    await admin.person.disable("ada")
    assert not await visitor.is_in()
    await visitor.stays_out(await visitor.log_in(), 403, "Your user on this server is disabled")
    assert f"log-in by Lab as {SUBJECT!r} refused: their user 'ada' is disabled" in caplog.text
    await admin.person.enable("ada")
    assert (await visitor.log_in()).status == 303
    assert await visitor.name() == "ada"


async def test_who_was_deleted(lab: Lab, admin: Admin) -> None:
    visitor = lab.visitor()
    await visitor.log_in()
    assert await admin.person.delete("ada")
    assert not await visitor.is_in()
    answer = await visitor.log_in()
    await visitor.stays_out(answer, 403, "was deleted")
    assert SUBJECT in answer.notice
    assert list(await admin.known()) == ["root"]
    # Only who they are is kept of them.
    emails = await lab.app.parts.database.read(
        lambda session: list(session.scalars(select(Identity.email)))
    )
    assert emails == [""]
    # An admin lets them in again: as a user who is there, or as if they came for the first time.
    await admin.person.add("countess")
    await admin.link("countess")
    assert (await visitor.log_in()).status == 303
    assert await visitor.name() == "countess"
    assert await admin.person.delete("countess")
    assert await admin.unlink()
    assert (await visitor.log_in()).status == 303
    assert await visitor.name() == "ada"


async def test_who_is_linked_needs_nothing_else(
    open_lab: Callable[..., Awaitable[Lab]], admin_of: Callable[[Lab], Awaitable[Admin]]
) -> None:
    lab = await open_lab("")
    admin = await admin_of(lab)
    await admin.person.add("ada")
    await admin.link("ada")
    await admin.link("ada")
    visitor = lab.visitor()
    assert (await visitor.log_in()).status == 303
    assert await visitor.name() == "ada"
    assert (await admin.person.listed())["ada"].identities[0].linked

    # To be another user they must be forgotten first, and then their session ends.
    await admin.person.add("bob")
    with pytest.raises(errors.AlreadyExistsError, match="another user already"):
        await admin.link("bob")
    assert await visitor.is_in()
    assert await admin.unlink()
    assert not await visitor.is_in()
    assert not await admin.unlink()
    await admin.link("bob")
    assert not await visitor.is_in()
    assert (await visitor.log_in()).status == 303
    assert await visitor.name() == "bob"


async def test_a_server_for_one_user(
    open_lab: Callable[..., Awaitable[Lab]], admin_of: Callable[[Lab], Awaitable[Admin]]
) -> None:
    lab = await open_lab("*", trust_users=False)
    admin = await admin_of(lab)
    visitor = lab.visitor()
    answer = await visitor.log_in()
    await visitor.stays_out(answer, 403, "for one user")
    assert SUBJECT in answer.notice
    assert list(await admin.known()) == ["root"]
    await admin.link("root")
    assert (await visitor.log_in()).status == 303
    assert await visitor.name() == "root"


async def test_a_server_that_has_all_the_users_that_it_may(
    lab: Lab, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "MAX_USERS", 1)
    visitor = lab.visitor()
    await visitor.stays_out(await visitor.log_in(), 503, "as many users as it may have")


@pytest.mark.parametrize("subject", ["", "a\nb", "아다", "x" * 256])
async def test_subjects_that_are_none(admin: Admin, subject: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="printable ASCII"):
        await admin.link("root", subject)


async def test_who_and_where_must_be_there(
    admin: Admin,
    open_lab: Callable[..., Awaitable[Lab]],
    admin_of: Callable[[Lab], Awaitable[Admin]],
) -> None:
    with pytest.raises(errors.NotFoundError, match="no user 'nobody'"):
        await admin.link("nobody")
    without = await admin_of(await open_lab(openid=None))
    for call in (without.link("root"), without.unlink()):
        with pytest.raises(errors.FailedPreconditionError, match="AIAUTO_OIDC_ISSUER"):
            await call


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("ada", "ada"),
        ("Ada Lovelace", "ada-lovelace"),
        ("ada.lovelace@example.org", "ada.lovelace"),
        ("1ada_", "ada"),
        ("아다", "user"),
        ("", "user"),
        ("local", "local-2"),
        ("taken", "taken-3"),
        ("x" * 40, "x" * 32),
        ("y" * 32, "y" * 30 + "-2"),
        ("../../etc", "etc"),
        ("a\N{RIGHT-TO-LEFT OVERRIDE}b", "a-b"),
    ],
)
async def test_names(lab: Lab, wish: str, name: str) -> None:
    def unit(session: Session) -> str:
        for one in ("taken", "taken-2", "y" * 32):
            new_user(session, one)
        return free_name(session, wish)

    found = await lab.app.parts.database.write(unit)
    assert found == name
    assert NAME.fullmatch(found)


def test_nothing_is_allowed_by_default(issuer: LocalIssuer) -> None:
    assert issuer.settings().admission == Admission()
    assert not Admission().lets_in(issuer.person)
