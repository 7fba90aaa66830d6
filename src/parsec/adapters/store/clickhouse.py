"""Events and dead letters in ClickHouse, embedded or on a server: the same SQL and the same driver for both.

In: rows, dead letters, checkpoints. Out: which of them the store has. Errors: Retryable, Poison, Fatal as in the port.
Next: parsec.adapters.store.reader, which answers queries.

1. `insert` makes one block, in however many pieces it is sent. Rows of one day of receipt become one part, whole or not
   at all; rows of n days become n parts, one after the other, so that a crash in between may leave some of the days.
   Recovery by position finds that; the token cannot.
2. Every setting by which the engine could split, reorder or defer a block is sent with the insert.
3. A client is used by one thread at a time; the one here is the processor's.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import ceil
from time import time
from typing import TYPE_CHECKING, Any, Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError
from msgspec.structs import astuple

from parsec.adapters.store import duplicate_lookup, errors
from parsec.adapters.store.backfill import Backfill, Surroundings, former_tables, is_empty
from parsec.adapters.store.day_partitions import ClickHouseDayPartitions
from parsec.adapters.store.migrations import migrate, migrations
from parsec.adapters.store.native import Table
from parsec.adapters.store.reader import ClickHouseReader
from parsec.core.errors import Fatal, ParsecError, Retryable
from parsec.core.timestamp import LATEST
from parsec.ports.broker import Range
from parsec.ports.dedup import Batch, Position
from parsec.ports.store import DeadLetter, ExpiryBound, LedgerCheckpoint, Row, RowIdentity

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MINIMUM_VERSION = (26, 5)
"""The oldest engine that the contract suite has run on."""
DAY_S = 86_400

EVENTS_TABLE = Table("events", Row.__struct_fields__)
_DEAD_LETTERS = Table("dead_letters", (*DeadLetter.__struct_fields__, "expires_on"))
_CHECKPOINTS = Table("ledger_marks", LedgerCheckpoint.__struct_fields__)
INSERT_SETTINGS = {
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
    # A text of the metadata is never taken for a date. Both are needed, and neither works as a setting of the table.
    "input_format_try_infer_dates": 0,
    "input_format_try_infer_datetimes": 0,
    # A list with booleans keeps them beside numbers and texts.
    "input_format_json_read_bools_as_numbers": 0,
    "input_format_json_read_bools_as_strings": 0,
    # Fresh parts are small and read whole; the indexes come with their first merge.
    "exclude_materialize_skip_indexes_on_insert": "'message_words'",
}
_SETTINGS = ", ".join(f"{name} = {value}" for name, value in INSERT_SETTINGS.items())
_IN_PARTITION = "log_id = {log_id:String} AND partition = {partition:UInt32}"
_COVERING = f"FROM ledger_marks FINAL WHERE {_IN_PARTITION}"
_EXPIRY_BOUND = (
    f"SELECT minOrNull(expires_from), min(received_from) {_COVERING} "
    f"AND committed >= (SELECT max(committed) {_COVERING} AND committed <= {{first:UInt64}})"
)
_LAST_DROPPED_DAY = "SELECT maxOrNull(day) FROM dropped_days"
_STORE_ID = "SELECT uuid FROM system.tables WHERE database = currentDatabase() AND name = 'events'"
_CHUNK_ROWS = 500
_FEWEST_TO_YIELD = 50
"""Fewer rows take less time than a turn of the event loop."""
_LAST_DAY = (1 << 16) - 1


class Engine(Protocol):
    """Where clients come from, and how a block gets through one."""

    def connect(self, settings: Mapping[str, str | int]) -> "Client": ...

    def write(self, client: "Client", table: Table, settings: str, blocks: Iterable[bytes]) -> None:
        """Inserts blocks in Native format as one block. Returns when it survives a power cut."""

    def make_durable(self, client: "Client") -> None:
        """Returns when all that a query can see now survives a power cut, tables included. Raises Fatal, Retryable."""

    def detach_damaged(self, error: BaseException) -> bool:
        """Detaches the part that this error shows to be damaged. True: the same query may succeed now."""

    def damage_changes(self) -> int:
        """Grows whenever the parts that are detached change."""


class ClickHouseStore:
    """StoreWriter. `dead_letters_s`: how long dead letters are kept; `yield_gil` gives other threads their turn.

    `name`: the same for all processes that share this store, and for no other store.
    """

    def __init__(self, engine: Engine, dead_letters_s: float, yield_gil: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._yield_gil = yield_gil
        self._dead_letter_days = ceil(dead_letters_s / DAY_S)
        self._readers: list[ClickHouseReader] = []
        self._closed = False
        self._client = engine.connect({})
        try:
            version = str(self._client.command("SELECT version()"))
            if tuple(map(int, version.split(".")[:2])) < MINIMUM_VERSION:
                needed = ".".join(map(str, MINIMUM_VERSION))
                raise Fatal(f"the store is ClickHouse {version}; upgrade it to {needed} or newer")
            migrate(self._client, migrations())
            self._former = former_tables(self._client, EVENTS_TABLE.name)
            for table in [each for each in self._former if is_empty(self._client, each)]:
                self._client.command(f"DROP TABLE IF EXISTS {table}")
                self._former.remove(table)
            engine.make_durable(self._client)
            self.name = str(self._client.command(_STORE_ID))
        except ClickHouseError as error:
            self._client.close()
            raise errors.of_query(error) from error
        except ParsecError:
            self._client.close()
            raise

    def reader(self) -> ClickHouseReader:
        """Queries to the same store; closed with it."""
        reader = ClickHouseReader(self._engine.connect, self._engine.detach_damaged)
        self._readers.append(reader)
        return reader

    def day_partitions(self) -> ClickHouseDayPartitions:
        """The same store by day, for one other thread."""
        return ClickHouseDayPartitions(lambda: self._engine.connect({}), self._write, self._engine.detach_damaged)

    def damage_changes(self) -> int:
        """Grows whenever damaged parts were detached, or stored again. From any thread."""
        return self._engine.damage_changes()

    def backfill(self, surroundings: Surroundings) -> Backfill | None:
        """Copies the events of an earlier version, for one other thread; None: there are none."""
        if not self._former:
            return None
        with_repair = surroundings._replace(detach_damaged=self._engine.detach_damaged)
        return Backfill(lambda: self._engine.connect({}), self._write, EVENTS_TABLE, self._former, with_repair)

    def insert(self, rows: Sequence[Row], token: str) -> None:
        if rows:
            self._write(self._client, EVENTS_TABLE, self._blocks(rows), token)

    def insert_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            expires_on = min(int(time()) // DAY_S + self._dead_letter_days, _LAST_DAY)
            block = _DEAD_LETTERS.block([(*astuple(letter), expires_on) for letter in letters])
            self._write(self._client, _DEAD_LETTERS, [block])

    def save_checkpoint(self, *checkpoints: LedgerCheckpoint) -> None:
        self._write(self._client, _CHECKPOINTS, [_CHECKPOINTS.block(list(map(astuple, checkpoints)))])

    def expiry_bound(self, log_id: str, partition: int, from_offset: int) -> ExpiryBound | None:
        place = {"log_id": log_id, "partition": partition, "first": from_offset}
        ((expires,), (received,)) = self._columns(_EXPIRY_BOUND, place)
        return None if expires is None else ExpiryBound(int(expires), int(received))

    def stored_offsets(self, within: Range) -> set[int]:
        self._engine.make_durable(self._client)  # rows may be left from an insert that was cut off
        return self._offsets("events", within) | self.dead_letter_offsets(within)

    def dead_letter_offsets(self, within: Range) -> set[int]:
        return self._offsets("dead_letters", within)

    def highest_offset(self, log_id: str, partition: int, from_offset: int) -> int | None:
        place = {"log_id": log_id, "partition": partition, "first": from_offset}
        highest = (
            f"SELECT maxOrNull(offset) FROM {table} WHERE {_IN_PARTITION} AND offset >= {{first:UInt64}}"  # noqa: S608 (our own names)
            for table in ("events", "dead_letters")
        )
        found = [offset for sql in highest for (offset,) in zip(*self._of_events(sql, place), strict=True)]
        return max((int(offset) for offset in found if offset is not None), default=None)

    def rows_at(
        self, positions: Collection[Position], tenants: Collection[str]
    ) -> Mapping[Position, RowIdentity | None]:
        self._engine.make_durable(self._client)  # a duplicate is dropped because of these rows
        return duplicate_lookup.rows_at(self._of_events, positions, tenants)

    def positions_of(self, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
        return duplicate_lookup.positions_of(self._of_events, tenants, ids)

    def received_at(
        self, tenants: Collection[str], ids: Collection[str], from_ns: int, until_ns: int
    ) -> Mapping[tuple[str, str], Sequence[int]]:
        return duplicate_lookup.received_at(self._of_events, tenants, ids, max(from_ns, 0), min(until_ns, LATEST))

    def last_dropped_day(self) -> int:
        ((day,),) = self._columns(_LAST_DROPPED_DAY, {})
        return -1 if day is None else int(day)

    def recent_ids(self, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
        return duplicate_lookup.recent_ids(self._of_events, partition, seconds, ids)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            for reader in self._readers:
                reader.close()
            self._client.close()

    def _blocks(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """Chunks that take about half a millisecond each; the engine makes one block of them (INSERT_SETTINGS)."""
        for first in range(0, len(rows), _CHUNK_ROWS):
            yield EVENTS_TABLE.block(list(map(astuple, rows[first : first + _CHUNK_ROWS])))
            if len(rows) >= _FEWEST_TO_YIELD:
                self._yield_gil()

    def _write(self, client: "Client", table: Table, blocks: Iterable[bytes], token: str | None = None) -> None:
        self._check_open()
        settings = _SETTINGS
        if token is not None:
            quoted = token.replace("\\", "\\\\").replace("'", "\\'")
            settings += f", insert_deduplication_token = '{quoted}'"
        try:
            self._engine.write(client, table, settings, blocks)
        except (ClickHouseError, OSError) as error:
            if self._engine.detach_damaged(error):
                raise Retryable(f"the store detached a damaged part: {error}", after_s=0.0) from error
            raise errors.of_insert(error) from error

    def _offsets(self, table: str, within: Range) -> set[int]:
        between = f"{_IN_PARTITION} AND offset BETWEEN {{first:UInt64}} AND {{last:UInt64}}"
        sql = f"SELECT offset FROM {table} WHERE {between}"  # noqa: S608 (our own names)
        place = {"log_id": within.log_id, "partition": within.partition, "first": within.first, "last": within.last}
        return set().union(*(self._of_events if table == "events" else self._columns)(sql, place))

    def _of_events(self, sql: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The columns of an answer, also from former tables. These first: rows move from there to `events`."""
        answers = []
        for table in list(self._former):
            try:
                answers.append(self._columns(sql.replace(" FROM events ", f" FROM {table} "), values))
            except Fatal:
                if table in former_tables(self._client, EVENTS_TABLE.name):
                    raise
                with suppress(ValueError):
                    self._former.remove(table)  # all of it was copied
        answers.append(self._columns(sql, values))
        if len(answers) == 1:
            return answers[0]
        return [list(chain.from_iterable(parts)) for parts in zip(*filter(None, answers), strict=True)]

    def _columns(self, sql: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """The columns of an answer, on the writer's own client; none when it has no rows."""
        self._check_open()

        def ask() -> Sequence[Sequence[Any]]:
            return self._client.query(sql, parameters=dict(values), column_oriented=True).result_columns or ()

        return errors.without_damage(ask, self._engine.detach_damaged)

    def _check_open(self) -> None:
        if self._closed:
            raise Fatal("the store is closed")
