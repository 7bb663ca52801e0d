"""One server as the SDK uses it: the way there, and the generated clients."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TypeVar

import betterproto2
from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import (
    AIAutoServiceClientSync,
    JournalServiceClientSync,
    ProgressServiceClientSync,
)
from aiauto_gen.connect import NOT_GIVEN, Idempotency, Method, NotGiven, Stream, SyncTransport

from aiauto import config, connect, embedded
from aiauto.errors import ArgumentValueError, UnauthenticatedError, UnavailableError
from aiauto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import optuna

RequestT = TypeVar("RequestT", bound=betterproto2.Message)
ResponseT = TypeVar("ResponseT", bound=betterproto2.Message)

HEADERS = {"x-client-version": __version__}


class Connection:
    """A server and the generated clients that speak with it.

    It travels between processes without its token: inside a worker it speaks with the worker's own
    rights, elsewhere it finds a token again as `AIAutoController` does.

    Attributes:
        target: Which server.
        service: Workspaces, studies and batches.
        progress: Progress of batches.
        journal: The journal of the workspace's Optuna storage.
    """

    def __init__(self, target: config.Remote | config.Embedded) -> None:
        self.target = target
        self._transport = _transport(target)
        self._lock = threading.Lock()
        self._storage: optuna.storages.BaseStorage | None = None
        self._workspace: tuple[str, v1.EnsureWorkspaceResponse] | None = None
        self.service = AIAutoServiceClientSync(self._transport)
        self.progress = ProgressServiceClientSync(self._transport)
        self.journal = JournalServiceClientSync(self._transport)

    def __repr__(self) -> str:
        if isinstance(self.target, config.Embedded):
            return f"the server of this machine, data in {self.target.data_dir}"
        return self.target.base_url

    def __reduce__(self) -> tuple[object, tuple[str | None, Path | None]]:
        if isinstance(self.target, config.Embedded):
            return _arrived, (None, self.target.data_dir)
        return _arrived, (self.target.base_url, None)
