"""AIAutoController: a user's way to a server, and its studies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from aiauto_gen.aiauto import v1

from aiauto import arguments, artifacts, config, folders, shared_cache
from aiauto.connection import Connection, connect_to
from aiauto.study import StudyWrapper

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import optuna

Direction = Literal["minimize", "maximize"]
"""Whether a value shall become small or big."""

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

    def get_artifact_store(self) -> artifacts.ArtifactStore:
        """Give the workspace's artifacts as an artifact store for ``optuna.artifacts``."""
        return artifacts.ArtifactStore(self._connection)

    def get_artifact_tmp_dir(self) -> str:
        """Give a folder to prepare artifacts in. It goes with this worker, or with this process."""
        return str(folders.artifact_tmp_dir())

    def upload_artifact(
        self, trial: optuna.Trial | optuna.trial.FrozenTrial, file_path: str | os.PathLike[str]
    ) -> str:
        """Keep a file with a trial.

        The trial's user attribute ``artifact_id`` names the newest of its files;
        ``optuna.artifacts.get_all_artifact_meta`` lists all, and the dashboard shows them. Of a
        batch only the best trials keep theirs (`top_n_artifacts`); trials that were asked for here
        keep them all.

        Args:
            trial: The trial that the objective was given, or one that was asked for. It must not
                have ended.
            file_path: The file.

        Returns:
            The id of the artifact.

        Raises:
            ArgumentFileNotFoundError: There is no such file.
            ArgumentError: The trial or the file can't be used.
            ResourceExhaustedError: The workspace may not keep that much; the text names the limit.
            RpcError: The server refuses, or stayed out of reach for 5 minutes.
        """
        return artifacts.upload(self._connection, trial, file_path)

    def download_artifact(
        self, artifact_id: str, file_path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Download an artifact to a file, which appears when it is whole.

        Args:
            artifact_id: Its id, for example the user attribute ``artifact_id`` of a trial.
            file_path: The file to write.
            overwrite: Whether it may replace a file that is there.

        Returns:
            The file.

        Raises:
            ArgumentFileExistsError: The file exists.
            NotFoundError: There is no such artifact, or it was not among the best.
            RpcError: The server refuses, or stayed out of reach for 5 minutes.
        """
        return artifacts.download(self._connection, artifact_id, file_path, overwrite=overwrite)

    @property
    def shared_cache_dir(self) -> Path:
        """Where this worker finds the shared cache: see `aiauto.shared_cache_dir`."""
        return folders.shared_cache_dir()

    @property
    def tmp_cache_dir(self) -> Path:
        """Where this worker has its scratch folder: see `aiauto.tmp_cache_dir`."""
        return folders.tmp_cache_dir()

    def upload_to_shared_cache(
        self,
        file_paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        dest_dir: str | None = None,
        *,
        show_progress_bar: bool = True,
    ) -> shared_cache.UploadedFiles:
        """Send files to where all workers of the workspace find them.

        An upload that broke off, by the connection, the server or this program, goes on where it
        was when the same file is sent again within a day. A file of the same path is replaced once
        the new one is whole.

        Args:
            file_paths: A file, or a list of them.
            dest_dir: Folder in the shared cache, made if need be. Default: none.
            show_progress_bar: Whether to show one, at a terminal or in a notebook.

        Returns:
            The names of the files under the key ``uploaded_files``.

        Raises:
            ArgumentFileNotFoundError: There is no such file.
            ArgumentError: A path can't be used.
            UploadFailedError: The server refuses, for example since the cache would become bigger
                than `shared_cache_size`.
            RpcError: The server stayed out of reach for 5 minutes.
        """
        return shared_cache.upload(
            self._connection, file_paths, dest_dir, show_progress_bar=show_progress_bar
        )

    def download_from_shared_cache(
        self,
        path: str,
        file_path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        show_progress_bar: bool = True,
    ) -> Path:
        """Download a file of the shared cache, for example what an objective has left there.

        Args:
            path: Its path there, for example ``datasets/train.csv``.
            file_path: The file to write, which appears when it is whole.
            overwrite: Whether it may replace a file that is there.
            show_progress_bar: Whether to show one, at a terminal or in a notebook.

        Returns:
            The file.

        Raises:
            ArgumentError: A path can't be used, or the file exists.
            NotFoundError: There is no such file in the shared cache.
            RpcError: The server refuses, or stayed out of reach for 5 minutes.
        """
        return shared_cache.download(
            self._connection,
            path,
            file_path,
            overwrite=overwrite,
            show_progress_bar=show_progress_bar,
        )

    def list_shared_cache(self) -> shared_cache.SharedCacheFiles:
        """List the files in the shared cache.

        Returns:
            The files under the key ``files``, each with its ``name``, ``size`` in bytes and time of
            the last change, ``modified``.

        Raises:
            RpcError: The server can't be reached.
        """
        return shared_cache.files_in(self._connection)

    def delete_from_shared_cache(self, path: str) -> shared_cache.DeletedFile:
        """Delete a file or a folder from the shared cache.

        Args:
            path: Its path there, for example ``datasets/train.csv``.

        Returns:
            Its path, ``deleted``, and whether there was something, ``found``.

        Raises:
            ArgumentValueError: The path can't be used.
            RpcError: The server refuses, or can't be reached.
        """
        return shared_cache.delete(self._connection, path)
