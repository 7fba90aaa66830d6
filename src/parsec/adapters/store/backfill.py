"""Copy rows from the form of table `events` that a migration has replaced into the present one, while Parsec runs.

In: tables `events_before_N` (parsec.adapters.store.migrations). Out: their rows in `events`, the newest day of receipt
first; each day is dropped from the former table once it is copied, in the end the table. Errors: none; what fails is
logged and shown in /health, and tried again. Next: parsec.adapters.store.clickhouse.

1. A piece, some offsets of one partition received on one day, is inserted as one block with a token, and without the
   offsets that `events` has. It may be repeated after a crash at any moment, or by another process.
2. A day leaves the former table once `events` has all of it. So no row is ever in neither table: who reads the former
   table first and `events` after it finds every position.
3. Rows are made as those of new events: attributes by the engine, from the metadata or, where that needs care, from the
   text that `search_text` makes of it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import structlog

from parsec.adapters.store import errors
from parsec.adapters.store.migrations import FORMER
from parsec.adapters.store.native import Table
from parsec.core.errors import ParsecError, Retryable
from parsec.core.timestamp import dashed

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

T = TypeVar("T")

_log = structlog.get_logger(__name__)

PIECE_OFFSETS = 50_000
PIECE_BYTES = 64 << 20
TRY_AGAIN_S = 10.0
LOG_EVERY_S = 30.0
SHARE = 0.5
"""Of the time; the rest belongs to new events."""

_FORMER = (
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix:String})"
    " ORDER BY length(name), name"
)
_DAYS = """
SELECT partition_id, sum(rows), sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND table = {table:String} AND active AND rows > 0
GROUP BY partition_id ORDER BY partition_id DESC
"""
_PIECES = """
SELECT log_id, partition, intDiv(offset, {size:UInt32}) AS piece, count(), sum(length(message) + length(metadata))
FROM {former}
WHERE _partition_id = {day:String} AND expires_on > today()
GROUP BY log_id, partition, piece ORDER BY log_id, partition, piece DESC
"""
_PIECE = """
_partition_id = {day:String} AND log_id = {log_id:String} AND partition = {partition:UInt32}
AND offset >= {first:UInt64} AND offset < {end:UInt64}
"""
_MISSING = f"{_PIECE} AND expires_on > today() AND offset NOT IN (SELECT offset FROM events WHERE {_PIECE})"  # noqa: S608 (our own names, here and below)
_NEEDS_CARE = "match(metadata, {care:String})"
# More than needs it: digits beyond 64 bits, beyond 2^53 in a list, exponents, escapes, a dot in a key, an object
# or a list in a list.
CARE = r'[0-9]{19}|[\[,][ \t]*-?[0-9]{16}|[0-9.][eE]|\\u|"[^"]*[.][^"]*"[ \t]*:|[\[,][ \t]*[\[{]'
_DROP = "ALTER TABLE {former} DROP PARTITION ID {{day:String}} SETTINGS max_partition_size_to_drop = 0"

Write = Callable[["Client", Table, Iterable[bytes], str], None]
"""Inserts blocks into a table as one, with a token, under the settings of every insert."""


class Surroundings(NamedTuple):
    """`search_text` as parsec.ports.store.Row has it, made of metadata. `free_bytes`: that may be used; None for no
    bound. `is_ours`: whether this process is the one that copies."""

    search_text: Callable[[str], str]
    free_bytes: Callable[[], int | None] = lambda: None
    is_ours: Callable[[], bool] = lambda: True
    detach_damaged: errors.DetachDamaged = lambda _: False


class _Piece(NamedTuple):
    day: str
    log_id: str
    partition: int
    first: int
    end: int


def former_tables(client: "Client", table: str) -> list[str]:
    """Those that hold rows of `table`, the oldest first."""
    names = client.query(_FORMER, parameters={"prefix": table + FORMER}).result_rows
    return [name for (name,) in names]


def is_empty(client: "Client", table: str) -> bool:
    return not client.command(f"SELECT count() FROM {table}")  # noqa: S608


class Backfill:
    """`run` is the body of a thread; `why` may be called from any. `tables`: as from former_tables, shared with the
    store; a table that is dropped leaves the list."""

    def __init__(
        self, connect: Callable[[], "Client"], write: Write, table: Table, tables: list[str],
        surroundings: Surroundings, rest: Callable[[float], bool] | None = None,
    ) -> None:  # fmt: skip
        self._connect = connect
        self._write = write
        self._table = table
        self._tables = tables
        self._surroundings = surroundings
        self._rest = rest
        self._client: Client | None = None
        self._reported_at = float("-inf")
        self._total = self._left = self._days = 0
        self._waiting: str | None = None
        self._attempt = 0

    def run(self, stop: threading.Event) -> None:
        """Until all is copied, or `stop`."""
        pause = self._rest or stop.wait
        while self._tables and not stop.is_set():
            try:
                self._copy(self._tables[-1], stop, pause)
            except ParsecError as error:
                self._wait_for(str(error))
                pause(TRY_AGAIN_S)
        if self._client is not None:
            self._client.close()

    def why(self) -> str | None:
        """What answers lack until all is copied; None once it is."""
        if not self._tables:
            return None
        why = "Events stored by an earlier version are being rewritten, newest day first; until then answers lack them."
        if self._total:
            done, days = 100 * (self._total - self._left) // self._total, self._days
            why += f" {done} % of {self._total:,} are done; {days} {'day is' if days == 1 else 'days are'} left."
        return f"{why} It waits: {self._waiting}" if self._waiting else why

    def _copy(self, former: str, stop: threading.Event, pause: Callable[[float], bool]) -> None:
        """One day. Raises Retryable, Fatal."""
        days = self._rows(_DAYS, {"table": former})
        self._left, self._days = sum(rows for _, rows, _ in days), len(days)
        self._total = max(self._total, self._left)
        if not self._surroundings.is_ours():
            pause(TRY_AGAIN_S)
            if former not in former_tables(self._opened(), self._table.name):
                self._forget(former)
            return
        if not days:
            self._drop(former)
            return
        day, _, size = days[0]
        free = self._surroundings.free_bytes()
        if free is not None and free < size:
            self._wait_for(
                f"the disk needs {-(-size >> 20):,} MiB above PARSEC_DISK_RESERVE to rewrite {dashed(day)}, and has "
                f"{max(free, 0) >> 20:,} MiB."
            )
            pause(TRY_AGAIN_S)
            return
        pieces = list(self._pieces(former, day))
        for piece, rows in pieces:
            began = time.monotonic()
            self._copy_piece(former, piece)
            self._left -= rows
            self._waiting = None
            self._report(day)
            if stop.is_set() or pause((time.monotonic() - began) * (1 / SHARE - 1)):
                return
        if missing := sum(self._missing(former, piece)[0] for piece, _ in pieces):
            self._attempt += 1  # a power cut may leave the token of an insert without its part
            raise Retryable(f"{missing} rows of {dashed(day)} did not arrive in table events")
        self._command(_DROP.format(former=former), {"day": day})
        _log.info("A day of events was rewritten in the form of this version.", day=dashed(day))

    def _pieces(self, former: str, day: str) -> Iterator[tuple[_Piece, int]]:
        """And the rows that a report may count as done with each."""
        values = {"day": day, "size": PIECE_OFFSETS}
        for log_id, partition, number, rows, size in self._rows(_PIECES.replace("{former}", former), values):
            first = number * PIECE_OFFSETS
            step = max(PIECE_OFFSETS // (size // PIECE_BYTES + 1), 1)
            for at in range(first, first + PIECE_OFFSETS, step):
                yield _Piece(day, log_id, partition, at, min(at + step, first + PIECE_OFFSETS)), rows
                rows = 0

    def _copy_piece(self, former: str, piece: _Piece) -> None:
        missing, careful = self._missing(former, piece)
        if not missing:
            return
        values = {**piece._asdict(), "care": CARE}
        selected = f"FROM {former} WHERE {_MISSING}"
        blocks = []
        if careful < missing:
            columns = ", ".join(f"`{name}`" for name in self._table.types if name != "search_text")
            plain = f"SELECT {columns}, '' AS search_text {selected} AND NOT {_NEEDS_CARE}"
            blocks.append(self._raw(plain, values))
        if careful:
            columns = ", ".join(map(_as_number, self._table.types.items()))
            rows = self._rows(f"SELECT {columns} {selected} AND {_NEEDS_CARE}", values)
            if rows:  # else their part was detached, or their day dropped, since they were counted
                blocks.append(self._table.block([self._with_search_text(row) for row in rows]))
        token = f"{former}/{'/'.join(map(str, piece))}/{missing}/{self._attempt}"
        if blocks:
            self._write(self._opened(), self._table, blocks, token)

    def _missing(self, former: str, piece: _Piece) -> tuple[int, int]:
        """Rows of a piece that are not copied yet, and how many of these need care."""
        sql = f"SELECT count(), countIf({_NEEDS_CARE}) FROM {former} WHERE {_MISSING}"  # noqa: S608
        ((missing, careful),) = self._rows(sql, {**piece._asdict(), "care": CARE})
        return missing, careful

    def _with_search_text(self, row: Sequence[Any]) -> list[Any]:
        values = dict(zip(self._table.types, row, strict=True))
        values["search_text"] = self._surroundings.search_text(values["metadata"])
        return list(values.values())

    def _drop(self, former: str) -> None:
        self._command(f"DROP TABLE IF EXISTS {former}", {})
        self._forget(former)
        _log.info("All events have the form of this version.")

    def _forget(self, former: str) -> None:
        with suppress(ValueError):  # the store has noticed it, too
            self._tables.remove(former)

    def _report(self, day: str) -> None:
        now = time.monotonic()
        if now - self._reported_at >= LOG_EVERY_S:
            self._reported_at = now
            _log.info("Events of an earlier version are being rewritten.", day=dashed(day), days_left=self._days,
                      rows_left=self._left)  # fmt: skip

    def _wait_for(self, problem: str) -> None:
        if problem != self._waiting:
            _log.warning("Rewriting the events of an earlier version waits. This will be retried.", why=problem)
        self._waiting = problem

    def _rows(self, sql: str, values: dict[str, Any]) -> Any:
        return self._asked(lambda: self._opened().query(sql, parameters=values).result_rows)

    def _raw(self, sql: str, values: dict[str, Any]) -> bytes:
        return self._asked(lambda: self._opened().raw_query(sql, parameters=values, fmt="Native"))

    def _command(self, sql: str, values: dict[str, Any]) -> None:
        self._asked(lambda: self._opened().command(sql, parameters=values))

    def _asked(self, ask: Callable[[], T]) -> T:
        """A damaged part is detached and reported; the rest goes on without it."""
        return errors.without_damage(ask, self._surroundings.detach_damaged)

    def _opened(self) -> "Client":
        if self._client is None:
            self._client = self._connect()
        return self._client


def _as_number(column: tuple[str, str]) -> str:
    """As parsec.ports.store.Row has it."""
    name, kind = column
    if name == "search_text":
        return "'' AS search_text"
    if kind.startswith("DateTime64"):
        return f"toUnixTimestamp64Nano({name})"
    return f"toUInt16({name})" if kind == "Date" else f"`{name}`"
