"""What ports/store.py promises, on the embedded store. Numbers cite the invariants of adapters/store/clickhouse.py."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.envelope import Envelope, encode_one
from parsec.core.errors import Fatal, Rejected, Retryable
from parsec.core.moment import LATEST, nanoseconds, text_of
from parsec.ports.broker import Range, Slice
from parsec.ports.dedup import Position
from parsec.ports.store import Cancellation, DeadLetter, Limits, Mark, Row, Standing, content_digest
from parsec.process.rows import Rules, rows
from parsec.query.events import Question, ask
from parsec.query.timerange import TimeRange
from tests.support.clickhouse_front import clickhouse_front
from tests.support.stores import LIMITS, ServerEngine, TestEngine, embedded_store, server_store

NOON = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
DAY = 86_400_000_000_000
ALL_TIMES = TimeRange(0, LATEST)
RULES = Rules(7300 * 86_400.0, NOON)  # the engine removes what has expired by its own clock


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with clickhouse_front(tmp_path_factory.mktemp("front")) as running:
        yield running.url


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.integration)])
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[ClickHouseStore, TestEngine | ServerEngine]]:
    if request.param == "embedded":
        with embedded_store() as embedded:
            yield embedded
    else:
        with server_store(request.getfixturevalue("front")) as served:
            yield served


@pytest.fixture
def store(opened: tuple[ClickHouseStore, TestEngine | ServerEngine]) -> ClickHouseStore:
    return opened[0]


@pytest.fixture
def engine(opened: tuple[ClickHouseStore, TestEngine | ServerEngine]) -> TestEngine | ServerEngine:
    return opened[1]


def row(offset: int = 0, **other: Any) -> Row:
    made = Row(
        "acme", NOON + offset, "info", "api", f"hello {offset}", '{"n":1}', f"evt-{offset}", NOON,
        "local", "node-1", "log-1", 0, offset, 40_000,
    )  # fmt: skip
    return msgspec.structs.replace(made, **other)


def letter(offset: int, **other: Any) -> DeadLetter:
    made = DeadLetter("log-1", 0, offset, "acme", "invalid_envelope", "no JSON", b"\xff\x00{")
    return msgspec.structs.replace(made, **other)


def events(store: ClickHouseStore, tenant: str = "acme", limit: int = 10_000) -> list[dict[str, Any]]:
    found = ask(store.reader(), Question(tenant, ALL_TIMES, limit), LIMITS)
    answer: list[dict[str, Any]] = json.loads(bytes(found.events))
    assert len(answer) == found.count
    return answer


def envelope(metadata: str = "{}", **other: Any) -> Envelope:
    made = Envelope(
        1, "acme", "evt-1", "2026-11-23T11:00:00.5Z", "info", "api", "hello", msgspec.Raw(metadata.encode()),
        "2026-11-23T11:00:01.25Z", "local", "node-1",
    )  # fmt: skip
    return msgspec.structs.replace(made, **other)


def through(store: ClickHouseStore, *envelopes: Envelope, first: int = 0) -> None:
    """From the log's bytes into the store, as the processor does it."""
    end = first + len(envelopes)
    values = [encode_one(e) for e in envelopes]
    made, letters = rows(Slice("log-1", 0, 1, first, end, range(first, end), values), RULES)
    assert letters == []
    store.insert(made, f"log-1/0/{first}-{end - 1}")


# What comes back


def test_a_row_comes_back_with_every_field(store: ClickHouseStore) -> None:
    through(store, envelope('{"a": 1.50}', timestamp="1970-01-01T00:00:00.000000001Z"))
    assert events(store) == [
        {
            "id": "evt-1",
            "tenant_id": "acme",
            "timestamp": "1970-01-01T00:00:00.000000001Z",
            "severity": "info",
            "source": "api",
            "message": "hello",
            "metadata": {"a": 1.5},
            "received_at": "2026-11-23T11:00:01.25Z",
        }
    ]
    found = store.reader().select(
        "SELECT region, node, log_id, partition, offset, toString(expires_on) FROM events", {}, LIMITS, tuple
    )
    assert found == [("local", "node-1", "log-1", 0, 0, "2046-11-19")]


