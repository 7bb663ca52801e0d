"""UserService: who may use the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import UserServiceBase
from sqlalchemy import delete, func, select, update

from aiauto.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from aiauto.server.accounts import LOCAL_USER
from aiauto.server.auth import ADMINS_ONLY, new_token
from aiauto.server.database.models import Identity, Token, TrialBatch, User, Workspace
from aiauto.server.messages import rfc3339
from aiauto.server.openid.identities import found
from aiauto.server.openid.settings import ISSUER_VARIABLE
from aiauto.server.services.calls import Calls
from aiauto.server.services.removal import end_batches, remove_workspace
from aiauto.server.services.token import check_count, valid, valid_of
from aiauto.server.users import check_name, new_user, user_named
from aiauto.server.wholeness import to_the_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

MAX_SUBJECT_CHARACTERS = 255


class UserService(Calls, UserServiceBase):
    """Makes, lists and removes users. `Auth` lets admins only come as far as here."""

    async def create_user(
        self, request: v1.CreateUserRequest, context: Context
    ) -> v1.CreateUserResponse:
        """Make a user."""
        del context
        self._parts.accounts.check_another()
        check_name(request.name)
        caller_id = self._user_id

        def unit(session: Session) -> v1.CreateUserResponse:
            _check_admin(session, caller_id)
            user = new_user(session, request.name, is_admin=request.is_admin)
            token = new_token(session, user.id)
            return v1.CreateUserResponse(user=_info(user, 1, []), token=token)

        return await self._parts.database.write(unit)

    async def list_users(
        self, request: v1.ListUsersRequest, context: Context
    ) -> v1.ListUsersResponse:
        """List all users."""
        del request, context

        def unit(session: Session) -> v1.ListUsersResponse:
            tokens = select(Token.user_id, func.count()).where(*valid()).group_by(Token.user_id)
            counts = {user_id: count for user_id, count in session.execute(tokens)}  # noqa: C416
            identities: dict[int | None, list[Identity]] = {}
            for one in session.scalars(select(Identity).order_by(Identity.id)):
                identities.setdefault(one.user_id, []).append(one)
            users = session.scalars(select(User).order_by(User.id))
            return v1.ListUsersResponse(
                users=[
                    _info(user, counts.get(user.id, 0), identities.get(user.id, []))
                    for user in users
                ]
            )

        return await self._parts.database.read(unit)

    async def issue_user_token(
        self, request: v1.IssueUserTokenRequest, context: Context
    ) -> v1.IssueUserTokenResponse:
        """Issue a token for a user."""
        del context
        caller_id, limits = self._user_id, self._parts.limits

        def unit(session: Session) -> str:
            _check_admin(session, caller_id)
            user = _named(session, request.name)
            if request.revoke_others:
                session.execute(delete(Token).where(*valid_of(user.id)))
            check_count(session, user.id, limits)
            return new_token(session, user.id)

        token = await self._parts.database.write(unit)
        self._parts.auth.forget()
        return v1.IssueUserTokenResponse(token=token)

    async def disable_user(
        self, request: v1.DisableUserRequest, context: Context
    ) -> v1.DisableUserResponse:
        """Keep a user out."""
        del context
        user_id = await self._keep_out(request.name)
        if user_id is None:
            raise _unknown(request.name)
        # The folders of what is over stay.
        running = Workspace.user_id == user_id, TrialBatch.finished_at.is_(None)
        await to_the_end(end_batches(self._parts, "Its user was disabled.", *running))
        return v1.DisableUserResponse()

    async def enable_user(
        self, request: v1.EnableUserRequest, context: Context
    ) -> v1.EnableUserResponse:
        """Let a user in again."""
        del context
        caller_id = self._user_id

        def unit(session: Session) -> None:
            _check_admin(session, caller_id)
            _named(session, request.name).disabled = False

        await self._parts.database.write(unit)
        self._parts.auth.forget()
        return v1.EnableUserResponse()

    async def delete_user(
        self, request: v1.DeleteUserRequest, context: Context
    ) -> v1.DeleteUserResponse:
        """Delete a user with all that they have. One that is not there is deleted already."""
        del context
        # First of all, so that nothing of theirs begins meanwhile, and nobody comes back if the
        # server dies in the middle: they can be deleted once more.
        user_id = await self._keep_out(request.name)
        if user_id is not None:
            await to_the_end(self._remove(user_id))
        return v1.DeleteUserResponse(found=user_id is not None)

    async def link_identity(
        self, request: v1.LinkIdentityRequest, context: Context
    ) -> v1.LinkIdentityResponse:
        """Say which user somebody is whom the issuer knows."""
        del context
        issuer, caller_id, subject = self._issuer, self._user_id, request.subject
        if not (
            0 < len(subject) <= MAX_SUBJECT_CHARACTERS
            and subject.isascii()
            and subject.isprintable()
        ):
            raise InvalidArgumentError(
                f"subject is {subject[:50]!r}: it must have 1 to {MAX_SUBJECT_CHARACTERS} "
                "printable ASCII characters, as the issuer has it."
            )

        def unit(session: Session) -> None:
            _check_admin(session, caller_id)
            user, identity = _named(session, request.name), found(session, issuer, subject)
            if identity is None:
                identity = Identity(issuer=issuer, subject=subject)
                session.add(identity)
            elif identity.user_id not in {None, user.id}:
                raise AlreadyExistsError(
                    "subject: they are another user already. `aiauto user unlink` forgets that."
                )
            identity.user_id, identity.linked = user.id, True

        await self._parts.database.write(unit)
        return v1.LinkIdentityResponse()

    async def unlink_identity(
        self, request: v1.UnlinkIdentityRequest, context: Context
    ) -> v1.UnlinkIdentityResponse:
        """Forget which user somebody is whom the issuer knows."""
        del context
        issuer, caller_id = self._issuer, self._user_id

        def unit(session: Session) -> bool:
            _check_admin(session, caller_id)
            identity = found(session, issuer, request.subject)
            if identity is not None:
                session.delete(identity)
            return identity is not None

        return v1.UnlinkIdentityResponse(found=await self._parts.database.write(unit))

    @property
    def _issuer(self) -> str:
        """Who says who people are.

        Raises:
            FailedPreconditionError: Nobody does.
        """
        if self._parts.issuer is None:
            raise FailedPreconditionError(
                f"This server has no issuer of OpenID Connect: {ISSUER_VARIABLE} names one."
            )
        return self._parts.issuer

    async def _keep_out(self, name: str) -> int | None:
        """Disable a user, and give their id; None where there is none of that name.

        Raises:
            FailedPreconditionError: This one can't be kept out.
        """
        caller_id = self._user_id

        def unit(session: Session) -> int | None:
            _check_admin(session, caller_id)
            user = user_named(session, name)
            if user is None:
                return None
            if user.id == caller_id:
                raise FailedPreconditionError("name: this is you. Another admin can do it.")
            if user.name == LOCAL_USER:
                raise FailedPreconditionError(
                    f"name: {LOCAL_USER!r} is the user who runs the server, and can't be kept out."
                )
            user.disabled = True
            return user.id

        user_id = await self._parts.database.write(unit)
        self._parts.auth.forget()
        return user_id

    async def _remove(self, user_id: int) -> None:
        await remove_workspace(self._parts, user_id, "Its user was deleted.")

        def remove(session: Session) -> None:
            # Whom the issuer knows stays known, so that they do not come back by themselves.
            session.execute(
                update(Identity)
                .where(Identity.user_id == user_id)
                .values(user_id=None, linked=False, email="")
            )
            session.execute(delete(User).where(User.id == user_id))

        await self._parts.database.write(remove)
        self._parts.auth.forget()


def _check_admin(session: Session, user_id: int) -> None:
    """Make sure that the caller still is an admin, and remains one until the unit ends.

    So one is always left: whoever keeps another out. What admins do at once they do one after the
    other from here on, be it at two servers on one database.

    Raises:
        PermissionDeniedError: They are not any more.
    """
    admins = select(User).where(User.is_admin, User.disabled.is_(False)).order_by(User.id)
    locked = session.scalars(
        admins.with_for_update().execution_options(populate_existing=True)
    ).all()
    if all(one.id != user_id for one in locked):
        raise PermissionDeniedError(ADMINS_ONLY)


def _named(session: Session, name: str) -> User:
    user = user_named(session, name)
    if user is None:
        raise _unknown(name)
    return user


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"name: there is no user {name[:50]!r}.")


def _info(user: User, token_count: int, identities: Sequence[Identity]) -> v1.UserInfo:
    return v1.UserInfo(
        id=str(user.id),
        name=user.name,
        is_admin=user.is_admin,
        disabled=user.disabled,
        created_at=rfc3339(user.created_at),
        token_count=token_count,
        identities=[
            v1.Identity(
                issuer=one.issuer,
                subject=one.subject,
                email=one.email,
                last_login_at=rfc3339(one.last_login_at),
                linked=one.linked,
            )
            for one in identities
        ],
    )
