"""Events that an earlier version stored, rewritten by the backfill. Numbers cite adapters/store/backfill.py."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import astuple

from parsec.adapters.store import backfill
from parsec.adapters.store.backfill import Backfill, Surroundings
from parsec.adapters.store.clickhouse import EVENTS_TABLE, INSERT_SETTINGS, ClickHouseStore
from parsec.adapters.store.migrations import migrate, migrations
from parsec.core.errors import Retryable
from parsec.core.timestamp import DAY
from parsec.ports.broker import Counts, Progress, Range
from parsec.ports.dedup import Position
from parsec.ports.store import LedgerCheckpoint, Row
from parsec.process.search_text import texts
from parsec.query.audit import audit
from parsec.query.completeness import CompletenessCheck
from parsec.query.sql import ledger
from parsec.query.sql.page import PageRequest
from tests.support.manual_clock import ManualClock
from tests.support.stored import ALL_TIMES, NOON, ask, events, row
from tests.support.stores import LETTERS_S, LIMITS, ServerEngine, TestEngine

OLD_INSERT = {
    name: value
    for name, value in INSERT_SETTINGS.items()
    if not name.startswith("input_format_json") and "infer" not in name
}
METADATA = (
    '{"due":"2026-07-29 00:00:00","n":1}',
    '{"due":"17"}',
    '{"list":["a","b"]}',
    '{"list":["2026-07-29","x",1]}',
    '{"big":123456789012345678901234567890,"text":"x"}',
    '{"big":1e400,"due":"2026-07-29"}',
    '{"dotted.key":"v","text":"\\u00e9"}',
    '{"ver":"2012-10-17","far":"2150-01-01T00:00:00Z","items":[{"sku":"A1"},{"sku":"B2"}]}',
)
MESSAGES = {7: "\u767b\u5f55\u5931\u8d25\u2014500"}
DAYS = 3
Engine = TestEngine | ServerEngine
embedded = pytest.mark.parametrize("engine", ["embedded"], indirect=True)
"""What does not depend on the engine, or not on a server."""


def old_rows() -> list[Row]:
    """Of three days, two partitions and two tenants."""
    return [
        row(
            n, tenant_id=("acme", "other")[n % 5 == 4], partition=n % 2, metadata=METADATA[n % len(METADATA)],
            message=MESSAGES.get(n % 8, f"hello {n}"),
            timestamp=NOON - n % DAYS * DAY + n, received_at=NOON - n % DAYS * DAY + n,
        )
        for n in range(48)
    ]  # fmt: skip


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.integration)])
def engine(request: pytest.FixtureRequest) -> Engine:
    return TestEngine() if request.param == "embedded" else ServerEngine(request.getfixturevalue("front"))


@pytest.fixture(autouse=True)
def old_store(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the version before migration 6 left."""
    monkeypatch.setattr(backfill, "PIECE_OFFSETS", 24)
    monkeypatch.setattr(backfill, "TRY_AGAIN_S", 0)
    before = again(engine)
    client = before.connect({})
    migrate(client, migrations()[:5])
    before.make_durable(client)
    settings = ", ".join(f"{name} = {value}" for name, value in OLD_INSERT.items())
    made = old_rows()
    for at in range(0, len(made), 12):
        rows = [(*astuple(each)[:-1], search_text(each.metadata)) for each in made[at : at + 12]]
        before.write(client, EVENTS_TABLE, settings, [EVENTS_TABLE.block(rows)])
    yield
    client.close()


def search_text(metadata: str) -> str:
    return texts(msgspec.Raw(metadata.encode()))[1]


def again(engine: Engine) -> Engine:
    """As after a restart: the same store, nothing remembered."""
    if not isinstance(engine, TestEngine):
        return engine
    other = TestEngine()
    other._database = engine._database
    return other


@contextmanager
def started(engine: Engine) -> Iterator[ClickHouseStore]:
    store = ClickHouseStore(again(engine), LETTERS_S)
    try:
        yield store
    finally:
        store.close()


def backfill_of(store: ClickHouseStore, **other: Any) -> Backfill:
    """It takes no rest between two pieces."""
    made = store.backfill(Surroundings(search_text)._replace(**other))
    assert made is not None
    made._rest = lambda _: False
    return made