HOSTILE = {
    "dotted and nested": '{"a.b":1,"a":{"b":2}}',
    "nested and dotted": '{"a":{"b":2},"a.b":1}',
    "value and object": '{"a":1,"b":{"c":[{"d":1},{"d":"x"},null,[[]],{}]}}',
    "depth 32": '{"a":' * 32 + "1" + "}" * 32,
    "arrays of depth 500": '{"a":' + "[" * 500 + "]" * 500 + "}",
    "256 keys": json.dumps({f"k{n}": n for n in range(256)}),
    "empty keys": '{"":1,"a":{"":{"":2}},".":3,"..":4}',
    "NUL": '{"a\\u0000b":"x\\u0000y"}',
    "400 digits": '{"a":' + "9" * 400 + ',"b":1}',
    "5000 digits": '{"a":-' + "9" * 5000 + "}",
    "30 digits": '{"a":123456789012345678901234567890,"b":[1,-99999999999999999999]}',
    "beyond a double": '{"a":1e400,"b":-1E+999,"c":[1e400]}',
    "tiny": '{"a":1e-400,"b":-0.0,"c":5e-324}',
    "nulls": '{"a":null,"b":[null,1,null],"c":{"d":null}}',
    "types in turn": '{"a":[1,"x",true,null,1.5,{"a":1},[1]]}',
    "quotes": '{"a\\"b\\\\":"\\\\\\"\\n\\t\'`{}[]"}',
    "many languages": '{"ключ":"值","\\ud83d\\ude00":"😀"}',
    "like dates": '{"a":"2026-01-01","b":"2026-01-01 00:00:00","c":"9999-12-31T23:59:59Z"}',
    "names of types": '{"type":"x","value":1,"a.:Int64":1,"^a":2,"a[]":3,"`a`":4}',
    "white space": '{ "a" :\t1 , "b" : [ ] }',
    "long key": '{"' + "k" * 100_000 + '":1}',
    "long text": '{"a":"' + "v" * 200_000 + '"}',
    "empty": "{}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_metadata_never_fails_an_insert_and_comes_back_as_sent(store: ClickHouseStore, text: str) -> None:
    through(store, envelope('{"good":1}', id="before"), envelope(text, id="it"), envelope('{"good":2}', id="after"))
    answer = ask(store.reader(), Question("acme", ALL_TIMES, 10), LIMITS)
    assert f'"metadata":{text},' in bytes(answer.events).decode()
    found = store.reader().select("SELECT id FROM events WHERE attributes.good.:Int64 > 0", {}, LIMITS, tuple)
    assert sorted(found) == [("after",), ("before",)]


def test_types_of_one_key_may_change_from_block_to_block(store: ClickHouseStore, engine: TestEngine) -> None:
    values = ["1", '"x"', "1.5", "true", "null", "[]", '{"b":1}', '[{"b":1}]', "[1]", "18446744073709551615", "1e300"]
    for n, value in enumerate(values):
        through(store, envelope(f'{{"a":{value}}}', id=f"e{n}"), first=n)
    engine.ask("OPTIMIZE TABLE events FINAL")
    assert {e["id"]: e["metadata"]["a"] for e in events(store)} == {
        f"e{n}": json.loads(value) for n, value in enumerate(values)
    }


def test_of_duplicate_keys_the_last_wins_in_text_and_in_search(store: ClickHouseStore) -> None:
    through(store, envelope('{"a":1,"b":{"c":1,"c":2},"a":3}'))
    answer = ask(store.reader(), Question("acme", ALL_TIMES, 10), LIMITS)
    assert '"metadata":{"a":3,"b":{"c":2}},' in bytes(answer.events).decode()
    found = store.reader().select("SELECT attributes.a.:Int64, attributes.b.c.:Int64 FROM events", {}, LIMITS, tuple)
    assert found == [(3, 2)]


def test_numbers_that_no_type_holds_are_searched_as_text(store: ClickHouseStore) -> None:
    through(store, envelope('{"a":123456789012345678901234567890,"b":{"c":1e400},"d":7}'))
    sql = "SELECT attributes.a.:String, attributes.b.c.:String, attributes.d.:Int64 FROM events"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [("123456789012345678901234567890", "1e400", 7)]


def test_a_path_that_is_there_twice_does_not_hide_the_others(store: ClickHouseStore) -> None:
    through(store, envelope('{"a.b":1,"a":{"b":2},"c":3}'))
    sql = "SELECT attributes.a.b.:Int64, attributes.c.:Int64 FROM events"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [(1, 3)]


SEARCH = {
    "nested": "attributes.user.id.:Int64 = 42",
    "number": "attributes.ms.:Float64 > 10",
    "exists": "isNotNull(attributes.user.plan)",
    "regex": "match(attributes.user.plan.:String, '^fr')",
    "literal dotted key": "attributes.x.y.:Int64 = 1",
}


@pytest.mark.parametrize("condition", SEARCH.values(), ids=SEARCH.keys())
def test_metadata_can_be_searched(store: ClickHouseStore, condition: str) -> None:
    through(
        store,
        envelope('{"user":{"id":42,"plan":"free"},"ms":12.5,"x.y":1}', id="hit"),
        envelope('{"user":{"id":43},"ms":1.5}', id="miss"),
    )
    found = store.reader().select(f"SELECT id FROM events WHERE {condition}", {}, LIMITS, tuple)  # noqa: S608
    assert found == [("hit",)]


def test_paths_of_metadata_can_be_listed(store: ClickHouseStore) -> None:
    through(store, envelope('{"user":{"id":42},"ms":12.5}'))
    sql = "SELECT DISTINCT arrayJoin(JSONAllPaths(attributes)) AS path FROM events ORDER BY path"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [("ms",), ("user.id",)]


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
MOMENTS = st.integers(0, NOON).map(text_of)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
ENVELOPES = st.builds(
    Envelope,
    v=st.just(1),
    tenant_id=st.just("acme"),
    id=TEXT,
    timestamp=MOMENTS,
    severity=st.sampled_from(("trace", "debug", "info", "warn", "error", "fatal")),
    source=TEXT,
    message=TEXT,
    metadata=st.dictionaries(st.text(max_size=6), JSON, max_size=5).map(lambda d: msgspec.Raw(json.dumps(d).encode())),
    received_at=st.integers(NOON - 29 * DAY, NOON).map(text_of),
    region=TEXT,
    node=TEXT,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ENVELOPES, min_size=1, max_size=8))
