"""Cursors that are none never reach the store."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.errors import Rejected
from parsec.ports.store import QueryLimits, T
from parsec.query.sql.page import PageRequest
from parsec.query.timerange import TimeRange
from tests.support.stored import ask

LIMITS = QueryLimits(1 << 20, 1.0)


class EmptyStore:
    """A store without events that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, into: type[T]) -> list[T]:
        self.asked.append({**parameters, "sql": sql, "limits": limits, "into": into})
        return []

    def ping(self) -> None:
        pass


def refused(cursor: str) -> bool:
    store = EmptyStore()
    try:
        ask(store, PageRequest("acme", TimeRange(0, 1), 10, cursor), LIMITS)
    except Rejected as error:
        return (error.code, error.field, store.asked) == ("invalid_cursor", "cursor", [])
    return False


SAME = zlib.crc32(b"newest\0")
"""What a cursor remembers of a question without an expression."""


def written(text: str) -> str:
    text = text.replace("SAME", str(SAME))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "====", "%%%%", "ä", "A" * 2000, written("{}"), written("[]"), written("null"), written("[" * 500),
        written('["acme",0,1,0,"log",0,SAME]'),
        written('["acme",0,1,0,"log",0,0,SAME,0]'),
        written('["other",0,1,0,"log",0,0,SAME]'),
        written('["acme",0,1,0,"log",0,"0",SAME]'),
        written('["acme",2,1,0,"log",0,0,SAME]'),
        written('["acme",-1,1,0,"log",0,0,SAME]'),
        written(f'["acme",0,{1 << 63},0,"log",0,0,SAME]'),
        written(f'["acme",0,1,{1 << 63},"log",0,0,SAME]'),
        written(f'["acme",0,1,0,"log",{1 << 32},0,SAME]'),
        written('["acme",0,1,0,"log",0,-1,SAME]'),
        written('["acme",0,1,0,"log",0,0,7]'),
    ],
)  # fmt: skip
def test_a_garbage_cursor_is_refused(cursor: str) -> None:
    assert refused(cursor)


@given(st.text(min_size=1, max_size=60))
def test_no_text_raises_anything_else(cursor: str) -> None:
    assert refused(cursor)


def test_a_whole_cursor_is_taken() -> None:
    assert not refused(written('["acme",0,1,0,"log",0,0,SAME]'))


def test_the_day_of_receipt_is_narrowed_by_the_time_range() -> None:
    store = EmptyStore()
    answer = ask(store, PageRequest("acme", TimeRange(10**18, 10**18 + 5), 10), LIMITS)
    assert (bytes(answer.events), answer.count, answer.cursor) == (b"[]", 0, None)
    bound = [value for value in store.asked[0].values() if isinstance(value, int)]
    assert {10**18, 10**18 + 5, 10**18 - 87_000 * 10**9, 11} <= set(bound)
