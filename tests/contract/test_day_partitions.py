"""What ports/store.py promises of days, on the embedded store and a server. Numbers cite adapters/store/days.py."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.adapters.store.day_partitions import ClickHouseDayPartitions
from parsec.api.audit import PartitionAudit
from parsec.core.timestamp import DAY, LATEST
from parsec.ports.broker import Counts, Progress, Range
from parsec.ports.store import DaySize, LedgerCheckpoint, Row
from parsec.process.size_retention import SizeRetention
from parsec.query import audit as audits
from parsec.query.audit import audit
from parsec.query.sql import ledger
from parsec.query.sql.page import PageRequest
from parsec.query.timerange import TimeRange
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock
from tests.support.stored import ask
from tests.support.stores import LIMITS, ServerEngine, TestEngine

TODAY = 20_800
FIRST = TODAY - 3
DEAD = 9
Filled = tuple[ClickHouseStore, ClickHouseDayPartitions, TestEngine | ServerEngine]


@pytest.fixture
def filled(opened: tuple[ClickHouseStore, TestEngine | ServerEngine]) -> Iterator[Filled]:
    """Three days of ten offsets each, with a mark before each; one of the first day is a dead letter."""
    store, engine = opened
    days = store.day_partitions()
    for number in range(3):
        fill(store, number)
    engine.ask(
        "INSERT INTO dead_letters (log_id, partition, offset, tenant_id, raw, time, expires_on) "  # noqa: S608
        f"VALUES ('log', 0, 9, 'acme', '{{', toDateTime({FIRST * 86_400 + 5}, 'UTC'), '2100-01-01')"
    )
    yield store, days, engine
    days.close()


def row(offset: int, day: int) -> Row:
    at = day * DAY + DAY // 2
    return Row("acme", at + offset, "info", "api", "m", "{}", f"e{offset}", at, "r", "n", "log", 0, offset, 65_000)


def mark(committed: int, day: int = 0) -> LedgerCheckpoint:
    dead = 1 if committed > DEAD else 0
    return LedgerCheckpoint("log", 0, 0, committed, committed - dead, 0, dead, 0, TODAY + 900, day)


def token(number: int) -> str:
    return f"log/0/{number * 10}-{number * 10 + 9}"


def fill(store: ClickHouseStore, number: int) -> None:
    day = FIRST + number
    first = number * 10
    store.save_checkpoint(mark(first, day))
    store.insert([row(n, day) for n in range(first, first + 10) if n != DEAD], token(number))


def keeper(days: ClickHouseDayPartitions, max_bytes: int, today: int = TODAY) -> SizeRetention:
    return SizeRetention(days, max_bytes, Telemetry(), ManualClock(today * DAY))


def drop_oldest(days: ClickHouseDayPartitions, count: int = 1) -> None:
    """As the bound does it."""
    keeper(days, sum(each.bytes for each in days.sizes()[count:])).check()


def recounted(store: ClickHouseStore) -> PartitionAudit:
    progress = Progress("log", 0, 0, 30, Counts(stored=29, dead=1))
    (found,) = audit(store.reader(), [progress], TODAY, LIMITS).partitions
    return found


def figures(days: ClickHouseDayPartitions) -> list[tuple[int, int, int]]:
    return [(each.day - FIRST, each.events, each.dead_letters) for each in days.sizes()]


def test_each_day_has_its_events_dead_letters_and_bytes(filled: Filled) -> None:
    _, days, engine = filled
    assert figures(days) == [(0, 9, 1), (1, 10, 0), (2, 10, 0)]
    on_disk = (
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active "
        "AND table IN ('events', 'dead_letters')"
    )
    assert sum(each.bytes for each in days.sizes()) == int(engine.ask(on_disk))
    assert all(each.bytes > 500 for each in days.sizes())


def test_dead_letters_share_their_bytes_by_number_and_may_have_a_day_alone(filled: Filled) -> None:
    _, days, engine = filled
    before = days.sizes()[0].bytes
    engine.ask(
        "INSERT INTO dead_letters (log_id, partition, offset, tenant_id, raw, time, expires_on) "  # noqa: S608
        f"SELECT 'log', 0, 40 + number, 'acme', '{{', toDateTime({(FIRST - 1) * 86_400}, 'UTC'), '2100-01-01' "
        "FROM numbers(9)"
    )
    assert figures(days)[0] == (-1, 0, 9)
    alone, both = days.sizes()[:2]
    assert alone.bytes > 0
    assert both.bytes < before + alone.bytes
    days.drop(alone)
    assert figures(days) == [(0, 9, 1), (1, 10, 0), (2, 10, 0)]


def test_a_day_that_goes_takes_events_and_dead_letters_and_nothing_else(filled: Filled) -> None:
    store, days, engine = filled
    drop_oldest(days)
    assert figures(days) == [(1, 10, 0), (2, 10, 0)]
    assert int(engine.ask("SELECT count() FROM dead_letters")) == 0
    answer = ask(store.reader(), PageRequest("acme", TimeRange(0, LATEST), 100), LIMITS)
    assert answer.count == 20
    gone = ask(store.reader(), PageRequest("acme", TimeRange(FIRST * DAY, (FIRST + 1) * DAY), 100), LIMITS)
    assert (gone.count, gone.cursor) == (0, None)


def test_two_processes_that_look_at_once_drop_only_what_has_to_go(filled: Filled) -> None:
    store, days, _ = filled
    room = sum(each.bytes for each in days.sizes()[1:])
    own = [store.day_partitions() for _ in range(3)]
    threads = [threading.Thread(target=keeper(each, room).check) for each in own]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert figures(days) == [(1, 10, 0), (2, 10, 0)]
    for each in own:
        each.close()


def test_a_recount_begins_behind_the_days_that_were_dropped(filled: Filled) -> None:  # 1
    store, days, _ = filled
    assert (recounted(store).difference, recounted(store).not_recounted) == (0, 0)
    drop_oldest(days)
    found = recounted(store)
    assert (found.difference, found.recounted_from, found.not_recounted) == (0, 10, 10)
    assert (found.ledger, found.found) == (Counts(stored=20),) * 2
    drop_oldest(days)
    found = recounted(store)
    assert (found.difference, found.recounted_from, found.not_recounted) == (0, 20, 20)


def test_what_is_noted_is_not_recounted_though_nothing_went_yet(filled: Filled) -> None:  # 1
    store, days, engine = filled
    engine.ask(f"INSERT INTO dropped_days (day, events, dead_letters, bytes) VALUES ({FIRST}, 10, 1, 99)")  # noqa: S608
    assert (recounted(store).difference, recounted(store).not_recounted) == (0, 10)
    days.drop(days.sizes()[0])
    assert (recounted(store).difference, recounted(store).not_recounted) == (0, 10)


def test_a_day_that_goes_during_a_recount_is_not_taken_for_lost(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, days, _ = filled
    found = ledger.found_in
    calls: list[Any] = []

    def meanwhile(*asked: Any) -> Any:
        if not calls:
            drop_oldest(days)
        calls.append(asked)
        return found(*asked)

    monkeypatch.setattr(audits, "found_in", meanwhile)
    assert (recounted(store).difference, recounted(store).not_recounted) == (0, 10)


def test_a_row_that_is_gone_of_another_day_is_still_found(filled: Filled) -> None:
    store, days, engine = filled
    drop_oldest(days)
    engine.ask("ALTER TABLE events DELETE WHERE offset = 25 SETTINGS mutations_sync = 2")
    found = recounted(store)
    assert [(each.first, each.stored) for each in found.where] == [(20, -1)]


def test_marks_of_an_older_version_promise_nothing_once_a_day_was_dropped(filled: Filled) -> None:
    store, days, _ = filled
    for first in (0, 10, 20):
        store.save_checkpoint(mark(first))
    assert recounted(store).not_recounted == 0
    drop_oldest(days)
    assert (recounted(store).difference, recounted(store).not_recounted) == (0, 30)


def test_a_range_of_a_dropped_day_is_stored_again_under_its_token(filled: Filled) -> None:  # 3
    """A crash left the commit of it open: recovery finds nothing of it, and must not be told that it is there."""
    store, days, _ = filled
    drop_oldest(days)
    assert store.stored_offsets(Range("log", 0, 0, 9)) == set()
    assert store.highest_offset("log", 0, 0) == 29
    store.insert([row(n, FIRST) for n in range(9)], token(0))
    assert store.stored_offsets(Range("log", 0, 0, 9)) == set(range(9))
    store.insert([row(n, FIRST) for n in range(9)], token(0))
    assert figures(days)[0] == (0, 9, 0)
    days.drop(days.sizes()[0])
    days.drop(DaySize(FIRST, 10, 0, 0))
    assert figures(days) == [(1, 10, 0), (2, 10, 0)]


def test_a_block_of_two_days_is_completed_when_one_of_them_is_gone(filled: Filled) -> None:  # 3
    store, days, _ = filled
    both = [row(31, FIRST), row(32, FIRST + 1)]
    store.insert(both, "log/0/31-32")
    drop_oldest(days)
    assert store.stored_offsets(Range("log", 0, 31, 32)) == {32}
    store.insert(both[:1], "log/0/31-32")
    assert store.stored_offsets(Range("log", 0, 31, 32)) == {31, 32}
