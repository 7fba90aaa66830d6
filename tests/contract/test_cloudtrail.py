"""2,900 events of some 80 fields: 200 random questions for a path and a value each have the exact count in search, tail
and values, before and after a merge; `make soak` has the slower half."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.ports.store import StoreReader
from parsec.query.language.ast import Equal, Field, Match
from parsec.query.language.fields import number
from parsec.query.sql.aggregate import aggregate, parse_metric
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from parsec.query.sql.facets import field_counts, value_counts
from parsec.query.sql.filter import Scope
from parsec.query.sql.new_events import Filter, new_events
from tests.support.cloudtrail import cloudtrail_events
from tests.support.stored import ALL_TIMES, NOON, row
from tests.support.stores import LIMITS, embedded_store

EVENTS = 2_900
QUESTIONS = 200
AT_ONCE = 50
Flat = dict[str, list[Any]]


def flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values below a path; of a list all items. Objects in lists are left to the tests of the query language."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, list):
        yield from ((path, item) for item in value if not isinstance(item, dict | list))
    elif value is not None:
        yield path, value


def flattened(event: dict[str, Any]) -> Flat:
    found: Flat = {}
    for path, value in flat("", event):
        found.setdefault(path, []).append(value)
    return found


SENT = cloudtrail_events(EVENTS)
FLAT = [flattened(event) for event in SENT]


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def matches(event: Flat, path: str, text: str) -> bool:
    """`path:text`: the text, or the number or the boolean that it spells."""
    wanted = number(text)
    return any(
        value == text or (type(value) is bool and text_of(value) == text)
        or (type(value) in (int, float) and wanted is not None and value == wanted)
        for value in event.get(path, ())
    )  # fmt: skip


def questions() -> list[tuple[str, str]]:
    """Of paths chosen alike, whether an event in ten has them or all have."""
    chance = random.Random(4)
    values: dict[str, list[Any]] = {}
    for event in FLAT:
        for path, found in event.items():
            values.setdefault(path, []).extend(found)
    paths = sorted(values)
    return [(path, text_of(chance.choice(values[path]))) for path in chance.choices(paths, k=QUESTIONS)]


ASKED = questions()
EXPECTED = [sum(matches(event, path, text) for event in FLAT) for path, text in ASKED]


@pytest.fixture(scope="module", params=["fresh", "merged"])
def store(request: pytest.FixtureRequest) -> Iterator[ClickHouseStore]:
    with embedded_store() as (opened, engine):
        made = [row(n, timestamp=NOON + n, metadata=json.dumps(event)) for n, event in enumerate(SENT)]
        for first in range(0, EVENTS, 1000):
            opened.insert(made[first : first + 1000], f"t{first}")
        if request.param == "merged":
            engine.ask("OPTIMIZE TABLE events FINAL")
        yield opened


def test_the_events_have_as_many_fields_as_they_should() -> None:
    assert 70 < sum(map(len, FLAT)) / EVENTS < 100
    assert len({path for event in FLAT for path in event}) > 100
    assert len(set(ASKED)) > 150


def test_search_counts_exactly(store: ClickHouseStore) -> None:
    """All conditions as columns of few statements, and one in five as a filter, which the indexes take part in."""
    found: list[int] = []
    for at in range(0, QUESTIONS, AT_ONCE):
        parameters = Parameters()
        columns = [
            f"countIf({condition(asked_for(path, text), parameters)})" for path, text in ASKED[at : at + AT_ONCE]
        ]
        sql = f"SELECT {', '.join(columns)} FROM events"  # noqa: S608 (our own text)
        found += store.reader().select(sql, parameters.values, LIMITS, list[int])[0]
    assert dict(zip(ASKED, found, strict=True)) == dict(zip(ASKED, EXPECTED, strict=True))
    check_filters(store, 5)


@pytest.mark.soak
def test_each_question_alone_counts_exactly(store: ClickHouseStore) -> None:
    check_filters(store, 1)


def check_filters(store: ClickHouseStore, one_in: int) -> None:
    asked, expected = ASKED[::one_in], EXPECTED[::one_in]
    filtered = [counted(store.reader(), asked_for(path, text)) for path, text in asked]
    assert dict(zip(asked, filtered, strict=True)) == dict(zip(asked, expected, strict=True))


def asked_for(path: str, text: str) -> Match:
    return Match(Field("metadata", path), Equal(text))


def counted(reader: StoreReader, node: Match) -> Any:
    (group,) = aggregate(reader, Scope("acme", ALL_TIMES, node), [parse_metric("count")], [], 1, LIMITS)
    return group.values["count"]


@pytest.mark.parametrize("store", ["fresh", pytest.param("merged", marks=pytest.mark.soak)], indirect=True)
def test_tail_counts_exactly(store: ClickHouseStore) -> None:
    for at in range(0, QUESTIONS, AT_ONCE):
        asked = ASKED[at : at + AT_ONCE]
        filters = [Filter(asked_for(path, text), {("log-1", 0): 0}) for path, text in asked]
        found = new_events(store.reader(), "acme", filters, {("log-1", 0): EVENTS}, LIMITS)
        assert found.evaluated == len(asked)
        counts = [sum(group.count for group in found.groups if n in group.filters) for n in range(len(asked))]
        assert counts == EXPECTED[at : at + AT_ONCE]


@pytest.mark.parametrize("store", [pytest.param("fresh", marks=pytest.mark.soak), "merged"], indirect=True)
def test_values_count_exactly(store: ClickHouseStore) -> None:
    """Of paths without lists: a list is one value, in the engine's spelling."""
    lists = {path for event in FLAT for path, found in event.items() if len(found) > 1}
    for path in sorted({path for path, _ in ASKED} - lists):
        found = value_counts(store.reader(), Scope("acme", ALL_TIMES), Field("metadata", path), EVENTS, LIMITS)
        sent = Counter(spelled(value) for event in FLAT for value in event.get(path, ()))
        assert {each.value: each.count for each in found} == sent, path


def spelled(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else text_of(value)


def test_fields_are_counted_exactly(store: ClickHouseStore) -> None:
    found = {each.name: each.count for each in field_counts(store.reader(), Scope("acme", ALL_TIMES), LIMITS)}
    sent = Counter(f"metadata.{path}" for event in FLAT for path in event)
    assert {name: count for name, count in found.items() if name in sent} == sent
