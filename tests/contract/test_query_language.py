"""The examples of docs/query-language.md find what the page says, in the store and in plain Python."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from parsec.core.errors import Rejected
from parsec.core.timestamp import LATEST, SECOND
from parsec.ports.store import Row, StoreReader
from parsec.process.search_text import texts
from parsec.query.language.ast import Field
from parsec.query.language.parse import parse
from parsec.query.sql.filter import Scope
from parsec.query.sql.histogram import GroupBy, histogram
from parsec.query.sql.page import PageRequest
from parsec.query.timerange import TimeRange
from tests.support.matching import Subject, predicate
from tests.support.stored import ask
from tests.support.stores import LIMITS, embedded_store

PAGE = (Path(__file__).parents[2] / "docs" / "query-language.md").read_text()
NOON = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00Z

_TABLES = re.compile(r"^\| (example|wrong) .*\n\|[ -|]*\n((?:\|.*\n)+)", re.MULTILINE)
_ROW = re.compile(r"^\| `(.*?)` \| ([^|]*?) ?\| ([^|]*?) ?\|", re.MULTILINE)


def table_rows(kind: str) -> list[tuple[str, str, str]]:
    return [row for first, body in _TABLES.findall(PAGE) if first == kind for row in _ROW.findall(body)]


EXAMPLES = [(text, found.split()) for text, found, _ in table_rows("example")]
WRONG = [(text, int(column), told) for text, column, told in table_rows("wrong")]


def events() -> list[Row]:
    """The events of the page, a second apart."""
    (block,) = re.findall(r"```jsonl\n(.*?)```", PAGE, re.DOTALL)
    return [
        Row(
            "acme", NOON + n * SECOND, event["severity"], event["source"], event["message"],
            kept, event["id"], NOON, "", "node-1", "log-1", 0, n, 40_000, searched,
        )
        for n, event in enumerate(map(json.loads, block.splitlines()))
        for kept, searched in [texts(msgspec.Raw(json.dumps(event["metadata"]).encode()))]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> Iterator[StoreReader]:
    with embedded_store() as (store, _):
        store.insert(events(), "t")
        yield store.reader()


def test_the_page_has_examples_of_every_kind() -> None:
    assert len(EXAMPLES) == PAGE.count("\n| `") - len(WRONG)
    assert (len(EXAMPLES) > 35, len(WRONG) > 10) == (True, True)


@pytest.mark.parametrize(("text", "expected"), EXAMPLES, ids=[text for text, _ in EXAMPLES])
def test_an_example_finds_what_the_page_says(reader: StoreReader, text: str, expected: list[str]) -> None:
    answer = ask(reader, PageRequest("acme", TimeRange(0, LATEST), 100, q=text, order="oldest"), LIMITS)
    assert [event["id"] for event in json.loads(bytes(answer.events))] == expected
    holds = predicate(parse(text))
    assert [event.id for event in events() if holds(Subject(event))] == expected


@pytest.mark.parametrize(("text", "column", "told"), WRONG, ids=[text for text, _, _ in WRONG])
def test_a_mistake_is_told_as_the_page_says(text: str, column: int, told: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse(text)
    assert caught.value.message.startswith(f"Column {column}: {told}")


def test_the_longest_expression_is_answered(reader: StoreReader) -> None:
    """Its statement is longer than the engine reads unless told otherwise."""
    text = " OR ".join(f"metadata.n{n}:[1.5 TO {n}.25]" for n in range(99)) + " OR metadata.latency_ms:[1.5 TO 700.25]"
    scope = Scope("acme", TimeRange(NOON, NOON + 10 * SECOND), parse(text))
    _, buckets = histogram(reader, scope, LIMITS, groups=GroupBy(Field("source"), 5))
    assert sum(bucket.count for bucket in buckets) == 2
