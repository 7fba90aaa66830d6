"""Claims in this process's memory: a row of generations, the oldest of which is forgotten as a whole.

In: batches of (tenant, id) with their positions. Out: who holds what. Errors: Fatal after close.
Next: parsec.process.range_commit.

Invariants, cited by tests
 1. An id is held by one position, in one generation.
 2. The set's clock is the newest time of receipt seen, never ahead of the machine's clock, and never goes back.
 3. A generation is forgotten when its newest claim is a window old, or early, when the others hold `ids` without it;
    what leaves early is counted. At most ids * (1 + 1 / GENERATIONS) and two slices are held.
 4. Work is done in slices of about a millisecond, freeing memory included: other threads get their turn in between.

A million ids take 126 MB, and 156 MB while old ones leave (bench/claims.py). After a restart the caller claims what the
store has anew.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from parsec.core.clock import Clock
from parsec.core.errors import Fatal
from parsec.core.timestamp import SECOND
from parsec.ports.dedup import Batch, Position, Window
from parsec.telemetry import Telemetry

GENERATIONS = 4
"""More of them forget more evenly and grow in smaller steps; each one costs a look per id."""
SLICE_IDS = 500
_PLACE_BITS = 20


class _Generation:
    """Claims made in one stretch of time. `holders`: hash of tenant and id to offset and place in one integer.

    The hash has 64 bits and a secret of this process: nobody can make two ids meet, and if two do, the store shows it.
    """

    def __init__(self, now_ns: int) -> None:
        self.began_ns = now_ns
        self.newest_ns = now_ns
        self.holders: dict[int, int] = {}


class LocalDedup:
    """Dedup for one process that owns all partitions of a tenant. `breathe` gives other threads their turn."""

    def __init__(
        self, window: Window, telemetry: Telemetry, clock: Clock, breathe: Callable[[], None] = lambda: None
    ) -> None:
        self._window_ns = int(window.seconds * SECOND)
        self._ids = window.ids
        self._telemetry = telemetry
        self._clock = clock
        self._breathe = breathe
        self._places: list[tuple[str, int]] = []
        self._now_ns = 0
        self._since_ns = 0
        self._generations: deque[_Generation] = deque()
        self._leaving: list[dict[int, int]] = []
        self._closed = False

    def claim(self, batch: Batch) -> Mapping[int, Position]:
        self._move_clock(batch)
        place = self._place(batch)
        held: dict[int, int] = {}
        for keys, offsets in self._slices(batch):
            holders = self._current().holders
            values = [offset << _PLACE_BITS | place for offset in offsets]
            fresh = dict(zip(keys, values, strict=True))
            if len(fresh) == len(keys) and all(g.holders.keys().isdisjoint(keys) for g in self._generations):
                holders.update(fresh)
                continue
            for key, value, offset in zip(keys, values, offsets, strict=True):
                found = self._find(key)
                if found is None:
                    holders[key] = value
                elif found[key] != value:
                    held[offset] = found[key]
        self._report()
        return {offset: self._position(value) for offset, value in held.items()}

    def take_over(self, batch: Batch, holders: Sequence[Position]) -> Mapping[int, Position]:
        self._move_clock(batch)
        place = self._place(batch)
        held: dict[int, Position] = {}
        expected = iter(holders)
        for keys, offsets in self._slices(batch):
            for key, offset in zip(keys, offsets, strict=True):
                before, value = next(expected), offset << _PLACE_BITS | place
                found = self._find(key)
                if found is None:
                    self._current().holders[key] = value
                elif (holder := self._position(found[key])) == before:
                    found[key] = value
                elif found[key] != value:
                    held[offset] = holder
        self._report()
        return held

    def release(self, batch: Batch) -> None:
        place = self._place(batch)
        for keys, offsets in self._slices(batch):
            for key, offset in zip(keys, offsets, strict=True):
                found = self._find(key)
                if found is not None and found[key] == offset << _PLACE_BITS | place:
                    del found[key]
        self._report()

    def wants_restore(self) -> bool:
        return True

    def effective_s(self) -> float:
        return min(self._window_ns, self._now_ns - self._since_ns) / SECOND

    def close(self) -> None:
        self._closed = True
        self._generations.clear()
        self._leaving.clear()

    def _slices(self, batch: Batch) -> Iterator[tuple[list[int], Sequence[int]]]:
        if self._closed:
            raise Fatal("the claims are closed")
        for at in range(0, len(batch.offsets), SLICE_IDS):
            till = at + SLICE_IDS
            self._turn_over()
            yield list(map(hash, zip(batch.tenants[at:till], batch.ids[at:till], strict=True))), batch.offsets[at:till]
            self._free(2 * SLICE_IDS)
            self._breathe()

    def _move_clock(self, batch: Batch) -> None:
        moment_ns = min(batch.moment_ns, self._clock.time_ns())
        if not self._generations:
            self._generations.append(_Generation(moment_ns))
            self._since_ns = self._now_ns = moment_ns
        self._now_ns = max(self._now_ns, moment_ns)

    def _current(self) -> _Generation:
        return self._generations[-1]

    def _turn_over(self) -> None:
        """Begins a new generation when it is time to, and forgets those whose time is over (invariant 3)."""
        if not self._generations:
            return
        generations, current = self._generations, self._current()
        expired_ns = self._now_ns - self._window_ns
        full = len(current.holders) >= max(1, self._ids // GENERATIONS)
        if full or self._now_ns - current.began_ns >= self._window_ns // GENERATIONS:
            generations.append(_Generation(self._now_ns))
        self._current().newest_ns = self._now_ns
        while len(generations) > 1 and generations[0].newest_ns <= expired_ns:
            self._forget()
        total = self._total()
        while len(generations) > 1 and total - len(generations[0].holders) >= self._ids:
            oldest = self._forget()
            total -= len(oldest.holders)
            self._since_ns = max(self._since_ns, oldest.newest_ns)
            self._telemetry.dedup_early.inc(len(oldest.holders))

    def _forget(self) -> _Generation:
        oldest = self._generations.popleft()
        self._leaving.append(oldest.holders)
        return oldest

    def _free(self, ids: int) -> None:
        """Lets go of forgotten claims bit by bit: a large dict that goes at once holds the interpreter for long."""
        while self._leaving and ids > 0:
            leaving = self._leaving[-1]
            for _ in range(min(ids, len(leaving))):
                leaving.popitem()
                ids -= 1
            if not leaving:
                self._leaving.pop()

    def _find(self, key: int) -> dict[int, int] | None:
        """Newest first: what is repeated was mostly sent a moment ago."""
        return next((g.holders for g in reversed(self._generations) if key in g.holders), None)

    def _place(self, batch: Batch) -> int:
        place = (batch.log_id, batch.partition)
        if place not in self._places:
            self._places.append(place)
        return self._places.index(place)

    def _position(self, value: int) -> Position:
        log_id, partition = self._places[value & ((1 << _PLACE_BITS) - 1)]
        return Position(log_id, partition, value >> _PLACE_BITS)

    def _total(self) -> int:
        return sum(len(generation.holders) for generation in self._generations)

    def _report(self) -> None:
        self._telemetry.dedup_ids.set(self._total())
        self._telemetry.dedup_window.set(self.effective_s())
