"""Repeats on their way through the processor: what is dropped, what waits, and what is stored after all.

Numbers cite parsec.process.range_commit and parsec.process.bisect.
"""

import pytest
from msgspec.structs import replace

from parsec.adapters.local.dedup import LocalDedup
from parsec.core.errors import Poison
from parsec.core.timestamp import DAY
from parsec.ports.dedup import Position
from parsec.process.batching import Block, InsertLimits
from parsec.process.bisect import MOST_REFUSED, halves
from parsec.process.claims import Claims, Conflict, batch_of
from parsec.process.loop import HOLDER_WAIT_S
from parsec.process.range_commit import MOST_REFUSED_ROWS, Insert
from tests.support.processing import WINDOW, Rig, make_rows
from tests.unit.process.test_range_commit import records

NOWHERE = Position("", 0, 0)


def fates(rig: Rig) -> tuple[int, int, int, int]:
    counts = rig.log.progress[0].counts
    return counts.stored, counts.duplicate, counts.dead, counts.lost


def test_a_repeat_is_dropped_within_a_batch_and_across_batches() -> None:  # ranges 10
    rig = Rig()
    rig.log.append(b"id:a", b"id:a", b"other")
    rig.run_until_committed()
    rig.log.append(b"id:a", b"id:b")
    rig.run_until_committed()
    rig.audit()
    assert fates(rig) == (3, 2, 0, 0)


def test_a_repeat_is_known_after_a_restart() -> None:
    rig = Rig()
    rig.log.append(b"id:a")
    rig.run_until_committed()
    rig.start()
    rig.log.append(b"id:a")
    rig.run_until_committed()
    assert fates(rig) == (1, 1, 0, 0)


def test_the_same_id_of_another_tenant_is_another_event() -> None:
    rig = Rig()
    rig.log.append(b"id:a@acme", b"id:a@globex")
    rig.run_until_committed()
    assert fates(rig) == (2, 0, 0, 0)


def test_other_content_under_the_same_id_is_dropped_and_counted() -> None:
    rig = Rig()
    rig.log.append(b"id:a")
    rig.run_until_committed()
    rig.store.rows[0] = replace(rig.store.rows[0], source="another")
    rig.log.append(b"id:a")
    rig.run_until_committed()
    assert fates(rig) == (1, 1, 0, 0)
    assert rig.telemetry.value("parsec_dedup_conflict_events_total") == 1


def test_two_ids_with_one_hash_are_both_stored() -> None:
    rig = Rig()
    rig.log.append(b"id:a")
    rig.run_until_committed()
    rig.dedup.claim = lambda batch: {offset: Position("log", 0, 0) for offset in batch.offsets}  # type: ignore[method-assign]
    rig.log.append(b"id:b")
    rig.run_until_committed()
    assert fates(rig) == (2, 0, 0, 0)


def test_a_repeat_from_beyond_the_window_hands_its_claim_to_the_first_one() -> None:
    rig = Rig()
    rig.log.append(b"id:a")
    rig.run_until_committed()
    claims = Claims(LocalDedup(WINDOW, rig.telemetry, rig.clock), rig.store, WINDOW, rig.telemetry)
    again, _ = make_rows(records(8, b"id:a", b"id:a", b"id:new"))
    held = claims.claim(again, {8, 9, 10})
    assert {offset: one.holder.offset for offset, one in held.items()} == {8: 0, 9: 0}
    later, _ = make_rows(records(11, b"id:a"))
    assert claims.claim(later, set())[11].holder.offset == 0, "8 is no row, so nobody may wait for it"
    assert claims.resolve(held, {}, NOWHERE, give_up=False).duplicates == {8, 9}


def test_a_holder_that_never_lands_is_waited_for_but_not_for_ever() -> None:  # ranges 10
    rig = Rig()
    ghost, _ = make_rows(records(900, b"id:a"))
    rig.dedup.claim(batch_of(ghost))
    rig.log.append(b"id:a", b"other")
    rig.turn(20, 1.0)
    assert [row.message for row in rig.store.rows] == ["other"], "what nobody holds does not wait"
    assert rig.log.progress[0].committed == 0
    rig.turn(int(HOLDER_WAIT_S), 1.5)
    rig.run_until_committed()
    rig.audit()
    assert fates(rig) == (2, 0, 0, 0)