def test_any_valid_envelope_comes_back_with_the_same_fields(engine: TestEngine, sent: list[Envelope]) -> None:
    engine.ask("TRUNCATE TABLE events")
    store = ClickHouseStore(engine, 86_400.0)
    sent = [msgspec.structs.replace(e, timestamp=min(e.timestamp, e.received_at)) for e in sent]
    made, letters = rows(Slice("log-1", 0, 1, 0, len(sent), range(len(sent)), [encode_one(e) for e in sent]), RULES)
    assert letters == []
    store.insert(made, os.urandom(8).hex())
    expected = [
        {
            "id": e.id,
            "tenant_id": e.tenant_id,
            "timestamp": e.timestamp,
            "severity": e.severity,
            "source": e.source,
            "message": e.message,
            "metadata": json.loads(bytes(e.metadata)),
            "received_at": e.received_at,
        }
        for _, _, e in sorted((nanoseconds(e.timestamp) or 0, n, e) for n, e in enumerate(sent))
    ]
    assert events(store) == expected[::-1]
    store.close()


# Blocks and tokens


def test_the_same_token_adds_nothing_and_another_does(store: ClickHouseStore) -> None:
    store.insert([row(0), row(1)], "log-1/0/0-1")
    store.insert([row(0), row(1)], "log-1/0/0-1")
    assert len(events(store)) == 2
    store.insert([row(0), row(1)], "log-1/0/0-1#2")
    assert len(events(store)) == 4


def test_a_token_is_remembered_after_the_store_was_closed(store: ClickHouseStore, engine: TestEngine) -> None:
    store.insert([row(0)], "log-1/0/0-0")
    store.close()
    again = ClickHouseStore(engine, 86_400.0)
    again.insert([row(0)], "log-1/0/0-0")
    assert len(events(again)) == 1
    again.close()


def test_a_quote_in_a_token_is_only_a_quote(store: ClickHouseStore) -> None:
    store.insert([row(0)], "a'b\\")
    store.insert([row(0)], "a'b\\")
    assert len(events(store)) == 1


