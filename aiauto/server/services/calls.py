"""What the calls of all services share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto.errors import InvalidArgumentError, NotFoundError
from aiauto.server.auth import current_principal

if TYPE_CHECKING:
    from aiauto.server.parts import Parts

MAX_REQUEST_ID_LENGTH = 64
NO_WORKSPACE = "You have no workspace yet: call EnsureWorkspace first."


def check_request_id(request_id: str) -> None:
    """Check the id by which a call is known when it is sent again.

    Raises:
        InvalidArgumentError: There is none, or it can't be kept.
    """
    if not 0 < len(request_id) <= MAX_REQUEST_ID_LENGTH:
        raise InvalidArgumentError(
            f"request_id has {len(request_id)} characters: it must have 1 to "
            f"{MAX_REQUEST_ID_LENGTH}."
        )


class Calls:
    """Some of the calls of a service."""

    def __init__(self, parts: Parts) -> None:
        """Answer calls.

        Args:
            parts: What to work with.
        """
        self._parts = parts

    @property
    def _user_id(self) -> int:
        return current_principal().user_id

    @property
    def _workspace_id(self) -> int:
        """The caller's workspace; for a worker, that of its batch.

        Raises:
            NotFoundError: There is none.
        """
        workspace_id = current_principal().workspace_id
        if workspace_id is None:
            raise NotFoundError(NO_WORKSPACE)
        return workspace_id
