"""The parts of the server that services work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiauto.server.auth import current_principal

if TYPE_CHECKING:
    from aiauto.server.auth import Auth
    from aiauto.server.batches import Batches
    from aiauto.server.database import Database
    from aiauto.server.executors import Executor
    from aiauto.server.journal import Journal
    from aiauto.server.web.links import Links


@dataclass(frozen=True)
class Parts:
    """What the server is made of.

    Attributes:
        database: Everything that is kept.
        journal: The journals of all workspaces.
        batches: The state of all batches.
        auth: Tokens.
        executor: Runs batches.
        links: Addresses for users.
    """

    database: Database
    journal: Journal
    batches: Batches
    auth: Auth
    executor: Executor
    links: Links


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
