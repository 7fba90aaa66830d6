"""Text stays text: what looks like a date, a number or a boolean is found as it was sent, wherever it stands.

Search, tail, values, histogram, aggregate and export agree on each of ODD_TEXTS, before and after a merge.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.ports.store import Row, StoreReader
from parsec.process.search_text import texts
from parsec.query.language.ast import Equal, Field, Match, Node
from parsec.query.sql.aggregate import aggregate, parse_metric
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from parsec.query.sql.facets import value_counts
from parsec.query.sql.filter import Scope
from parsec.query.sql.histogram import GroupBy, histogram
from parsec.query.sql.new_events import Filter, new_events
from parsec.query.timerange import TimeRange
from tests.support.odd_texts import ODD_TEXTS
from tests.support.stored import NOON, events, row
from tests.support.stores import LIMITS, TestEngine, embedded_store

PATHS = {
    "scalar": "v",
    "nested": "in.a.b",
    "list": "list",
    "mixed list": "mixed",
    "list of lists": "lists",
    "list of objects": "objects.v",
    "beyond 64 paths": "zz.late",
}
HOUR = TimeRange(NOON, NOON + 3_600_000_000_000)
AT_ONCE = 60
Stored = tuple[ClickHouseStore, list[Row]]


def metadata(text: str, number: int) -> dict[str, Any]:
    return {
        "v": text,
        "in": {"a": {"b": text}},
        "list": [text, "z"] if number % 2 else [text],
        "mixed": ["2026-07-29", text, 1, True, 1.5, None],
        "lists": [["y", 2], [text]],
        "objects": [{"v": text, "n": number}, {"v": "other"}],
        "any": (text, "17", 17, True, "2026-07-29", [text])[number % 6],
        **{f"wide{n:02d}": "2026-07-29" if n % 2 else n for n in range(70)},
        "zz": {"late": text},
    }


def odd_rows() -> list[Row]:
    made = []
    for number, text in enumerate(ODD_TEXTS):
        raw = json.dumps(metadata(text, number), ensure_ascii=number % 3 == 0)
        kept, searched = texts(msgspec.Raw(raw.encode()))
        made.append(row(number, metadata=kept, search_text=searched))
    return made


@pytest.fixture(scope="module", params=["fresh", "merged"])
def stored(request: pytest.FixtureRequest) -> Iterator[Stored]:
    with embedded_store() as (store, engine):
        made = odd_rows()
        store.insert(made[::2], "even")
        store.insert(made[1::2], "odd")
        if request.param == "merged":
            merge(engine)
        yield store, made


def merge(engine: TestEngine) -> None:
    engine.ask("OPTIMIZE TABLE events FINAL")
    assert (
        engine.ask("SELECT count() FROM system.parts WHERE active AND table = 'events' AND database = database()") == 1
    )


def equal(path: str, text: str) -> Match:
    return Match(Field("metadata", path), Equal(text))


def found_by(reader: StoreReader, nodes: list[Node]) -> list[set[str]]:
    """The ids that each condition finds, several conditions in a statement."""
    found: list[set[str]] = []
    for at in range(0, len(nodes), AT_ONCE):
        parameters = Parameters()
        columns = [f"groupArrayIf(id, {condition(node, parameters)})" for node in nodes[at : at + AT_ONCE]]
        sql = f"SELECT {', '.join(columns)} FROM events"  # noqa: S608 (our own text)
        (answer,) = reader.select(sql, parameters.values, LIMITS, list[list[str]])
        found += map(set, answer)
    return found


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_search_finds_each_text_and_nothing_else(stored: Stored, path: str) -> None:
    store, made = stored
    extra = {"mixed": {"2026-07-29", "1", "1.5", "true"}, "lists": {"y", "2"}, "list": {"z"}, "objects.v": {"other"}}
    every = {each.id for each in made}
    found = found_by(store.reader(), [equal(path, text) for text in ODD_TEXTS])
    for number, (text, ids) in enumerate(zip(ODD_TEXTS, found, strict=True)):
        assert ids == (every if text in extra.get(path, ()) else {f"evt-{number}"}), (path, text)


def test_a_path_with_all_kinds_of_values(stored: Stored) -> None:
    store, _ = stored
    found = found_by(store.reader(), [equal("any", text) for text in (*ODD_TEXTS, "17", "true", "2026-07-29")])
    sent = [metadata(text, number)["any"] for number, text in enumerate(ODD_TEXTS)]
    alike = {17: {"17", "17.0", "+17", "17."}, True: {"true"}}
    for text, ids in zip((*ODD_TEXTS, "17", "true", "2026-07-29"), found, strict=True):
        expected = {
            f"evt-{number}"
            for number, value in enumerate(sent)
            if text == value or value == [text] or (type(value) in (int, bool) and is_spelling(text, value))
        }
        assert ids == expected, (text, alike)


def is_spelling(text: str, value: float) -> bool:
    if value is True:
        return text == "true"
    try:
        return float(text) == value and text.strip() == text and text[-1] != "." and text[0] != "+"
    except ValueError:
        return False


def test_tail_finds_what_search_finds(stored: Stored) -> None:
    store, _ = stored
    until = {("log-1", 0): len(ODD_TEXTS)}
    nodes = [equal("v", text) for text in ODD_TEXTS]
    for at in range(0, len(nodes), AT_ONCE):
        some = [Filter(node, {("log-1", 0): 0}) for node in nodes[at : at + AT_ONCE]]
        found = new_events(store.reader(), "acme", some, until, LIMITS)
        assert found.evaluated == len(some)
        assert sorted((group.filters, group.count) for group in found.groups) == [([n], 1) for n in range(len(some))]


@pytest.mark.parametrize("path", ["v", "in.a.b", "zz.late"])
def test_values_histogram_and_aggregate_list_each_text_once(stored: Stored, path: str) -> None:
    store, _ = stored
    reader, scope, field = store.reader(), Scope("acme", HOUR), Field("metadata", path)
    expected = Counter(ODD_TEXTS)
    assert {each.value: each.count for each in value_counts(reader, scope, field, 1000, LIMITS)} == expected
    _, buckets = histogram(reader, scope, LIMITS, interval_s=3600, groups=GroupBy(field, 1000))
    assert buckets[0].by == expected
    metrics = [parse_metric("count"), parse_metric(f"distinct(metadata.{path})")]
    groups = aggregate(reader, scope, metrics, [field], 1000, LIMITS)
    assert Counter({group.by[f"metadata.{path}"]: group.values["count"] for group in groups}) == expected
    (whole,) = aggregate(reader, scope, metrics, [], 1, LIMITS)
    assert whole.values[f"distinct(metadata.{path})"] == len(ODD_TEXTS)


def test_every_event_comes_back_as_it_was_sent(stored: Stored) -> None:
    store, _ = stored
    assert {each["id"]: each["metadata"] for each in events(store)} == {
        f"evt-{number}": metadata(text, number) for number, text in enumerate(ODD_TEXTS)
    }


@pytest.mark.parametrize("decimals", [[1.5, "x"], [0.5, None], [1e300, True]])
def test_an_integer_in_a_list_is_exact_whatever_the_other_events_of_the_insert_have(decimals: list[object]) -> None:
    """The engine reads the numbers in the lists of a block as decimals after a mixed list with a decimal."""
    number = 1234567890123456789
    lists: list[list[object]] = [decimals, [number, "a"], [number + 1, "a"], [number], [number, 1.5], [[number], "b"]]
    with embedded_store() as (store, engine):
        searched = [texts(msgspec.Raw(json.dumps({"l": each}).encode())) for each in lists]
        store.insert([row(at, metadata=kept, search_text=text) for at, (kept, text) in enumerate(searched)], "all")
        for _ in range(2):
            found = found_by(store.reader(), [equal("l", str(number)), equal("l", str(number + 1))])
            assert found == [{"evt-1", "evt-3", "evt-4", "evt-5"}, {"evt-2"}]
            merge(engine)
