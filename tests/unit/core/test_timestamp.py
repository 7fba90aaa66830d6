"""Moments of envelopes: exact both ways, and nothing else is read."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.timestamp import LATEST, nanoseconds, text_of


@given(st.integers(0, LATEST))
def test_there_and_back_is_exact(moment_ns: int) -> None:
    assert nanoseconds(text_of(moment_ns)) == moment_ns


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001
def test_agrees_with_the_calendar(at: datetime) -> None:
    since = at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    expected = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    assert nanoseconds(f"{at.isoformat()}Z") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2026-11-23T12:00:00.120Z", 1_795_435_200_120_000_000),
    ],
)
def test_digits_count_as_written(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z1", "1970-01-01T00:00:00+00:00",
        "1970-01-01T00:00:00.1234567890Z", "1970-01-01 00:00:00Z", "1970-02-30T00:00:00Z", "1970-01-01T24:00:01Z",
        "1970-01-01T00:00:60Z", "1970-01-01T00:00:00.-1Z", "1970-01-01T00:00:00.1 Z", "1970-01-01T00:00:00.\u0661Z",
        "0000-01-01T00:00:00Z", "\uff11970-01-01T00:00:00Z", "1970-01-01T00:00:00ZZ", "1970-01-01T00:00:00.1z",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert nanoseconds(text) is None


@pytest.mark.parametrize(
    ("moment_ns", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1, "1970-01-01T00:00:00.000000001Z"), (1_500_000_000, "1970-01-01T00:00:01.5Z")],
)
def test_the_text_is_the_shortest(moment_ns: int, text: str) -> None:
    assert text_of(moment_ns) == text
