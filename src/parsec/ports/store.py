"""The store of events: contracts for the processor, which writes, and for queries, which read.

Adapter: parsec.adapters.store.clickhouse, on two engines: chDB in this process or a ClickHouse server.
Next: parsec.query.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec

from parsec.core.errors import Retryable
from parsec.ports.broker import Range
from parsec.ports.dedup import Batch, Position

T = TypeVar("T")
_EPOCH = date(1970, 1, 1)


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of table `events`, in column order. Made by parsec.process.rows so that no field can fail an insert.

    `timestamp` and `received_at`: nanoseconds since 1970, below 2**63; `expires_on`: days since 1970, below 2**16.
    `metadata`: a JSON object as text, without duplicate keys. `search_text`: empty, or the same object in which numbers
    that the engine cannot hold are strings.
    """

    tenant_id: str
    timestamp: int
    severity: str
    source: str
    message: str
    metadata: str
    id: str
    received_at: int
    region: str
    node: str
    log_id: str
    partition: int
    offset: int
    expires_on: int
    search_text: str = ""


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record that cannot become a row, with the reason and its bytes, stored by position.

    `tenant_id` is empty when it is unknown. `stage`: where the record failed, `rows` or `store`.
    """

    log_id: str
    partition: int
    offset: int
    tenant_id: str
    reason: str
    detail: str
    raw: bytes
    stage: str = "rows"


class LedgerCheckpoint(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The counts of a partition's ledger at the offset `committed`; `start` as in parsec.ports.broker.Progress.

    `expires_from`: the first day, since 1970, on which a row stored from here to the next checkpoint may expire.
    `received_from`: the first day on which such a row may have been received.
    """

    log_id: str
    partition: int
    start: int
    committed: int
    stored: int
    duplicate: int
    dead: int
    lost: int
    expires_from: int
    received_from: int = 0


class ExpiryBound(msgspec.Struct, frozen=True, gc=False):
    """The earliest days of several checkpoints."""

    expires_from: int
    received_from: int


class DaySize(msgspec.Struct, frozen=True, gc=False):
    """How much the store has of one day of receipt. `day`: since 1970, in UTC; `bytes`: compressed, on disk.

    Dead letters count on the day on which they were stored.
    """

    day: int
    events: int
    dead_letters: int
    bytes: int

    @property
    def name(self) -> str:
        """As 2026-11-25."""
        return str(_EPOCH + timedelta(self.day))


class Cancellation:
    """Whether a query was cancelled, and how to stop its statement. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._stop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Stops the statement that runs now, which may take a moment, and lets no other begin."""
        with self._lock:
            self._cancelled = True
            stop = self._stop
        if stop is not None:
            stop()

    @contextmanager
    def stopped_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """`cancel` calls `stop`, which ends the work of this block. Raises Retryable once cancelled."""
        with self._lock:
            if self._cancelled:
                raise Retryable("The query was cancelled.")
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None


class QueryLimits(msgspec.Struct, frozen=True):
    """What one query may cost; fixed by us, never by a client. 0 rows, bytes or threads: no bound."""

    max_memory_bytes: int
    timeout_s: float
    max_result_rows: int = 100_000
    max_result_bytes: int = 256 << 20
    max_rows_read: int = 0
    max_bytes_read: int = 0
    max_threads: int = 0
    cancellation: Cancellation | None = None


class RowIdentity(msgspec.Struct, frozen=True, gc=False):
    """The event of a stored row. `digest`: content_digest of the row, in hexadecimal."""

    tenant_id: str
    id: str
    digest: str


class StoreWriter(Protocol):
    """Used by one thread, the processor's. Every method may block for seconds and may raise Retryable or Fatal; the
    caller retries. After `close` every method raises Fatal."""

    def insert(self, rows: Sequence[Row], token: str) -> None:
        """Inserts all rows or none, as one block named `token`; the same token and rows again add nothing.

        Returns when the block survives `kill -9`. After Retryable (down, slow, out of memory or disk) the block may
        have landed. Raises Poison when the block can never be stored.
        """

    def insert_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Stores dead letters by position: the same position again replaces. Raises Poison as `insert` does."""

    def save_checkpoint(self, *checkpoints: LedgerCheckpoint) -> None:
        """Stores the counts of a partition's ledger, for parsec.query.audit, all or none; the same position again
        replaces. Those of a ledger that are older than its first one no longer count."""

    def expiry_bound(self, log_id: str, partition: int, from_offset: int) -> ExpiryBound | None:
        """The earliest days of all checkpoints that cover offsets from `from_offset` on; None: there are none."""

    def stored_offsets(self, within: Range) -> set[int]:
        """Offsets in this range that the store has, as rows or as dead letters."""

    def dead_letter_offsets(self, within: Range) -> set[int]:
        """Offsets in this range that the store has as dead letters."""

    def highest_offset(self, log_id: str, partition: int, from_offset: int) -> int | None:
        """The highest offset from `from_offset` on that the store has; None: it has none."""

    def rows_at(
        self, positions: Collection[Position], tenants: Collection[str]
    ) -> Mapping[Position, RowIdentity | None]:
        """The row at each position, if it belongs to one of these tenants; None for a dead letter.

        Positions at which the store has nothing are not in the answer.
        """

    def positions_of(self, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
        """The position of one row for each (tenant, id) among these that has any."""

    def received_at(
        self, tenants: Collection[str], ids: Collection[str], from_ns: int, until_ns: int
    ) -> Mapping[tuple[str, str], Sequence[int]]:
        """When the rows of each (tenant, id) among these were received, of those received within these bounds."""

    def last_dropped_day(self) -> int:
        """The last day of receipt, since 1970, that was dropped for its size, as all before it; -1: none was."""

    def recent_ids(self, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
        """Ids of the newest rows of this partition, of any log, oldest first, in batches of bounded size.

        Rows received within `seconds` of the newest one, and about `ids` of them at most.
        """

    def close(self) -> None:
        """Closes the store; safe to call twice."""


class DayPartitions(Protocol):
    """Used by one thread, which need not be the processor's."""

    def sizes(self) -> list[DaySize]:
        """The size of every day that the store has anything of, oldest first. Raises Retryable, Fatal."""

    def drop(self, day: DaySize) -> None:
        """Records that this day goes, with its figures, for parsec.query.audit; then drops it.

        Raises Retryable, Fatal: all of the day may be gone by then, a part of it, or nothing.
        """

    def close(self) -> None:
        """Called after the last call, on the same thread."""


def content_digest(row: Row) -> str:
    """SHA-256, in hexadecimal, of what the sender said: two events with the same id and digest are repeats.

    A timestamp equal to the time of receipt was filled in by ingest and is left out.
    """
    happened = -1 if row.timestamp == row.received_at else row.timestamp
    source, message = row.source.encode(), row.message.encode()
    head = f"{happened} {row.severity} {len(source)} ".encode()
    return sha256(b"".join((head, source, f"{len(message)} ".encode(), message, row.metadata.encode()))).hexdigest()


class StoreReader(Protocol):
    """Called from any thread; each thread gets a connection of its own."""

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, into: type[T]) -> list[T]:
        """The rows of a statement, each decoded into `into`: a tuple or an array_like struct of its columns in order.

        Values are bound as `{name:Type}`, never spliced in. Read-only. Raises Rejected(code=query_too_expensive) when
        a limit is hit, Retryable when the store does not answer or the query was cancelled, Fatal when it is wrong
        or after `close`.
        """
