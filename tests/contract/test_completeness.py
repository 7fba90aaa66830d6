"""What an answer says it may lack, on the embedded store and a log that stands where the test wants it."""

from collections.abc import Iterator

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.timestamp import SECOND, text_of
from parsec.ports.store import DeadLetter
from parsec.process.watermark import Ends, Watermark
from parsec.query.completeness import LATE_S, NO_LETTERS_S, CompletenessCheck
from tests.support.manual_clock import ManualClock
from tests.support.stores import LIMITS, embedded_store


@pytest.fixture(scope="module")
def store() -> Iterator[ClickHouseStore]:
    with embedded_store() as (opened, _):
        yield opened


class Standing:
    """A log of one partition, and what has become of it."""

    def __init__(self, store: ClickHouseStore) -> None:
        self.clock = ManualClock()
        self.end = self.committed = self.lost = self.spooled = 0
        self.completeness = Watermark(
            lambda: Ends(self.clock.time_ns(), {0: self.end}), lambda: {0: self.committed}, lambda: self.lost
        )
        self.missing = CompletenessCheck(
            store.reader(),
            self.completeness.until_ns,
            self.completeness.lost_until_ns,
            lambda: self.spooled,
            self.clock,
        )
        self.completeness.sample()

    def told(self, tenant: str = "acme", start_ns: int = 0) -> list[str]:
        return self.missing.missing(tenant, start_ns, self.missing.until_ns(), LIMITS)

    def pass_by(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.completeness.sample()


def test_an_answer_with_everything_in_it_lacks_nothing(store: ClickHouseStore) -> None:
    standing = Standing(store)
    standing.end = standing.committed = 7
    standing.pass_by(1000)
    assert standing.told() == []


def test_what_waits_for_long_is_told_until_it_is_stored(store: ClickHouseStore) -> None:
    standing = Standing(store)
    since = text_of(standing.clock.time_ns())
    standing.end = 7
    standing.pass_by(LATE_S - 1)
    assert standing.told() == []
    standing.pass_by(2)
    assert standing.told() == [f"Events accepted since {since} may be missing: they are not stored yet."]
    standing.committed = 7
    standing.pass_by(1)
    assert standing.told() == []


def test_what_is_not_even_in_kafka_is_told(store: ClickHouseStore) -> None:
    standing = Standing(store)
    standing.spooled = 3
    assert ["Kafka does not have" in told for told in standing.told()] == [True]


def test_a_loss_is_told_for_ranges_that_begin_before_it_was_seen(store: ClickHouseStore) -> None:
    standing = Standing(store)
    standing.pass_by(10)
    standing.lost = 5
    standing.pass_by(10)
    seen_ns = standing.clock.time_ns()
    standing.pass_by(10)
    assert ["lost in the log" in told for told in standing.told(start_ns=seen_ns - SECOND)] == [True]
    assert standing.told(start_ns=seen_ns) == []
    standing.lost = 6
    standing.pass_by(10)
    assert ["lost in the log" in told for told in standing.told(start_ns=seen_ns)] == [True]


def test_dead_letters_are_told_to_their_tenant_for_ranges_that_begin_before_them(store: ClickHouseStore) -> None:
    standing = Standing(store)
    assert standing.told("d") == standing.told("e") == []
    letters = [DeadLetter("log-1", 0, n, "d", "invalid_envelope", "no JSON", b"{") for n in range(3)]
    store.insert_dead_letters(letters)
    store.insert_dead_letters(letters[:2])
    assert standing.told("d") == []  # asked a moment ago
    standing.pass_by(NO_LETTERS_S)
    assert standing.told("d") == ["3 records became dead letters since 1970-01-01T00:00:00Z: see GET /deadletters."]
    assert standing.told("d", start_ns=4_000_000_000 * SECOND) == standing.told("e") == []
