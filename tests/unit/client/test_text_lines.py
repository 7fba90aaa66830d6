"""Each line of a text is one event, with the time and the level that it has, and the whole line as its message."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.client.text_lines import TextLines, TextOptions
from tests.support.ingesting import NOW_NS, take
from tests.support.manual_clock import ManualClock

NOW = "2026-09-21T14:13:20Z"
TRACE = b"""\
2026-07-29 12:00:00,123 ERROR paying failed
java.lang.IllegalStateException: declined
\tat com.acme.Pay.charge(Pay.java:7)
    ... 3 more
Caused by: java.io.IOException: reset
2026-07-29 12:00:01,000 INFO next
  more of it
"""


def lines(options: TextOptions | None = None, written_ns: int | None = None) -> TextLines:
    fields = {"source": "app.log", "tenant_id": "acme"}
    return TextLines(options or TextOptions(zone=UTC), fields, ManualClock(NOW_NS), written_ns)


def events(text: bytes, options: TextOptions | None = None) -> list[Any]:
    reader = lines(options)
    return [msgspec.json.decode(reader.event(line)) for line in text.splitlines()]


def test_time_and_level_are_those_of_the_line_and_the_message_is_the_whole_line() -> None:
    (event,) = events(b"  2026".lstrip() + b"-07-29 12:00:00,123 WARN  slow \xff")
    assert event == {
        "timestamp": "2026-07-29T12:00:00.123Z",
        "severity": "warn",
        "source": "app.log",
        "tenant_id": "acme",
        "message": "2026-07-29 12:00:00,123 WARN  slow \\xff",
    }


def test_lines_that_continue_another_have_its_time_and_indented_ones_its_level() -> None:
    found = [(event["timestamp"][17:-1], event["severity"]) for event in events(TRACE)]
    assert found == [
        ("00.123", "error"),
        ("00.123", "info"),
        ("00.123", "error"),
        ("00.123", "error"),
        ("00.123", "info"),
        ("01", "info"),
        ("01", "info"),
    ]
    assert [event["message"] for event in events(TRACE)] == TRACE.decode().splitlines()


def test_after_a_pause_a_line_is_its_own() -> None:
    reader = lines()
    reader.event(b"2026-07-29 12:00:00 ERROR failed")
    reader.paused()
    event = msgspec.json.decode(reader.event(b"\tlater"))
    assert (event["timestamp"], event["severity"]) == (NOW, "info")
    assert reader.without_time == 1


def test_a_line_with_nothing_has_the_present_and_the_default() -> None:
    (event,) = events(b"hello")
    assert (event["timestamp"], event["severity"]) == (NOW, "info")
    (event,) = events(b"hello", TextOptions(severity="debug"))
    assert event["severity"] == "debug"


@pytest.mark.parametrize(("read_time", "read_level"), [(False, True), (True, False), (False, False)])
def test_either_may_be_left_unread(read_time: bool, read_level: bool) -> None:
    text = b"2026-07-29 12:00:00Z ERROR failed\n\tat x"
    for event in events(text, TextOptions(read_time=read_time, read_level=read_level, severity="warn")):
        assert event["timestamp"] == ("2026-07-29T12:00:00Z" if read_time else NOW)
        assert event["severity"] == ("error" if read_level else "warn")


def test_the_year_of_an_old_file_is_that_of_its_last_change() -> None:
    written_ns = int(datetime(2023, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000_000
    reader = lines(written_ns=written_ns)
    first = msgspec.json.decode(reader.event(b"Dec 31 12:00:00 h a: b"))
    second = msgspec.json.decode(reader.event(b"Jan  1 12:00:00 h a: b"))
    assert (first["timestamp"], second["timestamp"]) == ("2022-12-31T12:00:00Z", "2023-01-01T12:00:00Z")


def test_a_time_far_ahead_is_none() -> None:
    (event,) = events(b"2026-09-23 12:00:00 clock is wrong")
    assert event["timestamp"] == NOW


heads = st.sampled_from(
    [
        "",
        "2026-07-29 12:00:00,123 ",
        "Jul 29 12:00:00 ",
        "<34>",
        "I0729 12:00:00.000000 ",
        "1785326400 ",
        "\t",
        "[ERROR] ",
    ]
)


@given(st.lists(st.tuples(heads, st.text(min_size=1, max_size=40)), min_size=1, max_size=8))
def test_a_parsec_accepts_every_line(found: list[tuple[str, str]]) -> None:
    reader = lines()
    for head, text in found:
        line = (head + text).encode("utf-8", "surrogatepass")
        taken = take(reader.event(line))
        assert taken.codes == []
