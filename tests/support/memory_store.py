"""The store in memory: StoreWriter with tokens that are forgotten, blocks that land late, and a hook in every call.

What it can do wrong is what ClickHouse can: forget a token outside its window, note a token and die before the block,
land half of a block that touches two days, land a block after its client has given up (`give_up` is raised by the
next insert, whose block lands with `land_late`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from parsec.core.errors import Poison
from parsec.ports.broker import Range
from parsec.ports.dedup import Batch, Position
from parsec.ports.store import DeadLetter, ExpiryBound, LedgerCheckpoint, Row, RowIdentity, content_digest
from tests.support.memory_log import Hook, no_hook


class MemoryStore:
    """Rows as they landed, so that a position that landed twice is seen. `calls` notes every insert."""

    def __init__(self, refuses: Callable[[Row], bool] = lambda _: False) -> None:
        self.rows: list[Row] = []
        self.dead: dict[tuple[str, int, int], DeadLetter] = {}
        self.hook: Hook = no_hook
        self.calls: list[str] = []
        self.give_up: BaseException | None = None
        self.marks: list[LedgerCheckpoint] = []
        self._late: list[tuple[Sequence[Row], str]] = []
        self.closed = False
        self.dropped_day = -1
        self._refuses = refuses
        self._tokens: set[str] = set()

    def insert(self, rows: Sequence[Row], token: str) -> None:
        self.calls.append(f"insert {token} {len(rows)}")
        self.hook("insert.before")
        if self.give_up is not None:
            error, self.give_up = self.give_up, None
            self._late.append((list(rows), token))
            raise error
        if token in self._tokens:
            self.hook("insert.after")
            return
        if any(map(self._refuses, rows)):
            raise Poison("cannot parse a row")
        self._tokens.add(token)
        self.hook("insert.token")
        self.rows += rows[: len(rows) // 2]
        self.hook("insert.half")
        self.rows += rows[len(rows) // 2 :]
        self.hook("insert.after")

    def insert_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        self.calls.append(f"insert_dead_letters {[letter.offset for letter in letters]}")
        self.hook("insert_dead_letters.before")
        for letter in letters:
            self.dead[letter.log_id, letter.partition, letter.offset] = letter
        self.hook("insert_dead_letters.after")

    def save_checkpoint(self, *checkpoints: LedgerCheckpoint) -> None:
        self.hook("save_checkpoint.before")
        self.marks += checkpoints
        self.hook("save_checkpoint.after")

    def expiry_bound(self, log_id: str, partition: int, from_offset: int) -> ExpiryBound | None:
        self.hook("expiry_bound.before")
        marks = {mark.committed: mark for mark in self.marks if (mark.log_id, mark.partition) == (log_id, partition)}
        since = max((at for at in marks if at <= from_offset), default=0)
        about = [mark for at, mark in marks.items() if at >= since]
        if not about:
            return None
        return ExpiryBound(min(each.expires_from for each in about), min(each.received_from for each in about))

    def stored_offsets(self, within: Range) -> set[int]:
        self.calls.append(f"stored_offsets {within.first}-{within.last}")
        self.hook("stored_offsets.before")
        return {r.offset for r in self.rows if _within(within, r)} | self._dead_in(within)

    def dead_letter_offsets(self, within: Range) -> set[int]:
        self.hook("dead_letter_offsets.before")
        return self._dead_in(within)

    def highest_offset(self, log_id: str, partition: int, from_offset: int) -> int | None:
        self.hook("highest_offset.before")
        everything = Range(log_id, partition, from_offset, 1 << 62)
        rows = (row.offset for row in self.rows if _within(everything, row))
        return max((*rows, *self._dead_in(everything)), default=None)

    def rows_at(
        self, positions: Collection[Position], tenants: Collection[str]
    ) -> Mapping[Position, RowIdentity | None]:
        self.calls.append(f"rows_at {len(positions)}")
        self.hook("rows_at.before")
        rows = {Position(row.log_id, row.partition, row.offset): row for row in self.rows if row.tenant_id in tenants}
        found: dict[Position, RowIdentity | None] = {at: None for at in positions if at in self.dead}
        return found | {
            at: RowIdentity(rows[at].tenant_id, rows[at].id, content_digest(rows[at])) for at in positions if at in rows
        }

    def positions_of(self, tenants: Collection[str], ids: Collection[str]) -> Mapping[tuple[str, str], Position]:
        self.hook("positions_of.before")
        rows = (row for row in self.rows if row.tenant_id in tenants and row.id in ids)
        return {(row.tenant_id, row.id): Position(row.log_id, row.partition, row.offset) for row in rows}

    def received_at(
        self, tenants: Collection[str], ids: Collection[str], from_ns: int, until_ns: int
    ) -> Mapping[tuple[str, str], Sequence[int]]:
        self.hook("received_at.before")
        found: dict[tuple[str, str], list[int]] = {}
        for row in self.rows:
            if row.tenant_id in tenants and row.id in ids and from_ns <= row.received_at <= until_ns:
                found.setdefault((row.tenant_id, row.id), []).append(row.received_at)
        return found

    def last_dropped_day(self) -> int:
        return self.dropped_day

    def recent_ids(self, partition: int, seconds: float, ids: int) -> Iterator[Batch]:
        self.hook("recent_ids.before")
        rows = sorted((row for row in self.rows if row.partition == partition), key=lambda row: row.received_at)
        for row in rows[-ids:]:
            if row.received_at >= rows[-1].received_at - seconds * 1e9:
                yield Batch(row.log_id, partition, row.received_at, [row.tenant_id], [row.id], [row.offset])

    def close(self) -> None:
        self.closed = True

    def land_late(self) -> None:
        """What was sent when `give_up` was raised arrives: stored unless its token is known by now."""
        late, self._late = self._late, []
        for rows, token in late:
            if token not in self._tokens and not any(map(self._refuses, rows)):
                self._tokens.add(token)
                self.rows += rows

    def forget_tokens(self) -> None:
        """The deduplication window has moved on, or was lost."""
        self._tokens.clear()

    def _dead_in(self, within: Range) -> set[int]:
        return {letter.offset for letter in self.dead.values() if _within(within, letter)}


def _within(within: Range, what: Row | DeadLetter) -> bool:
    place = (what.log_id, what.partition)
    return place == (within.log_id, within.partition) and within.first <= what.offset <= within.last
