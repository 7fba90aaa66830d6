"""The store by day of receipt: how large each day is, and the end of one.

In: a client of its own, for one thread. Out: sizes, as the engine's parts tell them. Errors: Retryable, Fatal.
Next: nothing.

1. What is about to go is noted in `dropped_days`, durably, before anything of it goes: else a recount would miss it.
2. Events lie in a partition for each day, which goes as one. Dead letters do not, for they are few: those of a day are
   deleted, and share the bytes of their table by their number.
3. A day that is gone already may be dropped again. With the rows of a partition their tokens are forgotten, too, so
   that what recovery stores again is stored.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from parsec.adapters.store import errors, native
from parsec.ports.store import DaySize

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_EVENTS = """
SELECT toUInt32(toDate(partition_id)), sum(rows), sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND table = 'events' AND active AND rows > 0 GROUP BY partition_id
"""
_LETTERS = "SELECT toUInt32(toDate(time)) AS day, count() FROM dead_letters GROUP BY day"
_LETTER_BYTES = """
SELECT sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND table = 'dead_letters' AND active AND rows > 0
"""
# A part of the engine's own caution, against a slip of the hand: 50 GB go only when somebody says so.
_DROP = "ALTER TABLE events DROP PARTITION ID {day:String} SETTINGS max_partition_size_to_drop = 0"
_DELETE = "ALTER TABLE dead_letters DELETE WHERE toDate(time) = toDate({day:UInt32}) SETTINGS mutations_sync = 1"
_NOTE_TYPES = {"day": "UInt32", "events": "UInt64", "dead_letters": "UInt64", "bytes": "UInt64"}

Write = Callable[["Client", str, Mapping[str, str], Iterable[bytes]], None]
"""A block into a table, under the settings of every insert."""


class ClickHouseDayPartitions:
    """DayPartitions. Opens its client at the first call, on the thread that asks; `close` after its last."""

    def __init__(self, connect: Callable[[], "Client"], write: Write) -> None:
        self._connect = connect
        self._write = write
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
        block = native.block([(name, kind, [getattr(day, name)]) for name, kind in _NOTE_TYPES.items()])
        self._write(self._client(), "dropped_days", _NOTE_TYPES, [block])
        if day.dead_letters:
            self._command(_DELETE, {"day": day.day})
        self._command(_DROP, {"day": day.name.replace("-", "")})

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _rows(self, sql: str) -> Any:
        try:
            return self._client().query(sql).result_rows
        except (ClickHouseError, OSError) as error:
            raise errors.of_query(error) from error

    def _command(self, sql: str, values: dict[str, Any]) -> None:
        try:
            self._client().command(sql, parameters=values)
        except (ClickHouseError, OSError) as error:
            raise errors.of_query(error) from error

    def _client(self) -> "Client":
        if self._opened is None:
            self._opened = self._connect()
        return self._opened
