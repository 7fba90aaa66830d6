"""The invariants of parsec.process.range_commit on bare state, by their numbers. What crashes leave is in
test_loop.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.clock import ManualClock
from parsec.core.errors import Fatal
from parsec.ports.broker import Assigned, Counts, Progress, Range, Slice
from parsec.process.batching import Batch, InsertLimits, Partition, split, split_all
from parsec.process.bisect import Bisect, halves
from parsec.process.range_commit import RangeCommit
from parsec.process.slicing import bites
from parsec.process.steps import Block, Claim, Commit, FindLanded, Insert, InsertDead, Reserve
from tests.support.processing import make_rows

LIMITS = InsertLimits(max_events=10, max_bytes=1000, linger_s=0.5)


def piece(first: int, *values: bytes | None, epoch: int = 1) -> Slice:
    """None is a lost record."""
    offsets = [first + n for n, value in enumerate(values) if value is not None]
    kept = [value for value in values if value is not None]
    return Slice("log", 0, epoch, first, first + len(values), offsets, kept, len(values) - len(kept))


def events(first: int, last: int) -> Slice:
    return piece(first, *[b"event"] * (last + 1 - first))


def partition(reserved: Range | None = None, attempt: int = 0, committed: int = 0) -> Partition:
    return Partition(Assigned(Progress("log", 0, 0, committed, Counts(), reserved, attempt), 1))


def passage(taken: Slice, attempt: int = 0) -> RangeCommit:
    return RangeCommit(Batch(taken.range, [taken], attempt), *make_rows(taken), Bisect(ManualClock()))


def insert(way: RangeCommit) -> Insert:
    """The insert that comes next, once nobody holds the ids of its rows."""
    if isinstance(way.step(), Claim):
        way.claimed({})
    step = way.step()
    assert isinstance(step, Insert)
    return step


def token(way: RangeCommit) -> str:
    return insert(way).block.token


def test_slices_of_another_epoch_and_taken_offsets_are_dropped() -> None:  # 1
    owned = partition()
    owned.take(events(0, 4))
    owned.take(events(0, 3))
    owned.take(piece(5, b"zombie", epoch=2))
    owned.take(events(3, 6))
    batch = owned.cut(0)
    assert list(batch.offsets()) == list(range(7))
    assert batch.raw(5) == b"event"


def test_a_slice_that_skips_offsets_is_fatal() -> None:  # 1
    with pytest.raises(Fatal, match="does not follow offset 0"):
        partition().take(events(1, 4))


@pytest.mark.parametrize("bad", [
    Slice("log", 0, 1, 0, 3, [0, 1], [b"a", b"b"], lost=0),
    Slice("log", 0, 1, 0, 3, [0, 1], [b"a", b"b", b"c"], lost=0),
])  # fmt: skip
def test_a_slice_that_does_not_add_up_is_fatal(bad: Slice) -> None:  # 2
    with pytest.raises(Fatal, match="does not add up"):
        partition().take(bad)


def test_another_log_under_the_same_name_is_fatal() -> None:  # 1
    owned = partition()
    with pytest.raises(Fatal):
        owned.take(Slice("recreated", 0, 1, 0, 1, [0], [b"a"]))


def test_rows_that_do_not_add_up_are_fatal() -> None:  # 9
    taken = events(0, 4)
    rows, letters = make_rows(taken)
    with pytest.raises(Fatal, match="5 records, but 4 rows"):
        RangeCommit(Batch(taken.range, [taken], 0), rows[1:], letters, Bisect(ManualClock()))


def test_room_is_what_the_next_batch_may_still_hold() -> None:
    owned = partition()
    assert owned.room(LIMITS) == (10, 1000)
    owned.take(events(0, 3))
    assert owned.room(LIMITS) == (6, 1000 - 4 * 5)
    owned.take(events(4, 15))
    assert owned.room(LIMITS)[0] == 1
    assert owned.full(LIMITS)


def test_room_while_recovering_is_the_rest_of_the_reservation() -> None:  # 4
    owned = partition(reserved=Range("log", 0, 0, 29), attempt=1)
    owned.take(events(0, 9))
    assert owned.room(LIMITS)[0] == 20
    assert not owned.full(LIMITS)
    owned.take(events(10, 34))
    assert owned.full(LIMITS)
    assert owned.cut(0).range.token == "log/0/0-29"
    assert owned.cut(0).range.token == "log/0/30-34"
    assert not owned.recovering


def test_a_reservation_that_was_committed_is_no_reservation() -> None:
    assert not partition(reserved=Range("log", 0, 0, 9), attempt=1, committed=10).recovering


@given(st.lists(st.sampled_from([b"x", None]), min_size=1, max_size=30), st.integers(-2, 35), st.integers(1, 9))
def test_splitting_keeps_every_offset_and_loss(values: list[bytes | None], at: int, records: int) -> None:  # 2
    whole = piece(2, *values)
    for parts in ([part for part in split(whole, at) if part], bites(whole, records)):
        assert [offset for part in parts for offset in part.offsets] == whole.offsets
        assert sum(part.lost for part in parts) == whole.lost
        assert (parts[0].first, parts[-1].next_offset) == (whole.first, whole.next_offset)
        for part in parts:
            assert part.next_offset - part.first == len(part.values) + part.lost > 0
    assert all(len(bite.values) <= records for bite in bites(whole, records))
    assert split_all([whole], at) == tuple([part] if part else [] for part in split(whole, at))


def test_a_fresh_range_is_reserved_inserted_and_committed_without_asking() -> None:  # 3, 5
    way = passage(piece(0, b"a", b"dead", None, b"b"))
    assert way.step() == Reserve(way.range, 1)
    way.done()
    assert isinstance(way.step(), InsertDead)
    way.done()
    assert token(way) == "log/0/0-3"
    way.done()
    assert way.step() == Commit(way.range, Counts(stored=2, dead=1, lost=1))


def test_a_range_of_losses_is_committed_without_an_insert() -> None:  # 9
    way = passage(piece(0, None, None))
    way.done()
    assert way.step() == Commit(way.range, Counts(lost=2))


def test_an_open_range_asks_and_inserts_only_what_is_missing() -> None:  # 5
    way = passage(events(0, 3), attempt=1)
    assert isinstance(way.step(), FindLanded)
    way.landed({0, 1}, set())
    assert token(way) == "log/0/0-3"
    assert [row.offset for row in insert(way).block.rows] == [2, 3]
    way.done()
    assert isinstance(way.step(), FindLanded)
    way.landed({0, 1, 2, 3}, set())
    assert way.step() == Commit(way.range, Counts(stored=4))


def test_an_open_range_that_has_landed_is_only_committed() -> None:  # 5, 9
    way = passage(piece(0, b"a", b"dead", b"refused then"), attempt=2)
    way.landed({0, 1, 2}, {1, 2})
    assert way.step() == Commit(way.range, Counts(stored=1, dead=2))


def test_rows_still_missing_go_in_under_a_new_attempt_that_is_reserved_first() -> None:  # 6
    way = passage(events(0, 3), attempt=4)
    way.landed(set(), set())
    assert token(way) == "log/0/0-3#4"
    way.done()
    way.landed({3}, set())
    assert way.step() == Reserve(way.range, 5)
    way.done()
    assert token(way) == "log/0/0-3#5"
    way.done()
    assert way.step() == Commit(way.range, Counts(stored=4))


def test_a_retry_keeps_token_and_rows() -> None:  # 5
    way = passage(events(0, 3))
    way.done()
    for _ in range(100):
        assert token(way) == "log/0/0-3"
        way.in_doubt()
        way.landed(set(), set())
    insert(way)
    way.done()
    way.landed({0, 1, 2, 3}, set())
    assert isinstance(way.step(), Commit)


def test_a_record_that_landed_under_older_rules_keeps_its_fate() -> None:  # 9
    way = passage(piece(0, b"dead now, once a row", b"a row now, once dead"), attempt=1)
    way.landed({0, 1}, {1})
    assert way.step() == Commit(way.range, Counts(stored=1, dead=1))
    assert way.fates() == {("acme", "stored"): 1, ("acme", "dead"): 1}


@given(st.sets(st.integers(0, 200), min_size=2), st.sets(st.integers(0, 200)))
def test_a_range_is_always_split_the_same_way(offsets: set[int], gone: set[int]) -> None:  # 7
    def tree(block: Block) -> dict[tuple[int, int], tuple[int, ...]]:
        if len(block.rows) < 2:
            return {}
        low, high = halves(block)
        assert [r.offset for r in (*low.rows, *high.rows)] == [r.offset for r in block.rows]
        assert low.rows and high.rows  # noqa: PT018 (one thought)
        assert block.range.first <= low.range.first <= low.range.last < high.range.first <= high.range.last
        assert high.range.last <= block.range.last
        mine = {(half.range.first, half.range.last): tuple(r.offset for r in half.rows) for half in (low, high)}
        return mine | tree(low) | tree(high)

    rows, _ = make_rows(events(0, 200))
    whole = Block(Range("log", 0, 0, 200), 2, [row for row in rows if row.offset in offsets], doubtful=False)
    left = Block(whole.range, 2, [row for row in whole.rows if row.offset not in gone], doubtful=False)
    full, less = tree(whole), tree(left)
    assert less.keys() <= full.keys()
    for place in less:
        assert set(less[place]) == {offset for offset in full[place] if offset not in gone}
