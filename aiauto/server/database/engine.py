"""How units of work reach the database: one writer, one commit for all who wait, many readers."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from aiauto.errors import UnavailableError
from aiauto.server.database import sqlite
from aiauto.server.database.migrations import migrate
from aiauto.server.database.opening import opening, url_of
from aiauto.server.database.outages import outages_told
from aiauto.server.database.outcomes import Outcome, Unit, tell
from aiauto.server.database.postponed import PostponedError
from aiauto.server.database.transaction import Transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Engine

ResultT = TypeVar("ResultT")

logger: logging.Logger = logging.getLogger("aiauto.server")

READERS = 4
# After so long without a unit the writer's connection goes back to the pool, which tries it before
# it is used again: the database may have been started anew.
REST_SECONDS = 1.0
# Units that share a commit at most: a late one must not wait for hundreds before it.
UNITS_PER_COMMIT = 128
SQLITE_LOCK_TIMEOUT_SECONDS = 30


class Database:
    """A database, and the two ways to it.

    What is written goes through one thread: while it commits, further units queue up, and the next
    transaction takes all of them, with one commit at the end. So a unit may rely on being alone,
    one that raises undoes only itself, and the more callers wait, the less a commit costs each.

    Attributes:
        on_commit: Told of every transaction, in the writer's thread: its units, and its seconds.
    """

    def __init__(self, url: str) -> None:
        """Name a database.

        Args:
            url: SQLAlchemy URL, for example ``sqlite:////var/lib/aiauto/aiauto.sqlite3`` or
                ``postgresql+psycopg://user@host/name``.

        Raises:
            ValueError: It is no such URL.
            DatabaseError: The driver for it is missing, or too old.
        """
        named = url_of(url)
        with opening(named):
            self._engine = _engine(named)
        self._units: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="aiauto-database-read")
        self._writer = threading.Thread(
            target=self._write_all, name="aiauto-database-write", daemon=True
        )
        # The writer's: they keep their connection from one commit to the next.
        self._transactions: Transactions | None = None
        self._closed = False
        self.on_commit: Callable[[int, float], None] | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other servers may be on the same database."""
        return self._engine.dialect.name != "sqlite"

    @property
    def waiting_units(self) -> int:
        """Units of work that the writer has not come to yet."""
        return self._units.qsize()

    async def open(self) -> None:
        """Bring the tables up to date and begin.

        Raises:
            DatabaseError: The database can't be reached or migrated.
        """
        with opening(self._engine.url):
            await asyncio.to_thread(migrate, self._engine)
        self._writer.start()

    async def close(self) -> None:
        """Finish what is queued, and end."""
        self._closed = True
        self._units.put(None)
        if self._writer.ident is not None:
            await asyncio.to_thread(self._writer.join)
        self._readers.shutdown()
        self._engine.dispose()

    async def write(self, unit: Callable[[Session], ResultT]) -> ResultT:
        """Run a unit of work in a transaction.

        Args:
            unit: Runs in the writer's thread, alone; once more where it raises `PostponedError`,
                or another unit of the same transaction fails. What it does outside of the database
                it names to `when_undone`.

        Returns:
            What it returned, once it is on disk.

        Raises:
            UnavailableError: The database is out of reach, full or locked.
            Exception: What the unit raised; nothing of it was written.
        """
        loop = asyncio.get_running_loop()
        while True:
            # A caller that gives up cancels this, and does not stop a unit that may be half done.
            future: asyncio.Future[ResultT] = loop.create_future()
            self._submit(Unit(unit, future))
            try:
                return await future
            except PostponedError as postponed:
                await asyncio.shield(asyncio.wrap_future(postponed.until))

    def write_now(self, unit: Callable[[Session], ResultT]) -> ResultT:
        """`write` for threads: waits. Never call it on the event loop or in a unit."""
        while True:
            future: Future[ResultT] = Future()
            self._submit(Unit(unit, future))
            try:
                return future.result()
            except PostponedError as postponed:
                postponed.until.result()

    async def read(self, unit: Callable[[Session], ResultT]) -> ResultT:
        """Run a unit that only reads.

        Args:
            unit: Runs in some thread, side by side with others.

        Returns:
            What it returned.

        Raises:
            UnavailableError: The database is out of reach or locked.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, unit)

    def read_now(self, unit: Callable[[Session], ResultT]) -> ResultT:
        """`read` for threads."""
        with outages_told(), Session(self._engine, expire_on_commit=False) as session:
            return unit(session)

    def _submit(self, unit: Unit) -> None:
        if self._closed:
            message = "the database is closed"
            raise RuntimeError(message)
        self._units.put(unit)

    def _write_all(self) -> None:
        while (first := self._next()) is not None:
            units = [first]
            while len(units) < UNITS_PER_COMMIT and not self._units.empty():
                following = self._units.get()
                if following is None:
                    self._units.put(None)
                    break
                units.append(following)
            began = time.perf_counter()
            self._commit(units)
            if self.on_commit is not None:
                self.on_commit(len(units), time.perf_counter() - began)
        self._let_go()

    def _next(self) -> Unit | None:
        """The next unit; None at the end."""
        if self._transactions is not None:
            try:
                return self._units.get(timeout=REST_SECONDS)
            except queue.Empty:
                self._let_go()
        return self._units.get()

    def _let_go(self) -> None:
        """Give the writer's connection back."""
        if self._transactions is not None:
            self._transactions.close()
            self._transactions = None

    def _commit(self, units: list[Unit]) -> None:
        try:
            with outages_told():
                if self._transactions is None:
                    self._transactions = Transactions(self._engine.connect())
                outcomes = self._transactions.run(units)
        except Exception as error:
            # It may be the connection that is broken.
            self._let_go()
            if not isinstance(error, UnavailableError):
                logger.exception("A commit failed")
            outcomes = [Outcome(unit, error=error) for unit in units]
        tell(outcomes)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=READERS + 1)
    sqlite.check_version()
    engine = create_engine(
        url.set(drivername=sqlite.DRIVER),
        # It is told when a transaction begins, and opens none by itself.
        connect_args={"isolation_level": None, "timeout": SQLITE_LOCK_TIMEOUT_SECONDS},
        pool_size=READERS + 1,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - sqlite3 has no protocol
    # WAL with FULL: readers never wait, and what is committed is on disk.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
