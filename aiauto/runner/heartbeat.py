"""Signs of life from a thread and a connection of their own, however busy the objective is."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import RunnerServiceClientSync

from aiauto.connect import NO_RETRIES, SyncTransport
from aiauto.errors import RpcError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger("aiauto.runner")

CALL_TIMEOUT_SECONDS = 10.0
# Whoever stops a worker does not wait for long.
STOP_SECONDS = 0.5
# For so long an objective may go on after its batch is over, or its trial, to end by itself.
GRACE_SECONDS = 10.0
EXIT_BATCH_OVER = 0
EXIT_LEASE_LOST = 5


class Heartbeat:
    """Tells the server that this worker lives, and ends the worker when its batch is over."""

    def __init__(self, base_url: str, token: str, *, last_word: Callable[[], None]) -> None:
        """Make it. Nothing is sent yet.

        Args:
            base_url: Address of the server.
            token: The worker's token.
            last_word: Called before this ends the worker.
        """
        self._last_word = last_word
        self._transport = SyncTransport(
            base_url, token=token, timeout=CALL_TIMEOUT_SECONDS, retries=NO_RETRIES
        )
        self._client = RunnerServiceClientSync(self._transport)
        self._lease: v1.LeaseRef | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None
        self._lost_at = 0.0

    def start(self, interval: float) -> None:
        """Begin.

        Args:
            interval: Seconds between signs of life.
        """
        self._thread = threading.Thread(
            target=self._beat, args=(interval,), name="aiauto-heartbeat", daemon=True
        )
        self._thread.start()

    def hold(self, lease: v1.LeaseRef | None) -> None:
        """Say which lease the worker holds now."""
        self._lease = lease

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
        self._transport.close()

    def _beat(self, interval: float) -> None:
        while not self._stopped.wait(interval):
            lease = self._lease
            try:
                answer = self._client.heartbeat(v1.HeartbeatRequest(lease=lease))
            except UnauthenticatedError:
                # The token ends with the batch.
                self._end()
                return
            except RpcError as error:
                logger.debug("A heartbeat did not arrive: %s", error)
                continue
            if answer.batch_over and lease is not None and lease == self._lease:
                self._end()
                return
            if answer.lease_lost and lease is not None and lease == self._lease:
                self._mind_lost(lease.lease_id)

    def _mind_lost(self, lease_id: str) -> None:
        """Let the objective end by itself; where it does not, end the worker: another comes."""
        if lease_id != self._lost:
            self._lost, self._lost_at = lease_id, time.monotonic()
            logger.warning("The lease of this trial was lost: its result can't count.")
        elif time.monotonic() - self._lost_at > GRACE_SECONDS:
            logger.warning("The objective runs on: the worker ends.")
            self._last_word()
            os._exit(EXIT_LEASE_LOST)

    def _end(self) -> None:
        """Give the objective a moment, then end the worker, whatever it is doing."""
        if not self._stopped.wait(GRACE_SECONDS):
            logger.warning("The batch is over, and the objective runs on: the worker ends.")
            self._last_word()
            os._exit(EXIT_BATCH_OVER)
