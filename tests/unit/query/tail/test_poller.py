"""Rounds of the poller: what they ask, how long they rest. Numbers: parsec.query.tail.poller."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from parsec.core.errors import ParsecError, Rejected, Retryable
from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits, T
from parsec.query.sql import new_events
from parsec.query.tail import poller
from parsec.query.tail.poller import TailPoller
from parsec.query.tail.subscriptions import CommittedOffsets, Subscription, Subscriptions, TailLimits
from tests.support.manual_clock import ManualClock

TOO_EXPENSIVE = Rejected("query_too_expensive", "too much")


class Store:
    """Finds nothing, takes its time, and may fail for one tenant."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.takes_s = 0.0
        self.asked: list[tuple[str, str]] = []
        self.fails: dict[str, ParsecError] = {}
        self.called = threading.Event()

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, _: type[T]) -> list[T]:
        self.called.set()
        assert (limits.max_threads, limits.timeout_s) == (1, poller.STATEMENT_TIMEOUT_S)
        tenant = str(parameters["v0"])
        self.asked.append((tenant, sql))
        self._clock.advance(self.takes_s)
        if sql.startswith("SELECT count()"):
            return [(4,)]  # type: ignore[list-item]
        if tenant in self.fails:
            raise self.fails[tenant]
        return []

    def ping(self) -> None: ...


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store(self.clock)
        self.committed = 0
        self.subscriptions = Subscriptions(
            TailLimits(100, 100, 1 << 20), CommittedOffsets(lambda: [Progress("log", 0, 0, self.committed)])
        )
        self.signal = threading.Event()
        self.poller = TailPoller(self.subscriptions, self.store, self.signal, QueryLimits(1 << 20, 30.0), self.clock)

    def open(self, tenant: str, q: str = "") -> Subscription:
        return self.subscriptions.open(tenant, q, lambda: None)

    def round(self, commits: int = 1) -> list[float]:
        self.committed += commits
        return list(self.poller.round())

    def columns(self) -> list[int]:
        """Of each statement so far."""
        return [sql.count(" AS match") - 1 for _, sql in self.store.asked]


def test_equal_filters_cost_one_column() -> None:
    rig = Rig()
    for q in ("error", "ERROR", "(error)", "error source:api", "error AND source:api"):
        rig.open("a", q)
    rig.round()
    assert rig.columns() == [2]


def test_a_round_asks_each_tenant_with_subscriptions_once_and_only_after_a_commit() -> None:  # 2
    rig = Rig()
    for tenant in ("a", "a", "b"):
        rig.open(tenant)
    rig.round()
    assert rig.round(commits=0) == []  # no work, no rest: the next commit is looked at without delay
    assert [tenant for tenant, _ in rig.store.asked] == ["a", "b"]


@pytest.mark.parametrize(("takes_s", "rest_s"), [(0.0, 0.25), (0.05, 0.2), (0.2, 0.6), (2.0, 6.0)])
def test_a_round_rests_three_times_as_long_as_it_worked(takes_s: float, rest_s: float) -> None:  # 2, 3
    rig = Rig()
    rig.store.takes_s = takes_s
    rig.open("a")
    assert rig.round() == [pytest.approx(rest_s)]


def test_the_work_for_all_tenants_counts() -> None:  # 3
    rig = Rig()
    rig.store.takes_s = 0.1
    for tenant in ("a", "b", "c"):
        rig.open(tenant)
    assert sum(rig.round()) == pytest.approx(0.9)


def test_filters_that_do_not_fit_into_a_statement_come_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_events, "MOST_SQL_CHARS", 150)
    rig = Rig()
    for n in range(5):
        rig.open("a", f"metadata.key:x{n}*")
    for _ in range(3):
        rig.round(commits=1)
    assert rig.columns() == [1, 1, 1]
    assert sorted(each.since["log", 0] for each in rig.subscriptions.by_tenant["a"]) == [0, 0, 1, 2, 3]


def test_what_could_not_be_compared_is_a_gap_of_that_tenant_only() -> None:
    rig = Rig()
    rig.store.fails["a"] = TOO_EXPENSIVE
    failed, other = rig.open("a"), rig.open("b")
    rig.round(commits=9)
    assert (failed.take(1).unchecked, other.take(1).unchecked) == (4, 0)
    rig.store.fails.clear()
    rig.round()
    assert failed.take(1).unchecked == 0


def test_events_wait_while_the_store_is_away() -> None:
    rig = Rig()
    rig.store.fails["a"] = Retryable("away")
    waiting = rig.open("a")
    rig.round()
    assert (waiting.since["log", 0], waiting.take(1).unchecked) == (0, 0)


def test_a_commit_begins_a_round_at_once_and_a_stop_ends_the_thread() -> None:
    rig = Rig()
    rig.open("a")
    stop = threading.Event()
    thread = threading.Thread(target=rig.poller.run, args=(stop,))
    thread.start()
    try:
        rig.committed = 1
        rig.signal.set()
        assert rig.store.called.wait(10)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
