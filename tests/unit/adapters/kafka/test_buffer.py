"""Slices leave no offset out (invariants of parsec.adapters.kafka.buffer)."""

from hypothesis import given
from hypothesis import strategies as st

from parsec.adapters.kafka.buffer import Buffer


@given(
    gaps=st.lists(st.integers(0, 3), max_size=30),
    behind=st.integers(0, 3),
    max_events=st.integers(1, 7),
    max_bytes=st.integers(1, 40),
)
def test_each_offset_is_a_record_or_lost(gaps: list[int], behind: int, max_events: int, max_bytes: int) -> None:
    buffer = Buffer("log", 2, 9, 5)
    written: dict[int, bytes] = {}
    at = 5
    for gap in gaps:
        at += gap
        written[at] = b"%010d" % at
        buffer.add(at, written[at], 0)
        at += 1
    buffer.set_empty_before(at + behind)
    read: dict[int, bytes] = {}
    next_offset, lost = 5, 0
    while buffer.has_slice:
        piece = buffer.take(max_events, max_bytes)
        assert (piece.log_id, piece.partition, piece.epoch) == ("log", 2, 9)
        assert piece.first == next_offset  # invariant 1
        assert piece.next_offset - piece.first == len(piece.values) + piece.lost  # invariant 2
        assert piece.next_offset > piece.first
        assert len(piece.values) <= max_events
        assert sum(map(len, piece.values)) < max_bytes + 10
        read |= dict(zip(piece.offsets, piece.values, strict=True))
        next_offset, lost = piece.next_offset, lost + piece.lost
    assert read == written
    assert next_offset == at + behind
    assert lost == at + behind - 5 - len(written)


def test_a_record_that_comes_again_is_passed_over() -> None:
    buffer = Buffer("log", 0, 1, 0)
    for offset in (0, 1, 0, 1, 2):
        buffer.add(offset, b"x", None)
    assert list(buffer.take(10, 100).offsets) == [0, 1, 2]
    buffer.add(1, b"x", None)
    assert not buffer.has_slice


def test_repeats_are_marked_in_the_slice_that_has_them() -> None:
    buffer = Buffer("log", 0, 1, 0)
    for offset in range(4):
        buffer.add(offset, b"x", None, resent=offset % 2 == 1)
    assert [buffer.take(2, 100).resent for _ in range(2)] == [{1}, {3}]


def test_the_leaders_epoch_is_that_of_the_record_before() -> None:
    buffer = Buffer("log", 0, 1, 10)
    assert buffer.leader_epoch_before(10) is None
    buffer.set_leader_epoch(9, 3)
    for offset, epoch in ((10, 3), (11, 3), (12, 5), (13, 5)):
        buffer.add(offset, b"x", epoch)
    assert [buffer.leader_epoch_before(offset) for offset in (10, 12, 13, 14)] == [3, 3, 5, 5]
    assert buffer.last_leader_epoch == 5


def test_an_unknown_leader_says_nothing() -> None:
    buffer = Buffer("log", 0, 1, 10)
    buffer.set_leader_epoch(9, None)
    buffer.set_leader_epoch(9, -1)
    buffer.add(10, b"x", None)
    assert buffer.last_leader_epoch is None
