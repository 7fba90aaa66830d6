"""A bucket against its two invariants, over any history of waits and requests."""

from hypothesis import given
from hypothesis import strategies as st

from parsec.ingest.rate_limits import Bucket, Rate

RATES = st.builds(Rate, st.floats(0.01, 1e6), st.floats(1, 1e6))
WAITS = st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.0, 1000.0]) | st.floats(0, 10)
SMALL_RATES = st.builds(Rate, st.floats(0.1, 100), st.floats(1, 50))
BUSY = st.lists(st.tuples(WAITS, st.integers(1, 20)), min_size=1, max_size=60)
STEPS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 20_000)), min_size=1, max_size=60)
SHARES = st.sampled_from([1.0, 0.5, 1 / 3])


@given(SMALL_RATES, BUSY)
def test_1_never_more_than_burst_and_rate_and_one_request_in_any_stretch_of_time(
    rate: Rate, steps: list[tuple[float, int]]
) -> None:
    bucket, now = Bucket(rate, rate.burst, 0.0), 0.0
    taken: list[tuple[float, int]] = []
    for wait_s, amount in steps:
        now += wait_s
        bucket.fill(now, 1.0)
        if bucket.may_take():
            bucket.take(amount)
            taken.append((now, amount))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            stretch = taken[first : last + 1]
            largest = max(amount for _, amount in stretch)
            allowed = rate.burst + rate.per_s * (taken[last][0] - taken[first][0]) + largest
            assert sum(amount for _, amount in stretch) < allowed * (1 + 1e-9)


@given(RATES, STEPS, SHARES)
def test_2_after_the_wait_there_is_something_and_the_whole_rate_is_had(
    rate: Rate, steps: list[tuple[float, int]], share: float
) -> None:
    bucket, now, total = Bucket(rate, rate.burst, 0.0), 0.0, 0
    for _, amount in steps:
        wait_s = bucket.wait_s(share)
        assert wait_s > 0 or bucket.may_take()
        now += wait_s * (1 + 1e-9) + 1e-9 * now
        bucket.fill(now, share)
        assert bucket.may_take()
        bucket.take(amount)
        total += amount
    assert total >= rate.per_s * share * now * (1 - 1e-6) - 1
