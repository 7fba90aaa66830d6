"""What a commit says, and where reading begins (invariants of parsec.adapters.kafka.commit_metadata)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.adapters.kafka.commit_metadata import (
    MAX_CHARACTERS,
    UNKNOWN_OFFSET,
    OffsetBounds,
    StartingPoint,
    decode_progress,
    encode_progress,
    first_unstored,
    next_log_id,
    starting_point,
    topic_id_of,
)
from parsec.ports.broker import Counts, Progress, Range

TOPIC = "WsNwmiV_TN2GRiWPsUUC_A"
OFFSETS = st.integers(0, 2**63 - 1)


@given(start=OFFSETS, committed=OFFSETS, counts=st.tuples(OFFSETS, OFFSETS, OFFSETS, OFFSETS), more=OFFSETS)
def test_metadata_is_read_back_and_fits(
    start: int, committed: int, counts: tuple[int, int, int, int], more: int
) -> None:
    reserved = Range(TOPIC, 3, committed, committed + more)
    for progress in (
        Progress(TOPIC, 3, start, committed, Counts(*counts)),
        Progress(TOPIC, 3, start, committed, Counts(*counts), reserved, 2),
    ):
        text = encode_progress(progress)
        assert len(text) <= MAX_CHARACTERS // 10  # invariant 1
        assert decode_progress(TOPIC, 3, committed, text, low=0) == progress


def test_a_commit_for_a_topic_that_was_made_again_does_not_count() -> None:  # invariant 2
    text = encode_progress(Progress("another", 0, 0, 40, Counts(stored=40)))
    assert decode_progress(TOPIC, 0, 40, text, low=7) == Progress(TOPIC, 0, 7, 7)


def test_a_group_without_a_commit_begins_at_the_first_offset() -> None:  # invariant 3
    assert decode_progress(TOPIC, 0, -1001, None, low=7) == Progress(TOPIC, 0, 7, 7)


@pytest.mark.parametrize(
    "text", [None, "", "hello", "{}", '{"parsec":2,"log":"x","start":0}', '{"parsec":1,"log":3,"start":0}', "[1]"]
)
def test_metadata_of_others_leaves_the_offset_and_no_counts(text: str | None) -> None:  # invariant 4
    assert decode_progress(TOPIC, 0, 40, text, low=7) == Progress(TOPIC, 0, 40, 40)


def test_a_log_that_went_back_is_another_log_of_the_same_topic() -> None:  # invariant 5
    once = next_log_id(TOPIC)
    twice = next_log_id(once)
    assert len({TOPIC, once, twice}) == 3
    assert {topic_id_of(name) for name in (TOPIC, once, twice)} == {TOPIC}
    progress = Progress(twice, 0, 5, 9, Counts(stored=4))
    assert decode_progress(TOPIC, 0, 9, encode_progress(progress), low=0) == progress


def test_what_is_reserved_may_be_in_the_store() -> None:
    progress = Progress(TOPIC, 0, 0, 10)
    assert first_unstored(progress) == 10
    assert first_unstored(Progress(TOPIC, 0, 0, 10, Counts(), Range(TOPIC, 0, 10, 19), 1)) == 20


COMMITTED = Progress(TOPIC, 0, 0, 10, Counts(stored=10))
RESERVED = Progress(TOPIC, 0, 0, 10, Counts(stored=10), Range(TOPIC, 0, 10, 19), 1)


@pytest.mark.parametrize(
    ("committed", "epoch", "bounds", "other_from"),
    [
        (COMMITTED, 3, OffsetBounds(0, 30, 3), None),
        (COMMITTED, 3, OffsetBounds(0, 10, 0), UNKNOWN_OFFSET),  # nothing is missing
        (COMMITTED, 3, OffsetBounds(0, 30, 0), 10),  # only what was never taken is other
        (RESERVED, 3, OffsetBounds(0, 20, 0), UNKNOWN_OFFSET),
        (COMMITTED, 3, OffsetBounds(12, 30, 7), None),  # what was committed has expired
        (COMMITTED, -1, OffsetBounds(0, 30, 7), None),  # by whom the record was written is not known
        (COMMITTED, None, OffsetBounds(0, 30, 7), None),
        (COMMITTED, 3, OffsetBounds(0, 30, None), None),
    ],
)
def test_reading_begins_where_the_group_had_come(
    committed: Progress, epoch: int | None, bounds: OffsetBounds, other_from: int | None
) -> None:
    assert starting_point(committed, epoch, bounds, other_from) == StartingPoint(committed, epoch)


@pytest.mark.parametrize(
    ("committed", "bounds", "other_from", "first"),
    [
        (COMMITTED, OffsetBounds(0, 9, 3), UNKNOWN_OFFSET, 0),  # it ends before what was committed
        (RESERVED, OffsetBounds(0, 19, 3), UNKNOWN_OFFSET, 0),  # or before what may be in the store
        (COMMITTED, OffsetBounds(0, 30, 3), 7, 7),
        (COMMITTED, OffsetBounds(8, 30, 3), 7, 8),
        (RESERVED, OffsetBounds(0, 30, 3), 15, 10),  # whether it is stored up to there nobody knows
        (COMMITTED, OffsetBounds(2, 30, 4), None, 2),  # all of it was written under a later leader
    ],
)
def test_a_log_that_went_back_is_read_from_its_new_content_on_under_another_id(  # invariant 5
    committed: Progress, bounds: OffsetBounds, other_from: int | None, first: int
) -> None:
    found = starting_point(committed, 3, bounds, other_from)
    assert found == StartingPoint(Progress(next_log_id(TOPIC), 0, first, first), None, committed)
