"""Events and dead letters in ClickHouse, embedded or a server: one SQL, one driver.

In: rows, dead letters. Out: what landed. Errors: Retryable, Poison, Fatal as the port says. Next:
parsec.adapters.store.reader, which answers questions.

1. A call of `insert` makes one block, in however many pieces it is sent. With rows of one day of receipt it becomes
   one part, whole or not at all; rows of n days become n parts, which appear one after the other, so that a crash in
   between may leave some of the days. Recovery by position sees that; the token cannot.
2. Every setting by which the engine could split, reorder or defer a block is written with the insert.
3. A client is used by one thread at a time; this is the processor's.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from parsec.adapters.store import duplicate_lookup, errors, native
from parsec.adapters.store.day_partitions import ClickHouseDayPartitions
from parsec.adapters.store.migrations import migrate, migrations
from parsec.adapters.store.reader import ClickHouseReader
from parsec.core.errors import Fatal, ParsecError
from parsec.ports.broker import Range
from parsec.ports.dedup import Batch, Position
from parsec.ports.store import DeadLetter, ExpiryBound, LedgerCheckpoint, Row, RowIdentity

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MINIMUM_VERSION = (26, 5)
"""The oldest engine that the contract suite has run on."""

_EVENT_TYPES = {
    "tenant_id": "LowCardinality(String)",
    "timestamp": "DateTime64(9, 'UTC')",
    "severity": "LowCardinality(String)",
    "source": "LowCardinality(String)",
    "message": "String",
    "metadata": "String",
    "id": "String",
    "received_at": "DateTime64(9, 'UTC')",
    "region": "LowCardinality(String)",
    "node": "LowCardinality(String)",
    "log_id": "LowCardinality(String)",
    "partition": "UInt32",
    "offset": "UInt64",
    "expires_on": "Date",
    "search_text": "String",
}
_LETTER_TYPES = {
    "log_id": "LowCardinality(String)",
    "partition": "UInt32",
    "offset": "UInt64",
    "tenant_id": "LowCardinality(String)",
    "reason": "LowCardinality(String)",
    "stage": "LowCardinality(String)",
    "detail": "String",
    "raw": "String",
    "expires_on": "Date",
}
_MARK_TYPES = {
    "log_id": "LowCardinality(String)",
    "partition": "UInt32",
    "start": "UInt64",
    "committed": "UInt64",
    "stored": "UInt64",
    "duplicate": "UInt64",
    "dead": "UInt64",
    "lost": "UInt64",
    "expires_from": "UInt32",
    "received_from": "UInt32",
}
_MARKS = "FROM ledger_marks FINAL WHERE log_id = {log_id:String} AND partition = {partition:UInt32}"
_PROMISED = (
    f"SELECT minOrNull(expires_from), min(received_from) {_MARKS} "
    f"AND committed >= (SELECT max(committed) {_MARKS} AND committed <= {{first:UInt64}})"
)
_PINNED = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "input_format_parallel_parsing": 0,
    "max_insert_threads": 1,
    "max_threads": 1,
    "max_insert_block_size": 1 << 30,
    "min_insert_block_size_rows": 1 << 30,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 0,
    "optimize_on_insert": 0,
    "type_json_skip_duplicated_paths": 1,
    # Fresh parts are small and read whole; the indexes come with their first merge.
    "exclude_materialize_skip_indexes_on_insert": "'message_words'",
}
_NAME = "SELECT uuid FROM system.tables WHERE database = currentDatabase() AND name = 'events'"
_EPOCH = date(1970, 1, 1)
_ENCODED_ROWS = 500


class Engine(Protocol):
    """Where the clients come from, and how a block gets through one."""

    def connect(self, settings: Mapping[str, str | int]) -> "Client": ...

    def write(self, client: "Client", into: str, settings: str, blocks: Iterable[bytes]) -> None:
        """Returns when they, as one block, survive a power cut."""

    def settle(self, client: "Client") -> None:
        """Returns when all that has landed does, and the tables. Raises Fatal, Retryable."""


class ClickHouseStore:
    """StoreWriter. `letters_s` is how long dead letters are kept; `breathe` gives other threads their turn.

    `name` is the same for all that share this store, and for no other.
    """

    def __init__(
        self,
        engine: Engine,
        letters_s: float,
        today: Callable[[], date] | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._breathe = breathe
        self._letters_days = int(-(-letters_s // 86_400))
        self._today = today or (lambda: datetime.now(UTC).date())
        self._readers: list[ClickHouseReader] = []
        self._closed = False
        self._client = engine.connect({})
        try:
            version = str(self._client.command("SELECT version()"))
            if tuple(map(int, version.split(".")[:2])) < MINIMUM_VERSION:
                raise Fatal(
                    f"the store is ClickHouse {version}; at least {'.'.join(map(str, MINIMUM_VERSION))} is needed"
                )
            migrate(self._client, migrations())
            engine.settle(self._client)
            self.name = str(self._client.command(_NAME))
        except ClickHouseError as error:
            self._client.close()
            raise errors.of_query(error) from error
        except ParsecError:
            self._client.close()
            raise

    def reader(self) -> "ClickHouseReader":
        """Questions to the same store; closed with it."""
        reader = ClickHouseReader(self._engine.connect)
        self._readers.append(reader)
        return reader

    def day_partitions(self) -> ClickHouseDayPartitions:
        """The same store by day, for one other thread."""
        return ClickHouseDayPartitions(lambda: self._engine.connect({}), self._write)

    def insert(self, rows: Sequence[Row], token: str) -> None:
        if rows:
            self._write(self._client, "events", _EVENT_TYPES, self._blocks(rows), token)

    def insert_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            expires_on = min((self._today() - _EPOCH).days + self._letters_days, (1 << 16) - 1)
            values: dict[str, list[Any]] = {n: list(map(attrgetter(n), letters)) for n in DeadLetter.__struct_fields__}
            values["expires_on"] = [expires_on] * len(letters)
            block = native.block([(name, kind, values[name]) for name, kind in _LETTER_TYPES.items()])
            self._write(self._client, "dead_letters", _LETTER_TYPES, [block])

    def save_checkpoint(self, checkpoint: LedgerCheckpoint) -> None:
        block = native.block([(name, kind, [getattr(checkpoint, name)]) for name, kind in _MARK_TYPES.items()])
        self._write(self._client, "ledger_marks", _MARK_TYPES, [block])

    def expiry_bound(self, log_id: str, partition: int, from_offset: int) -> ExpiryBound | None:
        place = {"log_id": log_id, "partition": partition, "first": from_offset}
        ((leaves,), (received,)) = self._columns(_PROMISED, place)
        return None if leaves is None else ExpiryBound(int(leaves), int(received))

    def stored_offsets(self, within: Range) -> set[int]:
        self._engine.settle(self._client)  # what is found now may be left from an insert that was cut off
        return self._offsets("events", within) | self.dead_letter_offsets(within)

    def dead_letter_offsets(self, within: Range) -> set[int]:
        return self._offsets("dead_letters", within)

    def highest_offset(self, log_id: str, partition: int, from_offset: int) -> int | None:
        found = [self._highest(table, log_id, partition, from_offset) for table in ("events", "dead_letters")]
        return max((offset for offset in found if offset is not None), default=None)

    def rows_at(
        self, positions: Collection[Position], tenants: Collection[str]
    ) -> Mapping[Position, RowIdentity | None]:
        self._engine.settle(self._client)  # a duplicate is dropped for what is found now
        return duplicate_lookup.rows_at(self._columns, positions, tenants)

    def positions_of(self, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
        return duplicate_lookup.positions_of(self._columns, tenants, ids)

    def recent_ids(self, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
        return duplicate_lookup.recent_ids(self._columns, partition, seconds, ids)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for reader in self._readers:
                reader.close()
            self._client.close()

    def _blocks(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """In bites of about a millisecond; the engine makes one block of them (_PINNED)."""
        for first in range(0, len(rows), _ENCODED_ROWS):
            bite = rows[first : first + _ENCODED_ROWS]
            yield native.block([(name, kind, list(map(attrgetter(name), bite))) for name, kind in _EVENT_TYPES.items()])
            self._breathe()

    def _write(
        self, client: "Client", table: str, columns: Iterable[str], blocks: Iterable[bytes], token: str | None = None
    ) -> None:
        self._check_open()
        names = ", ".join(f"`{name}`" for name in columns)
        settings = ", ".join(f"{name} = {value}" for name, value in _PINNED.items())
        if token is not None:
            quoted = token.replace("\\", "\\\\").replace("'", "\\'")
            settings += f", insert_deduplication_token = '{quoted}'"
        try:
            self._engine.write(client, f"{table} ({names})", settings, blocks)
        except (ClickHouseError, OSError) as error:
            raise errors.of_insert(error) from error

    def _offsets(self, table: str, within: Range) -> set[int]:
        sql = (
            f"SELECT offset FROM {table} WHERE log_id = {{log_id:String}} AND partition = {{partition:UInt32}} "  # noqa: S608
            "AND offset BETWEEN {first:UInt64} AND {last:UInt64}"
        )
        place = {"log_id": within.log_id, "partition": within.partition, "first": within.first, "last": within.last}
        return set().union(*self._columns(sql, place))

    def _highest(self, table: str, log_id: str, partition: int, from_offset: int) -> int | None:
        sql = (
            f"SELECT maxOrNull(offset) FROM {table} WHERE log_id = {{log_id:String}} "  # noqa: S608 (our own names)
            "AND partition = {partition:UInt32} AND offset >= {first:UInt64}"
        )
        place = {"log_id": log_id, "partition": partition, "first": from_offset}
        ((found,),) = self._columns(sql, place)
        return None if found is None else int(found)

    def _columns(self, sql: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The columns of an answer, on the writer's own client; none when it has no rows."""
        self._check_open()
        try:
            columns = self._client.query(sql, parameters=dict(values), column_oriented=True).result_columns
        except (ClickHouseError, OSError) as error:
            raise errors.of_query(error) from error
        return columns or ()

    def _check_open(self) -> None:
        if self._closed:
            raise Fatal("the store is closed")
