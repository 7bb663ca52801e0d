"""How a Pod becomes a worker."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from aiauto_gen.aiauto.v1.connect import EnrollmentServiceClientSync

from aiauto import config
from aiauto.connect import SyncTransport
from aiauto.errors import AbortedError, UnauthenticatedError
from aiauto.runner.worker import PATIENCE_SECONDS, RETRIES, Exit

if TYPE_CHECKING:
    from aiauto.errors import RpcError


def enroll(base_url: str, enrollment_token: str) -> str:
    """Become a worker.

    Args:
        base_url: Address of the server.
        enrollment_token: What lets this Pod become one of its batch.

    Returns:
        The worker's token.

    Raises:
        RpcError: The server is away for too long, or refuses.
    """
    transport = SyncTransport(
        base_url, token=enrollment_token, timeout=PATIENCE_SECONDS, retries=RETRIES
    )
    try:
        answer = EnrollmentServiceClientSync(transport).enroll_worker(
            v1.EnrollWorkerRequest(
                pod_name=os.environ.get(config.POD_NAME_VARIABLE) or socket.gethostname(),
                gpu_share=os.environ.get(config.GPU_SHARE_VARIABLE, ""),
            )
        )
    finally:
        transport.close()
    return answer.token


def not_enrolled(error: RpcError) -> Exit:
    """Say why a Pod has become no worker, and how it shall end."""
    if isinstance(error, (AbortedError, UnauthenticatedError)):
        # The batch is over, and with it the token; or another Pod has taken the place of this one.
        print(f"There is nothing left to do here: {error}")  # noqa: T201 - for the Pod's own log
        return Exit.DONE
    print(f"The server can't be worked for: {error}", file=sys.stderr)  # noqa: T201
    return Exit.SERVER_LOST
