"""Which events are repeats: ids are claimed, and what somebody else holds is compared with what the store has.

In: rows about to be inserted. Out: which of them are held by another position, and then which of those are duplicates,
which have to be stored after all, and which have to wait. Errors: Retryable from the store; Fatal.
Next: parsec.ports.dedup.

Nothing is dropped on the word of a claim alone (parsec.ports.dedup says why).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec
import structlog

from parsec.ports.dedup import Batch, Dedup, Position, Window
from parsec.ports.store import Row, RowIdentity, StoreWriter, content_digest
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)


class Conflict(msgspec.Struct, frozen=True):
    """A row whose id another position holds."""

    row: Row
    holder: Position


class Resolution(msgspec.Struct, frozen=True):
    """By offset: what is a duplicate, what has to be stored after all, and what still waits for its holder."""

    duplicates: Set[int]
    rescued: Set[int]
    waiting: Mapping[int, Conflict]


class Claims:
    """The set of claims beside the store that it speaks of. Used by the processor's thread."""

    def __init__(self, dedup: Dedup, store: StoreWriter, window: Window, telemetry: Telemetry) -> None:
        self._dedup = dedup
        self._store = store
        self._window = window
        self._telemetry = telemetry

    def restore(self, partition: int) -> Iterator[int]:
        """Claims what the store has of a partition within the window; after each bite the ids in it."""
        if self._dedup.wants_restore():
            for batch in self._store.recent_ids(partition, self._window.seconds, self._window.ids):
                self._dedup.claim(batch)
                yield len(batch.ids)

    def claim(self, rows: Sequence[Row], resent: Set[int]) -> dict[int, Conflict]:
        """Rows that another position holds, by offset. `resent`: offsets that may be in the log twice, from however
        long ago, so that the store is asked for their ids where no claim is left."""
        held = self._dedup.claim(batch_of(rows))
        found = {row.offset: Conflict(row, held[row.offset]) for row in rows if row.offset in held} if held else {}
        doubtful = [row for row in rows if row.offset in resent and row.offset not in held] if resent else []
        if doubtful:
            first = self._first_ones(doubtful)
            found |= {row.offset: Conflict(row, first[row.offset]) for row in doubtful if row.offset in first}
            # Their claims are for rows that will not be: whoever came after them waits for the first one instead.
            stands_for = {position_of(row): first[row.offset] for row in doubtful if row.offset in first}
            found = {at: Conflict(one.row, stands_for.get(one.holder, one.holder)) for at, one in found.items()}
        return found

    def _first_ones(self, rows: Sequence[Row]) -> dict[int, Position]:
        """Where the store has an event with the same id, by offset; the claims of these rows go to it."""
        stored = self._store.positions_of({row.tenant_id for row in rows}, {row.id for row in rows})
        first: dict[int, Position] = {}
        places: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in rows:
            position = stored.get((row.tenant_id, row.id))
            if position is not None and position != position_of(row):
                first[row.offset] = position
                places[position.log_id, position.partition].append(row)
        for (log_id, partition), some in places.items():
            offsets = [first[row.offset].offset for row in some]
            batch = msgspec.structs.replace(batch_of(some), log_id=log_id, partition=partition, offsets=offsets)
            self._dedup.take_over(batch, [position_of(row) for row in some])
        return first

    def settle(
        self, held: Mapping[int, Conflict], own: Mapping[int, Row], committed: Position, *, give_up: bool
    ) -> Resolution:
        """Decides what the store allows to decide. `own`: rows of the same range that have landed.

        Whoever stands before `committed` has landed, and has left the store since if it is not there. `give_up`: a
        holder that has not landed by now never will.
        """
        standing = self._standing(held, own)
        duplicates: set[int] = set()
        rescued: set[int] = set()
        gone: dict[int, Conflict] = {}
        waiting: dict[int, Conflict] = {}
        conflicts = []
        for offset, one in held.items():
            if one.holder not in standing:
                (gone if give_up or _before(one.holder, committed) else waiting)[offset] = one
            elif (there := standing[one.holder]) is None:
                gone[offset] = one
            elif (there.tenant_id, there.id) != (one.row.tenant_id, one.row.id):
                rescued.add(offset)  # two ids with one hash
            else:
                duplicates.add(offset)
                if there.digest != content_digest(one.row):
                    conflicts.append(one.row)
        self._report(conflicts)
        waiting_now, free = self._try_again(gone, waiting)
        return Resolution(duplicates, rescued | free, waiting_now)

    def release(self, rows: Sequence[Row]) -> None:
        """These rows became dead letters."""
        self._dedup.release(batch_of(rows))

    def _standing(self, held: Mapping[int, Conflict], own: Mapping[int, Row]) -> dict[Position, RowIdentity | None]:
        standing: dict[Position, RowIdentity | None] = {}
        elsewhere = set()
        for one in held.values():
            row = own.get(one.holder.offset)
            if row is not None and one.holder == position_of(row):
                standing[one.holder] = RowIdentity(row.tenant_id, row.id, content_digest(row))
            else:
                elsewhere.add(one.holder)
        if elsewhere:
            standing |= self._store.rows_at(elsewhere, {one.row.tenant_id for one in held.values()})
        return standing

    def _try_again(
        self, gone: Mapping[int, Conflict], waiting: Mapping[int, Conflict]
    ) -> tuple[dict[int, Conflict], set[int]]:
        """Takes over what nobody can hold any more, and looks whether other holders have given up theirs."""
        holders: dict[int, Position] = {}
        if gone:
            holders |= self._dedup.take_over(
                batch_of([one.row for one in gone.values()]), [one.holder for one in gone.values()]
            )
        if waiting:
            holders |= self._dedup.claim(batch_of([one.row for one in waiting.values()]))
        tried = {**gone, **waiting}
        still = {offset: Conflict(tried[offset].row, holder) for offset, holder in holders.items()}
        return still, tried.keys() - still.keys()

    def _report(self, conflicts: Sequence[Row]) -> None:
        if conflicts:
            self._telemetry.dedup_conflicts.inc(len(conflicts))
            _log.warning("Events came again under their ids with other content; the first ones stay.",
                         events=len(conflicts), tenant=conflicts[0].tenant_id, id=conflicts[0].id)  # fmt: skip


def _before(holder: Position, committed: Position) -> bool:
    place = (committed.log_id, committed.partition)
    return (holder.log_id, holder.partition) == place and holder.offset < committed.offset


def position_of(row: Row) -> Position:
    """Where its record stands."""
    return Position(row.log_id, row.partition, row.offset)


def batch_of(rows: Sequence[Row]) -> Batch:
    """The columns of at least one row; all of one partition."""
    return Batch(
        rows[0].log_id,
        rows[0].partition,
        max([row.received_at for row in rows]),
        [row.tenant_id for row in rows],
        [row.id for row in rows],
        [row.offset for row in rows],
    )
