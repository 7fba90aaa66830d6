"""Logs, a store and processors that claim ids, small enough to be stopped between any two steps.

A processor is a generator: what is not resumed has crashed, or is frozen until it is resumed. The store knows what
landed by position, so a block that is inserted again adds nothing; docs/guarantees.md has that part.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from parsec.ports.dedup import Batch, Position

TENANT = "acme"
LARGEST = 6


class Claims(Protocol):
    """As much of a Dedup as an owner of a partition uses."""

    def claim(self, batch: Batch, /) -> Mapping[int, Position]: ...

    def take_over(self, batch: Batch, holders: Sequence[Position], /) -> Mapping[int, Position]: ...

    def release(self, batch: Batch, /) -> None: ...


class Record(msgspec.Struct, frozen=True):
    """`poison`: the store refuses it."""

    id: str
    received_ns: int
    poison: bool = False


class World:
    """What outlives processors: per partition a log of records (None: lost) and a committed offset; the store."""

    def __init__(self, partitions: int) -> None:
        self.logs: list[list[Record | None]] = [[] for _ in range(partitions)]
        self.committed = [0] * partitions
        self.reserved: list[int | None] = [None] * partitions
        self.counts = [dict.fromkeys(("stored", "duplicate", "dead", "lost"), 0) for _ in range(partitions)]
        self.rows: dict[Position, str] = {}
        self.dead: set[Position] = set()

    def record(self, at: Position) -> Record | None:
        return self.logs[at.partition][at.offset]

    def copies(self) -> dict[str, int]:
        copies: dict[str, int] = {}
        for name in self.rows.values():
            copies[name] = copies.get(name, 0) + 1
        return copies


class Claimer:
    """The owner of one partition. `patient`: it waits for holders that have not landed."""

    def __init__(self, world: World, partition: int, dedup: Callable[[], Claims]) -> None:
        self.world = world
        self.partition = partition
        self.dedup = dedup
        self.patient: Callable[[Position], bool] = lambda _: True
        self.in_hand: set[Position] = set()
        """Claimed and perhaps about to be inserted."""
        self.steps = self._run()
        self._records: dict[int, Record] = {}

    def step(self) -> str:
        return next(self.steps)

    def _run(self) -> Iterator[str]:
        while True:
            first, end = self.world.committed[self.partition], len(self.world.logs[self.partition])
            if first == end:
                yield "idle"
                continue
            last = self.world.reserved[self.partition]
            if last is None:
                last = self.world.reserved[self.partition] = min(end, first + LARGEST) - 1
            yield "reserved"
            polled = {n: self.world.record(self._at(n)) for n in range(first, last + 1)}
            self._records = {n: record for n, record in polled.items() if record is not None}
            offsets = [n for n in self._records if not self._landed(n)]
            duplicates = yield from self._store(offsets)
            if self.world.committed[self.partition] == first:  # else another owner was faster; its commit stands
                self._commit(first, last, duplicates)
            yield "committed"

    def _store(self, offsets: list[int]) -> Generator[str, None, set[int]]:
        """Claim, insert what is ours, then resolve what others hold; the offsets that are duplicates."""
        held = self._claim(offsets)
        self.in_hand = {self._at(offset) for offset in offsets if offset not in held}
        yield "claimed"
        yield from self._insert([offset for offset in offsets if offset not in held])
        duplicates: set[int] = set()
        while held:
            rescued = self._resolve(held, duplicates)
            self.in_hand = {self._at(offset) for offset in rescued}
            yield "resolved" if rescued or not held else "waiting"
            yield from self._insert(rescued)
            if held:
                again = self._claim(list(held))
                ours = [offset for offset in held if offset not in again]
                held = dict(again)
                self.in_hand = {self._at(offset) for offset in ours}
                yield "claimed again"
                yield from self._insert(ours)
        return duplicates

    def _resolve(self, held: dict[int, Position], duplicates: set[int]) -> list[int]:
        """Takes out of `held` what is decided, and returns those of it that have to be stored after all."""
        gone = []
        for offset, holder in list(held.items()):
            if holder in self.world.rows:
                assert self.world.rows[holder] == self._records[offset].id
                duplicates.add(offset)
                del held[offset]
            elif holder in self.world.dead or not self.patient(holder):
                gone.append(offset)
        taken = self.dedup().take_over(self._batch(gone), [held[offset] for offset in gone]) if gone else {}
        held.update(taken)
        rescued = [offset for offset in gone if offset not in taken]
        for offset in rescued:
            del held[offset]
        return rescued

    def _insert(self, offsets: Sequence[int]) -> Iterator[str]:
        refused = [offset for offset in offsets if self._records[offset].poison]
        self.world.rows |= {self._at(n): self._records[n].id for n in offsets if n not in refused}
        self.in_hand -= {self._at(offset) for offset in offsets}
        yield "inserted"
        if refused:
            self.world.dead |= {self._at(offset) for offset in refused}
            yield "kept dead letters"
            self.dedup().release(self._batch(refused))
            yield "released"

    def _commit(self, first: int, last: int, duplicates: set[int]) -> None:
        counts = self.world.counts[self.partition]
        for offset in range(first, last + 1):
            at = self._at(offset)
            fate = "stored" if at in self.world.rows else "dead" if at in self.world.dead else "lost"
            if fate == "lost" and offset in duplicates:
                fate = "duplicate"
            assert fate != "lost" or offset not in self._records
            counts[fate] += 1
        self.world.committed[self.partition] = last + 1
        self.world.reserved[self.partition] = None

    def _claim(self, offsets: list[int]) -> dict[int, Position]:
        held: Mapping[int, Position] = self.dedup().claim(self._batch(offsets)) if offsets else {}
        return dict(held)

    def _batch(self, offsets: Sequence[int]) -> Batch:
        return batch(self.partition, {n: self._records[n] for n in offsets})

    def _landed(self, offset: int) -> bool:
        return self._at(offset) in self.world.rows or self._at(offset) in self.world.dead

    def _at(self, offset: int) -> Position:
        return Position("log", self.partition, offset)


def batch(partition: int, records: Mapping[int, Record]) -> Batch:
    moment_ns = max(record.received_ns for record in records.values())
    ids = [record.id for record in records.values()]
    return Batch("log", partition, moment_ns, [TENANT] * len(ids), ids, list(records))
