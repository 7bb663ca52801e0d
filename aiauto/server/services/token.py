"""Tokens of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1

from aiauto.errors import InvalidArgumentError
from aiauto.server.auth import current_principal
from aiauto.server.database.models import Token
from aiauto.server.messages import rfc3339
from aiauto.server.services.calls import Calls

if TYPE_CHECKING:
    from aiauto_gen.connect import Context

MAX_EXPIRY_DAYS = 3650


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
        token = await self._parts.auth.issue(self._user_id, int(days) if days else None)
        return v1.CreateTokenResponse(token=token)

    async def delete_token(
        self, request: v1.DeleteTokenRequest, context: Context
    ) -> v1.DeleteTokenResponse:
        """Revoke the token that this call carries."""
        del request, context
        await self._parts.auth.revoke(current_principal().token_id)
        return v1.DeleteTokenResponse()

    async def get_active_token(
        self, request: v1.GetActiveTokenRequest, context: Context
    ) -> v1.GetActiveTokenResponse:
        """Tell about the token that this call carries."""
        del request, context
        token_id = current_principal().token_id
        token = await self._parts.database.read(lambda session: session.get(Token, token_id))
        if token is None:
            return v1.GetActiveTokenResponse(has_active_token=False)
        return v1.GetActiveTokenResponse(
            has_active_token=True,
            created_at=rfc3339(token.created_at),
            expires_at=rfc3339(token.expires_at),
        )
