"""What parsec.query asks of the embedded store, with real rows."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.api.parameters import Order
from parsec.core.errors import Rejected
from parsec.core.timestamp import LATEST, SECOND
from parsec.ports.store import StoreReader
from parsec.query.language import fields
from parsec.query.language.fields import parse_field
from parsec.query.language.parse import parse
from parsec.query.sql import aggregate, facets, histogram, lookup
from parsec.query.sql.filter import Scope
from parsec.query.sql.histogram import GroupBy
from parsec.query.sql.page import PageRequest, page
from parsec.query.timerange import TimeRange
from tests.support.stored import ALL_TIMES, NOON, ask, row
from tests.support.stores import LIMITS, embedded_store

HOUR = TimeRange(NOON, NOON + 3600 * SECOND)


METADATA = (
    '{"ms":10,"user":{"id":1,"plan":"free"}}',
    '{"ms":20.5,"user":{"id":2}}',
    '{"ms":"x","user.id":3}',
    '{"ms":40,"user":{"id":1,"plan":"pro"},"deep":{"a.b":[1,2]}}',
    "{}",
)


@pytest.fixture(scope="module")
def store() -> Iterator[ClickHouseStore]:
    """Twenty events of acme, a minute apart, and as many of a stranger's that look the same."""
    with embedded_store() as (opened, _):
        for tenant in ("acme", "stranger"):
            rows = [
                row(
                    n, tenant_id=tenant, timestamp=NOON + n * 60 * SECOND, metadata=METADATA[n % 5],
                    source=("api", "web")[n % 2], severity=("info", "error", "warn")[n % 3], log_id=f"log-{tenant}",
                    id=f"evt-{n}", message=f"{tenant} {n}",
                )
                for n in range(20)
            ]  # fmt: skip
            opened.insert(rows, tenant)
        yield opened


@pytest.fixture
def reader(store: ClickHouseStore) -> StoreReader:
    return store.reader()


def scope(q: str = "", between: TimeRange = ALL_TIMES) -> Scope:
    return Scope("acme", between, parse(q))


def ids(answer: Any) -> list[str]:
    return [event["id"] for event in json.loads(bytes(answer.events))]


# Events