def test_a_holder_that_has_left_the_store_gives_way_at_once() -> None:
    rig = Rig()
    rig.log.append(b"id:a")
    rig.run_until_committed()
    rig.store.dropped_day = rig.store.rows[0].received_at // DAY
    rig.store.rows.clear()
    rig.log.append(b"id:a", b"id:a")
    before = rig.clock.monotonic()
    rig.run_until_committed()
    assert rig.clock.monotonic() - before < HOLDER_WAIT_S / 2
    assert fates(rig) == (2, 1, 0, 0)


def test_a_holder_that_became_a_dead_letter_gives_way_at_once() -> None:
    rig = Rig()
    rig.log.append(b"dead letter")
    rig.run_until_committed()
    ghost, _ = make_rows(records(0, b"id:a"))
    rig.dedup.claim(batch_of(ghost))
    rig.log.append(b"id:a")
    rig.run_until_committed(20)
    assert fates(rig) == (1, 0, 1, 0)


def test_the_same_lines_without_ids_are_all_stored() -> None:
    rig = Rig()
    rig.log.append(*[b"event"] * 50)
    rig.run_until_committed()
    assert fates(rig) == (50, 0, 0, 0)


@pytest.mark.parametrize("held", [{}, {3: Conflict(make_rows(records(3, b"id:a"))[0][0], Position("log", 0, 1))}])
def test_conflicts_within_a_range_are_resolved_without_the_store(held: dict[int, Conflict]) -> None:
    rig = Rig()
    own = {row.offset: row for row in make_rows(records(1, b"id:a"))[0]}
    resolution = rig.claims.resolve(held, own, NOWHERE, give_up=False)
    assert resolution.duplicates == held.keys()
    assert not rig.store.calls


def test_one_refused_event_leaves_its_neighbours_alone() -> None:  # ranges 7
    rig = Rig(limits=InsertLimits(1000, 1 << 20, 0.5))
    rig.log.append(*[f"e{n}@t{n % 7}".encode() for n in range(300)], b"poison@t3", *[b"e@t3"] * 300)
    rig.run_until_committed()
    rig.audit()
    assert fates(rig) == (600, 0, 1, 0)
    assert sum(call.startswith("insert ") for call in rig.store.calls) < 40


def test_a_tenant_whose_rows_are_all_refused_costs_few_inserts() -> None:  # refusals 3
    rig = Rig(limits=InsertLimits(4000, 1 << 20, 0.5))
    rig.log.append(*[b"poison@bad" if n % 2 else f"e{n}@t{n % 9}".encode() for n in range(4000)])
    rig.turn(3 * MOST_REFUSED, 0.1)
    rig.audit()
    assert fates(rig) == (2000, 0, 2000, 0)
    assert sum(call.startswith("insert ") for call in rig.store.calls) < 3 * MOST_REFUSED


def test_while_rows_of_several_tenants_are_refused_and_none_is_taken_the_partition_waits() -> None:  # ranges 7
    rig = Rig(limits=InsertLimits(1000, 1 << 20, 0.5))
    rig.on("insert.before", Poison("no such column"), times=1_000_000)
    rig.log.append(*[f"e{n}@t{n % 3}".encode() for n in range(10 * MOST_REFUSED_ROWS)])
    rig.turn(200, 5.0)
    assert not rig.store.dead
    assert rig.log.progress[0].committed == 0
    rig.clear_hooks()
    rig.run_until_committed()
    rig.audit()
    assert fates(rig) == (10 * MOST_REFUSED_ROWS, 0, 0, 0)


def test_a_block_is_split_by_tenant_in_the_same_way_whatever_is_left_in_it() -> None:  # refusals 1, 2
    rows, _ = make_rows(records(0, *[f"e{n}@t{n % 5}".encode() for n in range(50)]))
    whole = Block(records(0, *[b"x"] * 50).range, 2, rows, doubtful=False)
    shares = {row.tenant_id: half.tenant_bits for half in halves(whole) for row in half.rows}
    assert len(set(shares.values())) == 2
    for half in halves(Block(whole.range, 2, rows[::3], doubtful=False)):
        assert {shares[row.tenant_id] for row in half.rows} == {half.tenant_bits}
    assert len({Insert(block).token for block in [whole, *halves(whole)]}) == 3
