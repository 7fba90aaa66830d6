"""The store of events: what the processor and the queries may ask of it.

Adapter: parsec.adapters.store.clickhouse, on two engines: embedded (chDB) or a server.
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

AHEAD_S = 86_400 + 600
"""How far `timestamp` of a stored row lies ahead of `received_at` at most: ingest's 24 hours and ten minutes of slack
for clocks. A question about timestamps from T on may leave out all that was received before T - AHEAD_S."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of table `events`, in column order. Made by parsec.process.rows; no field of it can fail an insert.

    `timestamp` and `received_at` are nanoseconds since 1970 below 2**63, `expires_on` days since 1970 below 2**16.
    `metadata` is the text of a JSON object in which no key stands twice; `search_text` is empty, or the same with those
    numbers as strings that the engine cannot hold.
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
    """A record that cannot become a row: kept with its reason and its bytes under its position.

    `tenant_id` is empty when it cannot be told. `stage` is who gave up: `rows` or `store`.
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
    """The counts of a partition's ledger when it stood at `committed`; `start` as in parsec.ports.broker.Progress.

    `expires_from`: nothing that is stored from here to the next mark leaves the store by age before this day (since
    1970), and `received_from`: nothing of it came in before this one.
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
    """What several marks promise together: the earliest of their days."""

    expires_from: int
    received_from: int


class Day(msgspec.Struct, frozen=True, gc=False):
    """What the store has of one day of receipt, in UTC (since 1970). Dead letters are of the day they were made on.

    `bytes`: on disk, compressed.
    """

    day: int
    events: int
    dead_letters: int
    bytes: int

    @property
    def name(self) -> str:
        """2026-11-25."""
        return str(_EPOCH + timedelta(self.day))


class Cancellation:
    """Whether a question is still wanted, told to whoever works on it. From any thread."""

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
        """`stop` ends what is done in this block. Raises Retryable when it is not wanted any more."""
        with self._lock:
            if self._cancelled:
                raise Retryable("The question was given up.")
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None


class QueryLimits(msgspec.Struct, frozen=True):
    """What one query may cost; fixed by us, never by a client. 0 rows or bytes: no bound."""

    max_memory_bytes: int
    timeout_s: float
    max_result_rows: int = 100_000
    max_result_bytes: int = 256 << 20
    max_rows_read: int = 0
    max_bytes_read: int = 0
    cancellation: Cancellation | None = None


class StoredDuplicate(msgspec.Struct, frozen=True, gc=False):
    """Whose event a stored row is. `digest`: content_digest of the row, in hexadecimal."""

    tenant_id: str
    id: str
    digest: str


class StoreWriter(Protocol):
    """Called from one thread, the processor's."""

    def insert(self, rows: Sequence[Row], token: str) -> None:
        """All rows or none, as one block named `token`; a second call with the same token and rows adds nothing.

        Returns when the block survives kill -9. Raises Retryable (down, slow, out of memory or disk; the block may
        have landed), Poison (the block can never be stored), Fatal.
        """

    def insert_dead(self, letters: Sequence[DeadLetter]) -> None:
        """Keeps dead letters by position: the same position again replaces, never doubles. Raises as insert."""

    def mark(self, mark: LedgerCheckpoint) -> None:
        """Keeps where the ledger stands, for parsec.query.audit; the same position again replaces. Raises as insert."""

    def promised(self, log_id: str, partition: int, from_offset: int) -> ExpiryBound | None:
        """Of all marks about offsets from from_offset on; None when there are none. Raises as landed."""

    def landed(self, taken: Range) -> set[int]:
        """Offsets of this range that the store holds as rows or dead letters. Raises Retryable, Fatal."""

    def highest(self, log_id: str, partition: int, from_offset: int) -> int | None:
        """The highest offset from from_offset on that the store holds; None when it holds none. Raises as landed."""

    def landed_dead(self, taken: Range) -> set[int]:
        """Those of `landed` that are dead letters, so that recovery counts them as such. Raises as landed."""

    def standing(
        self, positions: Collection[Position], tenants: Collection[str]
    ) -> Mapping[Position, StoredDuplicate | None]:
        """What stands at these positions: the row, if it is one of these tenants', or None for a dead letter.

        A position at which nothing has landed is not in the answer. Raises as landed.
        """

    def find(self, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
        """For each (tenant, id) among these that a row has, the position of one such row. Raises as landed."""

    def recent(self, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
        """The newest rows of this partition, of any log, oldest first in batches of bounded size.

        Those received within `seconds` of the newest, and about `ids` of them at most. Raises as landed.
        """

    def close(self) -> None:
        """Safe to call twice."""


class StoreDays(Protocol):
    """Called from one thread, which need not be the processor's."""

    def sizes(self) -> list[Day]:
        """Every day that the store has anything of, oldest first. Raises Retryable, Fatal."""

    def drop(self, day: Day) -> None:
        """Ends this day, once it is noted, with these figures, for parsec.query.audit. Raises as sizes: then all of it
        may be gone, or some, or nothing."""

    def close(self) -> None:
        """After the last call, on the thread of the others."""


def content_digest(row: Row) -> str:
    """Tells whether two events with one id say the same, whenever and wherever they arrived; SHA-256, in hexadecimal.

    A timestamp that equals the receipt was filled in by us and is no part of what the sender said.
    """
    happened = -1 if row.timestamp == row.received_at else row.timestamp
    source, message = row.source.encode(), row.message.encode()
    head = f"{happened} {row.severity} {len(source)} ".encode()
    return sha256(b"".join((head, source, f"{len(message)} ".encode(), message, row.metadata.encode()))).hexdigest()


class StoreReader(Protocol):
    """Called from any thread; each thread gets a connection of its own."""

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, into: type[T]) -> list[T]:
        """The rows of a question, each decoded into `into`: a tuple or an array_like struct of its columns in order.

        Values are bound as `{name:Type}`, never spliced in. Read-only. Raises Rejected(code=query_too_expensive) when
        a limit is hit, Retryable when the store does not answer or the question was given up, Fatal when it is wrong
        or after `close`.
        """

    def ping(self) -> None:
        """Raises Retryable when the store does not answer within a second."""
