"""What is stored comes back as it was sent, and can be searched."""

import json
import os
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.envelope import Envelope, encode_one
from parsec.core.timestamp import DAY, nanoseconds, text_of
from parsec.ports.broker import Slice
from parsec.process.rows import Rules, rows
from parsec.query.sql.page import PageRequest
from tests.support.stored import ALL_TIMES, NOON, ask, events
from tests.support.stores import LIMITS, TestEngine

RULES = Rules(7300 * 86_400.0, NOON)  # the engine removes what has expired by its own clock


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
    "arrays of depth 32": '{"a":' + "[" * 31 + "]" * 31 + "}",
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
    answer = ask(store.reader(), PageRequest("acme", ALL_TIMES, 10), LIMITS)
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
    answer = ask(store.reader(), PageRequest("acme", ALL_TIMES, 10), LIMITS)
    assert '"metadata":{"a":3,"b":{"c":2}},' in bytes(answer.events).decode()
    found = store.reader().select("SELECT attributes.a.:Int64, attributes.b.c.:Int64 FROM events", {}, LIMITS, tuple)
    assert found == [(3, 2)]


def test_numbers_that_no_type_holds_are_searched_as_text(store: ClickHouseStore) -> None:
    through(store, envelope('{"a":123456789012345678901234567890,"b":{"c":1e400},"d":7}'))
    sql = "SELECT attributes.a.:String, attributes.b.c.:String, attributes.d.:Int64 FROM events"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [("123456789012345678901234567890", "1e400", 7)]


def test_a_path_that_is_there_twice_does_not_hide_the_others(store: ClickHouseStore) -> None:
    through(store, envelope('{"a.b":1,"a":{"b":2},"c":3}'))
    sql = "SELECT attributes.a.b.:`Array(Nullable(Int64))`, attributes.c.:Int64 FROM events"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [([1, 2], 3)]


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
SOURCES = TEXT.map(lambda text: text.strip().lower()).filter(bool)
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
    source=SOURCES,
    message=TEXT.filter(str.strip),
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