def test_a_large_block_of_one_day_is_one_part(store: ClickHouseStore, engine: TestEngine) -> None:
    """Invariants 1 and 2."""
    engine.ask("SYSTEM STOP MERGES events")
    store.insert([row(n, message="x" * 500, metadata='{"a":"' + "y" * 500 + '"}') for n in range(20_000)], "t1")
    assert _parts(engine) == 1
    store.insert([row(n, received_at=NOON - n % 2 * DAY) for n in range(20_000, 40_000)], "t2")
    assert _parts(engine) == 3
    store.insert([row(n, received_at=NOON - n % 2 * DAY) for n in range(20_000, 40_000)], "t2")
    assert len(store.landed(Range("log-1", 0, 0, 50_000))) == int(engine.ask("SELECT count() FROM events")) == 40_000


def test_a_block_may_touch_more_days_than_the_engine_likes(store: ClickHouseStore) -> None:
    at = [NOON - n * DAY for n in range(150)]
    store.insert([row(n, timestamp=at[n], received_at=at[n], expires_on=65_535) for n in range(150)], "t")
    assert len(events(store)) == 150


def test_no_rows_is_no_insert(store: ClickHouseStore) -> None:
    store.insert([], "t")
    store.insert_dead([])
    assert events(store) == []


def test_many_different_values_in_a_dictionary_column(store: ClickHouseStore) -> None:
    store.insert([row(n, source=f"s{n}") for n in range(300)], "a")
    store.insert([row(n, source=f"s{n}") for n in range(300, 70_000)], "b")
    found = store.reader().select("SELECT uniqExact(source), max(offset) FROM events", {}, LIMITS, tuple)
    assert found == [(70_000, 69_999)]


def test_an_expired_row_goes_and_the_others_stay(store: ClickHouseStore, engine: TestEngine) -> None:
    store.insert([row(0, expires_on=10), row(1, expires_on=65_535)], "t")
    engine.ask("OPTIMIZE TABLE events FINAL")
    assert [e["id"] for e in events(store)] == ["evt-1"]


def _parts(engine: TestEngine) -> int:
    sql = "SELECT count() FROM system.parts WHERE active AND table = 'events' AND database = currentDatabase()"
    return int(engine.ask(sql))


# Repeats


def test_standing_tells_rows_and_dead_letters_at_positions(store: ClickHouseStore) -> None:
    first = row(3, message="naïve 'quote'", metadata='{"a":{"b":[1,"x"]}}')
    second = row(4, tenant_id="globex", timestamp=NOON, received_at=NOON)
    store.insert([first, second, row(5)], "a")
    store.insert_dead([letter(8)])
    at = [Position("log-1", 0, offset) for offset in (3, 4, 8, 9)] + [Position("log-2", 0, 3), Position("log-1", 1, 3)]
    assert store.standing(at, {"acme", "globex"}) == {
        at[0]: Standing("acme", first.id, content_digest(first)),
        at[1]: Standing("globex", second.id, content_digest(second)),
        at[2]: None,
    }
    assert store.standing(at[:2], {"acme"}).keys() == {at[0]}


def test_standing_answers_for_a_whole_batch_of_repeats(store: ClickHouseStore) -> None:
    store.insert([row(offset) for offset in range(5000)], "a")
    assert len(store.standing([Position("log-1", 0, offset) for offset in range(1, 5000, 2)], {"acme"})) == 2500


def test_find_tells_where_an_id_stands(store: ClickHouseStore) -> None:
    store.insert([row(3, id="x"), row(4, id="y"), row(5, id="x", tenant_id="globex")], "a")
    found = store.find({"acme"}, {"x", "z"})
    assert found == {("acme", "x"): Position("log-1", 0, 3)}


def test_recent_gives_the_newest_ids_oldest_first(store: ClickHouseStore) -> None:
    second = 1_000_000_000
    store.insert([row(n, received_at=NOON + n * second) for n in range(100)], "a")
    store.insert([row(200, partition=1, received_at=NOON + 500 * second)], "b")
    store.insert([row(7, log_id="log-2", received_at=NOON + 99 * second)], "c")

    def offsets(seconds: float, ids: int) -> list[tuple[str, int]]:
        batches = list(store.recent(0, seconds, ids))
        assert all(batch.moment_ns <= NOON + 99 * second and batch.partition == 0 for batch in batches)
        assert all(len(batch.tenants) == len(batch.ids) == len(batch.offsets) for batch in batches)
        return [(batch.log_id, offset) for batch in batches for offset in batch.offsets]

    everything = offsets(600, 1000)
    assert sorted(everything) == sorted([*(("log-1", n) for n in range(100)), ("log-2", 7)])
    assert [offset for log_id, offset in everything if log_id == "log-1"] == list(range(100))
    assert sorted(offset for _, offset in offsets(10, 1000)) == [7, *range(89, 100)]
    assert ("log-1", 99) in offsets(600, 5)
    assert len(offsets(600, 5)) < 15
    assert list(store.recent(2, 600, 1000)) == []


