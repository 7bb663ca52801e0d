"""The server as an aiohttp application: every part made, and put in its place."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING

from aiohttp import web

from aiauto import connect
from aiauto.connect.contract import StreamKind
from aiauto.errors import AIAutoError, ArgumentValueError
from aiauto.server import services
from aiauto.server.accounts import Accounts
from aiauto.server.activity import Activity
from aiauto.server.auth import Auth
from aiauto.server.batches import Batches
from aiauto.server.browsers import Browsers
from aiauto.server.connections import Connections
from aiauto.server.data_dir import DataDir
from aiauto.server.database import Database
from aiauto.server.executors.local import LocalExecutor
from aiauto.server.failed_logins import FailedLogins
from aiauto.server.files import Files
from aiauto.server.journal import AppendRate, Journal, Overviews, Snapshots, unused
from aiauto.server.limits import MessageLimit
from aiauto.server.metrics import Metrics
from aiauto.server.open_calls import OpenCalls
from aiauto.server.parts import Parts
from aiauto.server.settings import ExecutorKind
from aiauto.server.slow_readers import SlowReaders
from aiauto.server.slow_senders import SlowSenders
from aiauto.server.web import worker_wheel
from aiauto.server.web.artifacts import DashboardArtifacts
from aiauto.server.web.dashboard import Dashboard
from aiauto.server.web.guard import headers_hook, host_middleware
from aiauto.server.web.health import Health
from aiauto.server.web.links import Links
from aiauto.server.web.login import Login
from aiauto.server.web.sessions import Sessions
from aiauto.server.web.site import Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from aiauto.connect.method import ServiceInfo
    from aiauto.server.executors import Executor
    from aiauto.server.openid.settings import OpenIdSettings
    from aiauto.server.settings import Settings

__all__ = ["PARTS", "create_app"]

PARTS = web.AppKey("parts", Parts)


def create_app(settings: Settings) -> web.Application:
    """Make the server. Run it with `aiauto.connect.app_runner`.

    Args:
        settings: How it runs. Its port is the one that it will listen on.

    Returns:
        The application. Its parts are at ``app[PARTS]``.
    """
    data = DataDir(settings.data_dir)
    sessions = Sessions(_secret(settings, data))
    database = Database(settings.database)
    metrics = Metrics(database)
    browsers = Browsers(database, sessions)
    auth = Auth(database, browsers, FailedLogins(settings.trusted_proxies))
    journal = Journal(database)
    batches = Batches(
        database,
        journal,
        lease_ttl=settings.lease_ttl,
        lease_grace=settings.lease_grace,
        heartbeat_interval=settings.heartbeat_interval,
    )
    files = Files(settings.files, database, journal)
    links = Links(settings, sessions)
    parts = Parts(
        database=database,
        auth=auth,
        accounts=Accounts(database, auth, browsers, trust_users=settings.may_have_users),
        journal=journal,
        overviews=Overviews(database),
        append_rate=AppendRate(settings.journal_rate, settings.journal_burst),
        snapshots=Snapshots(database, journal),
        batches=batches,
        files=files,
        executor=_executor(settings, batches, files, data, links),
        links=links,
        activity=Activity(),
        slow_senders=SlowSenders(
            header_timeout=settings.header_timeout,
            body_timeout=settings.body_timeout,
        ),
        slow_readers=SlowReaders(settings.body_timeout),
        limits=settings.limits,
        issuer=None if settings.openid is None else settings.openid.issuer,
    )
    open_calls = OpenCalls(settings.limits.max_open_calls)
    connections = Connections(settings.limits)
    built = services.build(parts)
    app = web.Application(
        middlewares=[
            parts.activity.middleware(),
            parts.slow_senders.middleware(endless=frozenset(_streams_of_requests(built))),
            host_middleware(settings),
        ]
    )
    app[PARTS] = parts
    app.on_response_prepare.append(headers_hook(settings))
    app.cleanup_ctx.append(_running)
    # Before the port is closed: streams that wait for news would keep it open.
    app.on_shutdown.append(_end_streams)
    connect.add_services(
        app,
        built,
        interceptors=[
            metrics.interceptor,
            auth.interceptor,
            connections.interceptor,
            open_calls.interceptor,
            MessageLimit(settings.max_message_bytes).interceptor,
        ],
        max_message_bytes=settings.max_message_bytes,
    )
    login = Login(settings, sessions, parts.accounts, auth.failed_logins, connections)
    login.add_routes(app)
    Health(database, batches, metrics, login, parts.accounts.is_admin).add_routes(app)
    Site(login).add_routes(app)
    worker_wheel.WorkerWheel(auth).add_routes(app)
    artifacts = DashboardArtifacts(database, files)
    Dashboard(settings, login, parts.accounts, journal.storage, artifacts.of).add_routes(app)
    if settings.openid is not None:
        _add_openid(app, settings.openid, login, _secret(settings, data))
    return app


def _add_openid(
    app: web.Application, settings: OpenIdSettings, login: Login, secret: bytes
) -> None:
    # What checks signatures is an extra that only such a server needs.
    from aiauto.server.openid.documents import Documents  # noqa: PLC0415
    from aiauto.server.openid.flows import Flows  # noqa: PLC0415
    from aiauto.server.openid.identities import Identities  # noqa: PLC0415
    from aiauto.server.openid.issuer import Issuer  # noqa: PLC0415
    from aiauto.server.web.openid import OpenIdLogin  # noqa: PLC0415

    parts = app[PARTS]
    OpenIdLogin(
        settings,
        parts.links,
        login,
        Flows(secret),
        Issuer(settings, Documents()),
        Identities(parts.database, parts.accounts, settings),
    ).add_routes(app)


def _secret(settings: Settings, data: DataDir) -> bytes:
    """What sessions are signed with."""
    if settings.session_secret is None:
        return data.secret()
    return hashlib.sha256(settings.session_secret.encode()).digest()


def _executor(
    settings: Settings, batches: Batches, files: Files, data: DataDir, links: Links
) -> Executor:
    """What runs batches.

    Raises:
        ArgumentValueError: It can't be had here.
    """
    if settings.executor is ExecutorKind.LOCAL:
        return LocalExecutor(
            batches,
            files.store,
            folder=data.batches,
            base_url=links.worker_url,
            grace=settings.stop_grace,
            fork=settings.fork_workers,
        )
    try:
        # What it needs comes with an extra.
        from aiauto.server.executors.kubernetes import configuration, executor  # noqa: PLC0415
    except ModuleNotFoundError as error:
        message = (
            f"To run batches on Kubernetes, {error.name} is missing: install "
            "'aiauto-client[kubernetes]'."
        )
        raise ArgumentValueError(message, argument="executor") from error
    return executor.KubernetesExecutor(
        batches,
        files.store,
        configuration.load(settings.kubernetes_config),
        base_url=links.base_url,
        wheel_path=worker_wheel.PATH,
    )


def _streams_of_requests(built: Iterable[ServiceInfo]) -> Iterator[str]:
    """Paths of the calls whose caller sends one message after the other."""
    for service in built:
        for bound in service.__bound_methods__():
            if bound.method.kind not in {StreamKind.UNARY, StreamKind.SERVER_STREAM}:
                yield bound.method.path


async def _running(app: web.Application) -> AsyncIterator[None]:
    parts = app[PARTS]
    try:
        await parts.database.open()
        await parts.accounts.check_users()
    except AIAutoError:
        await parts.database.close()
        raise
    background = asyncio.gather(
        parts.batches.expiry.run(),
        parts.files.run(),
        unused.let_go(parts.journal, parts.overviews),
    )
    yield
    background.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await background
    parts.files.close()
    parts.journal.close()
    await parts.database.close()


async def _end_streams(app: web.Application) -> None:
    app[PARTS].batches.close()
