"""Optuna's dashboard for every workspace, behind the log-in.

The dashboard is a WSGI application over one storage, and its pages know its paths by heart, so it
answers on its own paths; whose storage it shows is decided by who is logged in.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web

from aiauto.server.web import pages
from aiauto.server.web.blame import blaming_requests
from aiauto.server.web.importances import Importances
from aiauto.server.web.login import words_of
from aiauto.server.web.wsgi import WsgiServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from optuna.artifacts._protocol import ArtifactStore
    from optuna.storages import BaseStorage

    from aiauto.server.settings import Settings
    from aiauto.server.web.login import Accounts, Login

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

IMPORTANCES_PATH = r"/api/studies/{study_id:\d+}/param_importances"
PATHS = (
    "/dashboard",
    "/dashboard/{rest:.*}",
    "/api/{rest:.*}",
    "/artifacts/{rest:.*}",
    "/csv/{rest:.*}",
    "/favicon.ico",
    "/static/{rest:.*}",
)
# No study has a longer number, and Python reads only so many digits.
MAX_ID_DIGITS = 18
THREADS = 8
# Workspaces whose dashboards are kept at once: each holds copies of its trials.
KEPT = 64


@dataclass(frozen=True)
class _Shown:
    """What is shown of a workspace."""

    storage: BaseStorage
    pages: WsgiServer
    importances: Importances


class Dashboard:
    """Answers a user's requests with the dashboard of their workspace."""

    def __init__(
        self,
        settings: Settings,
        login: Login,
        accounts: Accounts,
        storage_of: Callable[[int], BaseStorage],
        artifacts_of: Callable[[int], ArtifactStore],
    ) -> None:
        """Make the dashboard.

        Args:
            settings: How the server runs.
            login: Finds out who asks.
            accounts: Knows the users' workspaces.
            storage_of: The Optuna storage of a workspace. Called from threads, for every request.
            artifacts_of: Its artifact store. Called from threads.
        """
        self._login = login
        self._accounts = accounts
        self._storage_of = storage_of
        self._artifacts_of = artifacts_of
        self._max_body_bytes = settings.max_page_body_bytes
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aiauto-dashboard")
        self._kept: OrderedDict[int, _Shown] = OrderedDict()
        self._lock = threading.Lock()

    def add_routes(self, app: web.Application) -> None:
        """Add the dashboard's paths."""
        app.router.add_get(IMPORTANCES_PATH, self._login.required(self._importances))
        handler = self._login.required(self._answer)
        for path in PATHS:
            app.router.add_route("*", path, handler)
        app.on_cleanup.append(self._close)

    async def _answer(self, request: web.Request, user_id: int) -> web.StreamResponse:
        shown = await self._shown(user_id)
        if shown is None:
            return pages.nothing_yet(words_of(request))
        return await shown.pages.answer(request)

    async def _importances(self, request: web.Request, user_id: int) -> web.StreamResponse:
        shown = await self._shown(user_id)
        study_id = request.match_info["study_id"]
        try:
            if shown is None or len(study_id) > MAX_ID_DIGITS:
                raise KeyError(study_id)  # noqa: TRY301 - one answer for all
            importances = await self._run(shown.importances.of, int(study_id))
        except KeyError:
            return web.json_response({"reason": f"study_id={study_id} is not found"}, status=404)
        except ValueError as error:  # parameters that no trial shares, values that are no numbers
            return web.json_response({"reason": str(error)}, status=400)
        return web.json_response({"param_importances": importances})

    async def _shown(self, user_id: int) -> _Shown | None:
        workspace_id = await self._accounts.workspace_of(user_id)
        return None if workspace_id is None else await self._run(self._open, workspace_id)

    def _open(self, workspace_id: int) -> _Shown:
        storage = self._storage_of(workspace_id)
        with self._lock:
            shown = self._kept.get(workspace_id)
            # The storage may have been made anew since.
            if shown is None or shown.storage is not storage:
                artifacts = self._artifacts_of(workspace_id)
                shown = self._kept[workspace_id] = self._new(storage, artifacts)
            self._kept.move_to_end(workspace_id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return shown

    def _new(self, storage: BaseStorage, artifacts: ArtifactStore) -> _Shown:
        # Takes its time to import, which a server without visitors needn't spend; and has no types.
        dashboard: Any = importlib.import_module("optuna_dashboard")
        application = dashboard.wsgi(storage, artifact_store=artifacts)
        server = WsgiServer(
            blaming_requests(application, storage),
            self._threads,
            max_body_bytes=self._max_body_bytes,
        )
        return _Shown(storage, server, Importances(storage))

    def _run(
        self, function: Callable[[ArgumentT], ResultT], argument: ArgumentT
    ) -> Awaitable[ResultT]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, argument)

    async def _close(self, _app: web.Application) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