def test_an_expression_narrows_events_of_the_tenant_only(reader: StoreReader) -> None:
    found = ask(reader, PageRequest("acme", ALL_TIMES, 100, q="severity:error source:web OR stranger"), LIMITS)
    assert ids(found) == ["evt-19", "evt-13", "evt-7", "evt-1"]


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 3, 7, 20])
def test_pages_show_each_event_once_in_either_order(reader: StoreReader, order: Order, limit: int) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        answer = ask(reader, PageRequest("acme", ALL_TIMES, limit, cursor, q="NOT source:db", order=order), LIMITS)
        seen += ids(answer)
        cursor = answer.cursor
        if cursor is None:
            break
    expected = [f"evt-{n}" for n in range(20)]
    assert seen == (expected[::-1] if order == "newest" else expected)


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_stay_whole_while_events_arrive(order: Order) -> None:
    with embedded_store() as (store, _):
        store.insert([row(n, timestamp=NOON + n // 4) for n in range(40)], "t")
        asked, seen, cursor, arrived = store.reader(), list[str](), None, 40
        while True:
            answer = ask(asked, PageRequest("acme", ALL_TIMES, 7, cursor, order=order), LIMITS)
            seen += ids(answer)
            cursor = answer.cursor
            if cursor is None:
                break
            if arrived >= 80:
                continue
            late = [
                row(n, timestamp=NOON + n % 10, log_id=log, id=f"late-{log}-{n}")
                for n in range(arrived, arrived + 5)
                for log in ("log-0", "log-1", "log-2")
            ]
            store.insert(late, f"t{arrived}")
            arrived += 5
        assert len(seen) == len(set(seen))
        first = [name for name in seen if name.startswith("evt-")]
        order_of_first = [f"evt-{n}" for n in range(40)]
        assert first == (order_of_first[::-1] if order == "newest" else order_of_first)


def test_a_cursor_fits_its_own_expression_and_order_only(reader: StoreReader) -> None:
    cursor = ask(reader, PageRequest("acme", ALL_TIMES, 2, q="source:api"), LIMITS).cursor
    for other in (
        PageRequest("acme", ALL_TIMES, 2, cursor, q="source:web"),
        PageRequest("acme", ALL_TIMES, 2, cursor, q="source:api", order="oldest"),
    ):
        with pytest.raises(Rejected) as caught:
            ask(reader, other, LIMITS)
        assert caught.value.code == "invalid_cursor"


def test_chosen_fields_come_in_their_order_with_null_for_what_is_not_there(reader: StoreReader) -> None:
    names = ("metadata.user.id", "message", "metadata.deep.a.b", "metadata.nothing", "region", "timestamp")
    answer = ask(reader, PageRequest("acme", ALL_TIMES, 3, order="oldest", fields=names), LIMITS)
    assert bytes(answer.events).decode() == (
        '[{"metadata.user.id":1,"message":"acme 0","metadata.deep.a.b":null,"metadata.nothing":null,"region":"local",'
        '"timestamp":"2026-11-23T12:00:00Z"},'
        '{"metadata.user.id":2,"message":"acme 1","metadata.deep.a.b":null,"metadata.nothing":null,"region":"local",'
        '"timestamp":"2026-11-23T12:01:00Z"},'
        '{"metadata.user.id":3,"message":"acme 2","metadata.deep.a.b":null,"metadata.nothing":null,"region":"local",'
        '"timestamp":"2026-11-23T12:02:00Z"}]'
    )
    deep = page(reader, PageRequest("acme", ALL_TIMES, 1, q="metadata.deep:*", fields=("metadata.deep.a.b",)), LIMITS)
    assert msgspec.json.encode(deep.events) == b'[{"metadata.deep.a.b":[1,2]}]'


@pytest.mark.parametrize("name", ["level", "", "offset", "tenant", "metadata.a`b", "message FROM events --"])
def test_a_field_that_is_none_is_refused_by_its_parameter(reader: StoreReader, name: str) -> None:
    with pytest.raises(Rejected) as caught:
        ask(reader, PageRequest("acme", ALL_TIMES, 1, fields=(name,)), LIMITS)
    assert (caught.value.code, caught.value.field) == ("invalid_parameter", "fields")


# One event


def test_an_event_is_found_by_its_id_in_its_tenant_only(reader: StoreReader) -> None:
    found = lookup.find_event(reader, "acme", "evt-7", LIMITS)
    assert found is not None
    assert (found["message"], found["timestamp"]) == ("acme 7", "2026-11-23T12:07:00Z")
    assert lookup.find_event(reader, "acme", "EVT-7", LIMITS) is None
    assert lookup.find_event(reader, "nobody", "evt-7", LIMITS) is None
    assert lookup.find_event(reader, "acme", "' OR 1=1 --", LIMITS) is None


@pytest.mark.parametrize(
    ("counts", "before", "after"),
    [((2, 1), ["evt-3", "evt-5"], ["evt-9"]), ((0, 0), [], []), ((10, 10), ["evt-1", "evt-3", "evt-5"], 6)],
)
def test_surroundings_are_of_the_same_source_oldest_first(
    reader: StoreReader, counts: tuple[int, int], before: list[str], after: list[str] | int
) -> None:
    found = lookup.find_context(reader, "acme", "evt-7", counts, LIMITS)
    assert found is not None
    before_it, event, after_it = found
    assert [one["id"] for one in before_it] == before
    assert event["id"] == "evt-7"
    names = [one["id"] for one in after_it]
    assert names == after if isinstance(after, list) else len(names) == after
    assert lookup.find_context(reader, "acme", "nothing", counts, LIMITS) is None


# Histograms


def test_a_histogram_has_every_bucket_of_the_range(reader: StoreReader) -> None:
    interval_s, buckets = histogram.histogram(reader, scope("", HOUR), LIMITS, interval_s=600)
    assert interval_s == 600
    assert [(bucket.start, bucket.count) for bucket in buckets] == [
        ("2026-11-23T12:00:00Z", 10), ("2026-11-23T12:10:00Z", 10), ("2026-11-23T12:20:00Z", 0),
        ("2026-11-23T12:30:00Z", 0), ("2026-11-23T12:40:00Z", 0), ("2026-11-23T12:50:00Z", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("source", [{"api": 5, "web": 5}] * 2),
        ("metadata.user.plan", [{"free": 2, "pro": 2}] * 2),
        ("metadata.nothing", [{}, {}]),
    ],
)
def test_a_histogram_counts_values_of_any_field(reader: StoreReader, by: str, expected: list[dict[str, int]]) -> None:
    _, buckets = histogram.histogram(
        reader, scope("", HOUR), LIMITS, interval_s=600, groups=GroupBy(parse_field(by), 10)
    )
    assert [bucket.by for bucket in buckets[:2]] == expected
    assert [bucket.count for bucket in buckets[:2]] == [10, 10]


@pytest.mark.parametrize(
    ("by", "most", "named"), [("id", 10, 10), ("id", 1, 1), ("severity", 2, 2), ("severity", 6, 3)]
)
def test_a_histogram_names_the_most_frequent_values_and_counts_all(
    reader: StoreReader, by: str, most: int, named: int
) -> None:
    _, buckets = histogram.histogram(
        reader, scope("", HOUR), LIMITS, interval_s=3600, groups=GroupBy(parse_field(by), most)
    )
    assert (len(buckets[0].by), buckets[0].count) == (named, 20)


def test_a_range_within_a_bucket_counts_only_itself(reader: StoreReader) -> None:
    between = TimeRange(NOON + 61 * SECOND, NOON + 181 * SECOND)
    _, buckets = histogram.histogram(reader, scope("", between), LIMITS, interval_s=3600)
    assert [(bucket.start, bucket.count) for bucket in buckets] == [("2026-11-23T12:00:00Z", 2)]


def test_too_many_buckets_are_refused_with_what_would_do(reader: StoreReader) -> None:
    with pytest.raises(Rejected, match="use an interval of 60 s"):
        histogram.histogram(reader, scope("", HOUR), LIMITS, interval_s=1)


@given(st.integers(1, LATEST))
def test_the_interval_that_a_range_suggests_gives_few_buckets(length: int) -> None:
    between = TimeRange(LATEST - length, LATEST)
    assert 1 <= length / (histogram.interval(between) * SECOND) + 1 <= 62


# Figures


def figures(reader: StoreReader, *metrics: str, by: tuple[str, ...] = (), top: int = 10, q: str = "") -> Any:
    asked = [aggregate.parse_metric(text) for text in metrics]
    found = aggregate.aggregate(reader, scope(q), asked, [parse_field(name) for name in by], top, LIMITS)
    return [(tuple(group.by.values()), tuple(group.values.values())) for group in found]


def test_figures_of_everything(reader: StoreReader) -> None:
    asked = (
        "count",
        "distinct(source)",
        "min(metadata.ms)",
        "max(metadata.ms)",
        "avg(metadata.ms)",
        "sum(metadata.ms)",
    )
    assert figures(reader, *asked) == [((), (20, 2, 10, 40, 23.5, 282))]
    assert figures(reader, "p50(metadata.ms)", "p99.9(metadata.ms)") == [((), (20.5, 40))]
    assert figures(reader, "min(timestamp)", "max(timestamp)") == [
        ((), ("2026-11-23T12:00:00Z", "2026-11-23T12:19:00Z"))
    ]


def test_figures_in_groups_greatest_first(reader: StoreReader) -> None:
    assert figures(reader, "count", by=("severity",)) == [(("error",), (7,)), (("info",), (7,)), (("warn",), (6,))]
    assert figures(reader, "avg(metadata.ms)", by=("metadata.user.id", "source", "severity"), top=2) == [
        (("1", "api", "warn"), (40,)), (("1", "web", "error"), (40,)),
    ]  # fmt: skip
    assert figures(reader, "count", by=("metadata.user.plan",)) == [
        ((None,), (12,)),
        (("free",), (4,)),
        (("pro",), (4,)),
    ]


def test_figures_of_nothing_are_null(reader: StoreReader) -> None:
    assert figures(reader, "count", "avg(metadata.ms)", "p95(metadata.no)", q="source:none") == [((), (0, None, None))]


@pytest.mark.parametrize(
    "text",
    ["", "counts", "count(source)", "min", "avg(source)", "p95", "p100(metadata.a)", "p(metadata.a)", "sum(timestamp)",
     "min(metadata.a`)", "uniq(source)", "max(source) FROM x", "distinct(tenant_id)"],
)  # fmt: skip
def test_a_metric_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        aggregate.parse_metric(text)
    assert (caught.value.code, caught.value.field) == ("invalid_parameter", "metric")


# Names and values


def test_names_come_with_how_many_events_have_them(reader: StoreReader) -> None:
    found = {one.name: one.count for one in facets.field_counts(reader, scope(), LIMITS)}
    assert found == {
        **dict.fromkeys(("id", "timestamp", "received_at", "severity", "source", "message", "region", "node"), 20),
        "metadata.ms": 16, "metadata.user.id": 16, "metadata.user.plan": 8, "metadata.deep.a.b": 4,
    }  # fmt: skip


def test_every_listed_field_can_be_searched() -> None:
    with embedded_store() as (opened, _):
        opened.insert([row(0, tenant_id="acme", timestamp=NOON, metadata='{"a`b":1,"c":2}')], "token")
        found = facets.field_counts(opened.reader(), scope(), LIMITS)
    assert [each.name for each in found if each.name.startswith("metadata")] == ["metadata.c"]


def test_moments_in_groups_look_as_in_events() -> None:
    later = {0: "12:00:00Z", 10 * SECOND: "12:00:10Z", SECOND // 2: "12:00:00.5Z", 1: "12:00:00.000000001Z"}
    with embedded_store() as (opened, _):
        opened.insert([row(n, tenant_id="acme", timestamp=NOON + ns) for n, ns in enumerate(later)], "token")
        found = figures(opened.reader(), "count", by=("timestamp",))
    assert sorted(by for (by,), _ in found) == sorted(f"2026-11-23T{text}" for text in later.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("severity", [("error", 7), ("info", 7), ("warn", 6)]),
        ("metadata.user.id", [("1", 8), ("2", 4), ("3", 4)]),
        ("metadata.ms", [("10", 4), ("20.5", 4), ("40", 4), ("x", 4)]),
        ("metadata.no", []),
    ],
)
def test_values_come_with_how_many_events_have_them(
    reader: StoreReader, name: str, expected: list[tuple[str, int]]
) -> None:
    assert [
        (one.value, one.count) for one in facets.value_counts(reader, scope(), parse_field(name), 10, LIMITS)
    ] == expected


# Whatever is asked


ODD = st.lists(
    st.sampled_from((*"ab.:[]^@'\\\"(){},*%-$ \n\t\x00\x7fü;", "metadata.", ".:Int64", "[]", "source", "{v0:String}")),
    max_size=8,
).map("".join)


@settings(max_examples=60)
@given(ODD.map(lambda text: "metadata." + text) | ODD, ODD)
def test_no_name_makes_the_store_fail(store: ClickHouseStore, name: str, tenant: str) -> None:
    reader, limits = store.reader(), LIMITS
    try:
        named = parse_field(name)
    except ValueError:
        with pytest.raises(Rejected):
            fields.field_parameter(name, "by")
        return
    odd = Scope(tenant, ALL_TIMES)
    count, distinct = aggregate.parse_metric("count"), aggregate.parse_metric("distinct(source)")
    assert aggregate.aggregate(reader, odd, [count, distinct], [named], 5, limits) == []
    assert facets.value_counts(reader, odd, named, 5, limits) == []
    histogram.histogram(reader, Scope(tenant, HOUR), limits, groups=GroupBy(named, 10))
    ask(reader, PageRequest(tenant, ALL_TIMES, 1, fields=(name,)), limits)
    if named.name == "metadata":
        average = aggregate.Metric("avg", "avg", named)
        aggregate.aggregate(reader, odd, [average], [], 5, limits)