# Positions and dead letters


def test_landed_names_rows_and_dead_letters_of_just_this_range(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in (3, 4, 7, 10)], "a")
    store.insert([row(5, log_id="log-2"), row(6, partition=1)], "b")
    store.insert_dead([letter(8), letter(11), letter(9, log_id="log-2"), letter(5, partition=1)])
    assert store.landed(Range("log-1", 0, 4, 10)) == {4, 7, 8, 10}
    assert store.landed_dead(Range("log-1", 0, 4, 10)) == {8}
    assert store.landed(Range("log-2", 0, 0, 99)) == {5, 9}
    assert store.landed(Range("log-1", 2, 0, 99)) == set()
    assert store.landed(Range("nowhere", 0, 0, (1 << 63) - 1)) == set()


def test_landed_reads_only_parts_that_may_hold_the_range(store: ClickHouseStore, engine: TestEngine) -> None:
    for n in range(4):
        store.insert([row(offset) for offset in range(n * 100, n * 100 + 100)], f"t{n}")
    explained = engine.ask(
        "EXPLAIN indexes = 1 SELECT offset FROM events WHERE log_id = 'log-1' AND partition = 0 "
        "AND offset BETWEEN 120 AND 130"
    )
    name = "position_minmax"
    assert "Granules: 1/" in str(explained).partition(name)[2].replace("\\n", "\n").split("Skip")[0]


def test_the_same_position_replaces_a_dead_letter(store: ClickHouseStore) -> None:
    store.insert_dead([letter(1), letter(2)])
    store.insert_dead([letter(1, reason="invalid_field", stage="store")])
    sql = "SELECT offset, reason, stage, tenant_id, hex(raw) FROM dead_letters FINAL ORDER BY offset"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [
        (1, "invalid_field", "store", "acme", "FF007B"),
        (2, "invalid_envelope", "rows", "acme", "FF007B"),
    ]
    assert store.landed_dead(Range("log-1", 0, 0, 9)) == {1, 2}


# Questions


def test_newest_first_from_inclusive_to_exclusive(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in (2, 0, 3, 1)], "t")
    answer = ask(store.reader(), Question("acme", TimeRange(NOON + 1, NOON + 3), 10), LIMITS)
    assert [e["id"] for e in json.loads(bytes(answer.events))] == ["evt-2", "evt-1"]
    assert answer.cursor is None


def test_an_unknown_tenant_has_no_events(store: ClickHouseStore) -> None:
    store.insert([row(0)], "t")
    assert events(store, "nobody") == []
    assert events(store, "acme' OR 1=1 --") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 20])
def test_pages_through_equal_timestamps_neither_skip_nor_repeat(store: ClickHouseStore, limit: int) -> None:
    positions = [(log, part, offset) for log in ("log-1", "log-2") for part in (0, 1) for offset in range(4)]
    store.insert(
        [
            row(offset, log_id=log, partition=part, timestamp=NOON + offset // 3, id=f"{log}/{part}/{offset}")
            for log, part, offset in positions
        ],
        "t",
    )
    reader, seen, cursor, pages = store.reader(), [], None, 0
    while True:
        answer = ask(reader, Question("acme", ALL_TIMES, limit, cursor), LIMITS)
        seen += [e["id"] for e in json.loads(bytes(answer.events))]
        pages += 1
        cursor = answer.cursor
        if cursor is None:
            break
    everything = [e["id"] for e in events(store)]
    assert seen == everything
    assert sorted(seen) == sorted(f"{log}/{part}/{offset}" for log, part, offset in positions)
    assert pages == -(-len(positions) // limit)


def test_a_cursor_keeps_the_range_of_its_first_question(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in range(5)], "t")
    reader = store.reader()
    first = ask(reader, Question("acme", TimeRange(NOON + 1, NOON + 4), 2), LIMITS)
    store.insert([row(9, timestamp=NOON + 3, id="late")], "u")
    rest = ask(reader, Question("acme", ALL_TIMES, 10, first.cursor), LIMITS)
    assert [e["id"] for e in json.loads(bytes(rest.events))] == ["evt-1"]
    assert rest.cursor is None


def test_a_cursor_of_another_tenant_is_refused(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in range(5)], "t")
    cursor = ask(store.reader(), Question("acme", ALL_TIMES, 2), LIMITS).cursor
    with pytest.raises(Rejected) as caught:
        ask(store.reader(), Question("other", ALL_TIMES, 2, cursor), LIMITS)
    assert caught.value.code == "invalid_cursor"


