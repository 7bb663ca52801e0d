"""Artifacts: files that trials leave, kept by the server."""

from __future__ import annotations

import dataclasses
import io
import json
import mimetypes
import uuid
from typing import TYPE_CHECKING, Final, cast

from aiauto_gen.aiauto import v1

from aiauto import paths, transfer
from aiauto.errors import ArgumentTypeError, ArgumentValueError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    import optuna

    from aiauto.connection import Connection

__all__ = ["ArtifactStore"]

PLACE: Final = v1.FilePlace.ARTIFACTS
ARTIFACT_ID_ATTRIBUTE: Final = "artifact_id"
# What `optuna.artifacts` calls the attribute of a trial that has an artifact, before its id, and
# the type of a file whose name does not tell.
ATTRIBUTE_PREFIX: Final = "artifacts:"
DEFAULT_MIME_TYPE: Final = "application/octet-stream"


class ArtifactStore:
    """The artifacts of a workspace, as Optuna wants an artifact store.

    Pass it to ``optuna.artifacts.upload_artifact`` and ``download_artifact``. Made by
    `AIAutoController.get_artifact_store`. It pickles, and an objective may close over it.
    """

    _connection: Connection

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        return f"ArtifactStore({self._connection!r})"

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact for reading, from any position.

        Args:
            artifact_id: Its id.

        Returns:
            A file that is read from the server as it is read.

        Raises:
            optuna.artifacts.exceptions.ArtifactNotFound: There is none of this id.
            RpcError: The server refuses, or stayed out of reach.
        """
        try:
            raw = transfer.open_remote(self._connection.files, PLACE, _checked_id(artifact_id))
        except NotFoundError as error:
            from optuna.artifacts import exceptions  # noqa: PLC0415 - it takes a second

            message = f"There is no artifact {artifact_id!r}: it never was, or was deleted."
            raise exceptions.ArtifactNotFound(message) from error
        return io.BufferedReader(raw, transfer.BUFFER_BYTES)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Send an artifact. When this returns it is on the server's disk.

        Args:
            artifact_id: Its id: any name that a file may have. A UUID, as Optuna takes it, says
                that a trial or a study will note it: what a worker sent under one is deleted after
                the worker's end where none does.
            content_body: Its content, from where that stands on.

        Raises:
            AlreadyExistsError: There is one of this id, and a worker can't replace it.
            ResourceExhaustedError: The workspace may not keep that much; the text names the limit.
            RpcError: The server refuses, or stayed out of reach.
        """
        transfer.send(self._connection.files, PLACE, _checked_id(artifact_id), content_body)

    def remove(self, artifact_id: str) -> None:
        """Delete an artifact. Workers may not.

        Args:
            artifact_id: Its id.

        Raises:
            optuna.artifacts.exceptions.ArtifactNotFound: There is none of this id.
            RpcError: The server refuses, or can't be reached.
        """
        request = v1.DeleteFileRequest(place=PLACE, path=_checked_id(artifact_id))
        if not self._connection.files.delete_file(request).found:
            from optuna.artifacts import exceptions  # noqa: PLC0415 - it takes a second

            message = f"There is no artifact {artifact_id!r}: it never was, or was deleted."
            raise exceptions.ArtifactNotFound(message)


def upload(
    connection: Connection, trial: optuna.Trial | optuna.trial.FrozenTrial, file_path: object
) -> str:
    """Send a file and note at a trial that it has it. See `AIAutoController.upload_artifact`."""
    from optuna.artifacts import ArtifactMeta  # noqa: PLC0415 - it takes a second

    if not hasattr(trial, "number") or not hasattr(trial, "user_attrs"):
        message = (
            f"trial must be the trial that the objective was given, not {type(trial).__name__}."
        )
        raise ArgumentTypeError(message, argument="trial")
    path = paths.local_file(file_path, "file_path")
    # A worker's trial has a storage of its own, under the lease that it holds.
    own = cast("optuna.storages.BaseStorage | None", getattr(trial, "storage", None))
    storage = own or connection.storage()
    trial_id = trial._trial_id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if storage.get_trial(trial_id).state.is_finished():
        message = f"trial {trial.number} has ended: its artifacts must be uploaded before that."
        raise ArgumentValueError(message, argument="trial")
    mime_type, encoding = mimetypes.guess_type(path.name)
    meta = ArtifactMeta(
        artifact_id=str(uuid.uuid4()),
        filename=path.name,
        mimetype=mime_type or DEFAULT_MIME_TYPE,
        encoding=encoding,
    )
    # First the file: an attribute without one would be shown, and lead nowhere.
    with path.open("rb") as file:
        ArtifactStore(connection).write(meta.artifact_id, file)
    attribute = ATTRIBUTE_PREFIX + meta.artifact_id
    storage.set_trial_system_attr(trial_id, attribute, json.dumps(dataclasses.asdict(meta)))
    trial.set_user_attr(ARTIFACT_ID_ATTRIBUTE, meta.artifact_id)
    if own is None:
        # A frozen trial has told only itself.
        storage.set_trial_user_attr(trial_id, ARTIFACT_ID_ATTRIBUTE, meta.artifact_id)
    return meta.artifact_id


def download(
    connection: Connection, artifact_id: object, file_path: object, *, overwrite: bool
) -> Path:
    """Download an artifact to a file. See `AIAutoController.download_artifact`."""
    target = paths.new_file(file_path, "file_path")
    transfer.fetch(connection.files, PLACE, _checked_id(artifact_id), target, overwrite=overwrite)
    return target


def _checked_id(value: object) -> str:
    if not isinstance(value, str):
        message = f"artifact_id must be text, not {value!r}."
        raise ArgumentTypeError(message, argument="artifact_id")
    if not value:
        message = "artifact_id is empty: pass what upload_artifact returned."
        raise ArgumentValueError(message, argument="artifact_id")
    return value
