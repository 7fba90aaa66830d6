"""The recount of the ledger against the embedded store, sound and tampered with. Numbers: parsec.query.audit."""

from collections.abc import Iterator

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.api.audit import MissingRecord, PartitionAudit
from parsec.ports.broker import Counts, Progress
from parsec.ports.store import DeadLetter, LedgerCheckpoint, Row
from parsec.query.audit import audit, missing_records
from parsec.query.sql import ledger
from tests.support.stores import LIMITS, TestEngine, embedded_store

TODAY = 20_800
LATER = TODAY + 30
AT = TODAY * 86_400_000_000_000


def row(offset: int, name: str = "") -> Row:
    name = name or f"e{offset}"
    return Row("acme", AT, "info", "api", "m", "{}", name, AT, "r", "n", "log", 0, offset, 65_000)


def dead(offset: int) -> DeadLetter:
    return DeadLetter("log", 0, offset, "acme", "invalid_json", "", b"{")


def mark(committed: int, counts: Counts, expires_from: int = LATER, start: int = 0) -> LedgerCheckpoint:
    return LedgerCheckpoint(
        "log", 0, start, committed, counts.stored, counts.duplicate, counts.dead, counts.lost, expires_from
    )


Opened = tuple[ClickHouseStore, TestEngine]
COUNTS = Counts(stored=16, duplicate=2, dead=1, lost=1)
"""Of offsets 0 to 19: 3 and 4 repeats, 5 dead, 6 lost. Up to 10 that is 6, 2, 1, 1."""
HALF = Counts(stored=6, duplicate=2, dead=1, lost=1)


