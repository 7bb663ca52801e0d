"""Tokens of the caller."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from sqlalchemy import delete, func, or_, select

from aiauto.errors import InvalidArgumentError, UnauthenticatedError
from aiauto.server.auth import current_principal, current_token_id, new_token
from aiauto.server.database.models import Token, User, now
from aiauto.server.messages import rfc3339
from aiauto.server.services.calls import Calls

if TYPE_CHECKING:
    from aiauto_gen.connect import Context
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from aiauto.server.limits import Limits

MAX_EXPIRY_DAYS = 3650
MAX_NAME_CHARACTERS = 100
MAX_KEEP_SECONDS = 24 * 60 * 60
KEEP_SECONDS = 300


class TokenCalls(Calls):
    """The calls about tokens."""

    async def create_token(
        self, request: v1.CreateTokenRequest, context: Context
    ) -> v1.CreateTokenResponse:
        """Issue a token for the caller."""
        del context
        days = request.expiry_days
        if days and not (
            days.isascii()
            and days.isdecimal()
            and len(days) < 6
            and 0 < int(days) <= MAX_EXPIRY_DAYS
        ):
            raise InvalidArgumentError(
                f"expiry_days is {days[:20]!r}: write a whole number from 1 to {MAX_EXPIRY_DAYS}, "
                "or leave it empty for a token that does not expire."
            )
        if len(request.name) > MAX_NAME_CHARACTERS or not request.name.isprintable():
            raise InvalidArgumentError(
                f"name is {request.name[:20]!r}...: use at most {MAX_NAME_CHARACTERS} printable "
                "characters."
            )
        user_id, limits = self._user_id, self._parts.limits
        lifetime = timedelta(days=int(days)) if days else None

        def unit(session: Session) -> str:
            session.execute(delete(Token).where(Token.expires_at <= now()))
            check_count(session, user_id, limits)
            return new_token(session, user_id, name=request.name, lifetime=lifetime)

        return v1.CreateTokenResponse(token=await self._parts.database.write(unit))

    async def list_tokens(
        self, request: v1.ListTokensRequest, context: Context
    ) -> v1.ListTokensResponse:
        """List the caller's tokens."""
        del request, context
        principal = current_principal()
        query = select(Token).where(*valid_of(principal.user_id)).order_by(Token.id)
        tokens = await self._parts.database.read(lambda session: list(session.scalars(query)))
        return v1.ListTokensResponse(
            tokens=[
                v1.TokenInfo(
                    id=str(token.id),
                    name=token.name,
                    hint=token.hint,
                    created_at=rfc3339(token.created_at),
                    expires_at=rfc3339(token.expires_at),
                    last_used_at=rfc3339(token.last_used_at),
                    current=token.id == principal.token_id,
                )
                for token in tokens
            ]
        )

    async def revoke_token(
        self, request: v1.RevokeTokenRequest, context: Context
    ) -> v1.RevokeTokenResponse:
        """Revoke one of the caller's tokens."""
        del context
        return v1.RevokeTokenResponse(found=await self._revoke(request.token_id))

    async def delete_token(
        self, request: v1.DeleteTokenRequest, context: Context
    ) -> v1.DeleteTokenResponse:
        """Revoke the token that this call carries."""
        del request, context
        await self._revoke(str(current_token_id()))
        return v1.DeleteTokenResponse()

    async def _revoke(self, token_id: str) -> bool:
        user_id = self._user_id

        def unit(session: Session) -> bool:
            # Compared by what callers see: anything may stand in a request.
            tokens = session.scalars(select(Token).where(*valid_of(user_id)))
            token = next((one for one in tokens if str(one.id) == token_id), None)
            if token is not None:
                session.delete(token)
            return token is not None

        found = await self._parts.database.write(unit)
        self._parts.auth.forget()
        return found

    async def rotate_token(
        self, request: v1.RotateTokenRequest, context: Context
    ) -> v1.RotateTokenResponse:
        """Issue a token in place of the one that this call carries."""
        del context
        keep = KEEP_SECONDS if request.keep_seconds is None else request.keep_seconds
        if not 0 <= keep <= MAX_KEEP_SECONDS:
            raise InvalidArgumentError(
                f"keep_seconds is {keep}: it must be from 0 to {MAX_KEEP_SECONDS}."
            )
        token_id, limits = current_token_id(), self._parts.limits

        def unit(session: Session) -> v1.RotateTokenResponse:
            old = session.get(Token, token_id)
            if old is None:
                raise UnauthenticatedError("The token was revoked meanwhile.")
            check_count(session, old.user_id, limits)
            seconds = old.lifetime_seconds
            lifetime = None if seconds is None else timedelta(seconds=seconds)
            token = new_token(session, old.user_id, name=old.name, lifetime=lifetime)
            end = now() + timedelta(seconds=keep)
            old.expires_at = end if old.expires_at is None else min(old.expires_at, end)
            return v1.RotateTokenResponse(token=token, old_expires_at=rfc3339(old.expires_at))

        answer = await self._parts.database.write(unit)
        self._parts.auth.forget()
        return answer

    async def get_active_token(
        self, request: v1.GetActiveTokenRequest, context: Context
    ) -> v1.GetActiveTokenResponse:
        """Tell about the token that this call carries."""
        del request, context
        principal = current_principal()

        def unit(session: Session) -> tuple[User | None, Token | None]:
            token_id = principal.token_id
            token = None if token_id is None else session.get(Token, token_id)
            return session.get(User, principal.user_id), token

        user, token = await self._parts.database.read(unit)
        if user is None:
            return v1.GetActiveTokenResponse(has_active_token=False)
        return v1.GetActiveTokenResponse(
            has_active_token=token is not None,
            created_at=rfc3339(None if token is None else token.created_at),
            expires_at=rfc3339(None if token is None else token.expires_at),
            user_name=user.name,
            is_admin=user.is_admin,
        )


def valid() -> tuple[ColumnElement[bool], ...]:
    """What is true of users' own tokens, as long as they are valid."""
    return (
        Token.worker_id.is_(None),
        Token.batch_id.is_(None),
        or_(Token.expires_at.is_(None), Token.expires_at > now()),
    )


def valid_of(user_id: int) -> tuple[ColumnElement[bool], ...]:
    """What is true of one user's own tokens, as long as they are valid."""
    return Token.user_id == user_id, *valid()


def check_count(session: Session, user_id: int, limits: Limits) -> None:
    """Refuse to issue a token for a user who has as many as anybody may have.

    Raises:
        ResourceExhaustedError: They have.
    """
    count = session.scalar(select(func.count()).select_from(Token).where(*valid_of(user_id)))
    limits.check_room("max_tokens", count, has="This user has {} tokens", advice="revoke some")
