"""Committed records that the store has lost, as the rows and dead letters that they were.

In: a range of offsets, the log's records, the positions and ids that the store has. Out: what of it is to be stored
again: no duplicates, and nothing that has left by age or size. Errors: Retryable, Fatal from log and store. Next:
parsec.process.repair.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from parsec.core.timestamp import DAY, SECOND
from parsec.ports.broker import Progress, Range, Slice
from parsec.ports.dedup import Window
from parsec.ports.store import DeadLetter, Row, StoreWriter
from parsec.process.batching import MakeRows

REPAIR_OFFSETS = 10_000
"""Chunks begin at multiples of it, so that a repair that begins again uses the same tokens."""
REPAIR_BYTES = 8 << 20
NEWEST_OFFSETS = 20_000
"""That a start looks at before it stores new events: what went missing with the store's newest rows shows there."""
EXPIRED = "expired"
"""The reason of a dead letter that parsec.process.rows makes of an old event."""

ReadAgain = Callable[[Range, int, int], Slice | None]
"""LogReader.read_again."""


class Lost(msgspec.Struct, frozen=True):
    """What is missing below `next_offset`: `records` has the records of exactly these rows and letters."""

    rows: list[Row]
    letters: Sequence[DeadLetter]
    records: Slice | None
    next_offset: int


class LostRecords:
    """For the processor's thread. `window`: within which a repeated id is a duplicate."""

    def __init__(self, read_again: ReadAgain, store: StoreWriter, make_rows: MakeRows, window: Window) -> None:
        self._read_again = read_again
        self._store = store
        self._make_rows = make_rows
        self._window = window
        self._window_ns = int(window.seconds * SECOND)

    def find(self, asked: Range, end: int, *, recounted: bool = False) -> Lost:
        """What is missing of a range, or of its beginning. `end`: up to here offsets that the log no longer has are
        skipped at once. `recounted`: nothing that was stored in the range can have expired, so what has expired was a
        dead letter."""
        found = self._store.stored_offsets(asked)
        if len(found) > asked.last - asked.first:
            return Lost([], (), None, asked.last + 1)
        records = self._read_again(asked, REPAIR_OFFSETS, REPAIR_BYTES)
        if records is None:
            return Lost([], (), None, end)
        if not records.offsets:
            return Lost([], (), None, self._next_held(replace(asked, first=records.next_offset, last=end - 1)))
        missing = [at for at, offset in enumerate(records.offsets) if offset not in found]
        rows, letters = self._make_rows(_only(records, missing)) if missing else ([], [])
        letters = [letter for letter in letters if recounted or letter.reason != EXPIRED]
        if rows:
            dropped = self._store.last_dropped_day()
            rows = [row for row in rows if row.received_at // DAY > dropped]
        if rows:
            repeats = self._repeats(rows, records.resent)
            rows = [row for row in rows if row.offset not in repeats]
        wanted = {row.offset for row in rows} | {letter.offset for letter in letters}
        kept = _only(records, [at for at, offset in enumerate(records.offsets) if offset in wanted]) if wanted else None
        return Lost(rows, letters, kept, records.next_offset)

    def first_held(self, progress: Progress) -> int:
        """The first committed offset of a partition that the log still has; the committed one if it has none."""
        return self._next_held(Range(progress.log_id, progress.partition, progress.start, progress.committed - 1))

    def of_window(self, progress: Progress) -> Iterator[Sequence[Row]]:
        """Lost rows of the dedup window, whose ids no one has claimed: nothing if the newest offsets are all there."""
        committed, back = progress.committed, NEWEST_OFFSETS
        newest = max((row.received_at for rows in self._rows(progress, committed - back) for row in rows), default=None)
        if newest is None:
            return
        while back < committed - progress.start and back < self._window.ids:
            if self._is_before(progress, committed - back, newest - self._window_ns):
                break
            back *= 8
        yield from self._rows(progress, committed - back)

    def _rows(self, progress: Progress, first: int) -> Iterator[Sequence[Row]]:
        """Lost rows from an offset on, in order."""
        first = max(first, progress.start)
        while first < progress.committed:
            last = chunk_end(first, progress.committed) - 1
            lost = self.find(Range(progress.log_id, progress.partition, first, last), progress.committed)
            if lost.rows:
                yield lost.rows
            first = lost.next_offset

    def _is_before(self, progress: Progress, offset: int, time_ns: int) -> bool:
        """Whether the record at an offset was received before a time, or is no longer in the log."""
        records = self._read_again(Range(progress.log_id, progress.partition, offset, offset), 1, 1)
        if records is None or not records.offsets:
            return True
        rows, _ = self._make_rows(records)
        return bool(rows) and rows[0].received_at < time_ns

    def _next_held(self, rest: Range) -> int:
        """The first offset of a range that the log still has; the end of the range if it has none."""
        if rest.first > rest.last:
            return rest.last + 1
        records = self._read_again(rest, 1, 1)
        if records is None:
            return rest.last + 1
        return records.offsets[0] if records.offsets else records.next_offset

    def _repeats(self, rows: Sequence[Row], resent: Collection[int]) -> set[int]:
        """Offsets of rows whose id is stored elsewhere, or comes earlier in these rows."""
        received = [row.received_at for row in rows]
        stored = self._store.received_at(
            {row.tenant_id for row in rows}, {row.id for row in rows},
            min(received) - self._window_ns, max(received) + self._window_ns,
        )  # fmt: skip
        some = [row for row in rows if row.offset in resent]
        anywhere = self._store.positions_of({row.tenant_id for row in some}, {row.id for row in some}) if some else {}
        repeats: set[int] = set()
        kept: dict[tuple[str, str], int] = {}
        for row in rows:
            key = (row.tenant_id, row.id)
            times = [*stored.get(key, ()), *([kept[key]] if key in kept else ())]
            is_near = any(abs(row.received_at - time) <= self._window_ns for time in times)
            if is_near or (row.offset in resent and key in anywhere):
                repeats.add(row.offset)
            else:
                kept[key] = row.received_at
        return repeats


def chunk_start(offset: int) -> int:
    """Where the chunk of this offset begins."""
    return offset // REPAIR_OFFSETS * REPAIR_OFFSETS


def chunk_end(first: int, end: int) -> int:
    """Where the chunk that begins at `first` ends, at most at `end`."""
    return min(chunk_start(first) + REPAIR_OFFSETS, end)


def _only(records: Slice, places: Sequence[int]) -> Slice:
    """The records at these places; the others count as lost."""
    return replace(
        records, offsets=[records.offsets[at] for at in places], values=[records.values[at] for at in places],
        lost=records.next_offset - records.first - len(places),
    )  # fmt: skip
