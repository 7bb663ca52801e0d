"""The tables. Times are UTC; what may be secret is kept as a hash."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

# SQLite numbers rows by itself only where the key is an INTEGER.
RowId: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
# SQLite would give the id of a deleted row to the next one, and whoever still holds it would mean
# something else by it.
IDS_ONCE: Mapping[str, object] = {"sqlite_autoincrement": True}


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone, also on databases that keep none."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = DateTime(timezone=True)
    cache_ok: bool | None = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:  # noqa: ARG002
        """A time on its way into the database."""
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:  # noqa: ARG002
        """A time on its way out of the database."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=timezone.utc)


class _WithoutNul(TypeDecorator[str]):
    """Text that came from somebody else: PostgreSQL keeps all of Unicode but U+0000."""

    # Never made itself; each of those below says what it is.
    impl: TypeEngine[Any] | type[TypeEngine[Any]] = String
    cache_ok: bool | None = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:  # noqa: ARG002
        """Text on its way into the database, or into a question to it."""
        return value if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Line(_WithoutNul):
    """Text of limited length."""

    cache_ok: bool | None = True


class Prose(_WithoutNul):
    """Text of any length."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True


class Base(DeclarativeBase):
    """What all tables share."""

    # Named constraints can be changed by later migrations.
    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class User(Base):
    """Somebody who may call."""

    __tablename__ = "user_account"
    __table_args__: Any = IDS_ONCE

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(Line(255), unique=True)
    # Whether they may make and remove others.
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    # Whether they are kept out, for now.
    disabled: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Identity(Base):
    """Somebody as an issuer knows them, and which user that is here."""

    __tablename__ = "identity"
    __table_args__: Any = (UniqueConstraint("issuer", "subject"), IDS_ONCE)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    issuer: Mapped[str] = mapped_column(Line(255))
    subject: Mapped[str] = mapped_column(Line(255))
    # Null where the user was deleted: they do not come back by themselves.
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("user_account.id", ondelete="SET NULL"), index=True
    )
    # Whether an admin has said which user it is: then nothing else has to let them in.
    linked: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    # As the issuer has verified it, for admins to know them by; empty where it has not.
    email: Mapped[str] = mapped_column(Line(255), default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Workspace(Base):
    """A user's studies, and the journal that they live in."""

    __tablename__ = "workspace"
    __table_args__: Any = IDS_ONCE

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("user_account.id", ondelete="CASCADE"), unique=True
    )
    name: Mapped[str] = mapped_column(Line(255), unique=True)
    storage_size: Mapped[str] = mapped_column(Line(32))
    artifact_store_size: Mapped[str] = mapped_column(Line(32))
    shared_cache_dir: Mapped[str] = mapped_column(Line(1024))
    shared_cache_size: Mapped[str] = mapped_column(Line(32))
    # Number of entries in the journal.
    journal_length: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class JournalChunk(Base):
    """Entries of a workspace's journal that one call appended: numbers `start` to `stop` - 1."""

    __tablename__ = "journal_chunk"
    __table_args__: Any = (UniqueConstraint("workspace_id", "request_id"),)

    workspace_id: Mapped[int] = mapped_column(
        ForeignKey("workspace.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    stop: Mapped[int] = mapped_column(BigInteger)
    # Null where the server itself appended.
    request_id: Mapped[str | None] = mapped_column(Line(64))
    # One entry a line, as it was sent.
    entries: Mapped[str] = mapped_column(Prose)


class JournalSnapshot(Base):
    """What the first `stop` entries of a workspace's journal lead to."""

    __tablename__ = "journal_snapshot"

    workspace_id: Mapped[int] = mapped_column(
        ForeignKey("workspace.id", ondelete="CASCADE"), primary_key=True
    )
    stop: Mapped[int] = mapped_column(BigInteger)
    # Entries of a journal that leads to the same, one a line, compressed by zlib.
    entries: Mapped[bytes] = mapped_column(LargeBinary)


class Study(Base):
    """A study as its user defined it. Its trials are in the journal."""

    __tablename__ = "study"
    __table_args__: Any = (UniqueConstraint("workspace_id", "name"), IDS_ONCE)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Line(63))
    # Its id in the journal.
    optuna_study_id: Mapped[int] = mapped_column(Integer)
    # Comma-separated.
    directions: Mapped[str] = mapped_column(Prose)
    sampler_json: Mapped[str] = mapped_column(Prose)
    pruner_json: Mapped[str] = mapped_column(Prose)
    # Whether it was made in the Optuna storage itself: then the first who creates it says what its
    # sampler and its pruner are.
    adopted: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    # Workers that the study ever had, over all of its batches.
    worker_count: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class TrialBatch(Base):
    """A batch: the right to run `n_trials` trials. Its counts move with its leases."""

    __tablename__ = "trial_batch"
    __table_args__: Any = (UniqueConstraint("study_id", "request_id"), IDS_ONCE)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(Line(63), unique=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id", ondelete="CASCADE"))
    request_id: Mapped[str | None] = mapped_column(Line(64))
    # A message of the schema, as bytes.
    spec: Mapped[bytes] = mapped_column(LargeBinary)
    n_trials: Mapped[int] = mapped_column(Integer)
    parallelism: Mapped[int] = mapped_column(Integer)
    count_active: Mapped[int] = mapped_column(Integer, default=0)
    count_succeeded: Mapped[int] = mapped_column(Integer, default=0)
    count_pruned: Mapped[int] = mapped_column(Integer, default=0)
    count_failed: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str] = mapped_column(Prose, default="")
    last_error_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When no further trial begins, and how long one may take, in seconds.
    deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    trial_timeout: Mapped[float | None] = mapped_column(Float)
    # How often a trial that failed is run again.
    max_retries: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    # After how many trials in a row without a better value it ends, and how many there are now.
    patience: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    stagnant_trials: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    # Why it ended before its trials had; `n_trials` is then what had begun.
    stop_reason: Mapped[str] = mapped_column(Line(32), default="", server_default="")
    # What keeps it from having all of its workers, in a sentence.
    waits_for: Mapped[str] = mapped_column(Prose, default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    # When its first worker came up.
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Lines that its workers printed, so far.
    log_length: Mapped[int] = mapped_column(BigInteger, default=0)
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0)

    @property
    def count_completed(self) -> int:
        """Trials that have ended."""
        return self.count_succeeded + self.count_pruned + self.count_failed

    @property
    def is_over(self) -> bool:
        """Whether every trial has ended."""
        return self.finished_at is not None


class BatchObjective(Base):
    """What the workers of a batch run. It may be large, and SQLite reads rows as a whole."""

    __tablename__ = "batch_objective"

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("trial_batch.id", ondelete="CASCADE"), primary_key=True
    )
    # A message of the schema, as bytes.
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class Worker(Base):
    """A worker of a batch: a process or a Pod."""

    __tablename__ = "worker"
    __table_args__: Any = IDS_ONCE

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(Line(63), unique=True)
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("trial_batch.id", ondelete="CASCADE"), index=True
    )
    # How many workers the study had before.
    ordinal: Mapped[int] = mapped_column(Integer)
    # Its place among the workers of its batch, which it takes over from one that died; null where
    # that is not known.
    slot: Mapped[int | None] = mapped_column(Integer)
    # The key of `gpu_model` whose trials it runs, empty for those of no key; null where trials are
    # not shared out over models.
    gpu_share: Mapped[str | None] = mapped_column(Line(63))
    # Whether it has asked for a lease, and there was none for it.
    is_idle: Mapped[bool] = mapped_column(Boolean, default=False, server_default="0")
    # A `Phase` as text.
    phase: Mapped[str] = mapped_column(Line(16), default="Pending")
    reason: Mapped[str] = mapped_column(Line(64), default="")
    message: Mapped[str] = mapped_column(Prose, default="")
    host_name: Mapped[str] = mapped_column(Line(255), default="")
    process_id: Mapped[int | None] = mapped_column(BigInteger)
    python_version: Mapped[str] = mapped_column(Line(64), default="")
    exit_code: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Token(Base):
    """What a caller shows. Only its hash is kept."""

    __tablename__ = "token"
    __table_args__: Any = IDS_ONCE

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    hash: Mapped[str] = mapped_column(Line(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    # Set where it is a worker's: it may do what that worker needs, and nothing else.
    worker_id: Mapped[int | None] = mapped_column(
        ForeignKey("worker.id", ondelete="CASCADE"), index=True
    )
    # Set where it is an enrollment token: it makes Pods workers of that batch, and nothing else.
    batch_id: Mapped[int | None] = mapped_column(
        ForeignKey("trial_batch.id", ondelete="CASCADE"), index=True
    )
    # What it is for, and how it begins, so that its owner knows which one it is.
    name: Mapped[str] = mapped_column(Line(100), default="", server_default="")
    hint: Mapped[str] = mapped_column(Line(16), default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # For how long it was issued: one that takes its place is issued for as long. None is for ever.
    lifetime_seconds: Mapped[int | None] = mapped_column(BigInteger)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Lease(Base):
    """The right to run one trial, in a worker's hands or spent."""

    __tablename__ = "lease"
    __table_args__: Any = IDS_ONCE

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("trial_batch.id", ondelete="CASCADE"), index=True
    )
    worker_id: Mapped[int] = mapped_column(ForeignKey("worker.id", ondelete="CASCADE"), index=True)
    fence: Mapped[int] = mapped_column(BigInteger, default=1)
    # LEASED, then COMPLETE, PRUNED or FAIL; or RETRIED where it failed and does not count, since
    # another lease runs the same parameters again.
    state: Mapped[str] = mapped_column(Line(16), default="LEASED", index=True)
    # The trial's id in the journal, and its number in the study; null until there is one.
    trial_id: Mapped[int | None] = mapped_column(BigInteger)
    trial_number: Mapped[int | None] = mapped_column(Integer)
    # How often the trial's parameters were run, this time included.
    attempt: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    # Why it failed: one word, and the whole text.
    reason: Mapped[str] = mapped_column(Line(32), default="", server_default="")
    error: Mapped[str] = mapped_column(Prose, default="")
    acquired_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    # When a server last wrote that it had heard of its worker, where several are on one database.
    heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Retry(Base):
    """A trial that waits to run the parameters of one that failed."""

    __tablename__ = "retry"

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("trial_batch.id", ondelete="CASCADE"), primary_key=True
    )
    # The waiting trial's id in the journal.
    trial_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    attempt: Mapped[int] = mapped_column(Integer)


class LogChunk(Base):
    """Lines that a worker printed, as they came in one call: numbers from `start` on."""

    __tablename__ = "log_chunk"
    __table_args__: Any = (UniqueConstraint("batch_id", "request_id"),)

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("trial_batch.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    request_id: Mapped[str | None] = mapped_column(Line(64))
    # A StreamLogsResponse, as bytes.
    lines: Mapped[bytes] = mapped_column(LargeBinary)


class ArtifactUpload(Base):
    """An artifact that a worker sends: until that has ended, its trial may come to tell of it."""

    __tablename__ = "artifact_upload"

    workspace_id: Mapped[int] = mapped_column(
        ForeignKey("workspace.id", ondelete="CASCADE"), primary_key=True
    )
    artifact_id: Mapped[str] = mapped_column(Line(36), primary_key=True)
    # Null where its batch was deleted.
    worker_id: Mapped[int | None] = mapped_column(
        ForeignKey("worker.id", ondelete="SET NULL"), index=True
    )
