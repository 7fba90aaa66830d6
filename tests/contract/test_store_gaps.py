"""What the embedded store lacks, as gaps for the repair: how much, where, and when it was received."""

from collections.abc import Iterator

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.api.repair import StoreGap
from parsec.core.timestamp import text_of
from parsec.ports.broker import Counts, Progress
from parsec.query import store_gaps
from parsec.query.sql import ledger
from tests.contract.test_audit import COUNTS, TODAY, delete, fill, row
from tests.support.stores import LIMITS, TestEngine, embedded_store

Opened = tuple[ClickHouseStore, TestEngine]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """As in test_audit; a gap is narrowed in pieces of 3 offsets."""
    monkeypatch.setattr(store_gaps, "PIECE_OF_GAP", 3)
    monkeypatch.setattr(ledger, "OFFSETS_AT_ONCE", 6)
    with embedded_store() as (store, engine):
        fill(store)
        yield store, engine


def gaps(store: ClickHouseStore, counts: Counts = COUNTS, committed: int = 20, start: int = 0) -> list[StoreGap]:
    return store_gaps.store_gaps(store.reader(), [Progress("log", 0, start, committed, counts)], TODAY, LIMITS)


def test_a_whole_store_has_no_gaps(opened: Opened) -> None:
    assert gaps(opened[0]) == []


def test_a_gap_is_narrowed_to_the_pieces_that_are_not_full(opened: Opened) -> None:
    store, engine = opened
    for offset in (13, 14, 18):
        delete(engine, offset)
    (gap,) = gaps(store)
    assert (gap.first, gap.end, gap.rows, gap.dead_letters, gap.first_checkpoint) == (10, 20, 3, 0, True)
    # 10 and 11 are full, but no whole piece; 15 to 17 is one; 19 stands alone at the end.
    assert gap.stretches == [(10, 15), (18, 20)]
    assert gap.received_from is None
    assert gap.received_until is None


def test_each_gap_knows_until_when_its_events_were_received(opened: Opened) -> None:
    store, engine = opened
    delete(engine, 0)
    delete(engine, 19)
    first, second = gaps(store)
    assert (first.end, second.first) == (10, 10)
    assert first.received_until is not None
    assert first.received_until > text_of(0)
    assert second.received_until is None


def test_dead_letters_are_missing_too(opened: Opened) -> None:
    store, engine = opened
    engine.ask("ALTER TABLE dead_letters DELETE WHERE 1 SETTINGS mutations_sync = 2")
    (gap,) = gaps(store)
    assert (gap.rows, gap.dead_letters, gap.missing) == (0, 1, 1)


def test_without_the_first_checkpoint_all_is_compared_and_it_is_a_gap_of_its_own(opened: Opened) -> None:
    store, engine = opened
    engine.ask("ALTER TABLE ledger_marks DELETE WHERE 1 SETTINGS mutations_sync = 2")
    assert gaps(store) == [StoreGap(0, "log", 0, 0, 0, 0, first_checkpoint=False)]
    delete(engine, 2)
    (gap,) = gaps(store)
    assert (gap.first, gap.end, gap.rows, gap.first_checkpoint) == (0, 20, 1, False)


def test_a_gap_in_many_places_is_looked_for_everywhere(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store, engine = opened
    monkeypatch.setattr(store_gaps, "MOST_STRETCHES", 0)
    for offset in (11, 17):
        delete(engine, offset)
    (gap,) = gaps(store)
    assert gap.stretches == ()


def anew(store: ClickHouseStore, held: int) -> None:
    progress = Progress("log", 0, 0, 20, COUNTS)
    store.save_checkpoint(*store_gaps.first_checkpoints(store.reader(), progress, held, TODAY + 30, LIMITS))


def test_lost_checkpoints_are_made_anew_and_the_ledger_is_recounted_from_there(opened: Opened) -> None:
    store, engine = opened
    engine.ask("ALTER TABLE ledger_marks DELETE WHERE 1 SETTINGS mutations_sync = 2")
    anew(store, held=0)
    assert gaps(store) == []
    delete(engine, 1)
    (gap,) = gaps(store)
    assert (gap.rows, gap.first_checkpoint) == (1, True)


def test_what_only_an_older_log_knew_is_not_taken_for_lost_while_the_store_has_some_of_it(opened: Opened) -> None:
    store, engine = opened
    engine.ask("ALTER TABLE ledger_marks DELETE WHERE 1 SETTINGS mutations_sync = 2")
    for offset in (0, 1, 2):
        delete(engine, offset)  # by age
    anew(store, held=8)
    assert gaps(store) == []
    delete(engine, 9)
    (gap,) = gaps(store)
    assert (gap.first, gap.rows) == (8, 1)


def test_what_the_log_did_not_have_for_an_empty_store_is_lost(opened: Opened) -> None:
    store, engine = opened
    for table in ("events", "dead_letters", "ledger_marks"):
        engine.ask(f"ALTER TABLE {table} DELETE WHERE 1 SETTINGS mutations_sync = 2")
    store.insert([row(n) for n in range(12, 20)], "again")
    anew(store, held=12)
    (gap,) = gaps(store)
    assert (gap.first, gap.end, gap.rows, gap.dead_letters) == (0, 12, 8, 1)


def test_the_loss_of_all_is_not_said_to_have_been_received_later_than_now(opened: Opened) -> None:
    store, engine = opened
    for table in ("events", "dead_letters", "ledger_marks"):
        engine.ask(f"ALTER TABLE {table} DELETE WHERE 1 SETTINGS mutations_sync = 2")
    anew(store, held=20)
    (gap,) = gaps(store)
    assert (gap.first, gap.end, gap.received_from) == (0, 20, None)


def test_what_cannot_be_recounted_is_a_gap_without_events_if_asked_for(opened: Opened) -> None:
    store, engine = opened
    delete(engine, 1)
    progress = [Progress("log", 0, 0, 20, COUNTS)]
    late = TODAY + 40
    assert store_gaps.store_gaps(store.reader(), progress, late, LIMITS) == []
    (gap,) = store_gaps.store_gaps(store.reader(), progress, late, LIMITS, also_unknown=True)
    assert (gap.first, gap.end, gap.missing, gap.first_checkpoint) == (0, 20, 0, True)
    assert gap.stretches == [(0, 9), (18, 20)]
