"""Time ranges as people and programs write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.errors import Rejected
from parsec.core.timestamp import LATEST, SECOND, text_of
from parsec.query.timerange import TimeRange, timerange
from tests.support.manual_clock import ManualClock

NOW = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00Z
CLOCK = ManualClock(NOW)
HOUR = 3600 * SECOND


def test_the_last_hour_is_the_default() -> None:
    assert timerange(None, None, CLOCK) == TimeRange(NOW - HOUR, NOW)


def test_an_hour_before_an_end_that_is_given() -> None:
    assert timerange(None, "-3h", CLOCK) == TimeRange(NOW - 4 * HOUR, NOW - 3 * HOUR)


MOMENTS = {
    "now": NOW,
    "-2h": NOW - 2 * HOUR,
    "now-2h": NOW - 2 * HOUR,
    "+1d": NOW + 24 * HOUR,
    "-1w": NOW - 168 * HOUR,
    "-90s": NOW - 90 * SECOND,
    "-5m": NOW - 300 * SECOND,
    "-7ms": NOW - 7_000_000,
    "-8us": NOW - 8_000,
    "-9ns": NOW - 9,
    "1795435200": NOW,
    "1795435200.000000001": NOW + 1,
    "1795435200123": NOW + 123_000_000,
    "1795435200123.25": NOW + 123_250_000,
    "1795435200123456": NOW + 123_456_000,
    "1795435200123456789": NOW + 123_456_789,
    "0": 0,
    "2026-11-23T12:00:00Z": NOW,
    "2026-11-23t12:00:00z": NOW,
    "2026-11-23T12:00:00.123456789Z": NOW + 123_456_789,
    "2026-11-23T13:30:00+01:30": NOW,
    "2026-11-23T13:30:00 01:30": NOW,
    "2026-11-23T00:00:00-1200": NOW,
    "2026-11-24T02:00:00+14:00": NOW,
    " 2026-11-23 12:00:00Z ": NOW,
    "2026-11-23": NOW - 12 * HOUR,
}


@pytest.mark.parametrize(("text", "expected"), MOMENTS.items())
def test_a_moment_is_read(text: str, expected: int) -> None:
    assert timerange(text, "2030-01-01", CLOCK).start_ns == expected


@given(st.integers(10**17, LATEST - 1))
def test_a_moment_as_the_answer_writes_it_is_read_exactly(moment_ns: int) -> None:
    assert timerange(text_of(moment_ns), str(LATEST), CLOCK).start_ns == moment_ns


@pytest.mark.parametrize(
    "text",
    ["", "  ", "yesterday", "-2", "-2x", "2h", "--2h", "2026-11-23T12:00:00", "2026-13-01", "2026-11-23T25:00:00Z",
     "2026-11-23T12:00:00+25:00", "1e9", "0x10", "99999999999999999999", "NaN", "-9999999999999999999h", "\u0663",
     "2019", "1999"],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        timerange(text, None, CLOCK)
    assert (caught.value.code, caught.value.field) == ("invalid_parameter", "from")
    with pytest.raises(Rejected) as caught:
        timerange(None, text, CLOCK)
    assert (caught.value.code, caught.value.field) == ("invalid_parameter", "to")


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [("now", "-1h", "later than `to`; swap them"), ("+1h", None, "in the future; give `to`, too")],
)
def test_a_start_after_the_end_is_refused(start: str, end: str | None, why: str) -> None:
    with pytest.raises(Rejected, match=why) as caught:
        timerange(start, end, CLOCK)
    assert caught.value.field == "from"


def test_moments_that_the_store_cannot_hold_are_cut_to_those_it_can() -> None:
    assert timerange("1900-01-01", "9999-12-31", CLOCK) == TimeRange(0, LATEST)
    assert timerange("-999999999999999999w", "+999999999999999999w", CLOCK) == TimeRange(0, LATEST)
