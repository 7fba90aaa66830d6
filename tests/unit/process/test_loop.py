"""The order of the steps and what a crash, a refusal or a retry leave, on memory adapters.

Numbers cite the invariants of process.range_commit ("ranges n") and process.loop ("loop n").
"""

import threading
from itertools import pairwise

import pytest

from parsec.core.errors import Fatal, Poison, Retryable
from parsec.ports.broker import Counts, Progress
from parsec.process.batching import InsertLimits
from tests.support.processing import LIMITS, Crash, Rig

DOWN = Retryable("down", after_s=1.0)


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"event %d" % n for n in range(first, first + count)]


def calls(rig: Rig) -> list[str]:
    """Calls of log and store in the order of each; see test_steps_come_in_the_order_of_the_design for both together."""
    return rig.log.calls + rig.store.calls


def test_steps_come_in_the_order_of_the_design() -> None:  # ranges 3
    rig = Rig()
    rig.store.calls = rig.log.calls
    rig.log.append(*numbered(3), b"dead", *numbered(1))
    rig.turn(2)
    assert rig.log.calls == ["reserve 0-4 1", "insert_dead_letters [3]", "insert log/0/0-4 4", "commit 5"]
    rig.audit()


PLACES = [
    *("save_checkpoint.before", "save_checkpoint.after"),
    *("reserve.before", "reserve.after", "insert_dead_letters.before", "insert_dead_letters.after"),
    *("insert.before", "insert.token", "insert.half", "insert.after", "commit.before", "commit.after"),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tokens_forgotten", [False, True])
def test_a_crash_anywhere_loses_and_doubles_nothing(place: str, tokens_forgotten: bool) -> None:  # ranges 4, 5, 9
    rig = Rig()
    rig.log.append(*numbered(5), b"dead", *numbered(4))
    rig.on(place, Crash())
    with pytest.raises(Crash):
        rig.turn(3)
    if tokens_forgotten:
        rig.store.forget_tokens()
    rig.start()
    rig.run_until_committed()
    rig.audit()


@pytest.mark.parametrize("place", PLACES)
def test_a_retryable_error_anywhere_is_tried_again(place: str) -> None:  # ranges 5, 9
    rig = Rig()
    rig.log.append(*numbered(5), b"dead", *numbered(4))
    rig.on(place, DOWN, times=3)
    rig.run_until_committed()
    rig.audit()
    assert rig.committed[-1] == 10
    assert rig.committed == sorted(set(rig.committed))


def test_each_commit_is_reported_once_it_can_be_seen() -> None:
    rig = Rig()
    rig.log.append(b"id:a", b"dead", b"id:a", b"poison", *numbered(2))
    rig.run_until_committed()
    rig.log.append(*numbered(3))
    rig.run_until_committed()
    rig.audit()
    assert rig.committed == [6, 9]


def test_a_replay_of_the_reserved_range_is_cut_where_it_was_cut_before() -> None:  # ranges 4
    rig = Rig()
    rig.log.append(*numbered(3))
    rig.on("insert.before", Crash())
    with pytest.raises(Crash):
        rig.turn(2)
    rig.log.append(*numbered(3))
    rig.start()
    rig.run_until_committed()
    assert [c for c in rig.store.calls if c.startswith("insert")][1:] == ["insert log/0/0-2 3", "insert log/0/3-5 3"]
    rig.audit()


def test_a_reserved_range_is_awaited_even_if_inserts_are_smaller_now() -> None:  # ranges 4
    rig = Rig()
    rig.log.append(*numbered(8))
    rig.on("insert.after", Crash())
    with pytest.raises(Crash):
        rig.turn(2)
    rig.store.forget_tokens()
    rig.limits = InsertLimits(max_events=3, max_bytes=1000, linger_s=0.5)
    rig.start()[1].largest = 2
    rig.run_until_committed()
    rig.audit()


def test_an_insert_that_lands_after_its_owner_died_lands_once() -> None:  # ranges 5
    rig = Rig()
    rig.log.append(*numbered(4))
    rig.store.give_up = Crash()
    with pytest.raises(Crash):
        rig.turn(2)
    rig.start()
    rig.run_until_committed()
    rig.store.land_late()
    rig.audit()


def test_a_token_without_its_rows_does_not_swallow_them() -> None:  # ranges 5, 6
    rig = Rig()
    rig.log.append(*numbered(4))
    rig.on("insert.token", Crash())
    with pytest.raises(Crash):
        rig.turn(2)
    rig.start()
    rig.run_until_committed()
    assert rig.log.calls[-2:] == ["reserve 0-3 2", "commit 4"]
    assert rig.store.calls[-1] == "insert log/0/0-3#2 4"
    rig.audit()


def test_a_zombie_touches_neither_broker_nor_store() -> None:  # ranges 1, loop 1
    rig = Rig()
    rig.log.append(*numbered(4))
    zombie = rig.processor
    rig.on("insert.before", DOWN)
    rig.turn(2)
    rig.start()
    rig.run_until_committed()
    rig.clock.advance(60)
    before = calls(rig)
    for _ in range(5):
        zombie.step(0)
    assert calls(rig) == before
    assert zombie.positions() == {}
    rig.audit()


def test_a_zombie_that_wakes_inside_its_insert_doubles_nothing() -> None:  # ranges 5
    rig = Rig()
    rig.log.append(*numbered(4))
    zombie = rig.processor

    def sleep_in_insert(place: str) -> None:
        if place == "insert.before":
            rig.clear_hooks()
            rig.start()
            rig.run_until_committed()

    rig.clear_hooks(sleep_in_insert)
    zombie.step(0)
    zombie.step(0)
    rig.audit()
    assert rig.log.progress[0].committed == 4
    assert rig.telemetry.value("parsec_process_events_total", fate="stored") == 4  # not by the zombie, too
    assert rig.telemetry.tenants() == {"acme": {"stored": 4}}


def test_a_reservation_of_an_ended_epoch_inserts_nothing() -> None:  # ranges 3
    rig = Rig()
    rig.log.append(*numbered(4))
    zombie = rig.processor

    def lose_before_reserve(place: str) -> None:
        if place == "reserve.before":
            rig.clear_hooks()
            rig.start()

    rig.clear_hooks(lose_before_reserve)
    zombie.step(0)
    zombie.step(0)
    assert calls(rig) == []


def test_slices_given_twice_are_stored_once() -> None:  # ranges 1
    rig = Rig()
    rig.reader.largest = 2
    rig.log.append(*numbered(1))
    rig.turn(2)
    rig.log.append(*numbered(6))
    rig.turn(2)
    rig.reader.replay(0)
    rig.run_until_committed()
    rig.audit()


def test_lost_offsets_are_counted_and_do_not_stop_the_stream() -> None:  # ranges 2, 9
    rig = Rig()
    rig.log.append(*numbered(12))
    rig.log.lose(2, 4)
    rig.log.lose(9, 11)
    rig.run_until_committed()
    rig.audit()
    assert rig.log.progress[0].counts.lost == 6
    assert rig.telemetry.value("parsec_process_events_total", fate="lost") == 6
    assert rig.telemetry.value("parsec_process_events_total", fate="stored") == 6


def test_what_the_log_lost_after_it_had_landed_is_stored() -> None:  # ranges 9
    rig = Rig()
    rig.log.append(*numbered(4))
    rig.on("insert.after", Crash())
    with pytest.raises(Crash):
        rig.turn(2)
    rig.log.lose(0, 3)
    rig.start()
    rig.run_until_committed()
    rig.audit()
    assert rig.log.progress[0].counts.stored == 4


def test_one_row_that_the_store_refuses_is_a_dead_letter_and_its_neighbours_land() -> None:  # ranges 7
    rig = Rig()
    rig.log.append(*numbered(5), b"poison", *numbered(2))
    rig.run_until_committed()
    rig.audit()
    (letter,) = rig.store.dead.values()
    assert (letter.offset, letter.reason, letter.raw, letter.tenant_id) == (5, "store_refused", b"poison", "acme")
    assert (letter.detail, letter.stage) == ("cannot parse a row", "store")
    assert rig.log.calls[:2] == ["reserve 0-7 1", "reserve 0-7 2"]
    assert "insert log/0/0-3#2 4" in rig.store.calls
    assert rig.reader.paused == set()


def test_a_block_of_nothing_but_refused_rows_ends_too() -> None:  # ranges 7
    rig = Rig()
    rig.log.append(*[b"poison"] * 8)
    rig.run_until_committed()
    rig.audit()
    assert len(rig.store.dead) == 8


@pytest.mark.parametrize("call", range(40))
@pytest.mark.parametrize("error", [Crash(), DOWN])
@pytest.mark.parametrize("tokens_forgotten", [False, True])
def test_trouble_anywhere_while_a_block_is_split(
    call: int, error: BaseException, tokens_forgotten: bool
) -> None:  # ranges 6, 7, 9
    rig = Rig()
    rig.log.append(*numbered(2), b"poison", *numbered(3), b"poison", b"dead")
    seen = [0]

    def nth(place: str) -> None:
        if place == "poll.before":
            return
        seen[0] += 1
        if seen[0] == call:
            raise error

    rig.clear_hooks(nth)
    try:
        rig.run_until_committed()
    except Crash:
        if tokens_forgotten:
            rig.store.forget_tokens()
        rig.start()
        rig.run_until_committed()
    rig.audit()
    assert rig.log.progress[0].counts.dead == 3


def test_time_outs_never_split_a_block() -> None:  # ranges 7
    rig = Rig()
    rig.log.append(*numbered(8))
    rig.on("insert.before", DOWN, times=5)
    rig.run_until_committed()
    assert {c for c in rig.store.calls if c.startswith("insert")} == {"insert log/0/0-7 8"}
    assert rig.telemetry.value("parsec_store_insert_failures_total") == 5


def test_a_store_that_refuses_a_dead_letter_is_fatal() -> None:
    rig = Rig()
    rig.log.append(b"dead")
    rig.on("insert_dead_letters.before", Poison("no"))
    with pytest.raises(Fatal):
        rig.turn(2)


def test_waits_grow_and_stay_below_the_cap() -> None:
    rig = Rig()
    rig.log.append(*numbered(4))
    tried: list[float] = []

    def down(place: str) -> None:
        if place == "insert.before":
            tried.append(rig.clock.monotonic())
            raise DOWN

    rig.clear_hooks(down)
    rig.turn(6000, seconds=0.01)
    waits = [later - earlier for earlier, later in pairwise(tried)]
    assert waits[0] >= 1.0
    assert waits[1] > waits[0]
    assert 3.0 < waits[-1] <= 5.1
    assert max(waits) <= 5.1


def test_a_partition_in_trouble_is_paused_and_the_others_go_on() -> None:  # loop 2
    rig = Rig(partitions=2)
    for partition in (0, 1):
        rig.log.append(*numbered(4), partition=partition)
    broken = [True]

    def down(place: str) -> None:
        if place == "insert.before" and broken[0] and rig.store.calls[-1].startswith("insert log/0/"):
            raise DOWN

    rig.clear_hooks(down)
    rig.turn(10, seconds=1)
    rig.log.append(*numbered(50), partition=0)
    rig.log.append(*numbered(50), partition=1)
    rig.turn(60, seconds=1)
    assert rig.reader.paused == {0}
    assert rig.processor.positions() == {0: 0, 1: 54}
    assert rig.processor.stalled_for() > 50
    broken[0] = False
    rig.run_until_committed()
    rig.audit()
    assert rig.reader.paused == set()


def test_a_store_that_answers_questions_but_takes_nothing_is_a_stall() -> None:
    rig = Rig()
    rig.turn(5, seconds=1)
    assert rig.processor.stalled_for() == 0
    rig.log.append(*numbered(4))
    rig.on("insert.before", DOWN, times=1000)
    rig.turn(60, seconds=1)
    assert rig.processor.stalled_for() >= 58
    assert_a_store_that_answers_ends_the_stall(rig)


def test_a_store_that_breaks_off_while_claims_are_made_again_is_a_stall() -> None:
    rig = Rig()
    rig.log.append(*numbered(4))
    rig.run_until_committed()
    rig.start()
    rig.log.append(*numbered(4))
    rig.on("expiry_bound.before", DOWN, times=1000)
    rig.turn(60, seconds=1)
    assert rig.processor.stalled_for() >= 55
    assert_a_store_that_answers_ends_the_stall(rig)


def assert_a_store_that_answers_ends_the_stall(rig: Rig) -> None:
    rig.clear_hooks()
    rig.run_until_committed()
    rig.turn()
    assert rig.processor.stalled_for() == 0


def test_a_thread_that_does_not_turn_is_a_stall() -> None:
    rig = Rig()
    rig.turn()
    rig.clock.advance(40)
    assert rig.processor.stalled_for() == 40


def test_the_log_that_cannot_be_read_for_a_while_is_polled_again() -> None:
    rig = Rig()
    rig.log.append(*numbered(4))
    rig.on("poll.before", DOWN, times=3)
    rig.run_until_committed()
    rig.audit()


def test_an_idle_partition_is_inserted_at_once_and_a_busy_one_after_the_linger() -> None:  # loop 3
    rig = Rig()
    rig.log.append(*numbered(1))
    rig.turn(2)
    assert rig.processor.positions() == {0: 1}
    for _ in range(4):
        rig.log.append(*numbered(1))
        rig.turn(1, seconds=0.1)
    assert rig.processor.positions() == {0: 1}
    rig.turn(1, seconds=0.2)
    assert rig.processor.positions() == {0: 5}
    assert rig.telemetry.value("parsec_store_inserts_total") == 2


def test_a_full_batch_does_not_linger() -> None:  # loop 3
    rig = Rig()
    rig.log.append(*numbered(LIMITS.max_events * 3))
    rig.reader.largest = 3
    rig.turn(11)
    assert [c.split()[-1] for c in rig.store.calls] == ["3", "8", "8"]
    rig.turn(1, seconds=LIMITS.linger_s)
    rig.audit()


def test_a_batch_is_full_by_bytes_too() -> None:  # loop 3
    rig = Rig(limits=InsertLimits(max_events=1000, max_bytes=100, linger_s=60))
    rig.log.append(*[b"x" * 60] * 6)
    rig.reader.largest = 1
    rig.turn(9)
    assert [c.split()[-1] for c in rig.store.calls] == ["1", "2", "2"]


def test_lag_is_what_is_durable_and_not_committed() -> None:
    rig = Rig()
    rig.log.append(*numbered(6))
    rig.on("insert.before", DOWN, times=1000)
    rig.turn(4, seconds=1)
    assert rig.telemetry.value("parsec_process_lag_events") == 6


def test_stop_finishes_the_backlog_if_told() -> None:
    rig = Rig()
    rig.log.append(*numbered(50))
    rig.turn(1)
    rig.processor.stop(finish_backlog_until=rig.clock.monotonic() + 30)
    rig.processor.run()
    rig.audit()
    assert rig.processor.positions() == {0: 50}


def test_stop_leaves_the_backlog_if_told_and_nothing_is_lost() -> None:
    rig = Rig()
    rig.log.append(*numbered(50))
    rig.turn(3)
    committed = rig.processor.positions()[0]
    rig.processor.stop()
    rig.processor.run()
    assert rig.log.progress[0].committed == committed < 50
    rig.start()
    rig.run_until_committed()
    rig.audit()


def test_stop_ends_at_its_deadline_while_the_store_is_down() -> None:
    rig = Rig()
    rig.log.append(*numbered(4))
    turned = [0]

    def down(place: str) -> None:
        if place == "poll.before":
            turned[0] += 1
            rig.clock.advance(1)
        if place == "insert.before":
            raise DOWN

    rig.clear_hooks(down)
    rig.turn()
    rig.processor.stop(finish_backlog_until=rig.clock.monotonic() + 30)
    rig.processor.run()
    assert 25 < turned[0] < 35
    assert rig.log.progress[0].reserved is not None


def test_stop_ends_an_idle_thread() -> None:
    rig = Rig()
    thread = threading.Thread(target=rig.processor.run)
    thread.start()
    rig.processor.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_the_unexpected_ends_the_thread_with_its_error() -> None:
    rig = Rig()
    rig.log.append(*numbered(1))
    rig.on("insert.before", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        rig.processor.run()


def test_what_the_broker_forgot_is_not_stored_again() -> None:  # ranges 8
    rig = Rig()
    rig.log.append(*[b"event"] * 25, b"dead", *[b"event"] * 14)
    rig.run_until_committed()
    rig.log.progress[0] = Progress(rig.log.progress[0].log_id, 0, 0, 0)
    rig.log.append(*[b"event"] * 5)
    rig.start()
    rig.run_until_committed()
    rig.audit()
    counts = rig.log.progress[0].counts
    assert (counts.stored, counts.dead, counts.lost) == (44, 1, 0)


def test_a_store_that_does_not_answer_at_the_start_is_asked_again() -> None:
    rig = Rig()
    rig.log.append(*[b"event"] * 5)
    asked: list[str] = []

    def fail_twice(name: str) -> None:
        if name == "highest_offset.before" and len(asked) < 2:
            asked.append(name)
            raise Retryable("down")

    rig.clear_hooks(fail_twice)
    for _ in range(10):
        rig.turn(1, 6)
    rig.audit()
    assert len(asked) == 2
    assert rig.log.progress[0].committed == 5


def test_each_tenant_is_told_what_became_of_its_events() -> None:
    rig = Rig()
    rig.log.append(b"a@acme", b"id:x@acme", b"id:x@acme", b"poison@acme", b"b@other-one", b"dead", b"c@acme")
    rig.run_until_committed()
    rig.audit()
    told = rig.telemetry.tenants()
    assert told["acme"] == {"stored": 3, "duplicate": 1, "dead": 2}
    assert told["other-one"] == {"stored": 1}
    assert sum(sum(fates.values()) for fates in told.values()) == rig.log.progress[0].counts.total


@pytest.mark.parametrize("left", [(), (0,), (1,), (0, 2)], ids=["nothing", "the first", "the second", "two days"])
@pytest.mark.parametrize("place", ["insert.after", "commit.before"])
def test_a_day_that_is_dropped_while_its_range_is_open_is_completed_and_counted_once(
    place: str, left: tuple[int, ...]
) -> None:
    """Between a crash and the next start; with the rows their tokens are forgotten (adapters/store/days.py, 3)."""
    rig = Rig()
    rig.log.append(b"before")
    rig.run_until_committed()
    rig.log.append(b"a", b"b", b"id:c", b"dead")
    rig.on(place, Crash())
    with pytest.raises(Crash):
        rig.run_until_committed()
    rig.clear_hooks()
    rig.store.rows = [row for row in rig.store.rows if row.offset - 1 in left]
    rig.store.forget_tokens()
    rig.start()
    rig.log.append(b"id:c", b"after")
    rig.run_until_committed()
    counts = rig.log.progress[0].counts
    assert (counts.stored, counts.duplicate, counts.dead, counts.lost) == (5, 1, 1, 0)
    assert sorted(row.message for row in rig.store.rows) == ["a", "after", "b", "id:c"], "but for the day before"


def test_a_log_that_is_read_again_after_its_state_was_lost_finds_old_duplicates() -> None:  # ranges 10
    rig = Rig()
    rig.log.append(b"id:a", b"event", b"id:a")
    rig.run_until_committed()
    rig.log.progress[0] = Progress("log", 0, 0, 0)
    rig.start()
    rig.store.recent_ids = lambda *_: iter(())  # type: ignore[method-assign]  # both are older than the window
    rig.run_until_committed()
    assert sorted(row.offset for row in rig.store.rows) == [0, 1]
    assert rig.log.progress[0].counts == Counts(stored=2, duplicate=1)
