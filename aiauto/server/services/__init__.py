"""The services of the schema, one module a noun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto.v1.connect import AIAutoServiceBase

from aiauto.server.services.enrollment import EnrollmentService
from aiauto.server.services.file import FileService
from aiauto.server.services.journal import JournalService
from aiauto.server.services.log import LogService
from aiauto.server.services.machine import MachineCalls
from aiauto.server.services.progress import ProgressService
from aiauto.server.services.runner import RunnerService
from aiauto.server.services.shared_cache import SharedCacheCalls
from aiauto.server.services.study import StudyCalls
from aiauto.server.services.token import TokenCalls
from aiauto.server.services.trial import TrialService
from aiauto.server.services.trial_batch import TrialBatchCalls
from aiauto.server.services.user import UserService
from aiauto.server.services.workspace import WorkspaceCalls
from aiauto.server.worker_logs import WorkerLogs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiauto.connect.method import ServiceInfo
    from aiauto.server.parts import Parts

__all__ = ["build"]


class AIAutoService(
    WorkspaceCalls,
    StudyCalls,
    TrialBatchCalls,
    SharedCacheCalls,
    TokenCalls,
    MachineCalls,
    AIAutoServiceBase,
):
    """Workspaces, studies, batches, the shared cache and tokens."""


def build(parts: Parts) -> Sequence[ServiceInfo]:
    """Make all services.

    Args:
        parts: What they work with.
    """
    logs = WorkerLogs(parts.database)
    return [
        AIAutoService(parts),
        JournalService(parts),
        FileService(parts),
        EnrollmentService(parts),
        RunnerService(parts, logs),
        ProgressService(parts),
        LogService(parts, logs),
        TrialService(parts),
        UserService(parts),
    ]
