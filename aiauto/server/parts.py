"""The parts that the server is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiauto.server.accounts import Accounts
    from aiauto.server.activity import Activity
    from aiauto.server.auth import Auth
    from aiauto.server.batches import Batches
    from aiauto.server.database import Database
    from aiauto.server.executors import Executor
    from aiauto.server.files import Files
    from aiauto.server.journal import AppendRate, Journal, Overviews, Snapshots
    from aiauto.server.limits import Limits
    from aiauto.server.slow_readers import SlowReaders
    from aiauto.server.slow_senders import SlowSenders
    from aiauto.server.web.links import Links


@dataclass(frozen=True)
class Parts:
    """What the server is made of.

    Attributes:
        database: Everything that is kept.
        auth: Checks and issues tokens.
        accounts: Users.
        journal: The journals of all workspaces.
        overviews: What is asked of their studies again and again.
        append_rate: How fast callers may append to them.
        snapshots: What those lead to, for who need not know how.
        batches: The state of all batches.
        files: Artifacts and shared caches.
        executor: Runs batches.
        links: Addresses for users.
        activity: Whether anybody uses the server.
        slow_senders: Ends requests whose senders do not go on.
        slow_readers: Ends connections whose other end does not read.
        limits: What each user may have and do at once.
        issuer: Address of the issuer by which people log in; None for none.
    """

    database: Database
    auth: Auth
    accounts: Accounts
    journal: Journal
    overviews: Overviews
    append_rate: AppendRate
    snapshots: Snapshots
    batches: Batches
    files: Files
    executor: Executor
    links: Links
    activity: Activity
    slow_senders: SlowSenders
    slow_readers: SlowReaders
    limits: Limits
    issuer: str | None