def fill(store: ClickHouseStore) -> None:
    """Twenty offsets, marked at 0 and 10, with the fates of COUNTS."""
    store.save_checkpoint(mark(0, Counts()))
    store.insert_dead_letters([dead(5)])
    store.insert([row(n) for n in (0, 1, 2, 7, 8, 9)], "a")
    store.save_checkpoint(mark(10, HALF))
    store.insert([row(n) for n in range(10, 20)], "b")


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Twenty offsets, marked at 0 and 10; 20 and 21 are stored and not committed yet."""
    with embedded_store() as (store, engine):
        fill(store)
        store.insert([row(20), row(21)], "c")
        yield store, engine


def recounted(store: ClickHouseStore, counts: Counts = COUNTS, day: int = TODAY, committed: int = 20) -> PartitionAudit:
    (found,) = audit(store.reader(), [Progress("log", 0, 0, committed, counts)], day, LIMITS).partitions
    return found


def delete(engine: TestEngine, offset: int) -> None:
    engine.ask(f"ALTER TABLE events DELETE WHERE offset = {offset} SETTINGS mutations_sync = 2")


def test_a_sound_store_agrees_up_to_the_committed_offset(opened: Opened) -> None:  # 1
    found = recounted(opened[0])
    assert (found.difference, found.not_recounted, found.recounted_from) == (0, 0, 0)
    assert found.ledger == found.found == COUNTS


def test_what_is_counted_in_pieces_is_the_same(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "OFFSETS_AT_ONCE", 3)
    found = recounted(opened[0])
    assert (found.difference, found.found) == (0, COUNTS)


def test_a_row_that_is_gone_is_found_in_its_stretch(opened: Opened) -> None:
    store, engine = opened
    delete(engine, 12)
    found = recounted(store)
    assert found.difference == 1
    assert [(each.first, each.end, each.stored) for each in found.where] == [(10, 20, -1)]


def test_a_row_that_stands_twice_is_found_and_named(opened: Opened) -> None:
    store, _ = opened
    store.insert([row(8)], "d")
    found = recounted(store)
    assert found.difference == 1
    assert [(each.first, each.stored, each.doubled, each.doubled_at) for each in found.where] == [(0, 0, 1, [8])]


def test_one_gone_and_another_too_many_do_not_even_out(opened: Opened) -> None:  # 3
    store, engine = opened
    delete(engine, 12)
    store.insert([row(3)], "d")  # a repeat that was counted as such
    found = recounted(store)
    assert found.difference == 2
    assert [(each.first, each.stored) for each in found.where] == [(0, 1), (10, -1)]


def test_a_dead_letter_that_is_a_row_too_is_found(opened: Opened) -> None:
    store, _ = opened
    store.insert_dead_letters([dead(7)])
    found = recounted(store)
    assert [(each.dead, each.both) for each in found.where] == [(0, 1)]
    assert found.difference == 1


def test_a_dead_letter_that_was_kept_twice_is_one(opened: Opened) -> None:
    store, _ = opened
    store.insert_dead_letters([dead(5)])
    assert recounted(store).difference == 0


def test_counts_that_do_not_add_up_are_a_difference_by_themselves(opened: Opened) -> None:
    found = recounted(opened[0], Counts(stored=16, duplicate=1, dead=1, lost=1))
    assert (found.unbalanced, found.difference) == (1, 1)


def test_what_may_have_left_by_age_is_neither_sound_nor_lost(opened: Opened) -> None:  # 2
    store, engine = opened
    store.save_checkpoint(mark(10, HALF, expires_from=LATER + 1))
    delete(engine, 8)
    assert recounted(store, day=LATER - 2).difference == 1
    found = recounted(store, day=LATER - 1)
    assert (found.difference, found.not_recounted, found.recounted_from) == (0, 10, 10)
    assert found.ledger == Counts(stored=10)
    delete(engine, 12)
    assert recounted(store, day=LATER - 1).difference == 1


def test_what_left_early_in_between_ends_the_recount_there(opened: Opened) -> None:
    store, engine = opened
    store.save_checkpoint(mark(10, HALF, expires_from=TODAY + 1))
    store.save_checkpoint(mark(15, Counts(stored=11, duplicate=2, dead=1, lost=1)))
    delete(engine, 12)
    found = recounted(store)
    assert (found.difference, found.recounted_from, found.ledger) == (0, 15, Counts(stored=5))


def test_when_all_may_have_left_nothing_is_recounted(opened: Opened) -> None:
    found = recounted(opened[0], day=LATER)
    assert (found.difference, found.not_recounted) == (0, 20)
    assert audit(opened[0].reader(), [Progress("log", 0, 0, 20, COUNTS)], LATER, LIMITS).recounted == 0


def test_a_store_without_the_first_mark_is_another_store(opened: Opened) -> None:  # 2
    store, engine = opened
    (found,) = audit(store.reader(), [Progress("old", 0, 0, 20, COUNTS)], TODAY, LIMITS).partitions
    assert (found.difference, found.not_recounted) == (COUNTS.stored + COUNTS.dead, 0)
    # It was lost, and has been filled since the second mark.
    engine.ask("ALTER TABLE ledger_marks DELETE WHERE committed = 0 SETTINGS mutations_sync = 2")
    engine.ask("ALTER TABLE events DELETE WHERE offset < 10 SETTINGS mutations_sync = 2")
    found = recounted(store)
    assert (found.recounted_from, [(each.first, each.stored) for each in found.where]) == (0, [(0, -HALF.stored)])


def test_marks_of_a_ledger_that_was_begun_anew_do_not_count(opened: Opened) -> None:
    store, _ = opened
    store.save_checkpoint(mark(10, Counts(stored=5, duplicate=3, dead=1, lost=1)))
    assert recounted(store).difference == 2
    store.save_checkpoint(mark(0, Counts()))
    assert recounted(store).difference == 0


def test_records_without_a_row_are_named_unless_they_are_repeats(opened: Opened) -> None:
    store, engine = opened
    delete(engine, 12)
    values = [b'{"tenant_id":"acme","id":"e%d"}' % n for n in range(20)]
    values[3] = values[4] = values[0]
    values[6] = b"\xff"
    away = list(missing_records(store.reader(), "log", 0, [(0, values[:7]), (7, values[7:])], LIMITS))
    assert away == [MissingRecord(6), MissingRecord(12, "acme", "e12")]
