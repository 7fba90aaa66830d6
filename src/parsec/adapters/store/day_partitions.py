"""The size of each day of receipt, and dropping a day, so that the store stays within its size limit.

In: a client of its own, for one thread. Out: sizes according to the engine's parts. Errors: Retryable, Fatal.
Next: parsec.process.size_retention.

1. A day is recorded in `dropped_days`, durably, before anything of it goes: otherwise a recount would miss it.
2. Events have a partition for each day, which is dropped as one. Dead letters are few and have none: those of a day
   are deleted, and count for their share of the table's bytes.
3. A day that is gone may be dropped again. Dropping a partition also forgets its tokens, so that recovery can store the
   rows again.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from parsec.adapters.store import errors
from parsec.adapters.store.backfill import former_tables
from parsec.adapters.store.native import Table
from parsec.ports.store import DaySize

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_EVENTS = """
SELECT toUInt32(toDate(partition_id)), sum(rows), sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND match(table, '^events(_before_[0-9]+)?$') AND active AND rows > 0
GROUP BY partition_id
"""
_LETTERS = "SELECT toUInt32(toDate(time)) AS day, count() FROM dead_letters GROUP BY day"
_LETTER_BYTES = """
SELECT sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND table = 'dead_letters' AND active AND rows > 0
"""
# By default the engine protects partitions above 50 GB from being dropped by mistake.
_DROP = "ALTER TABLE {table} DROP PARTITION ID {{day:String}} SETTINGS max_partition_size_to_drop = 0"
_DELETE = "ALTER TABLE dead_letters DELETE WHERE toDate(time) = toDate({day:UInt32}) SETTINGS mutations_sync = 1"
_DROPPED = Table("dropped_days", DaySize.__struct_fields__)

Write = Callable[["Client", Table, Iterable[bytes]], None]
"""Inserts a block into a table, under the settings of every insert."""


class ClickHouseDayPartitions:
    """DayPartitions. Opens its client at the first call, on the calling thread."""

    def __init__(self, connect: Callable[[], "Client"], write: Write, detach_damaged: errors.DetachDamaged) -> None:
        self._connect = connect
        self._write = write
        self._detach_damaged = detach_damaged
        self._opened: Client | None = None

    def sizes(self) -> list[DaySize]:
        days = {day: DaySize(day, events, 0, size) for day, events, size in self._rows(_EVENTS)}
        letters = dict(self._rows(_LETTERS))
        ((letter_bytes,),) = self._rows(_LETTER_BYTES) or [(0,)]
        for day, count in letters.items():
            events = days.get(day, DaySize(day, 0, 0, 0))
            share = letter_bytes * count // sum(letters.values())
            days[day] = DaySize(day, events.events, count, events.bytes + share)
        return sorted(days.values(), key=lambda each: each.day)

    def drop(self, day: DaySize) -> None:
        self._write(self._client(), _DROPPED, [_DROPPED.block([astuple(day)])])
        if day.dead_letters:
            self._command(_DELETE, {"day": day.day})
        # Former tables first, so that nothing of the day is copied from there afterwards.
        for table in (*former_tables(self._client(), "events"), "events"):
            self._command(_DROP.format(table=table), {"day": day.name.replace("-", "")})

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _rows(self, sql: str) -> Any:
        return errors.without_damage(lambda: self._client().query(sql).result_rows, self._detach_damaged)

    def _command(self, sql: str, values: dict[str, Any]) -> None:
        errors.without_damage(lambda: self._client().command(sql, parameters=values), self._detach_damaged)

    def _client(self) -> "Client":
        if self._opened is None:
            self._opened = self._connect()
        return self._opened
