"""What workers printed, kept by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiauto_gen.aiauto import v1
from sqlalchemy import insert, select

from aiauto.errors import InvalidArgumentError
from aiauto.server.database.models import LogChunk, TrialBatch, Worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from aiauto.server.auth import WorkerIdentity
    from aiauto.server.database import Database

MAX_LINES_PER_CALL = 10_000
MAX_LINE_CHARACTERS = 64 * 1024
MAX_BATCH_BYTES = 64 * 1024 * 1024
CHUNKS_PER_READ = 16
FULL = "[further lines of this batch are not kept: there are more than 64 MiB of them]"


class WorkerLogs:
    """The lines of all batches. A batch keeps its first 64 MiB of them."""

    def __init__(self, database: Database) -> None:
        """Make it.

        Args:
            database: Where lines are kept.
        """
        self._database = database

    async def append(self, worker: WorkerIdentity, request: v1.AppendLogsRequest) -> None:
        """Keep lines.

        Args:
            worker: Who printed them.
            request: The lines. The same request twice is kept once.

        Raises:
            InvalidArgumentError: There are too many at once, or one is too long.
        """
        if len(request.lines) > MAX_LINES_PER_CALL:
            raise InvalidArgumentError(
                f"{len(request.lines)} lines in one call: at most {MAX_LINES_PER_CALL} are allowed."
            )
        if any(len(line.text) > MAX_LINE_CHARACTERS for line in request.lines):
            raise InvalidArgumentError(f"A line is longer than {MAX_LINE_CHARACTERS} characters.")

        def unit(session: Session) -> None:
            lines = list(request.lines)
            batch = session.get_one(TrialBatch, worker.batch_id, with_for_update=True)
            known = select(LogChunk.start).where(
                LogChunk.batch_id == batch.id, LogChunk.request_id == request.request_id
            )
            if not lines or batch.log_bytes > MAX_BATCH_BYTES or session.scalar(known) is not None:
                return
            name = session.get_one(Worker, worker.worker_id).name
            start = batch.log_length + 1
            for sequence, line in enumerate(lines, start):
                line.sequence, line.worker_name = sequence, name
            data = bytes(v1.StreamLogsResponse(lines=lines))
            batch.log_bytes += len(data)
            if batch.log_bytes > MAX_BATCH_BYTES:
                last = v1.LogLine(sequence=start + len(lines), worker_name=name, text=FULL)
                lines.append(last)
                data = bytes(v1.StreamLogsResponse(lines=lines))
            batch.log_length += len(lines)
            session.execute(
                insert(LogChunk),
                {
                    "batch_id": batch.id,
                    "start": start,
                    "request_id": request.request_id,
                    "lines": data,
                },
            )

        await self._database.write(unit)

    async def read(self, batch_id: int, after: int) -> list[v1.LogLine]:
        """Read lines.

        Args:
            batch_id: Whose.
            after: Number of the last line that is known.

        Returns:
            Lines that come after it, not necessarily all; none where there are none.
        """

        def unit(session: Session) -> list[bytes]:
            # The chunk in which the next line stands begins at or before it.
            first = (
                select(LogChunk.start)
                .where(LogChunk.batch_id == batch_id, LogChunk.start <= after + 1)
                .order_by(LogChunk.start.desc())
                .limit(1)
            )
            begin = session.scalar(first) or 0
            query = (
                select(LogChunk.lines)
                .where(LogChunk.batch_id == batch_id, LogChunk.start >= begin)
                .order_by(LogChunk.start)
                .limit(CHUNKS_PER_READ)
            )
            return list(session.scalars(query))

        chunks = await self._database.read(unit)
        lines = (line for chunk in chunks for line in v1.StreamLogsResponse.parse(chunk).lines)
        return [line for line in lines if line.sequence > after]
