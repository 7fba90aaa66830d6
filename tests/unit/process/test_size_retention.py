"""Which days go when the store is too large. Numbers cite the invariants of process/size_retention.py."""

import threading
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from parsec.core.errors import Retryable
from parsec.core.timestamp import DAY
from parsec.ports.store import DaySize
from parsec.process import size_retention
from parsec.process.size_retention import SizeRetention
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock

TODAY = 20_000
PLACE = {"reason": "max_bytes"}


class Days:
    """A store of days: 10 events, 1 dead letter and 100 bytes each. `fails`: when, and whether it says so."""

    def __init__(self, *days: int) -> None:
        self.kept = {day: DaySize(day, 10, 1, 100) for day in days}
        self.dropped: list[int] = []
        self.asked = 0
        self.fails: str | None = None
        self.closed = False

    def sizes(self) -> list[DaySize]:
        self.asked += 1
        assert self.asked < 20, "it asks and drops without end"
        return sorted(self.kept.values(), key=lambda each: each.day)

    def drop(self, day: DaySize) -> None:
        self.dropped.append(day.day)
        if self.fails not in ("before", "silently"):
            self.kept.pop(day.day, None)
        if self.fails in ("before", "after"):
            raise Retryable("the store does not answer")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    logger = structlog.wrap_logger(None, [capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(size_retention, "_log", logger)
    return capture.entries


def bound(days: Days, max_bytes: int) -> tuple[SizeRetention, Telemetry]:
    telemetry = Telemetry()
    return SizeRetention(days, max_bytes, telemetry, ManualClock(TODAY * DAY + DAY - 1)), telemetry


def counted(telemetry: Telemetry) -> tuple[float, float, float]:
    names = ("events", "dead_letters", "bytes")
    events, letters, size = (telemetry.value(f"parsec_store_dropped_{name}_total", **PLACE) for name in names)
    return events, letters, size


def test_the_oldest_go_until_the_rest_is_within_the_bound(said: list[Any]) -> None:
    days = Days(TODAY - 7, TODAY - 3, TODAY - 1, TODAY)
    keeper, telemetry = bound(days, 250)
    keeper.check()
    assert days.dropped == [TODAY - 7, TODAY - 3]
    assert keeper.why() is None
    assert counted(telemetry) == (20, 2, 200)
    assert telemetry.value("parsec_store_bytes") == 200
    assert telemetry.value("parsec_store_max_bytes") == 250
    told = [(each["log_level"], each["day"], each["events"], each["dead_letters"], each["bytes"]) for each in said]
    assert told == [("warning", "2024-09-27", 10, 1, 100), ("warning", "2024-10-01", 10, 1, 100)]


class Minutes(threading.Event):
    """Is set after so many waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self._left = waits
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        self._left -= 1
        if self._left == 0:
            self.set()
        return self.is_set()


def test_it_checks_at_once_and_each_minute_and_closes_the_store() -> None:
    days, stop = Days(TODAY), Minutes(3)
    bound(days, 200)[0].run(stop)
    assert (days.asked, stop.waited, days.closed) == (3, [60.0] * 3, True)


def test_what_is_exactly_at_the_bound_stays() -> None:
    days = Days(TODAY - 1, TODAY)
    bound(days, 200)[0].check()
    assert days.dropped == []


def test_today_never_goes_nor_what_a_fast_clock_dated_later(said: list[Any]) -> None:  # 2
    days = Days(TODAY - 1, TODAY, TODAY + 1)
    keeper, _ = bound(days, 50)
    keeper.check()
    keeper.check()
    assert days.dropped == [TODAY - 1]
    assert "never dropped" in (keeper.why() or "")
    assert [each["log_level"] for each in said] == ["warning", "error"], "said once"
    days.kept.clear()
    keeper.check()
    assert keeper.why() is None


def test_room_that_another_process_has_made_is_seen_before_the_next_day_goes() -> None:  # 1
    days = Days(TODAY - 3, TODAY - 2, TODAY - 1, TODAY)
    other = bound(days, 350)[0]
    drop = days.drop

    def at_once(day: DaySize) -> None:
        days.drop = drop  # type: ignore[method-assign]
        other.check()
        drop(day)

    days.drop = at_once  # type: ignore[method-assign]
    bound(days, 350)[0].check()
    assert days.dropped == [TODAY - 3, TODAY - 3], "the same day, which was gone already"
    assert len(days.kept) == 3


def test_a_day_that_went_without_an_answer_is_counted_by_the_next_check() -> None:  # 3
    days = Days(TODAY - 2, TODAY - 1, TODAY)
    keeper, telemetry = bound(days, 200)
    days.fails = "after"
    keeper.check()
    assert "does not answer" in (keeper.why() or "")
    assert counted(telemetry) == (0, 0, 0)
    days.fails = None
    keeper.check()
    assert counted(telemetry) == (10, 1, 100)
    assert (days.dropped, keeper.why()) == ([TODAY - 2], None)


def test_a_drop_that_did_nothing_counts_nothing_and_is_tried_again() -> None:  # 3
    days = Days(TODAY - 2, TODAY)
    keeper, telemetry = bound(days, 150)
    days.fails = "before"
    keeper.check()
    keeper.check()
    assert counted(telemetry) == (0, 0, 0)
    days.fails = None
    keeper.check()
    keeper.check()
    assert counted(telemetry) == (10, 1, 100)


def test_a_store_that_says_yes_and_drops_nothing_is_asked_again_later() -> None:
    days = Days(TODAY - 2, TODAY)
    keeper, telemetry = bound(days, 150)
    days.fails = "silently"
    keeper.check()
    assert (days.dropped, counted(telemetry)) == ([TODAY - 2], (0, 0, 0))
