"""A record of the logging module becomes one event, whatever is in it."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.client.logging_handler import MAX_EVENT_BYTES, RecordEncoder, severity


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


def event(message: str = "hello", records: RecordEncoder | None = None, **facts: Any) -> Any:
    record = logging.makeLogRecord({"name": "app.db", "levelno": logging.INFO, "created": 1_800_000_000.25, **facts})
    encoded = (records or RecordEncoder("acme", None)).encode(record, message)
    assert b"\n" not in encoded
    assert len(encoded) <= MAX_EVENT_BYTES
    return json.loads(encoded)


def test_what_the_logging_module_knows_is_there() -> None:
    found = event(pathname="/srv/app.py", lineno=7, funcName="pay", process=12, threadName="main", order=4711)
    assert found.pop("id")
    assert found == {
        "timestamp": 1_800_000_000_250_000,
        "severity": "info",
        "source": "app.db",
        "message": "hello",
        "tenant_id": "acme",
        "metadata": {
            "logger": "app.db",
            "file": "/srv/app.py:7",
            "function": "pay",
            "process": 12,
            "thread": "main",
            "order": 4711,
        },
    }


def test_tenant_and_source_are_told_or_left_to_the_key_and_the_logger() -> None:
    assert event(records=RecordEncoder(None, "billing"))["source"] == "billing"
    assert "tenant_id" not in event(records=RecordEncoder(None, "billing"))


@pytest.mark.parametrize(
    ("level", "name"),
    [(0, "trace"), (5, "trace"), (10, "debug"), (20, "info"), (25, "info"), (30, "warn"), (40, "error"), (50, "fatal")],
)
def test_levels_are_severities(level: int, name: str) -> None:
    assert severity(level) == name


def test_an_exception_goes_into_the_metadata() -> None:
    try:
        raise ValueError("too \ud800 much")
    except ValueError:
        info = sys.exc_info()
    found = event(exc_info=info)["metadata"]["exception"]
    assert found["type"] == "ValueError"
    assert found["message"] == "too \\ud800 much"
    assert found["traceback"].startswith("Traceback (most")
    assert "exception" not in event(exc_info=(None, None, None))["metadata"]
    assert event(exc_text="Traceback x")["metadata"]["exception"] == {"traceback": "Traceback x"}
    assert event(stack_info="Stack x")["metadata"]["stack"] == "Stack x"


def test_extra_fields_that_json_cannot_say_become_text() -> None:
    loop: list[object] = []
    loop.append(loop)
    extra: dict[str, Any] = {
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "big": 10**30,
        "set": {5},
        "loop": loop,
        "h": Hostile(),
    }
    found = event("a\ud800b", good=1.5, logger="mine", **extra)
    metadata = found["metadata"]
    assert found["message"] == "a\\ud800b"
    assert metadata["good"] == 1.5
    assert metadata["when"] == "2026-01-01T00:00:00Z"
    assert metadata["big"] in (10**30, str(10**30))
    assert metadata["set"] == [5]
    assert metadata["loop"] == "[[...]]"
    assert metadata["h"] == "<Hostile>"
    assert (metadata["logger"], metadata["_logger"]) == ("app.db", "mine")


def test_what_is_too_long_is_cut_and_an_empty_message_is_none_to_a_parsec() -> None:
    found = event("\x00" * 500_000, huge="x" * 500_000, stack_info="y" * 300_000)
    assert found["message"].startswith("\x00")
    assert "huge" not in found["metadata"]
    assert found["metadata"]["cut"].endswith(" bytes")
    assert len(event("x" * 500_000)["message"]) == 64 << 10
    assert event(" \n")["message"] == "(empty)"


def test_ids_are_never_the_same_also_in_a_child() -> None:
    records = RecordEncoder("acme", None)
    ids = {event(records=records)["id"] for _ in range(100)}
    records.restart_ids()
    ids |= {event(records=records)["id"] for _ in range(100)}
    assert len(ids) == 200


@given(
    st.text(st.characters(), max_size=50),
    st.dictionaries(
        st.text(st.characters(), min_size=1).map(lambda name: f"x{name}"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
)
def test_any_record_becomes_an_event(message: str, extra: dict[str, Any]) -> None:
    found = event(message, **extra)
    assert found["message"]
    assert len(found["metadata"]) == 5 + len(extra)