def everything(store: ClickHouseStore) -> list[dict[str, Any]]:
    return [*events(store), *events(store, "other")]


def ids(found: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(each["id"] for each in found)


ALL_IDS = sorted(f"evt-{n}" for n in range(48))


def test_every_event_comes_back_once_and_is_found_by_what_it_says(engine: Engine) -> None:
    with started(engine) as store:
        assert everything(store) == []
        backfill_of(store).run(threading.Event())
        found = everything(store)
        assert ids(found) == ALL_IDS
        assert sorted(each["metadata"].get("due", "") for each in found).count("2026-07-29 00:00:00") == 6
        for q, expected in (
            ('metadata.due:"2026-07-29 00:00:00"', 0),
            ("metadata.due:17", 1),
            ("metadata.big:123456789012345678901234567890", 4),
            ('metadata.due:"2026-07-29"', 5),
            ("metadata.dotted.key:v", 6),
            ('metadata.far:"2150-01-01T00:00:00Z"', 7),
            ("metadata.items.sku:B2", 7),
            ("\u5931\u8d25 500", 7),
        ):
            page = ask(store.reader(), PageRequest("acme", ALL_TIMES, 100, q=q), LIMITS)
            same = {f"evt-{n}" for n in range(48) if n % 8 == expected and n % 5 != 4}
            assert page.count == len(same), q
        assert (
            engine.ask("SELECT count() FROM system.tables WHERE name = 'events_before_6' AND database = database()")
            == 0
        )
    with started(engine) as store:
        assert store.backfill(Surroundings(search_text)) is None
        assert ids(everything(store)) == ALL_IDS


class Killed(Exception):
    pass


@pytest.mark.parametrize(("inserts", "landed"), [(0, False), (5, False), (5, True), (11, True)])
def test_a_kill_at_any_insert_loses_and_repeats_nothing(engine: Engine, inserts: int, landed: bool) -> None:
    """Invariant 1. `landed`: the kill comes after the insert, of 12."""
    with started(engine) as store:
        copying, left = backfill_of(store), inserts
        write = copying._write

        def killed(*values: Any) -> None:
            nonlocal left
            if left == 0 and not landed:
                raise Killed
            write(*values)
            if left == 0:
                raise Killed
            left -= 1

        copying._write = killed
        with pytest.raises(Killed):
            copying.run(threading.Event())
    with started(engine) as store:
        backfill_of(store).run(threading.Event())
        assert ids(everything(store)) == ALL_IDS


def test_two_processes_that_copy_the_same_piece_store_it_once(engine: Engine) -> None:
    with started(engine) as store, started(engine) as second:
        copying, other = backfill_of(store), backfill_of(second)
        write = copying._write

        def slowly(*values: Any) -> None:
            other.run(threading.Event())
            write(*values)

        copying._write = slowly
        copying.run(threading.Event())
        assert ids(everything(store)) == ALL_IDS


def test_positions_ids_and_the_ledger_are_known_at_every_moment(engine: Engine) -> None:
    """Invariant 2."""
    with started(engine) as store:
        halfway = threading.Event()
        copying = backfill_of(store)
        wait = 7

        def pause(_: float) -> bool:
            nonlocal wait
            wait -= 1
            if wait in (5, 0):
                check_knowledge(store)
            return wait < 0

        copying._rest = pause
        check_knowledge(store)
        copying._copy("events_before_6", halfway, pause)
        copying._copy("events_before_6", halfway, pause)
        check_knowledge(store)
        backfill_of(store).run(threading.Event())
        check_knowledge(store)


def check_knowledge(store: ClickHouseStore) -> None:
    for partition in (0, 1):
        mine = {n for n in range(48) if n % 2 == partition}
        assert store.stored_offsets(Range("log-1", partition, 0, 99)) == mine
        assert store.highest_offset("log-1", partition, 0) == max(mine)
        assert {n for batch in store.recent_ids(partition, 10 * 86_400.0, 1000) for n in batch.offsets} == mine
        found = ledger.found_in(store.reader(), Range("log-1", partition, 0, 99), LIMITS)
        assert (found.stored, found.doubled) == (24, 0)
    at = [Position("log-1", n % 2, n) for n in range(48)]
    assert store.rows_at(at, ["acme", "other"]).keys() == set(at)
    assert len(store.positions_of(["acme", "other"], ALL_IDS)) == 48


@embedded
def test_the_ledger_is_whole_while_rows_wait(engine: Engine) -> None:
    with started(engine) as store:
        store.save_checkpoint(LedgerCheckpoint("log-1", 0, 0, 0, 0, 0, 0, 0, 65_000, 65_000))
        progress = Progress("log-1", 0, 0, 48, Counts(24, 24, 0, 0))
        assert audit(store.reader(), [progress], 0, LIMITS).difference == 0


@embedded
def test_new_events_are_stored_meanwhile_and_answers_name_the_days_that_wait(engine: Engine) -> None:
    with started(engine) as store:
        store.insert([row(48, partition=0)], "log-1/0/48-48")
        check = CompletenessCheck(store.reader(), lambda: 1 << 62, lambda: 0, lambda: 0, ManualClock())
        (said,) = check.missing("acme", 0, 1 << 62, LIMITS)
        assert "from 2026-11-21 to 2026-11-23" in said
        copying = backfill_of(store)
        seen = []

        def pause(_: float) -> bool:
            seen.append(str(copying.why()))
            return False

        copying._rest = pause
        copying.run(threading.Event())
        assert "are being rewritten" in seen[0]
        assert any("50 % of 48 are done; 2 days are left." in each for each in seen)
        assert copying.why() is None
        assert ids(everything(store)) == sorted([*ALL_IDS, "evt-48"])
        check = CompletenessCheck(store.reader(), lambda: 1 << 62, lambda: 0, lambda: 0, ManualClock())
        assert check.missing("acme", 0, 1 << 62, LIMITS) == []


@embedded
def test_it_waits_while_the_disk_is_short_and_goes_on_later(engine: Engine) -> None:
    with started(engine) as store:
        free = 0
        stop = threading.Event()
        copying = backfill_of(store, free_bytes=lambda: free)

        def pause(_: float) -> bool:
            stop.set()
            return True

        copying._rest = pause
        copying.run(stop)
        assert "PARSEC_DISK_RESERVE" in str(copying.why())
        assert everything(store) == []
        free = 1 << 40
        copying = backfill_of(store, free_bytes=lambda: free)
        copying.run(threading.Event())
        assert ids(everything(store)) == ALL_IDS


@embedded
def test_a_day_that_goes_for_its_size_goes_from_both_tables(engine: Engine) -> None:
    with started(engine) as store:
        days = store.day_partitions()
        sizes = days.sizes()
        assert [each.events for each in sizes] == [16, 16, 16]
        days.drop(sizes[0])
        days.close()
        backfill_of(store).run(threading.Event())
        assert ids(everything(store)) == sorted(f"evt-{n}" for n in range(48) if n % 3 != 2)


@embedded
def test_a_store_that_refuses_is_asked_again(engine: Engine) -> None:
    with started(engine) as store:
        copying, failures = backfill_of(store), 3
        write = copying._write

        def refused(*values: Any) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise Retryable("full")
            write(*values)

        copying._write = refused
        copying.run(threading.Event())
        assert ids(everything(store)) == ALL_IDS


@embedded
def test_a_damaged_part_is_detached_and_the_rest_is_copied(engine: Engine) -> None:
    with started(engine) as store:
        part = "SELECT path FROM system.parts WHERE database = database() AND table = 'events_before_6' AND active "
        damaged = Path(str(engine.ask(part + "ORDER BY partition_id, name LIMIT 1")))
        rows = int((damaged / "count.txt").read_text())
        content = bytearray((damaged / "data.bin").read_bytes())
        content[len(content) // 2] ^= 1
        (damaged / "data.bin").write_bytes(content)
        backfill_of(store).run(threading.Event())
        assert len(everything(store)) == 48 - rows
        assert set(ids(everything(store))) < set(ALL_IDS)
        assert store.damage_changes() > 0
