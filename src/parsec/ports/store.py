"""The store of events: what the processor and the queries may ask of it.

Adapter: parsec.adapters.store.clickhouse, embedded (chDB) or, with part 4, a server.
Next: parsec.query.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from parsec.ports.broker import Range


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One row of table `events`, in column order. Made by parsec.process.rows; no field of it can fail an insert."""

    tenant_id: str
    timestamp: str
    severity: str
    source: str
    message: str
    metadata: str
    id: str
    received_at: str
    region: str
    node: str
    log_id: str
    partition: int
    offset: int
    expires_on: str


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """A record that cannot become a row: kept with its reason and its bytes under its position."""

    log_id: str
    partition: int
    offset: int
    tenant_id: str
    reason: str
    detail: str
    raw: bytes


class Limits(msgspec.Struct, frozen=True):
    """What one query may cost; fixed by us, never by a client."""

    max_rows: int
    max_bytes_read: int
    max_memory_bytes: int
    timeout_s: float


class StoreWriter(Protocol):
    """Called from one thread, the processor's."""

    def insert(self, rows: Sequence[Row], token: str) -> None:
        """All rows or none, as one block named `token`; a second call with the same token and rows adds nothing.

        Returns when the block survives kill -9. Raises Retryable (down, slow, out of memory or disk; the block may
        have landed), Poison (the block can never be stored), Fatal.
        """

    def insert_dead(self, letters: Sequence[DeadLetter]) -> None:
        """Keeps dead letters by position: the same position again replaces, never doubles. Raises as insert."""

    def landed(self, taken: Range) -> set[int]:
        """Offsets of this range that the store holds as rows or dead letters. Raises Retryable, Fatal."""

    def landed_dead(self, taken: Range) -> set[int]:
        """Those of `landed` that are dead letters, so that recovery counts them as such. Raises as landed."""

    def close(self) -> None:
        """Safe to call twice."""


class StoreReader(Protocol):
    """Called from any thread; each thread gets a connection of its own."""

    def select(self, sql: str, parameters: Mapping[str, Any], limits: Limits) -> Iterator[list[dict[str, Any]]]:
        """Blocks of rows as they arrive. Values are bound, never spliced in. Read-only.

        Raises Rejected(code=query_too_expensive) when a limit is hit, Retryable when the store does not answer.
        """

    def ping(self) -> None:
        """Raises Retryable when the store does not answer within a second."""
