"""What the store lost is stored again from the log, once. Numbers of invariants as in parsec.process.repair."""

import pytest

from parsec.api.repair import StoreGap
from parsec.core.errors import Retryable
from parsec.ports.dedup import Position
from parsec.process import lost_records
from parsec.process.batching import InsertLimits
from tests.support.processing import Crash, Rig

RECORDS = [b"event", b"id:a", b"dead", b"id:a", b"event", b"poison", b"event@other", b"id:b", b"id:a"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_records, "REPAIR_OFFSETS", 4)


def committed_rig(*records: bytes, limits: InsertLimits | None = None) -> Rig:
    rig = Rig() if limits is None else Rig(limits=limits)
    rig.log.append(*(records or RECORDS))
    rig.run_until_committed()
    return rig


def test_a_store_that_lost_everything_has_the_same_again() -> None:  # 1, 2
    rig = committed_rig()
    rows, dead = list(rig.store.rows), dict(rig.store.dead)
    rig.lose(lambda _: True, checkpoints=True)
    rig.run_repair()
    assert sorted(rig.store.rows, key=lambda row: row.offset) == sorted(rows, key=lambda row: row.offset)
    assert rig.store.dead.keys() == dead.keys()
    assert rig.gaps() == []
    rig.audit()


def test_only_what_is_missing_is_stored_again() -> None:  # 1
    rig = committed_rig(*[b"event"] * 20)
    rig.store.calls.clear()
    rig.lose(lambda row: row.offset in (3, 4, 13))
    rig.run_repair()
    inserts = [call for call in rig.store.calls if call.startswith("insert ")]
    assert [call.split()[2] for call in inserts] == ["1", "1", "1"]
    rig.audit()


def test_a_token_of_an_earlier_repair_keeps_nothing_out() -> None:  # 1, ranges 11
    rig = committed_rig()
    for _ in range(3):
        rig.lose(lambda _: True)
        rig.run_repair()
        rig.audit()


def test_what_the_log_has_no_more_stays_missing() -> None:
    rig = committed_rig(*[b"event"] * 12)
    rig.log.lose(0, 5)
    rig.lose(lambda row: row.offset < 9)
    rig.run_repair()
    assert sorted(row.offset for row in rig.store.rows) == [6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("place", ["insert.before", "insert.half", "insert.after", "read_again.before"])
def test_a_repair_that_is_killed_goes_on_at_the_next_start(place: str) -> None:  # 1
    rig = committed_rig()
    rig.lose(lambda _: True, checkpoints=True)
    rig.on(place, Crash())
    with pytest.raises(Crash):
        rig.run_repair()
    rig.start()
    rig.log.append(b"event")
    rig.run_until_committed()
    rig.run_repair()
    rig.audit()


@pytest.mark.parametrize("place", ["insert.before", "insert.half", "insert.after", "stored_offsets.before"])
def test_a_failed_step_is_repeated(place: str) -> None:
    rig = committed_rig()
    rig.lose(lambda _: True, checkpoints=True)
    rig.on(place, Retryable("no answer"), times=2)
    rig.run_repair()
    rig.audit()


def test_a_block_that_lands_late_is_not_stored_twice() -> None:  # ranges 5, 11
    rig = committed_rig(*[b"event"] * 4)
    rig.lose(lambda _: True)
    rig.store.give_up = Retryable("no answer")
    rig.run_repair()
    rig.store.land_late()
    rig.audit()


def test_new_events_wait_for_one_chunk_at_most() -> None:  # 3
    rig = committed_rig(*[b"event"] * 40)
    rig.lose(lambda _: True)
    rig.repair.request(rig.gaps())
    for _ in range(5):
        rig.log.append(*[b"event"] * 8)
        again = rig.repair.stored_again
        rig.run_until_committed()
        assert rig.repair.stored_again - again <= 2 * 4
    rig.run_repair()
    rig.audit()


def test_a_partition_that_went_to_another_owner_is_left_to_it() -> None:
    rig = committed_rig()
    rig.lose(lambda _: True)
    rig.repair.request(rig.gaps())
    former = rig.processor
    rig.start()
    former.step(0)
    former.step(0)
    assert rig.store.rows == []
    rig.run_repair()
    rig.audit()


def test_where_nothing_is_recounted_only_what_has_not_expired_comes_back() -> None:  # 2
    rig = committed_rig(b"event", b"dead", b"event", b"event")
    rig.lose(lambda each: each.offset > 0)
    rig.repair.request([StoreGap(0, rig.log.log_id, 0, 4, 0, 0)])
    while not rig.repair.idle.is_set():
        rig.turn(1, 1)
    assert rig.gaps() == []
    rig.audit()


def test_a_repair_that_is_requested_while_lost_holders_are_restored_begins_at_its_first_gap() -> None:
    """By another thread: neither changes what the other one works on."""
    rig = committed_rig(*[b"event"] * 12)
    rig.lose(lambda _: True)
    assert rig.repair.restore([Position(rig.log.log_id, 0, 0)], 12)
    gaps = rig.gaps()

    def request(place: str) -> None:
        if place == "insert.after":
            rig.clear_hooks()
            rig.repair.request(gaps)

    rig.clear_hooks(request)
    assert rig.repair.restore([Position(rig.log.log_id, 0, 8)], 12)
    while not rig.repair.idle.is_set():
        rig.turn(1, 1)
    assert rig.gaps() == []
    rig.audit()


def test_a_request_is_never_taken_for_done_before_it_was_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor's thread may take a turn at any moment of it."""
    rig = committed_rig()
    rig.lose(lambda _: True)
    clear = rig.repair.idle.clear

    def turn_and_clear() -> None:
        rig.turn(3, 1)
        clear()
        rig.turn(1, 1)

    monkeypatch.setattr(rig.repair.idle, "clear", turn_and_clear)
    rig.repair.request(rig.gaps())
    assert not rig.repair.idle.is_set()
    monkeypatch.undo()
    rig.run_repair()
    rig.audit()
