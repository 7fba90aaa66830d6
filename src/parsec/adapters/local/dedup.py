"""Claims in this process's memory: a queue of generations, of which the oldest is dropped as a whole.

In: batches of (tenant, id) with their positions. Out: which ids another position has claimed. Errors: Fatal after
`close`. Next: parsec.process.range_commit.

Invariants, cited by tests
 1. An id is claimed by one position, in one generation.
 2. The set's clock is the newest time of receipt seen, never ahead of the machine's clock, and never goes back.
 3. A generation is dropped when its newest claim is a window old, or early, when the others have `ids` without it; ids
    dropped early are counted. At most ids * (1 + 1 / GENERATIONS) and two slices are kept.
 4. Work is done in slices of about a millisecond, freeing memory included: other threads run in between.

A million ids take 126 MB, and 156 MB while old ones are freed (bench/claims.py). After a restart the caller claims the
ids in the store again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from parsec.core.clock import Clock
from parsec.core.errors import Fatal
from parsec.core.timestamp import SECOND
from parsec.ports.dedup import Batch, Position, Window
from parsec.telemetry import Telemetry

GENERATIONS = 4
"""More of them drop ids more evenly and grow in smaller steps; each one costs a lookup per id."""
SLICE_IDS = 500
FEWEST_TO_YIELD = 50
"""A smaller batch takes less time than a turn of the event loop."""
_PARTITION_BITS = 20


class _Generation:
    """Claims made in one period. `claims`: hash of tenant and id to offset and partition in one integer.

    The hash has 64 bits and a secret of this process: no sender can make two ids collide, and the store would show it.
    """

    def __init__(self, now_ns: int) -> None:
        self.began_ns = now_ns
        self.newest_ns = now_ns
        self.claims: dict[int, int] = {}


class LocalDedup:
    """Dedup for one process that owns all partitions of a tenant. `yield_gil` lets other threads run."""

    def __init__(
        self, window: Window, telemetry: Telemetry, clock: Clock, yield_gil: Callable[[], None] = lambda: None
    ) -> None:
        self._window_ns = int(window.seconds * SECOND)
        self._ids = window.ids
        self._telemetry = telemetry
        self._clock = clock
        self._yield_gil = yield_gil
        self._partitions: list[tuple[str, int]] = []
        self._now_ns = 0
        self._since_ns = 0
        self._generations: deque[_Generation] = deque()
        self._dropped: list[dict[int, int]] = []
        self._closed = False

    def claim(self, batch: Batch) -> Mapping[int, Position]:
        partition = self._start(batch)
        held: dict[int, Position] = {}
        for keys, offsets in self._slices(batch):
            claims = self._generations[-1].claims
            values = [offset << _PARTITION_BITS | partition for offset in offsets]
            # No id of the slice is known: set operations in C instead of a lookup per id.
            new = dict(zip(keys, values, strict=True))
            if len(new) == len(keys) and all(each.claims.keys().isdisjoint(keys) for each in self._generations):
                claims.update(new)
                continue
            for key, value, offset in zip(keys, values, offsets, strict=True):
                found = self._find(key)
                if found is None:
                    claims[key] = value
                elif found[key] != value:
                    held[offset] = self._position(found[key])
        self._update_metrics()
        return held

    def take_over(self, batch: Batch, holders: Sequence[Position]) -> Mapping[int, Position]:
        partition = self._start(batch)
        held: dict[int, Position] = {}
        expected = iter(holders)
        for keys, offsets in self._slices(batch):
            for key, offset in zip(keys, offsets, strict=True):
                before, value = next(expected), offset << _PARTITION_BITS | partition
                found = self._find(key)
                if found is None:
                    self._generations[-1].claims[key] = value
                elif (holder := self._position(found[key])) == before:
                    found[key] = value
                elif found[key] != value:
                    held[offset] = holder
        self._update_metrics()
        return held

    def release(self, batch: Batch) -> None:
        partition = self._start(batch)
        for keys, offsets in self._slices(batch):
            for key, offset in zip(keys, offsets, strict=True):
                found = self._find(key)
                if found is not None and found[key] == offset << _PARTITION_BITS | partition:
                    del found[key]
        self._update_metrics()

    def wants_restore(self) -> bool:
        return True

    def effective_s(self) -> float:
        return min(self._window_ns, self._now_ns - self._since_ns) / SECOND

    def close(self) -> None:
        self._closed = True
        self._generations.clear()
        self._dropped.clear()

    def _start(self, batch: Batch) -> int:
        """Advances the set's clock; returns the number under which claims name the batch's partition."""
        if self._closed:
            raise Fatal("the claims are closed")
        moment_ns = min(batch.moment_ns, self._clock.time_ns())
        if not self._generations:
            self._generations.append(_Generation(moment_ns))
            self._since_ns = self._now_ns = moment_ns
        self._now_ns = max(self._now_ns, moment_ns)
        partition = (batch.log_id, batch.partition)
        if partition not in self._partitions:
            self._partitions.append(partition)
        return self._partitions.index(partition)

    def _slices(self, batch: Batch) -> Iterator[tuple[list[int], Sequence[int]]]:
        """Hashes and offsets of the batch, slice by slice."""
        for at in range(0, len(batch.offsets), SLICE_IDS):
            end = at + SLICE_IDS
            self._rotate()
            yield list(map(hash, zip(batch.tenants[at:end], batch.ids[at:end], strict=True))), batch.offsets[at:end]
            if self._dropped:
                self._free(2 * SLICE_IDS)
            if len(batch.offsets) >= FEWEST_TO_YIELD:
                self._yield_gil()

    def _rotate(self) -> None:
        """Starts a new generation when it is time, and drops those that are too old or too many (invariant 3)."""
        generations, current = self._generations, self._generations[-1]
        is_full = len(current.claims) >= max(1, self._ids // GENERATIONS)
        if is_full or self._now_ns - current.began_ns >= self._window_ns // GENERATIONS:
            current = _Generation(self._now_ns)
            generations.append(current)
        current.newest_ns = self._now_ns
        while len(generations) > 1 and generations[0].newest_ns <= self._now_ns - self._window_ns:
            self._dropped.append(generations.popleft().claims)
        total = sum(len(each.claims) for each in generations)
        while len(generations) > 1 and total - len(generations[0].claims) >= self._ids:
            oldest = generations.popleft()
            self._dropped.append(oldest.claims)
            total -= len(oldest.claims)
            self._since_ns = max(self._since_ns, oldest.newest_ns)
            self._telemetry.dedup_early.inc(len(oldest.claims))

    def _free(self, ids: int) -> None:
        """Frees dropped claims in parts: a large dict that is freed at once holds the interpreter for long."""
        while self._dropped and ids > 0:
            dropped = self._dropped[-1]
            for _ in range(min(ids, len(dropped))):
                dropped.popitem()
                ids -= 1
            if not dropped:
                self._dropped.pop()

    def _find(self, key: int) -> dict[int, int] | None:
        """The newest generation first, since most repeats follow soon."""
        return next((each.claims for each in reversed(self._generations) if key in each.claims), None)

    def _position(self, value: int) -> Position:
        log_id, partition = self._partitions[value & ((1 << _PARTITION_BITS) - 1)]
        return Position(log_id, partition, value >> _PARTITION_BITS)

    def _update_metrics(self) -> None:
        self._telemetry.dedup_ids.set(sum(len(each.claims) for each in self._generations))
        self._telemetry.dedup_window.set(self.effective_s())
