"""The invariants of parsec.process.range_commit on bare state, by their numbers. What crashes leave is in
test_loop.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.errors import Fatal
from parsec.ports.broker import Assigned, Counts, Progress, Range, Slice
from parsec.process.batching import Batch, Block, InsertLimits, split, split_all, split_evenly
from parsec.process.bisect import Bisect, halves
from parsec.process.partitions import LedgerCheckpoints, Partition
from parsec.process.range_commit import Claim, Commit, FindLanded, Insert, InsertDeadLetters, RangeCommit, Reserve
from tests.support.manual_clock import ManualClock
from tests.support.processing import make_rows

LIMITS = InsertLimits(max_events=10, max_bytes=1000, linger_s=0.5)


def records(first: int, *values: bytes | None, epoch: int = 1) -> Slice:
    """None is a lost record."""
    offsets = [first + n for n, value in enumerate(values) if value is not None]
    kept = [value for value in values if value is not None]
    return Slice("log", 0, epoch, first, first + len(values), offsets, kept, len(values) - len(kept))


def events(first: int, last: int) -> Slice:
    return records(first, *[b"event"] * (last + 1 - first))


def partition(reserved: Range | None = None, attempt: int = 0, committed: int = 0) -> Partition:
    progress = Progress("log", 0, 0, committed, Counts(), reserved, attempt)
    return Partition(Assigned(progress, 1), LedgerCheckpoints(30), 0.0)


def commit_of(taken: Slice, attempt: int = 0) -> RangeCommit:
    return RangeCommit(
        Batch(taken.range, [taken], attempt, doubtful=attempt > 0), *make_rows(taken), Bisect(ManualClock())
    )


def insert(commit: RangeCommit) -> Insert:
    """The insert that comes next, with the ids of its rows free."""
    if isinstance(commit.step(), Claim):
        commit.claimed({})
    step = commit.step()
    assert isinstance(step, Insert)
    return step


def token(commit: RangeCommit) -> str:
    return insert(commit).token


def test_slices_of_another_epoch_and_taken_offsets_are_dropped() -> None:  # 1
    owner = partition()
    owner.take(events(0, 4))
    owner.take(events(0, 3))
    owner.take(records(5, b"zombie", epoch=2))
    owner.take(events(3, 6))
    batch = owner.cut(0)
    assert [offset for each in batch.slices for offset in each.offsets] == list(range(7))
    assert batch.record(5) == b"event"


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
    owner = partition()
    with pytest.raises(Fatal):
        owner.take(Slice("recreated", 0, 1, 0, 1, [0], [b"a"]))


def test_rows_that_do_not_add_up_are_fatal() -> None:  # 9
    taken = events(0, 4)
    rows, letters = make_rows(taken)
    with pytest.raises(Fatal, match="5 records, but 4 rows"):
        RangeCommit(Batch(taken.range, [taken], 0, doubtful=False), rows[1:], letters, Bisect(ManualClock()))


def test_room_is_what_the_next_batch_may_still_hold() -> None:
    owner = partition()
    assert owner.room(LIMITS) == (10, 1000)
    owner.take(events(0, 3))
    assert owner.room(LIMITS) == (6, 1000 - 4 * 5)
    owner.take(events(4, 15))
    assert owner.room(LIMITS)[0] == 1
    assert owner.full(LIMITS)


def test_room_while_recovering_is_the_rest_of_the_reservation() -> None:  # 4
    owner = partition(reserved=Range("log", 0, 0, 29), attempt=1)
    owner.take(events(0, 9))
    assert owner.room(LIMITS)[0] == 20
    assert not owner.full(LIMITS)
    owner.take(events(10, 34))
    assert owner.full(LIMITS)
    assert str(owner.cut(0).range) == "log/0/0-29"
    assert str(owner.cut(0).range) == "log/0/30-34"
    assert owner.reserved is None


def test_a_reservation_that_was_committed_is_no_reservation() -> None:
    assert partition(reserved=Range("log", 0, 0, 9), attempt=1, committed=10).reserved is None


@given(st.lists(st.sampled_from([b"x", None]), min_size=1, max_size=30), st.integers(-2, 35), st.integers(1, 9))
def test_splitting_keeps_every_offset_and_loss(values: list[bytes | None], at: int, count: int) -> None:  # 2
    whole = records(2, *values)
    for parts in ([part for part in split(whole, at) if part], split_evenly(whole, count)):
        assert [offset for part in parts for offset in part.offsets] == whole.offsets
        assert sum(part.lost for part in parts) == whole.lost
        assert (parts[0].first, parts[-1].next_offset) == (whole.first, whole.next_offset)
        for part in parts:
            assert part.next_offset - part.first == len(part.values) + part.lost > 0
    assert all(len(part.values) <= count for part in split_evenly(whole, count))
    assert split_all([whole], at) == tuple([part] if part else [] for part in split(whole, at))


def test_a_fresh_range_is_reserved_inserted_and_committed_without_asking() -> None:  # 3, 5
    commit = commit_of(records(0, b"a", b"dead", None, b"b"))
    assert commit.step() == Reserve(commit.range, 1)
    commit.done()
    assert isinstance(commit.step(), InsertDeadLetters)
    commit.done()
    assert token(commit) == "log/0/0-3"
    commit.done()
    assert commit.step() == Commit(commit.range, Counts(stored=2, dead=1, lost=1))


def test_a_range_of_losses_is_committed_without_an_insert() -> None:  # 9
    commit = commit_of(records(0, None, None))
    commit.done()
    assert commit.step() == Commit(commit.range, Counts(lost=2))


def test_an_open_range_asks_and_inserts_only_what_is_missing() -> None:  # 5
    commit = commit_of(events(0, 3), attempt=1)
    assert isinstance(commit.step(), FindLanded)
    commit.landed({0, 1}, set())
    assert token(commit) == "log/0/0-3"
    assert [row.offset for row in insert(commit).block.rows] == [2, 3]
    commit.done()
    assert isinstance(commit.step(), FindLanded)
    commit.landed({0, 1, 2, 3}, set())
    assert commit.step() == Commit(commit.range, Counts(stored=4))


def test_an_open_range_that_has_landed_is_only_committed() -> None:  # 5, 9
    commit = commit_of(records(0, b"a", b"dead", b"refused then"), attempt=2)
    commit.landed({0, 1, 2}, {1, 2})
    claim = commit.step()
    assert isinstance(claim, Claim)
    assert [row.offset for row in claim.block.rows] == [0]
    commit.claimed({})
    assert commit.step() == Commit(commit.range, Counts(stored=1, dead=2))


def test_rows_still_missing_go_in_under_a_new_attempt_that_is_reserved_first() -> None:  # 6
    commit = commit_of(events(0, 3), attempt=4)
    commit.landed(set(), set())
    assert token(commit) == "log/0/0-3#4"
    commit.done()
    commit.landed({3}, set())
    assert commit.step() == Reserve(commit.range, 5)
    commit.done()
    assert token(commit) == "log/0/0-3#5"
    commit.done()
    assert commit.step() == Commit(commit.range, Counts(stored=4))


def test_a_retry_keeps_token_and_rows() -> None:  # 5
    commit = commit_of(events(0, 3))
    commit.done()
    for _ in range(100):
        assert token(commit) == "log/0/0-3"
        commit.in_doubt()
        commit.landed(set(), set())
    insert(commit)
    commit.done()
    commit.landed({0, 1, 2, 3}, set())
    assert isinstance(commit.step(), Commit)


def test_a_record_that_landed_under_older_rules_keeps_its_fate() -> None:  # 9
    commit = commit_of(records(0, b"dead now, once a row", b"a row now, once dead"), attempt=1)
    commit.landed({0, 1}, {1})
    assert commit.step() == Commit(commit.range, Counts(stored=1, dead=1))
    assert commit.tenant_counts() == {("acme", "stored"): 1, ("acme", "dead"): 1}


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
