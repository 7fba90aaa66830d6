"""What ports/store.py promises to who asks, on both engines: pages, limits, questions that are given up."""

import json
import threading
import time
from collections.abc import Callable

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Fatal, Rejected, Retryable
from parsec.ports.store import Cancellation, QueryLimits
from parsec.query.sql.page import PageRequest
from parsec.query.timerange import TimeRange
from tests.support.stored import ALL_TIMES, NOON, ask, events, row
from tests.support.stores import LIMITS, TestEngine


def test_newest_first_from_inclusive_to_exclusive(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in (2, 0, 3, 1)], "t")
    answer = ask(store.reader(), PageRequest("acme", TimeRange(NOON + 1, NOON + 3), 10), LIMITS)
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
        answer = ask(reader, PageRequest("acme", ALL_TIMES, limit, cursor), LIMITS)
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
    first = ask(reader, PageRequest("acme", TimeRange(NOON + 1, NOON + 4), 2), LIMITS)
    store.insert([row(9, timestamp=NOON + 3, id="late")], "u")
    rest = ask(reader, PageRequest("acme", ALL_TIMES, 10, first.cursor), LIMITS)
    assert [e["id"] for e in json.loads(bytes(rest.events))] == ["evt-1"]
    assert rest.cursor is None


def test_a_cursor_of_another_tenant_is_refused(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in range(5)], "t")
    cursor = ask(store.reader(), PageRequest("acme", ALL_TIMES, 2), LIMITS).cursor
    with pytest.raises(Rejected) as caught:
        ask(store.reader(), PageRequest("other", ALL_TIMES, 2, cursor), LIMITS)
    assert caught.value.code == "invalid_cursor"


def test_values_are_bound_not_spliced(store: ClickHouseStore) -> None:
    text = "'; DROP TABLE events; -- {x:String} \\ \n \t \0"
    found = store.reader().select("SELECT {text:String}, {n:UInt64}", {"text": text, "n": 2**64 - 1}, LIMITS, tuple)
    assert found == [(text, 2**64 - 1)]


@pytest.mark.parametrize(
    ("sql", "limits"),
    [
        ("SELECT sleep(3)", QueryLimits(1 << 30, 0.2)),
        ("SELECT number FROM numbers(1000000)", QueryLimits(1 << 30, 30, max_result_rows=10)),
        ("SELECT repeat('x', 1000) FROM numbers(100000)", QueryLimits(1 << 30, 30, max_result_bytes=1000)),
        ("SELECT groupArray(number) FROM numbers(100000000)", QueryLimits(10_000_000, 30)),
        ("SELECT sum(number) FROM numbers(100000000)", QueryLimits(1 << 30, 30, max_rows_read=1000)),
    ],
    ids=["time", "rows", "bytes", "memory", "rows read"],
)
def test_a_question_that_costs_too_much_is_refused(store: ClickHouseStore, sql: str, limits: QueryLimits) -> None:
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


@pytest.mark.parametrize(
    "limits", [QueryLimits(1 << 30, 0.3), QueryLimits(1 << 30, 30, max_rows_read=1 << 30, max_bytes_read=1)]
)
def test_the_store_stops_working_on_what_costs_too_much(
    store: ClickHouseStore, engine: TestEngine, limits: QueryLimits
) -> None:
    with pytest.raises(Rejected, match="shorten its time range"):
        store.reader().select(ENDLESS, {"n": 1}, limits, tuple)
    wait_until(lambda: not at_work(engine))


def test_a_question_that_is_given_up_is_stopped_in_the_store(store: ClickHouseStore, engine: TestEngine) -> None:
    reader, cancellation, ended = store.reader(), Cancellation(), list[Exception]()

    def look() -> None:
        try:
            reader.select(ENDLESS, {"n": 1}, QueryLimits(1 << 30, 120, cancellation=cancellation), tuple)
        except Exception as error:  # noqa: BLE001 (looked at below)
            ended.append(error)

    asking = threading.Thread(target=look)
    asking.start()
    wait_until(lambda: at_work(engine))
    cancellation.cancel()
    asking.join(10)
    assert [type(error) for error in ended] == [Retryable]
    wait_until(lambda: not at_work(engine))
    with pytest.raises(Retryable, match="cancelled"):
        reader.select("SELECT 1", {}, QueryLimits(1 << 30, 30, cancellation=cancellation), tuple)


@pytest.mark.parametrize("sql", ["DROP TABLE events", "INSERT INTO events (id) VALUES ('x')", "SET readonly = 0"])
def test_a_reader_cannot_write(store: ClickHouseStore, engine: TestEngine, sql: str) -> None:
    reader = store.reader()
    reader.select("SELECT 1", {}, LIMITS, tuple)
    with pytest.raises(Fatal):
        reader.select(sql, {}, LIMITS, tuple)
    assert int(engine.ask("SELECT count() FROM events")) == 0


def test_many_threads_may_ask_while_one_writes(store: ClickHouseStore) -> None:
    reader, failures = store.reader(), []

    def look() -> None:
        try:
            for _ in range(10):
                ask(reader, PageRequest("acme", ALL_TIMES, 100), LIMITS)
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
