"""UserService: who may use the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import UserServiceBase
from sqlalchemy import delete, func, select

from aiauto.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from aiauto.server.accounts import LOCAL_USER
from aiauto.server.auth import ADMINS_ONLY, new_token
from aiauto.server.database.models import Token, TrialBatch, User, Workspace
from aiauto.server.messages import rfc3339
from aiauto.server.services.calls import Calls
from aiauto.server.services.removal import end_batches, remove_workspace
from aiauto.server.services.token import check_count, valid, valid_of
from aiauto.server.wholeness import to_the_end

if TYPE_CHECKING:
    from aiauto_gen.connect import Context
    from sqlalchemy.orm import Session

NAME = re.compile(r"[a-z](?:[a-z0-9_.-]{0,30}[a-z0-9])?")
MAX_USERS = 10_000


class UserService(Calls, UserServiceBase):
    """Makes, lists and removes users. `Auth` lets admins only come as far as here."""

    async def create_user(
        self, request: v1.CreateUserRequest, context: Context
    ) -> v1.CreateUserResponse:
        """Make a user."""
        del context
        self._parts.accounts.check_another()
        _check_name(request.name)
        caller_id = self._user_id

        def unit(session: Session) -> v1.CreateUserResponse:
            _check_admin(session, caller_id)
            if _found(session, request.name) is not None:
                raise AlreadyExistsError(f"name: there is a user {request.name!r} already.")
            if (session.scalar(select(func.count()).select_from(User)) or 0) >= MAX_USERS:
                raise ResourceExhaustedError(
                    f"The server has {MAX_USERS} users, and may have no more: delete some."
                )
            user = User(name=request.name, is_admin=request.is_admin)
            session.add(user)
            session.flush()
            token = new_token(session, user.id)
            return v1.CreateUserResponse(user=_info(user, 1), token=token)

        return await self._parts.database.write(unit)

    async def list_users(
        self, request: v1.ListUsersRequest, context: Context
    ) -> v1.ListUsersResponse:
        """List all users."""
        del request, context

        def unit(session: Session) -> v1.ListUsersResponse:
            tokens = select(Token.user_id, func.count()).where(*valid()).group_by(Token.user_id)
            counts = {user_id: count for user_id, count in session.execute(tokens)}  # noqa: C416
            users = session.scalars(select(User).order_by(User.id))
            return v1.ListUsersResponse(
                users=[_info(user, counts.get(user.id, 0)) for user in users]
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

    async def _keep_out(self, name: str) -> int | None:
        """Disable a user, and give their id; None where there is none of that name.

        Raises:
            FailedPreconditionError: This one can't be kept out.
        """
        caller_id = self._user_id

        def unit(session: Session) -> int | None:
            _check_admin(session, caller_id)
            user = _found(session, name)
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
        await self._parts.database.write(
            lambda session: session.execute(delete(User).where(User.id == user_id))
        )
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


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidArgumentError(
            f"name is {name[:50]!r}: use 1 to 32 lowercase letters, digits, '_', '-' and '.', the "
            "first a letter, the last a letter or digit."
        )
    if name == LOCAL_USER:
        # Whoever runs the server would be made this user when it starts the next time.
        raise InvalidArgumentError(f"name is {name!r}: that is kept for who runs the server.")


def _found(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == name))


def _named(session: Session, name: str) -> User:
    user = _found(session, name)
    if user is None:
        raise _unknown(name)
    return user


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(f"name: there is no user {name[:50]!r}.")


def _info(user: User, token_count: int) -> v1.UserInfo:
    return v1.UserInfo(
        id=str(user.id),
        name=user.name,
        is_admin=user.is_admin,
        disabled=user.disabled,
        created_at=rfc3339(user.created_at),
        token_count=token_count,
    )
