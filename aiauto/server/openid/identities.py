"""Which user somebody is whom the issuer knows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from aiauto.errors import AlreadyExistsError, FailedPreconditionError, ResourceExhaustedError
from aiauto.server.database.models import Identity, User, now
from aiauto.server.openid.admission import verified_address
from aiauto.server.openid.refusals import Reason, RefusedError
from aiauto.server.users import free_name, new_user
from aiauto.server.web.sessions import LoggedIn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from aiauto.server.accounts import Accounts
    from aiauto.server.database import Database
    from aiauto.server.openid.settings import OpenIdSettings

logger: logging.Logger = logging.getLogger("aiauto.server")

# How often somebody new is looked for, where each time another server makes a user of their name.
TRIES = 5


class Identities:
    """Finds users by who the issuer says that they are, and makes those who come the first time.

    Nothing but the issuer's own name for somebody, its subject, says which user they are: addresses
    and names go from one person to another.
    """

    def __init__(self, database: Database, accounts: Accounts, settings: OpenIdSettings) -> None:
        """Make it.

        Args:
            database: Where users are kept.
            accounts: Says whether there may be another user.
            settings: By which issuer people log in, and who may come in.
        """
        self._database = database
        self._accounts = accounts
        self._settings = settings

    async def user_of(self, claims: Mapping[str, Any]) -> LoggedIn:
        """Find or make the user who somebody is.

        Args:
            claims: What the issuer says of them; ``sub`` names them.

        Raises:
            RefusedError: They may not come in.
        """
        for _ in range(TRIES - 1):
            try:
                return await self._database.write(lambda session: self._find(session, claims))
            except (IntegrityError, AlreadyExistsError):
                # At another server on this database they came in at the same time, by another tab,
                # or somebody whose name is theirs too.
                continue
        return await self._database.write(lambda session: self._find(session, claims))

    def _find(self, session: Session, claims: Mapping[str, Any]) -> LoggedIn:
        subject: str = claims["sub"]
        identity = found(session, self._settings.issuer, subject)
        if identity is None:
            self._check_admission(claims)
            identity, user = self._newcomer(session, claims)
        else:
            user = _user_who_may(session, identity)
            if not identity.linked:
                self._check_admission(claims)
        identity.email = verified_address(claims)
        identity.last_login_at = now()
        session.flush()
        return LoggedIn(user.id, identity_id=identity.id)

    def _check_admission(self, claims: Mapping[str, Any]) -> None:
        admission = self._settings.admission
        if admission.lets_in(claims):
            return
        if admission.waits_for_address(claims):
            reason, message = Reason.NOT_VERIFIED, "the issuer has not verified their address"
        else:
            reason, message = Reason.NOT_ALLOWED, "AIAUTO_OIDC_ALLOWED does not let them in"
        raise RefusedError(message, reason, subject=claims["sub"])

    def _newcomer(self, session: Session, claims: Mapping[str, Any]) -> tuple[Identity, User]:
        subject: str = claims["sub"]
        try:
            self._accounts.check_another()
            wish = claims.get("preferred_username") or verified_address(claims)
            user = new_user(session, free_name(session, str(wish)))
        except FailedPreconditionError as error:
            message = "they would be another user, and the server was not told --trust-users"
            raise RefusedError(message, Reason.ONE_USER, subject=subject) from error
        except ResourceExhaustedError as error:
            message = "there are as many users as there may be"
            raise RefusedError(message, Reason.FULL, subject=subject) from error
        identity = Identity(issuer=self._settings.issuer, subject=subject, user_id=user.id)
        session.add(identity)
        logger.info("made the user %r for who logged in by the issuer as %r", user.name, subject)
        return identity, user


def _user_who_may(session: Session, identity: Identity) -> User:
    """The user who somebody is.

    Raises:
        RefusedError: They have none any more, or it is kept out.
    """
    subject = identity.subject
    user = None if identity.user_id is None else session.get(User, identity.user_id)
    if user is None:
        raise RefusedError("their user was deleted", Reason.REMOVED, subject=subject)
    if user.disabled:
        message = f"their user {user.name!r} is disabled"
        raise RefusedError(message, Reason.DISABLED, subject=subject)
    return user


def found(session: Session, issuer: str, subject: str) -> Identity | None:
    """Somebody as an issuer knows them, if they were here before or are linked to a user."""
    return session.scalar(
        select(Identity).where(Identity.issuer == issuer, Identity.subject == subject)
    )
