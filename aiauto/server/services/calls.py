"""What the calls of all services share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto.server.auth import current_principal

if TYPE_CHECKING:
    from aiauto.server.parts import Parts


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
