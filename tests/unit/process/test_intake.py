"""What comes in from the log: when the next poll comes, and when a partition's batch is due."""

from collections import deque

import pytest

from parsec.core.clock import ManualClock
from parsec.ports.broker import Assigned, Progress, Slice
from parsec.process.backlog import Limits
from parsec.process.intake import MANY_RECORDS, Intake
from tests.support.ingesting import CountingRandom
from tests.support.memory_log import MemoryReader

LIMITS = Limits(max_events=10 * MANY_RECORDS, max_bytes=1 << 30, linger_s=0.5)


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


def intake_of(*happened: Assigned | Slice) -> tuple[Intake, ManualClock]:
    clock = ManualClock()
    intake = Intake(Telling(*happened), LIMITS, 30, 5.0, clock, CountingRandom())
    for _ in range(len(happened)):
        intake.poll(0.0, stopping=False)
    return intake, clock


def test_after_many_records_the_next_are_asked_for_without_a_nap(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("parsec.process.intake.time.sleep", naps.append)
    intake, clock = intake_of(assigned(0), records(0, MANY_RECORDS))
    intake.partitions()[0].cut_at = clock.monotonic()
    intake.poll(0.2, stopping=False)
    assert not naps
    intake.poll(0.2, stopping=False)  # the one before brought nothing
    assert len(naps) == 1
