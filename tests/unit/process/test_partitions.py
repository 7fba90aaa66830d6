"""What comes in from the log: when the next poll comes, and when a partition's batch is due."""

from collections import deque

import pytest

from parsec.ports.broker import Assigned, Progress, Slice
from parsec.process.batching import InsertLimits
from parsec.process.partitions import MANY_RECORDS, Assignments
from tests.support.ingesting import CountingRandom
from tests.support.manual_clock import ManualClock
from tests.support.memory_log import MemoryReader

LIMITS = InsertLimits(max_events=10 * MANY_RECORDS, max_bytes=1 << 30, linger_s=0.5)


class Telling(MemoryReader):
    """Says what it is told to."""

    def __init__(self, *happened: Assigned | Slice) -> None:
        self.happened = deque(happened)

    def poll(self, *_: float) -> Assigned | Slice | None:
        return self.happened.popleft() if self.happened else None

    def ends(self) -> dict[int, int]:
        return {}


def assigned(number: int) -> Assigned:
    return Assigned(Progress("log", number, 0, 0), epoch=1)


def records(number: int, count: int, first: int = 0) -> Slice:
    return Slice("log", number, 1, first, first + count, list(range(first, first + count)), [b"x"] * count, 0)


def assignments_of(*happened: Assigned | Slice) -> tuple[Assignments, ManualClock]:
    clock = ManualClock()
    assignments = Assignments(Telling(*happened), LIMITS, 30, 5.0, clock, CountingRandom())
    for _ in range(len(happened)):
        assignments.poll(clock.monotonic(), 0.0, stopping=False)
    return assignments, clock


@pytest.mark.parametrize(("busy", "wait_s"), [(1, 0.5), (2, 1.0), (12, 6.0)])
def test_partitions_share_the_linger_with_those_that_have_something_to_store(busy: int, wait_s: float) -> None:
    """One of twelve that alone has events waits for one linger, not for twelve."""
    assignments, clock = assignments_of(*(assigned(n) for n in range(12)), *(records(n, 1) for n in range(busy)))
    assignments.owned[0].cut_at = now = clock.monotonic()
    assert assignments.due_in(now, stopping=False)[0] == wait_s
    assert assignments.due_in(now + wait_s, stopping=False)[0] == 0.0
    assert (assignments.due_in(now, stopping=False)[11] == float("inf")) == (busy < 12)


def test_after_many_records_the_next_are_asked_for_without_a_nap(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("parsec.process.partitions.time.sleep", naps.append)
    assignments, clock = assignments_of(assigned(0), records(0, MANY_RECORDS))
    assignments.owned[0].cut_at = clock.monotonic()
    assignments.poll(clock.monotonic(), 0.2, stopping=False)
    assert not naps
    assignments.poll(clock.monotonic(), 0.2, stopping=False)  # the one before brought nothing
    assert len(naps) == 1
