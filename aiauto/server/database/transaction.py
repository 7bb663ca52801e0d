"""One transaction for all units of work that wait: each is undone alone, and all commit at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiauto.server.database import sqlite, undoing
from aiauto.server.database.familiar import Familiar, WritingSession
from aiauto.server.database.outages import outages_told
from aiauto.server.database.outcomes import Outcome
from aiauto.server.database.unit import begin_unit, end_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, RootTransaction

    from aiauto.server.database.outcomes import Unit

_SAVEPOINT: Final = "part"


class _UndoneError(Exception):
    """A unit has failed, and all are undone."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__("the transaction was rolled back")
        self.outcome = outcome


class Transactions:
    """The transactions of the writer's connection."""

    def __init__(self, connection: Connection) -> None:
        """Begin none yet.

        Args:
            connection: The connection. It is closed with this.
        """
        self._connection = connection
        # It joins the connection's transaction when it is first used: many a unit needs nothing of
        # the ORM. To begin and end a session takes as long as statements do, so it stays for as
        # long as all that it holds is familiar.
        self._session = WritingSession(
            connection, expire_on_commit=False, join_transaction_mode="rollback_only"
        )
        self._familiar = Familiar()
        self._version: int | None = None

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def run(self, units: Sequence[Unit]) -> list[Outcome]:
        """Run units in one transaction.

        Hardly any fails, and a savepoint for each takes as long as a statement. So there are some
        only once one has failed, and the others run again.

        Args:
            units: At least one.

        Returns:
            What came of each. What they returned is on disk.

        Raises:
            UnavailableError: The database is out of reach, full or locked. Nothing was written.
            SQLAlchemyError: What was written can't be committed. Nothing was written.
        """
        outcomes: list[Outcome] = []
        left = list(units)
        while left:
            try:
                return outcomes + self._run_together(left, with_savepoints=bool(outcomes))
            except _UndoneError as undone:
                outcomes.append(undone.outcome)
                left.remove(undone.outcome.unit)
        return outcomes

    def _run_together(self, units: Sequence[Unit], *, with_savepoints: bool) -> list[Outcome]:
        session = self._session
        session.info.clear()
        try:
            with self._connection.begin() as whole:
                self._look_whether_others_wrote()
                if with_savepoints:
                    outcomes = [self._run_part(unit, whole) for unit in units]
                else:
                    outcomes = [self._run_one(unit) for unit in units]
        except Exception:
            self._forget()
            undoing.undo(session)
            session.close()
            raise
        if session.has_joined:
            session.close()
        return outcomes

    def _look_whether_others_wrote(self) -> None:
        version = sqlite.data_version(self._connection)
        if version != self._version:
            self._forget()
        self._version = version

    def _forget(self) -> None:
        """Read from now on what is wanted: it may not be what it was."""
        self._familiar = Familiar()
        self._session.expunge_all()

    def _run_one(self, unit: Unit) -> Outcome:
        session = self._session
        # Where it can't be known whether others wrote, they may have from one unit to the next.
        if self._version is None or self._familiar.is_outdated:
            self._forget()
        try:
            with outages_told():
                begin_unit(session, self._connection, self._familiar)
                result = unit.work(session)
                end_unit(session)
                session.flush()
        except Exception as error:
            raise _UndoneError(Outcome(unit, error=error)) from error
        return Outcome(unit, result)

    def _run_part(self, unit: Unit, whole: RootTransaction) -> Outcome:
        self._connection.exec_driver_sql(f"SAVEPOINT {_SAVEPOINT}")
        before = undoing.position(self._session)
        try:
            outcome = self._run_one(unit)
        except _UndoneError as undone:
            if not whole.is_active:
                # What the ORM can't write it undoes with the whole transaction.
                raise
            self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            # What is in memory of what was undone.
            self._forget()
            undoing.undo(self._session, before)
            outcome = undone.outcome
        self._connection.exec_driver_sql(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        return outcome
