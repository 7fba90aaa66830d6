"""Work in slices: other threads get their turn, also while memory is freed (invariant 4 of local/dedup.py)."""

import pytest

from parsec.adapters.local.dedup import FEWEST_TO_YIELD, GENERATIONS, SLICE_IDS, LocalDedup
from parsec.ports.dedup import Batch, Window
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock


def batch(clock: ManualClock, first: int, ids: int) -> Batch:
    names = [f"id-{n}" for n in range(first, first + ids)]
    return Batch("log", 0, clock.time_ns(), ["acme"] * ids, names, range(first, first + ids))


@pytest.mark.parametrize(
    ("ids", "turns"),
    [(FEWEST_TO_YIELD - 1, 0), (FEWEST_TO_YIELD, 1), (SLICE_IDS, 1), (SLICE_IDS + 1, 2), (4 * SLICE_IDS, 4)],
)
def test_there_is_a_turn_after_each_slice_but_not_after_a_few_ids(ids: int, turns: int) -> None:
    clock, taken = ManualClock(), list[int]()
    LocalDedup(Window(60, 10_000), Telemetry(), clock, lambda: taken.append(1)).claim(batch(clock, 0, ids))
    assert len(taken) == turns


def test_dropped_claims_are_freed_in_parts() -> None:
    clock, held = ManualClock(), 8 * SLICE_IDS
    dedup = LocalDedup(Window(60, GENERATIONS * held), Telemetry(), clock)
    dedup.claim(batch(clock, 0, held))
    clock.advance(61)
    left = []
    for first in range(held, held + 6):
        dedup.claim(batch(clock, first, 1))
        left.append(sum(map(len, dedup._dropped)))
    assert left == [held - 2 * SLICE_IDS * turn for turn in range(1, 5)] + [0, 0]
