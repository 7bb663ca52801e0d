"""Run an Optuna objective on many workers at once.

::

    import aiauto

    ac = aiauto.AIAutoController()
    study = ac.create_study("my-study", direction="minimize")
    study.optimize(objective, n_trials=100, parallelism=4)
    study.wait()
    print(study.best_value, study.best_params)

Every name below is loaded when it is first used, so that importing the package costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from aiauto.version import __version__

if TYPE_CHECKING:
    from aiauto.artifacts import ArtifactStore
    from aiauto.batch import Resources
    from aiauto.controller import AIAutoController, Direction
    from aiauto.errors import (
        AbortedError,
        AIAutoError,
        AIAutoRpcError,
        AlreadyExistsError,
        ArgumentError,
        ArgumentFileExistsError,
        ArgumentFileNotFoundError,
        ArgumentTypeError,
        ArgumentValueError,
        CanceledError,
        Code,
        DataLossError,
        DeadlineExceededError,
        FailedPreconditionError,
        InternalError,
        InvalidArgumentError,
        NotFoundError,
        NoTrialBatchError,
        ObjectiveError,
        OutOfRangeError,
        PermissionDeniedError,
        ResourceExhaustedError,
        RpcError,
        SearchSpaceExhausted,
        ServerStartError,
        TrialBatchFailedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
        UnknownError,
        UploadFailedError,
        WaitTimeoutError,
    )
    from aiauto.exhaustive import ExhaustiveCategoricalSampler
    from aiauto.folders import shared_cache_dir, tmp_cache_dir
    from aiauto.images import RUNTIME_IMAGES
    from aiauto.logs import LogLine
    from aiauto.progress import WaitOption
    from aiauto.released import AIAUTO_BASE_URL, AIAUTO_INSECURE
    from aiauto.running import Objective, WaitOptionName
    from aiauto.shared_cache import DeletedFile, SharedCacheFile, SharedCacheFiles, UploadedFiles
    from aiauto.status import (
        ConditionStatus,
        StudyStatus,
        StudyStatusWithTrials,
        TrialBatchStatus,
        TrialBatchStatusWithTrials,
        TrialStatus,
    )
    from aiauto.study import StudyWrapper
    from aiauto.trial import TrialController

__all__ = [
    "AIAUTO_BASE_URL",
    "AIAUTO_INSECURE",
    "RUNTIME_IMAGES",
    "AIAutoController",
    "AIAutoError",
    "AIAutoRpcError",
    "AbortedError",
    "AlreadyExistsError",
    "ArgumentError",
    "ArgumentFileExistsError",
    "ArgumentFileNotFoundError",
    "ArgumentTypeError",
    "ArgumentValueError",
    "ArtifactStore",
    "CanceledError",
    "Code",
    "ConditionStatus",
    "DataLossError",
    "DeadlineExceededError",
    "DeletedFile",
    "Direction",
    "ExhaustiveCategoricalSampler",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "LogLine",
    "NoTrialBatchError",
    "NotFoundError",
    "Objective",
    "ObjectiveError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "Resources",
    "RpcError",
    "SearchSpaceExhausted",
    "ServerStartError",
    "SharedCacheFile",
    "SharedCacheFiles",
    "StudyStatus",
    "StudyStatusWithTrials",
    "StudyWrapper",
    "TrialBatchFailedError",
    "TrialBatchStatus",
    "TrialBatchStatusWithTrials",
    "TrialController",
    "TrialStatus",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UploadFailedError",
    "UploadedFiles",
    "WaitOption",
    "WaitOptionName",
    "WaitTimeoutError",
    "__version__",
    "shared_cache_dir",
    "tmp_cache_dir",
]

# Where a name lives, if it is not an error.
_HOMES = {
    "AIAUTO_BASE_URL": "aiauto.released",
    "AIAUTO_INSECURE": "aiauto.released",
    "AIAutoController": "aiauto.controller",
    "ArtifactStore": "aiauto.artifacts",
    "ConditionStatus": "aiauto.status",
    "DeletedFile": "aiauto.shared_cache",
    "Direction": "aiauto.controller",
    "ExhaustiveCategoricalSampler": "aiauto.exhaustive",
    "LogLine": "aiauto.logs",
    "Objective": "aiauto.running",
    "RUNTIME_IMAGES": "aiauto.images",
    "Resources": "aiauto.batch",
    "SharedCacheFile": "aiauto.shared_cache",
    "SharedCacheFiles": "aiauto.shared_cache",
    "StudyStatus": "aiauto.status",
    "StudyStatusWithTrials": "aiauto.status",
    "StudyWrapper": "aiauto.study",
    "TrialBatchStatus": "aiauto.status",
    "TrialBatchStatusWithTrials": "aiauto.status",
    "TrialController": "aiauto.trial",
    "TrialStatus": "aiauto.status",
    "UploadedFiles": "aiauto.shared_cache",
    "WaitOption": "aiauto.progress",
    "WaitOptionName": "aiauto.running",
    "shared_cache_dir": "aiauto.folders",
    "tmp_cache_dir": "aiauto.folders",
}


if not TYPE_CHECKING:  # or a misspelt name would pass for one that is found here

    def __getattr__(name: str) -> object:
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        value: object = getattr(importlib.import_module(_HOMES.get(name, "aiauto.errors")), name)
        globals()[name] = value  # the next access does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
