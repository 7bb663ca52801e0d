"""People who call a server in a test, each with a token."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1 import connect as stubs

from aiauto import connect, errors
from aiauto.objective import pack

if TYPE_CHECKING:
    import optuna

    from tests.server.conftest import RunningApp

# Of requests that a page of another site makes, or that do not say which page made them.
FROM_ANOTHER_SITE: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
)


def for_ever(_trial: optuna.Trial) -> float:
    threading.Event().wait()
    return 0.0


class Person:
    """Somebody with a token."""

    def __init__(self, app: RunningApp, token: str) -> None:
        self.app = app
        self.token = token
        self.transport = connect.Transport(app.url, token=token, retries=connect.NO_RETRIES)
        self.service = stubs.AIAutoServiceClient(self.transport)
        self.users = stubs.UserServiceClient(self.transport)

    async def add(self, name: str, *, admin: bool = False) -> v1.CreateUserResponse:
        return await self.users.create_user(v1.CreateUserRequest(name=name, is_admin=admin))

    async def listed(self) -> dict[str, v1.UserInfo]:
        users = (await self.users.list_users(v1.ListUsersRequest())).users
        return {one.name: one for one in users}

    async def disable(self, name: str) -> None:
        await self.users.disable_user(v1.DisableUserRequest(name=name))

    async def enable(self, name: str) -> None:
        await self.users.enable_user(v1.EnableUserRequest(name=name))

    async def delete(self, name: str) -> bool:
        return (await self.users.delete_user(v1.DeleteUserRequest(name=name))).found

    async def issue(self, name: str, **how: bool) -> str:
        request = v1.IssueUserTokenRequest(name=name, **how)
        return (await self.users.issue_user_token(request)).token

    async def has_no_study(self) -> None:
        assert (await self.service.list_studies(v1.ListStudiesRequest())).studies == []

    async def begin(self, study: str) -> str:
        """A batch whose one trial runs for ever."""
        await self.service.ensure_workspace(v1.EnsureWorkspaceRequest())
        spec = v1.StudySpec(study_name=study, direction="minimize")
        await self.service.create_study(v1.CreateStudyRequest(spec=spec))
        request = v1.OptimizeRequest(
            objective=pack(for_ever),
            batch=v1.TrialBatchSpec(study_name=study, n_trials=1, parallelism=1),
        )
        return (await self.service.optimize(request)).trialbatch_name

    async def refused(self) -> None:
        with pytest.raises(errors.UnauthenticatedError, match="not valid"):
            await self.service.get_active_token(v1.GetActiveTokenRequest())


class People:
    """Makes them."""

    def __init__(self, app: RunningApp) -> None:
        self.app = app
        self._made: list[Person] = []

    def with_token(self, token: str, app: RunningApp | None = None) -> Person:
        self._made.append(Person(app or self.app, token))
        return self._made[-1]

    async def admin(self, name: str = "root") -> Person:
        return self.with_token(await self.app.token_of(name, admin=True))

    async def close(self) -> None:
        for one in self._made:
            await one.transport.close()
