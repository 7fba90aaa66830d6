"""Duplicates: claim the ids of rows, and compare what another position has claimed with the store.

In: rows about to be inserted. Out: those whose id another position has; then which of these are duplicates, which have
to be stored, and which have to wait. Errors: Retryable from the store; Fatal. Next: parsec.ports.dedup.

A claim alone never drops an event (parsec.ports.dedup says why).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set

import msgspec
import structlog

from parsec.ports.broker import Progress
from parsec.ports.dedup import Batch, Dedup, Position, Window
from parsec.ports.store import Row, RowIdentity, StoreWriter, content_digest
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)


class Conflict(msgspec.Struct, frozen=True):
    """A row, and the other position that has claimed its id."""

    row: Row
    holder: Position


class Resolution(msgspec.Struct, frozen=True):
    """Offsets of duplicates, offsets of rows to store, and conflicts that wait for their holder, by offset."""

    duplicates: Set[int]
    to_store: Set[int]
    waiting: Mapping[int, Conflict]


class Claims:
    """The set of claims, and the store that it describes. Used by the processor's thread."""

    def __init__(
        self, dedup: Dedup, store: StoreWriter, window: Window, telemetry: Telemetry,
        lost_rows: Callable[[Progress], Iterator[Sequence[Row]]] = lambda _: iter(()),
        restore_lost: Callable[[Collection[Position], int], bool] = lambda *_: False,
    ) -> None:  # fmt: skip
        """`lost_rows`, `restore_lost`: `lost_rows` and `restore` of parsec.process.repair.Repair."""
        self._dedup = dedup
        self._store = store
        self._window = window
        self._telemetry = telemetry
        self._lost_rows = lost_rows
        self._restore_lost = restore_lost

    def restore(self, progress: Progress) -> Iterator[int]:
        """Claims the ids that the store has, or has lost, of a partition within the window; yields the size of each
        batch of them."""
        if self._dedup.wants_restore():
            for batch in self._store.recent_ids(progress.partition, self._window.seconds, self._window.ids):
                self._dedup.claim(batch)
                yield len(batch.ids)
            for rows in self._lost_rows(progress):
                self._dedup.claim(batch_of(rows))
                yield len(rows)

    def claim(self, rows: Sequence[Row], resent: Set[int]) -> dict[int, Conflict]:
        """Claims the rows' ids; returns conflicts by offset.

        `resent`: offsets of events that may be in the log twice, from however long ago: where no claim is left, the
        store is searched for their ids.
        """
        held = self._dedup.claim(batch_of(rows))
        conflicts = {row.offset: Conflict(row, held[row.offset]) for row in rows if row.offset in held} if held else {}
        unclaimed = [row for row in rows if row.offset in resent and row.offset not in held] if resent else []
        if unclaimed and (stored := self._already_stored(unclaimed)):
            conflicts |= {row.offset: Conflict(row, stored[row.offset]) for row in unclaimed if row.offset in stored}
            # Rows in conflict with one of these, which will not be stored, wait for the stored event instead.
            moved = {position_of(row): stored[row.offset] for row in unclaimed if row.offset in stored}
            conflicts = {at: Conflict(each.row, moved.get(each.holder, each.holder)) for at, each in conflicts.items()}
        return conflicts

    def _already_stored(self, rows: Sequence[Row]) -> dict[int, Position]:
        """The position at which the store has an event of the same id, by offset; it gets the claim of the row."""
        positions = self._store.positions_of({row.tenant_id for row in rows}, {row.id for row in rows})
        stored: dict[int, Position] = {}
        by_partition: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in rows:
            position = positions.get((row.tenant_id, row.id))
            if position is not None and position != position_of(row):
                stored[row.offset] = position
                by_partition[position.log_id, position.partition].append(row)
        for (log_id, partition), some in by_partition.items():
            offsets = [stored[row.offset].offset for row in some]
            batch = msgspec.structs.replace(batch_of(some), log_id=log_id, partition=partition, offsets=offsets)
            self._dedup.take_over(batch, [position_of(row) for row in some])
        return stored

    def resolve(
        self, conflicts: Mapping[int, Conflict], own: Mapping[int, Row], committed: Position, *, give_up: bool
    ) -> Resolution:
        """Decides all conflicts that the store allows to decide. `own`: rows of the same range that have landed.

        A holder below `committed` has landed; if it is not in the store, it has expired, or the store has lost it and
        gets it again. `give_up`: a holder that has not landed by now never will.
        """
        landed = self._landed_holders(conflicts, own)
        lost = {each.holder for each in conflicts.values() if _is_below(each.holder, committed)} - landed.keys()
        if lost and self._restore_lost(lost, committed.offset):
            landed = self._landed_holders(conflicts, own)
        duplicates: set[int] = set()
        to_store: set[int] = set()
        free: dict[int, Conflict] = {}
        waiting: dict[int, Conflict] = {}
        changed = []
        for offset, conflict in conflicts.items():
            if conflict.holder not in landed:
                (free if give_up or _is_below(conflict.holder, committed) else waiting)[offset] = conflict
            elif (there := landed[conflict.holder]) is None:
                free[offset] = conflict
            elif (there.tenant_id, there.id) != (conflict.row.tenant_id, conflict.row.id):
                to_store.add(offset)  # two ids with one hash
            else:
                duplicates.add(offset)
                if there.digest != content_digest(conflict.row):
                    changed.append(conflict.row)
        self._report_changed(changed)
        # The owner of a claim may have released it, or lost it to another one, since it was reported.
        still_waiting, claimed = self._claim_again(free, waiting)
        return Resolution(duplicates, to_store | claimed, still_waiting)

    def release(self, rows: Sequence[Row]) -> None:
        """Releases the claims of rows that became dead letters."""
        self._dedup.release(batch_of(rows))

    def _landed_holders(
        self, conflicts: Mapping[int, Conflict], own: Mapping[int, Row]
    ) -> dict[Position, RowIdentity | None]:
        landed: dict[Position, RowIdentity | None] = {}
        elsewhere = set()
        for conflict in conflicts.values():
            row = own.get(conflict.holder.offset)
            if row is not None and conflict.holder == position_of(row):
                landed[conflict.holder] = RowIdentity(row.tenant_id, row.id, content_digest(row))
            else:
                elsewhere.add(conflict.holder)
        if elsewhere:
            landed |= self._store.rows_at(elsewhere, {conflict.row.tenant_id for conflict in conflicts.values()})
        return landed

    def _claim_again(
        self, free: Mapping[int, Conflict], waiting: Mapping[int, Conflict]
    ) -> tuple[dict[int, Conflict], set[int]]:
        """Takes over the claims of holders that will never land, and tries those of the others again.

        Returns the conflicts that remain, and the offsets whose ids are claimed now.
        """
        held: dict[int, Position] = {}
        if free:
            holders = [conflict.holder for conflict in free.values()]
            held |= self._dedup.take_over(batch_of([conflict.row for conflict in free.values()]), holders)
        if waiting:
            held |= self._dedup.claim(batch_of([conflict.row for conflict in waiting.values()]))
        tried = {**free, **waiting}
        remaining = {offset: Conflict(tried[offset].row, holder) for offset, holder in held.items()}
        return remaining, tried.keys() - remaining.keys()

    def _report_changed(self, rows: Sequence[Row]) -> None:
        if rows:
            self._telemetry.dedup_conflicts.inc(len(rows))
            _log.warning("Events were sent again under the same id with other content; the first ones are kept.",
                         events=len(rows), tenant=rows[0].tenant_id, id=rows[0].id)  # fmt: skip


def _is_below(holder: Position, committed: Position) -> bool:
    return holder[:2] == committed[:2] and holder.offset < committed.offset


def position_of(row: Row) -> Position:
    """The position of the row's record in the log."""
    return Position(row.log_id, row.partition, row.offset)


def batch_of(rows: Sequence[Row]) -> Batch:
    """The columns of at least one row; all rows are of one partition."""
    return Batch(
        rows[0].log_id, rows[0].partition, max([row.received_at for row in rows]), [row.tenant_id for row in rows],
        [row.id for row in rows], [row.offset for row in rows],
    )  # fmt: skip
