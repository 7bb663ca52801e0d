"""AIAutoController: a user's way to a server, and its studies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from aiauto_gen.aiauto import v1

from aiauto import arguments, config
from aiauto.connection import Connection, connect_to
from aiauto.study import StudyWrapper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

Direction = Literal["minimize", "maximize"]

MAX_STORAGE_GI = 10.0
MAX_ARTIFACT_STORE_GI = 100.0
MAX_SHARED_CACHE_GI = 20.0


class AIAutoController:
    """The way to a server: makes the workspace there, and studies in it.

    There is one instance for every address and token: calling the class again with the same ones
    gives the same object. Threads may share it, and an objective may close over it: it travels
    without its token. Inside a worker, where an objective may make one too, it speaks with the
    worker's own rights whatever token it is given: enough for artifacts and the shared cache, and
    not for starting studies.

    Args:
        token: Your token. Default: ``AIAUTO_TOKEN``. With neither a token nor an address, a server
            on this machine is used, and started if none runs.
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

    _instances: ClassVar[dict[Connection, AIAutoController]] = {}
    _connection: Connection

    def __new__(
        cls,
        token: str | None = None,
        base_url: str | None = None,
        *,
        storage_size: str = "500Mi",
        artifact_store_size: str = "2Gi",
        shared_cache_dir: str = "/mnt/shared-cache",
        shared_cache_size: str = "500Mi",
    ) -> AIAutoController:
        """Give the instance for the address and token, with its workspace made."""
        workspace = v1.EnsureWorkspaceRequest(
            storage_size=arguments.size(storage_size, "storage_size", maximum_gi=MAX_STORAGE_GI),
            artifact_store_size=arguments.size(
                artifact_store_size, "artifact_store_size", maximum_gi=MAX_ARTIFACT_STORE_GI
            ),
            shared_cache_dir=arguments.folder(shared_cache_dir, "shared_cache_dir"),
            shared_cache_size=arguments.size(
                shared_cache_size, "shared_cache_size", maximum_gi=MAX_SHARED_CACHE_GI
            ),
        )
        connection = connect_to(config.resolve(token, base_url))
        # Where there is a worker there is a workspace; a worker's rights end short of making one.
        if not config.in_worker():
            connection.workspace(workspace)
        return cls._of(connection)

    @classmethod
    def _of(cls, connection: Connection) -> AIAutoController:
        made = object.__new__(cls)
        made._connection = connection
        # One step, so that of two threads both get the same.
        return AIAutoController._instances.setdefault(connection, made)

    def __repr__(self) -> str:
        return f"AIAutoController({self._connection!r})"

    def __reduce__(self) -> tuple[object, tuple[Connection]]:
        return AIAutoController._of, (self._connection,)

    @property
    def base_url(self) -> str:
        """Address of the server. The server of this machine is started if it does not run."""
        return self._connection.base_url

    @property
    def token(self) -> str:
        """The token that calls carry: on this machine, the one of its server."""
        return self._connection.token

    @property
    def dashboard_url(self) -> str:
        """Address of the Optuna dashboard for this workspace. On this machine it logs you in."""
        return self._connection.workspace().dashboard_url

    def create_study(
        self,
        study_name: str,
        direction: Direction | Sequence[Direction] | None = None,
        directions: Sequence[Direction] | None = None,
        sampler: optuna.samplers.BaseSampler | Mapping[str, object] | None = None,
        pruner: optuna.pruners.BasePruner | Mapping[str, object] | None = None,
    ) -> StudyWrapper:
        """Make a study, or open the one of that name if its definition is the same.

        Args:
            study_name: Its name: 1 to 63 letters, digits, ``_``, ``-`` and ``.``.
            direction: ``minimize`` (the default) or ``maximize``. A list stands for `directions`.
            directions: One direction for every value of the objective. Not together with
                `direction`.
            sampler: Chooses the parameters: any Optuna sampler, or a dict of its class and
                arguments. Default: Optuna's.
            pruner: Ends trials early: any Optuna pruner, or a dict of its class and arguments.
                Default: Optuna's.

        Returns:
            The study.

        Raises:
            ArgumentError: An argument can't be right.
            AlreadyExistsError: There is a study of that name with another definition.
            RpcError: The server refused.
        """
        spec = v1.StudySpec(study_name=arguments.study_name(study_name))
        values = arguments.directions(direction, directions)
        if len(values) == 1:
            spec.direction = values[0]
        else:
            spec.directions = v1.DirectionList(values=values)
        if sampler is not None or pruner is not None:
            # Optuna takes a second to import, and a study with its defaults needs none of it.
            from aiauto import samplers  # noqa: PLC0415

            spec.sampler_json = samplers.sampler_to_json(sampler)
            spec.pruner_json = samplers.pruner_to_json(pruner)
        self._connection.service.create_study(v1.CreateStudyRequest(spec=spec))
        return StudyWrapper(self._connection, spec)

    def get_storage(self) -> optuna.storages.BaseStorage:
        """Give the Optuna storage that holds all studies of the workspace."""
        return self._connection.storage()
