"""Who calls: tokens, and what each kind of caller may do."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from aiauto.errors import (
    ArgumentValueError,
    FailedPreconditionError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from aiauto.server.database.models import (
    Study,
    Token,
    TrialBatch,
    User,
    Worker,
    Workspace,
    now,
)
from aiauto.server.settings import TOKEN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sqlalchemy.orm import Session

    from aiauto.connect.context import CallContext
    from aiauto.server.browsers import Browsers
    from aiauto.server.database import Database
    from aiauto.server.failed_logins import FailedLogins

TOKEN_BYTES = 32
# As many of the random ones are shown again as tell a person's few tokens apart.
HINT_CHARACTERS = len(TOKEN_PREFIX) + 4
# A token that was revoked by another server on the same database is taken for so long at most.
REMEMBERED_SECONDS = 5.0
REMEMBERED_TOKENS = 10_000
# Workers have so long to say what is left to say of a batch that is over. Those that this server
# looks after are gone sooner, and their tokens with them; nobody else ends the tokens of others.
LAST_WORDS = timedelta(minutes=1)
# The last use of a token is noted so often at most.
LAST_USE_PRECISION = timedelta(minutes=1)

# Services by what their callers show. What is in none of the lists takes users only.
WORKER_SERVICES = frozenset({"aiauto.v1.RunnerService"})
SHARED_SERVICES = frozenset({"aiauto.v1.FileService", "aiauto.v1.JournalService"})
ADMIN_SERVICES = frozenset({"aiauto.v1.UserService"})
ENROLLMENT_SERVICES = frozenset({"aiauto.v1.EnrollmentService"})

ADMINS_ONLY = "Only admins may call this."
PODS_ONLY = "Only Pods that are to be workers may call this."


@dataclass(frozen=True)
class WorkerIdentity:
    """Which worker calls.

    Attributes:
        worker_id: Its row.
        batch_id: The batch that it works on.
        optuna_study_id: Optuna's id of the study of that batch.
    """

    worker_id: int
    batch_id: int
    optuna_study_id: int


@dataclass(frozen=True)
class Principal:
    """Who calls.

    Attributes:
        user_id: The user; for a worker, the user whose batch it works on.
        token_id: The token that was shown, or that began the session of the browser that calls;
            None where neither was.
        workspace_id: The user's workspace, None where they have none yet.
        worker: Which worker it is; None for the user's own programs.
        enrolls_for: The batch whose workers the caller may enter, and nothing else; None for all
            but those who show an enrollment token.
        is_admin: Whether the user is an admin, and this is one of their own programs.
    """

    user_id: int
    token_id: int | None
    workspace_id: int | None = None
    worker: WorkerIdentity | None = None
    enrolls_for: int | None = None
    is_admin: bool = False

    @property
    def is_user(self) -> bool:
        """Whether it is the user, by a program of their own or a browser."""
        return self.worker is None and self.enrolls_for is None


_current: ContextVar[Principal] = ContextVar("principal")


def current_principal() -> Principal:
    """Who makes the call that is being answered."""
    return _current.get()


def current_worker() -> WorkerIdentity:
    """Which worker makes the call that is being answered."""
    worker = _current.get().worker
    if worker is None:
        raise PermissionDeniedError("Only workers may call this.")
    return worker


def current_enrollment() -> int:
    """The batch whose workers the caller may enter."""
    batch_id = _current.get().enrolls_for
    if batch_id is None:
        raise PermissionDeniedError(PODS_ONLY)
    return batch_id


def current_token_id() -> int:
    """The token that the call that is being answered carries, or that began its session."""
    token_id = _current.get().token_id
    if token_id is None:
        raise FailedPreconditionError(
            "This call needs a token, and it came from a browser that was logged in without one."
        )
    return token_id


def bearer_token(authorization: str) -> str | None:
    """The token in a header `Authorization`, None where it holds something else."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def new_token(
    session: Session,
    user_id: int,
    *,
    name: str = "",
    worker_id: int | None = None,
    batch_id: int | None = None,
    lifetime: timedelta | None = None,
) -> str:
    """Issue a token.

    Args:
        session: A session of `Database.write`.
        user_id: Whose it is.
        name: What it is for.
        worker_id: The worker that it is for; None for the user's own programs.
        batch_id: The batch whose workers it may enter, and nothing else; None for all others.
        lifetime: How long it lasts; None for ever.

    Returns:
        The token. Only its hash is kept.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    session.add(
        Token(
            hash=_hash(token),
            user_id=user_id,
            name=name,
            hint=token[:HINT_CHARACTERS],
            worker_id=worker_id,
            batch_id=batch_id,
            expires_at=None if lifetime is None else now() + lifetime,
            lifetime_seconds=None if lifetime is None else round(lifetime.total_seconds()),
        )
    )
    return token


def take_token(session: Session, user_id: int, token: str, *, name: str) -> None:
    """Let a user have a token that was chosen elsewhere, in place of the last one of that name.

    Args:
        session: A session of `Database.write`.
        user_id: Whose it shall be.
        token: The token. It must be as hard to guess as those of `new_token`.
        name: What it is for.

    Raises:
        ArgumentValueError: It is somebody else's.
    """
    hashed = _hash(token)
    known = session.scalar(select(Token).where(Token.hash == hashed))
    others = (Token.user_id == user_id, Token.name == name, Token.hash != hashed)
    session.execute(delete(Token).where(*others))
    if known is None:
        hint = token[:HINT_CHARACTERS]
        session.add(Token(hash=hashed, user_id=user_id, name=name, hint=hint))
    elif known.user_id == user_id and known.worker_id is None and known.batch_id is None:
        # It may have been rotated, which gave it an end.
        known.expires_at = known.lifetime_seconds = None
    else:
        message = "The token is somebody else's already: draw a new one."
        raise ArgumentValueError(message, argument="admin_token")


class Auth:
    """Checks tokens.

    Attributes:
        failed_logins: Those who show tokens that are not valid.
    """

    def __init__(self, database: Database, browsers: Browsers, failed_logins: FailedLogins) -> None:
        """Make it.

        Args:
            database: Where the hashes are.
            browsers: Checks the sessions of those who show no token.
            failed_logins: Lets those wait who show tokens that are not valid.
        """
        self._database = database
        self._browsers = browsers
        self.failed_logins: FailedLogins = failed_logins
        # Hash to caller, and until when that may be believed.
        self._remembered: dict[str, tuple[Principal, float]] = {}
        # How often that was forgotten: what is being looked up meanwhile may be out of date.
        self._forgotten = 0

    async def interceptor(
        self, context: CallContext, call_next: Callable[[], Awaitable[None]]
    ) -> None:
        """Find out who makes a call, and whether they may, before anything of it is read."""
        service = context.method.strip("/").partition("/")[0]
        principal = await self._caller(context, service)
        if (principal.enrolls_for is None) == (service in ENROLLMENT_SERVICES):
            refusal = "An enrollment token does not allow this call."
            raise PermissionDeniedError(PODS_ONLY if principal.enrolls_for is None else refusal)
        if principal.worker is None and service in WORKER_SERVICES:
            raise PermissionDeniedError("Only workers may call this.")
        if principal.worker is not None and service not in WORKER_SERVICES | SHARED_SERVICES:
            raise PermissionDeniedError("A worker's token does not allow this call.")
        if not principal.is_admin and service in ADMIN_SERVICES:
            raise PermissionDeniedError(ADMINS_ONLY)
        _current.set(principal)
        await call_next()

    async def _caller(self, context: CallContext, service: str) -> Principal:
        shown = context.http_request.headers.getall("authorization", ())
        if not shown:
            principal = await self._browsers.caller(context.http_request, service)
            if principal is not None:
                return principal
        # Two together are none that is valid: a proxy in front may have looked at the other one.
        token = bearer_token(", ".join(shown))
        if not token:
            raise UnauthenticatedError(
                "The call carries no token: send the header `authorization: Bearer <token>`."
            )
        try:
            return await self.authenticate(token)
        except UnauthenticatedError:
            await self.failed_logins.slow_down(context.http_request)
            raise

    async def authenticate(self, token: str) -> Principal:
        """Find out whose a token is.

        Args:
            token: What the caller showed.

        Returns:
            The caller.

        Raises:
            UnauthenticatedError: It is not valid, or no longer.
        """
        hashed = _hash(token)
        principal, until = self._remembered.get(hashed, (None, 0.0))
        if principal is not None and time.monotonic() < until:
            return principal
        self._remembered.pop(hashed, None)
        forgotten = self._forgotten
        found = await self._database.read(lambda session: _find(session, hashed))
        if found is None:
            raise UnauthenticatedError(
                "The token is not valid: it was revoked, has expired, its user was disabled, or it "
                "belongs to another server. `aiauto serve` prints a valid one."
            )
        principal, token_id, last_used_at, expires_at = found
        if len(self._remembered) >= REMEMBERED_TOKENS:
            self._remembered.clear()
        if self._forgotten == forgotten:
            seconds = REMEMBERED_SECONDS
            if expires_at is not None:
                seconds = min(seconds, (expires_at - now()).total_seconds())
            self._remembered[hashed] = (principal, time.monotonic() + seconds)
        if principal.is_user and (
            last_used_at is None or last_used_at < now() - LAST_USE_PRECISION
        ):
            # A server whose disk is full answers what it can.
            with contextlib.suppress(UnavailableError):
                await self._note_use(token_id)
        return principal

    async def _note_use(self, token_id: int) -> None:
        await self._database.write(
            lambda session: session.execute(
                update(Token).where(Token.id == token_id).values(last_used_at=now())
            )
        )

    def forget(self) -> None:
        """Look everything up anew: what tokens stand for has changed."""
        self._forgotten += 1
        self._remembered.clear()


def _hash(token: str) -> str:
    # Tokens are long and random: no salt and no slow hash make them harder to guess. What is no
    # text, as headers can hold it, is no token either, and is looked up in vain like any other.
    return hashlib.sha256(token.encode(errors="backslashreplace")).hexdigest()


def _find(
    session: Session, hashed: str
) -> tuple[Principal, int, datetime | None, datetime | None] | None:
    """Whose a token is, which it is, when it was last used, and until when it is valid."""
    row = session.execute(
        select(
            Token,
            User.is_admin,
            Worker.batch_id,
            TrialBatch.finished_at,
            Study.optuna_study_id,
            Workspace.id,
        )
        .join(User, User.id == Token.user_id)
        .outerjoin(Worker, Worker.id == Token.worker_id)
        .outerjoin(TrialBatch, TrialBatch.id == Worker.batch_id)
        .outerjoin(Study, Study.id == TrialBatch.study_id)
        .outerjoin(Workspace, Workspace.user_id == Token.user_id)
        .where(Token.hash == hashed, User.disabled.is_(False))
    ).one_or_none()
    if row is None:
        return None
    token, is_admin, batch_id, over_since, study_id, workspace_id = row
    if token.expires_at is not None and token.expires_at <= now():
        return None
    if over_since is not None and over_since + LAST_WORDS <= now():
        return None
    worker = None
    if token.worker_id is not None:
        worker = WorkerIdentity(token.worker_id, batch_id, study_id)
    is_users = worker is None and token.batch_id is None
    principal = Principal(
        token.user_id,
        token.id,
        workspace_id,
        worker,
        enrolls_for=token.batch_id,
        is_admin=is_admin and is_users,
    )
    return principal, token.id, token.last_used_at, token.expires_at
