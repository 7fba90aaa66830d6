"""What ports/store.py promises to who writes, on both engines. Numbers cite adapters/store/clickhouse.py."""

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Fatal
from parsec.core.timestamp import DAY
from parsec.ports.broker import Range
from parsec.ports.dedup import Position
from parsec.ports.store import ExpiryBound, LedgerCheckpoint, RowIdentity, content_digest
from tests.support.stored import NOON, events, letter, row
from tests.support.stores import LIMITS, TestEngine

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
    assert len(store.stored_offsets(Range("log-1", 0, 0, 50_000))) == 40_000
    assert int(engine.ask("SELECT count() FROM events")) == 40_000


def test_a_block_may_touch_more_days_than_the_engine_likes(store: ClickHouseStore) -> None:
    at = [NOON - n * DAY for n in range(150)]
    store.insert([row(n, timestamp=at[n], received_at=at[n], expires_on=65_535) for n in range(150)], "t")
    assert len(events(store)) == 150


def test_no_rows_is_no_insert(store: ClickHouseStore) -> None:
    store.insert([], "t")
    store.insert_dead_letters([])
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
    store.insert_dead_letters([letter(8)])
    at = [Position("log-1", 0, offset) for offset in (3, 4, 8, 9)] + [Position("log-2", 0, 3), Position("log-1", 1, 3)]
    assert store.rows_at(at, {"acme", "globex"}) == {
        at[0]: RowIdentity("acme", first.id, content_digest(first)),
        at[1]: RowIdentity("globex", second.id, content_digest(second)),
        at[2]: None,
    }
    assert store.rows_at(at[:2], {"acme"}).keys() == {at[0]}


def test_standing_answers_for_a_whole_batch_of_repeats(store: ClickHouseStore) -> None:
    store.insert([row(offset) for offset in range(5000)], "a")
    assert len(store.rows_at([Position("log-1", 0, offset) for offset in range(1, 5000, 2)], {"acme"})) == 2500


def test_find_tells_where_an_id_stands(store: ClickHouseStore) -> None:
    store.insert([row(3, id="x"), row(4, id="y"), row(5, id="x", tenant_id="globex")], "a")
    found = store.positions_of({"acme"}, {"x", "z"})
    assert found == {("acme", "x"): Position("log-1", 0, 3)}


def test_recent_gives_the_newest_ids_oldest_first(store: ClickHouseStore) -> None:
    second = 1_000_000_000
    store.insert([row(n, received_at=NOON + n * second) for n in range(100)], "a")
    store.insert([row(200, partition=1, received_at=NOON + 500 * second)], "b")
    store.insert([row(7, log_id="log-2", received_at=NOON + 99 * second)], "c")

    def offsets(seconds: float, ids: int) -> list[tuple[str, int]]:
        batches = list(store.recent_ids(0, seconds, ids))
        assert all(batch.moment_ns <= NOON + 99 * second and batch.partition == 0 for batch in batches)
        assert all(len(batch.tenants) == len(batch.ids) == len(batch.offsets) for batch in batches)
        return [(batch.log_id, offset) for batch in batches for offset in batch.offsets]

    everything = offsets(600, 1000)
    assert sorted(everything) == sorted([*(("log-1", n) for n in range(100)), ("log-2", 7)])
    assert [offset for log_id, offset in everything if log_id == "log-1"] == list(range(100))
    assert sorted(offset for _, offset in offsets(10, 1000)) == [7, *range(89, 100)]
    assert ("log-1", 99) in offsets(600, 5)
    assert len(offsets(600, 5)) < 15
    assert list(store.recent_ids(2, 600, 1000)) == []


# Positions and dead letters


def test_landed_names_rows_and_dead_letters_of_just_this_range(store: ClickHouseStore) -> None:
    store.insert([row(n) for n in (3, 4, 7, 10)], "a")
    store.insert([row(5, log_id="log-2"), row(6, partition=1)], "b")
    store.insert_dead_letters([letter(8), letter(11), letter(9, log_id="log-2"), letter(5, partition=1)])
    assert store.stored_offsets(Range("log-1", 0, 4, 10)) == {4, 7, 8, 10}
    assert store.dead_letter_offsets(Range("log-1", 0, 4, 10)) == {8}
    assert store.stored_offsets(Range("log-2", 0, 0, 99)) == {5, 9}
    assert store.stored_offsets(Range("log-1", 2, 0, 99)) == set()
    assert store.stored_offsets(Range("nowhere", 0, 0, (1 << 63) - 1)) == set()


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
    store.insert_dead_letters([letter(1), letter(2)])
    store.insert_dead_letters([letter(1, reason="invalid_field", stage="store")])
    sql = "SELECT offset, reason, stage, tenant_id, hex(raw) FROM dead_letters FINAL ORDER BY offset"
    assert store.reader().select(sql, {}, LIMITS, tuple) == [
        (1, "invalid_field", "store", "acme", "FF007B"),
        (2, "invalid_envelope", "rows", "acme", "FF007B"),
    ]
    assert store.dead_letter_offsets(Range("log-1", 0, 0, 9)) == {1, 2}


# Life


def test_after_close_every_call_is_fatal(store: ClickHouseStore) -> None:
    reader = store.reader()
    reader.select("SELECT 1", {}, LIMITS, tuple)
    store.close()
    store.close()
    for call in (
        lambda: store.insert([row(0)], "t"),
        lambda: store.insert_dead_letters([letter(0)]),
        lambda: store.stored_offsets(Range("log-1", 0, 0, 1)),
        lambda: reader.select("SELECT 1", {}, LIMITS, tuple),
    ):
        with pytest.raises(Fatal):
            call()


def test_a_missing_table_is_fatal_not_poison(store: ClickHouseStore, engine: TestEngine) -> None:
    engine.ask("DROP TABLE events")
    with pytest.raises(Fatal):
        store.insert([row(0)], "t")


def test_migrations_are_applied_once(store: ClickHouseStore, engine: TestEngine) -> None:
    ClickHouseStore(engine, 86_400.0).close()
    noted = store.reader().select("SELECT number FROM _migrations ORDER BY number", {}, LIMITS, tuple[int])
    assert noted == [(number,) for number in (1, 2, 3, 4, 5, 6)]


def test_what_was_promised_of_an_offset_and_of_all_after_it(store: ClickHouseStore) -> None:
    for committed, leaves, received in ((0, 50, 7), (10, 40, 9), (20, 60, 8)):
        store.save_checkpoint(LedgerCheckpoint("log", 0, 0, committed, committed, 0, 0, 0, leaves, received))
    store.save_checkpoint(LedgerCheckpoint("log", 1, 0, 0, 0, 0, 0, 0, 1))
    promised = [store.expiry_bound("log", 0, offset) for offset in (0, 9, 10, 19, 20, 99)]
    assert promised == [ExpiryBound(40, 7), ExpiryBound(40, 7), *[ExpiryBound(40, 8)] * 2, *[ExpiryBound(60, 8)] * 2]
    store.save_checkpoint(LedgerCheckpoint("log", 0, 0, 20, 20, 0, 0, 0, 55, 6))
    assert store.expiry_bound("log", 0, 30) == ExpiryBound(55, 6), "the same position again replaces"
    assert store.expiry_bound("other", 0, 0) is None


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
