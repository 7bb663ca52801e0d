"""The life of a server process, from taking its data folder to the end of its last worker."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import os
import signal
import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from aiohttp import web

from aiauto import connect
from aiauto.errors import AIAutoError, UnavailableError
from aiauto.server.app import PARTS, create_app
from aiauto.server.data_dir import AlreadyRunningError, DataDir, ServerState
from aiauto.server.executors import mounts
from aiauto.server.listening import listen
from aiauto.server.logs import access_log
from aiauto.server.tls import Certificate
from aiauto.server.web.links import WORKER_HOST
from aiauto.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aiauto.server.parts import Parts
    from aiauto.server.settings import Settings

LOGGER = logging.getLogger(__name__)

EXIT_USAGE = 2
EXIT_ALREADY_RUNNING = 3
# What a shell reports for a program that Ctrl-C ended.
EXIT_INTERRUPTED = 130

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Listener: TypeAlias = "tuple[socket.socket, Certificate | None]"
"""A listening socket, and the certificate that it speaks HTTPS with, if it does."""

# Requests that are being answered when the server stops have so long.
DRAIN_SECONDS = 3.0


@dataclass(frozen=True)
class Announcement:
    """What a person needs to know of a server that has started.

    Attributes:
        url: Its address.
        token: The token of this machine's user. Never shown.
        pages_url: Address of the server's pages; it may hold a log-in key. Never shown.
        dashboard_url: Address of this user's dashboard; it may hold a log-in key. Never shown.
        data_dir: Where it keeps its data.
    """

    url: str
    token: str = field(repr=False)
    pages_url: str = field(repr=False)
    dashboard_url: str = field(repr=False)
    data_dir: Path


def run(settings: Settings, ports: Sequence[int], announce: Callable[[Announcement], None]) -> int:
    """Run a server until it is told to stop, or nobody has used it for a while.

    Args:
        settings: How it runs; its port is chosen here.
        ports: Ports to listen on, in the order of preference; 0 means any that is free.
        announce: Called when the server accepts calls.

    Returns:
        The exit code of the process: 0 after a clean stop, 2 where it can't use its folder, its
        port, its certificate, its database or a variable, or has several users who do not trust
        each other, 3 where another server holds the folder. What happened is on standard error.
    """
    data = DataDir(settings.data_dir)
    try:
        with data.held(), contextlib.ExitStack() as stack:
            listener = stack.enter_context(listen(settings.host, ports))
            settings = dataclasses.replace(settings, port=listener.getsockname()[1])
            if settings.tls_cert is None or settings.tls_key is None:
                listeners: list[Listener] = [(listener, None)]
            else:
                certificate = Certificate(settings.tls_cert, settings.tls_key)
                inner = stack.enter_context(listen(WORKER_HOST, [data.last_worker_port or 0, 0]))
                settings = dataclasses.replace(settings, worker_port=inner.getsockname()[1])
                data.last_worker_port = settings.worker_port
                listeners = [(listener, certificate), (inner, None)]
            asyncio.run(_serve(settings, data, listeners, announce))
    except AlreadyRunningError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person at the terminal
        return EXIT_ALREADY_RUNNING
    except AIAutoError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    return 0


async def _serve(
    settings: Settings,
    data: DataDir,
    listeners: Sequence[Listener],
    announce: Callable[[Announcement], None],
) -> None:
    app = create_app(settings)
    parts = app[PARTS]
    stop = asyncio.Event()
    told_by = _heed_signals(stop, parts, data)
    runner = connect.app_runner(
        app,
        access_log_class=access_log(settings.trusted_proxies),
        shutdown_timeout=DRAIN_SECONDS,
        keepalive_timeout=settings.keepalive_timeout,
    )
    await runner.setup()
    background: list[asyncio.Task[NoReturn]] = []
    if runner.server is not None:
        background += [
            asyncio.create_task(part.watch(runner.server))
            for part in (parts.slow_senders, parts.slow_readers)
        ]
    try:
        for listener, certificate in listeners:
            context = None if certificate is None else certificate.context
            await web.SockSite(runner, listener, ssl_context=context).start()
            if certificate is not None:
                background.append(asyncio.create_task(certificate.keep_fresh()))
        if settings.admin_token is None:
            user_id, token = await parts.accounts.local_user(data.token)
        else:
            token = settings.admin_token
            user_id = await parts.accounts.admit(token)
        data.token = token
        if settings.link_mounts:
            mounts.link_all()
        await parts.executor.start()
        data.last_port = settings.port
        started_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        data.write_state(ServerState(parts.links.worker_url, os.getpid(), __version__, started_at))
        links = parts.links
        pages_url, dashboard_url = links.pages_url(user_id), links.dashboard_url(user_id)
        # What is here stays. To look for garbage among it would stop everybody now and then.
        gc.freeze()
        announce(Announcement(links.base_url, token, pages_url, dashboard_url, data.path))
        LOGGER.info("aiauto %s listens on %s", __version__, parts.links.base_url)
        await _until_told_or_idle(stop, settings.idle_timeout, parts)
    finally:
        # First of all: who looks for a server from now on must not find this one.
        data.remove_state()
        for task in background:
            task.cancel()
        with contextlib.suppress(UnavailableError):  # the database is away
            await parts.batches.drain(settings.drain_timeout if signal.SIGTERM in told_by else 0)
        # While workers end they have things to say, so the port stays open.
        await parts.executor.close()
        await runner.cleanup()
        LOGGER.info("stopped")


def _heed_signals(stop: asyncio.Event, parts: Parts, data: DataDir) -> set[signal.Signals]:
    """Let signals stop the server. Those that came are in what this returns."""
    came: set[signal.Signals] = set()

    def heed(number: signal.Signals) -> None:
        if stop.is_set():
            # Somebody is in a hurry. All that was acknowledged is on disk.
            parts.executor.kill()
            data.remove_state()
            os._exit(EXIT_INTERRUPTED)
        LOGGER.info("%s: stopping (once more to stop at once)", number.name)
        came.add(number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, heed, number)
    return came


async def _until_told_or_idle(
    stop: asyncio.Event, idle_timeout: float | None, parts: Parts
) -> None:
    if idle_timeout is None:
        await stop.wait()
        return
    while not stop.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), min(1.0, idle_timeout / 4))
        if parts.activity.idle_seconds < idle_timeout:
            continue
        try:
            needed = bool(await parts.batches.unfinished())
        except UnavailableError as error:
            # While the database is away nobody knows: whoever needs the server finds it again.
            LOGGER.warning("it is not known whether something is left to run: %s", error)
            needed = True
        if needed:
            parts.activity.touch()
            continue
        LOGGER.info("not used for %g s and nothing to run: stopping", idle_timeout)
        stop.set()
