"""Timestamps: what is read, what is stored, what is refused."""

import pytest

from parsec.core import timestamp as timestamps
from parsec.core.errors import Rejected
from parsec.core.timestamp import read_column, read_number, read_text

LATEST_S = 1_790_086_400  # 2026-09-22T14:13:20Z

READ = {
    "2026-09-21T14:00:00Z": "2026-09-21T14:00:00Z",
    "2026-09-21T14:00:00.1Z": "2026-09-21T14:00:00.1Z",
    "2026-09-21T14:00:00.123456789Z": "2026-09-21T14:00:00.123456789Z",
    "2026-09-21t14:00:00.500z": "2026-09-21T14:00:00.500Z",
    "2026-09-21 14:00:00Z": "2026-09-21T14:00:00Z",
    "  2026-09-21T14:00:00Z\n": "2026-09-21T14:00:00Z",
    "2026-09-21T14:00:00+00:00": "2026-09-21T14:00:00Z",
    "2026-09-21T14:00:00-00:00": "2026-09-21T14:00:00Z",
    "2026-09-21T14:00:00.000000001+02:00": "2026-09-21T12:00:00.000000001Z",
    "2026-09-22T01:00:00+14:00": "2026-09-21T11:00:00Z",
    "2026-09-20T23:00:00-12:00": "2026-09-21T11:00:00Z",
    "2026-09-21T14:00:00+23:59": "2026-09-20T14:01:00Z",
    "2026-09-21T14:00:00-05:30": "2026-09-21T19:30:00Z",
    "2026-09-21T14:00:00+0200": "2026-09-21T12:00:00Z",
    "2024-02-29T00:00:00Z": "2024-02-29T00:00:00Z",
    "2000-02-29T23:59:59Z": "2000-02-29T23:59:59Z",
    "1970-01-01T00:00:00Z": "1970-01-01T00:00:00Z",
    "1970-01-01T01:00:00+01:00": "1970-01-01T00:00:00Z",
    "1969-12-31T23:00:00-01:00": "1970-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z": "2016-12-31T23:59:59.999999999Z",
    "2016-12-31T23:59:60.5Z": "2016-12-31T23:59:59.999999999Z",
    "2017-01-01T08:59:60+09:00": "2016-12-31T23:59:59.999999999Z",
    "0": "1970-01-01T00:00:00Z",
    "1700000000": "2023-11-14T22:13:20Z",
    "1700000000.25": "2023-11-14T22:13:20.25Z",
    "1700000000.1234567891": "2023-11-14T22:13:20.123456789Z",
    "1700000000123": "2023-11-14T22:13:20.123Z",
    "1700000000123.5": "2023-11-14T22:13:20.1235Z",
    "1700000000123456": "2023-11-14T22:13:20.123456Z",
    "1700000000123456789": "2023-11-14T22:13:20.123456789Z",
    "1700000000000000001": "2023-11-14T22:13:20.000000001Z",
    "100000000000": "1973-03-03T09:46:40.000Z",
    "1.7e9": "2023-11-14T22:13:20Z",
    "1.7000000005E+9": "2023-11-14T22:13:20.5Z",
}

UNREADABLE = [
    "yesterday", "2026-09-21", "2026-09-21T14:00:00", "2026-09-21T14:00Z", "2026-9-21T14:00:00Z",
    "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z",
    "2016-12-31T12:00:60Z", "2016-12-31T23:59:60+01:00", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60",
    "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00ZZ",
    "2026-01-01T00:00:00Z\n2026-01-01T00:00:00Z", "202\u0666-01-01T00:00:00Z", "2026-01-01T00:00:00.\u0665Z",
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "1969-12-31T23:59:59Z",
    "1970-01-01T00:30:00+01:00", "-1", "-0.5", "-1700000000", "1e400", "1e-400", "1e999", "NaN", "0x10", "1_000",
    "1" * 65, "9" * 5000,
]  # fmt: skip

FUTURE = [
    "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "2026-09-22T14:13:20.000000001Z", "2026-09-22T14:13:21Z",
    "2026-09-23T04:13:20+13:59", "99999999999", "99999999999999999999", "999999999999999999999", "9e19",
]  # fmt: skip


@pytest.mark.parametrize(("text", "stored"), READ.items())
def test_read(text: str, stored: str) -> None:
    timestamps._seconds.clear()
    assert read_text(text, LATEST_S) == stored
    assert list(read_column([text], LATEST_S)) == [stored]
    assert read_text(text, LATEST_S) == stored  # from memory


@pytest.mark.parametrize("text", UNREADABLE)
def test_unreadable(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_text(text, LATEST_S)
    assert (refused.value.code, refused.value.field) == ("invalid_timestamp", "timestamp")
    assert len(refused.value.message) < 200
    assert list(read_column([text], LATEST_S)) == [None]


@pytest.mark.parametrize("text", FUTURE)
def test_more_than_a_day_ahead(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_text(text, LATEST_S)
    assert refused.value.code == "timestamp_in_future"
    assert list(read_column([text], LATEST_S)) == [None]


def test_a_day_ahead_to_the_second_is_taken() -> None:
    assert read_text("2026-09-22T14:13:20Z", LATEST_S) == "2026-09-22T14:13:20Z"
    assert read_text("2026-09-22T14:13:20.000Z", LATEST_S) == "2026-09-22T14:13:20.000Z"


def test_the_bound_moves_with_the_clock_although_dates_are_remembered() -> None:
    text = "2026-09-22T14:13:21Z"
    assert list(read_column([text], LATEST_S + 60)) == [text]
    assert list(read_column([text], LATEST_S)) == [None]
    with pytest.raises(Rejected):
        read_text(text, LATEST_S)


def test_a_column_keeps_its_order_and_marks_what_needs_a_look() -> None:
    stamps: list[str | int] = ["2026-09-21T14:00:00Z", "bad", 1_700_000_000_123, "", 5, "2026-09-21T14:00:00+01:00"]
    assert list(read_column(stamps, LATEST_S)) == [
        "2026-09-21T14:00:00Z", None, "2023-11-14T22:13:20.123Z", None, "1970-01-01T00:00:05Z", "2026-09-21T13:00:00Z",
    ]  # fmt: skip


def test_a_line_break_inside_a_stamp_is_not_two_stamps() -> None:
    sound = "2026-09-21T14:00:00Z"
    assert list(read_column([sound, f"{sound}\n{sound}"], LATEST_S)) == [sound, None]


def test_numbers_that_are_remembered_give_the_same_as_new_ones() -> None:
    stamps = [1_700_000_000_007, 1_700_000_000_070, 1_700_000_000_700]
    timestamps.second_text.cache_clear()
    first = [read_number(str(stamp), LATEST_S) for stamp in stamps]
    assert list(read_column(stamps, LATEST_S)) == first
    assert first == ["2023-11-14T22:13:20.007Z", "2023-11-14T22:13:20.070Z", "2023-11-14T22:13:20.700Z"]


def test_memory_is_bounded() -> None:
    for day in range(timestamps._CACHE_ENTRIES + 10):
        read_number(str(day * 86_400), LATEST_S)
        read_text(f"2026-09-21T{day % 24:02d}:{day // 24 % 60:02d}:{day // 1440 % 60:02d}Z", LATEST_S)
    assert timestamps.second_text.cache_info().currsize <= timestamps._CACHE_ENTRIES
    assert len(timestamps._seconds) <= timestamps._CACHE_ENTRIES
