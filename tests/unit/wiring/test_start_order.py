"""The table of start: what a part needs runs before it, and every part has its place."""

from itertools import takewhile

import pytest

from parsec.service import Resource
from parsec.wiring import START_ORDER, in_start_order


@pytest.mark.parametrize("step", START_ORDER, ids=lambda step: step.name)
def test_what_a_part_needs_starts_before_it(step: object) -> None:
    before = {each.name for each in takewhile(lambda each: each is not step, START_ORDER)}
    assert isinstance(step, tuple)
    name, needs, _ = step
    assert name not in before
    assert set(needs) <= before


def test_parts_are_sorted_and_workers_count_as_one_place() -> None:
    parts = [Resource(name, lambda: None) for name in ("stats", "worker-2", "http", "worker-10", "log")]
    assert [part.name for part in in_start_order(parts)] == ["log", "worker-2", "worker-10", "http", "stats"]


def test_a_part_without_a_place_is_an_error() -> None:
    with pytest.raises(KeyError):
        in_start_order([Resource("stranger", lambda: None)])
