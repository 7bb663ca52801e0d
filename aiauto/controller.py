"""AIAutoController: a user's way to a server, and its studies."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import (
    AIAutoServiceClientSync,
    JournalServiceClientSync,
    ProgressServiceClientSync,
)

from aiauto import arguments, config
from aiauto.connection import Connection
from aiauto.errors import ArgumentValueError
from aiauto.study import StudyWrapper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from typing_extensions import Self


class AIAutoController:
    """The way to a server: makes the workspace there, and studies in it.

    There is one instance for every address and token: calling the class again with the same ones
    gives the same object. It may be used from several threads, and an objective may close over it:
    it travels without its token, and inside a worker it speaks with the worker's own rights.

    Args:
        token: Your token. Default: ``AIAUTO_TOKEN``. Without a token and an address, a server on
            this machine is used, and started if none runs.
        base_url: Address of the server, for example ``http://127.0.0.1:8787``. Default:
            ``AIAUTO_BASE_URL``, else the hosted service.
        storage_size: Size of the studies' storage, at most ``10Gi``. The sizes count only when the
            workspace is first made.
        artifact_store_size: Size of the artifact store, at most ``100Gi``.
        shared_cache_dir: Where workers find the shared cache.
        shared_cache_size: Size of the shared cache, at most ``20Gi``.

    Raises:
        ArgumentError: An argument can't be right.
        ServerStartError: The server of this machine did not start.
        UnauthenticatedError: The server does not know the token.
        UnavailableError: The server can't be reached.
    """

    _instances: ClassVar[dict[config.Remote | config.Embedded, AIAutoController]] = {}
    _instances_lock: ClassVar[threading.Lock] = threading.Lock()

    _connection: Connection
    _workspace_request: v1.EnsureWorkspaceRequest

    def __new__(cls, token: str | None = None, base_url: str | None = None, **_: object) -> Self:
        return cls._of(config.resolve(token, base_url))

    def __init__(
        self,
        token: str | None = None,
        base_url: str | None = None,
        *,
        storage_size: str = "500Mi",
        artifact_store_size: str = "2Gi",
        shared_cache_dir: str = "/mnt/shared-cache",
        shared_cache_size: str = "500Mi",
    ) -> None:
        pass