def test_values_are_bound_not_spliced(store: ClickHouseStore) -> None:
    text = "'; DROP TABLE events; -- {x:String} \\ \n \t \0"
    found = store.reader().select("SELECT {text:String}, {n:UInt64}", {"text": text, "n": 2**64 - 1}, LIMITS, tuple)
    assert found == [(text, 2**64 - 1)]


@pytest.mark.parametrize(
    ("sql", "limits"),
    [
        ("SELECT sleep(3)", Limits(1 << 30, 0.2)),
        ("SELECT number FROM numbers(1000000)", Limits(1 << 30, 30, max_result_rows=10)),
        ("SELECT repeat('x', 1000) FROM numbers(100000)", Limits(1 << 30, 30, max_result_bytes=1000)),
        ("SELECT groupArray(number) FROM numbers(100000000)", Limits(10_000_000, 30)),
        ("SELECT sum(number) FROM numbers(100000000)", Limits(1 << 30, 30, max_rows_read=1000)),
    ],
    ids=["time", "rows", "bytes", "memory", "rows read"],
)
def test_a_question_that_costs_too_much_is_refused(store: ClickHouseStore, sql: str, limits: Limits) -> None:
    with pytest.raises(Rejected) as caught:
        store.reader().select(sql, {}, limits, tuple)
    assert caught.value.code == "query_too_expensive"


ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = {n:UInt64}"
ROWS_READ = "SELECT sum(read_rows) FROM system.processes WHERE startsWith(query, 'SELECT count() FROM numbers(10000')"
"""Grows while the store works on it: the embedded one lists a statement until the next one on its connection."""


def at_work(engine: TestEngine) -> bool:
    before = int(engine.ask(ROWS_READ))
    time.sleep(0.2)
    return int(engine.ask(ROWS_READ)) > before


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end


@pytest.mark.parametrize("limits", [Limits(1 << 30, 0.3), Limits(1 << 30, 30, max_rows_read=1 << 30, max_bytes_read=1)])
def test_the_store_stops_working_on_what_costs_too_much(
    store: ClickHouseStore, engine: TestEngine, limits: Limits
) -> None:
    with pytest.raises(Rejected, match="shorten its time range"):
        store.reader().select(ENDLESS, {"n": 1}, limits, tuple)
    wait_until(lambda: not at_work(engine))


def test_a_question_that_is_given_up_is_stopped_in_the_store(store: ClickHouseStore, engine: TestEngine) -> None:
    reader, cancellation, ended = store.reader(), Cancellation(), list[Exception]()

    def look() -> None:
        try:
            reader.select(ENDLESS, {"n": 1}, Limits(1 << 30, 120, cancellation=cancellation), tuple)
        except Exception as error:  # noqa: BLE001 (looked at below)
            ended.append(error)

    asking = threading.Thread(target=look)
    asking.start()
    wait_until(lambda: at_work(engine))
    cancellation.cancel()
    asking.join(10)
    assert [type(error) for error in ended] == [Retryable]
    wait_until(lambda: not at_work(engine))
    with pytest.raises(Retryable, match="given up"):
        reader.select("SELECT 1", {}, Limits(1 << 30, 30, cancellation=cancellation), tuple)


@pytest.mark.parametrize("sql", ["DROP TABLE events", "INSERT INTO events (id) VALUES ('x')", "SET readonly = 0"])
def test_a_reader_cannot_write(store: ClickHouseStore, engine: TestEngine, sql: str) -> None:
    reader = store.reader()
    reader.ping()
    with pytest.raises(Fatal):
        reader.select(sql, {}, LIMITS, tuple)
    assert int(engine.ask("SELECT count() FROM events")) == 0


