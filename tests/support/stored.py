"""Rows and dead letters as a test wants them, and what a question finds of them."""

import json
from typing import Any

import msgspec

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.timestamp import LATEST
from parsec.ports.store import DeadLetter, QueryLimits, Row, StoreReader
from parsec.query.sql.page import PageRequest, page
from parsec.query.timerange import TimeRange
from tests.support.stores import LIMITS

NOON = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
ALL_TIMES = TimeRange(0, LATEST)


def row(offset: int = 0, **other: Any) -> Row:
    made = Row(
        "acme", NOON + offset, "info", "api", f"hello {offset}", '{"n":1}', f"evt-{offset}", NOON,
        "local", "node-1", "log-1", 0, offset, 40_000,
    )  # fmt: skip
    return msgspec.structs.replace(made, **other)


def letter(offset: int, **other: Any) -> DeadLetter:
    made = DeadLetter("log-1", 0, offset, "acme", "invalid_envelope", "no JSON", b"\xff\x00{")
    return msgspec.structs.replace(made, **other)


class Answered(msgspec.Struct):
    """A page as it is sent: `events` is a JSON array of `count` events."""

    events: bytes
    count: int
    cursor: str | None


def ask(reader: StoreReader, question: PageRequest, limits: QueryLimits) -> Answered:
    found = page(reader, question, limits)
    return Answered(msgspec.json.encode(found.events), len(found.events), found.cursor)


def events(store: ClickHouseStore, tenant: str = "acme", limit: int = 10_000) -> list[dict[str, Any]]:
    found = ask(store.reader(), PageRequest(tenant, ALL_TIMES, limit), LIMITS)
    answer: list[dict[str, Any]] = json.loads(bytes(found.events))
    assert len(answer) == found.count
    return answer