def test_many_threads_may_ask_while_one_writes(store: ClickHouseStore) -> None:
    reader, failures = store.reader(), []

    def look() -> None:
        try:
            for _ in range(10):
                ask(reader, Question("acme", ALL_TIMES, 100), LIMITS)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(10):
        store.insert([row(n)], f"t{n}")
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(events(store)) == 10


# Life


def test_after_close_every_call_is_fatal(store: ClickHouseStore) -> None:
    reader = store.reader()
    reader.ping()
    store.close()
    store.close()
    for call in (
        lambda: store.insert([row(0)], "t"),
        lambda: store.insert_dead([letter(0)]),
        lambda: store.landed(Range("log-1", 0, 0, 1)),
        reader.ping,
    ):
        with pytest.raises(Fatal):
            call()


def test_a_missing_table_is_fatal_not_poison(store: ClickHouseStore, engine: TestEngine) -> None:
    engine.ask("DROP TABLE events")
    with pytest.raises(Fatal):
        store.insert([row(0)], "t")


def test_migrations_are_applied_once(store: ClickHouseStore, engine: TestEngine) -> None:
    assert store.migrated == [1, 2, 3, 4]
    again = ClickHouseStore(engine, 86_400.0)
    assert again.migrated == []
    again.close()


def test_what_was_promised_of_an_offset_and_of_all_after_it(store: ClickHouseStore) -> None:
    for committed, leaves in ((0, 50), (10, 40), (20, 60)):
        store.mark(Mark("log", 0, 0, committed, committed, 0, 0, 0, leaves))
    store.mark(Mark("log", 1, 0, 0, 0, 0, 0, 0, 1))
    promised = [store.promised("log", 0, offset) for offset in (0, 9, 10, 19, 20, 99)]
    assert promised == [40, 40, 40, 40, 60, 60]
    store.mark(Mark("log", 0, 0, 20, 20, 0, 0, 0, 55))
    assert store.promised("log", 0, 30) == 55, "the same position again replaces"
    assert store.promised("other", 0, 0) is None


@pytest.mark.parametrize(
    "damage",
    ["INSERT INTO _migrations (number, name) VALUES (9999, 'later')", "ALTER TABLE _migrations UPDATE digest = 'x' "
     "WHERE number = 1 SETTINGS mutations_sync = 1"],
    ids=["from the future", "changed"],
)  # fmt: skip
def test_a_foreign_schema_is_refused(store: ClickHouseStore, engine: TestEngine, damage: str) -> None:
    engine.ask(damage)
    with pytest.raises(Fatal, match="migration"):
        ClickHouseStore(engine, 86_400.0)


def test_a_directory_that_cannot_be_opened_is_fatal() -> None:
    with embedded_store(), pytest.raises(Fatal, match="cannot be opened"):
        ClickHouseStore(_engine_at(Path("/proc/no-such-place/store")), 86_400.0)


def _engine_at(path: Path) -> TestEngine:
    engine = TestEngine()
    engine._directory = path
    return engine


OPEN = """
import os, signal, sys, time
from pathlib import Path
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.adapters.store.embedded import Embedded
store = ClickHouseStore(Embedded(Path(sys.argv[1])), 86400.0)
"""


def _run(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN + code, str(tmp_path / "store")], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGBUS])
def test_the_engine_leaves_signals_alone(tmp_path: Path, number: signal.Signals) -> None:
    done = _run(tmp_path, f"os.kill(os.getpid(), {int(number)}); time.sleep(30)")
    assert done.returncode == -number, done.stderr


def test_control_c_is_still_pythons_and_no_heavy_module_is_loaded(tmp_path: Path) -> None:
    code = """
assert not {"pyarrow", "pandas", "numpy"} & sys.modules.keys()
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    store.close()
    print("interrupted")
"""
    done = _run(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_what_was_inserted_survives_kill_9(tmp_path: Path) -> None:
    code = """
from parsec.ports.store import Row
store.insert([Row("acme", 1, "info", "api", "m", "{}", f"e{n}", 1795435200 * 10**9, "r", "n", "log-1", 0, n, 65535)
              for n in range(100)], "t")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert _run(tmp_path, code).returncode == -signal.SIGKILL
    look = "from parsec.ports.broker import Range; print(len(store.landed(Range('log-1', 0, 0, 1000)))); store.close()"
    done = _run(tmp_path, look)
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
