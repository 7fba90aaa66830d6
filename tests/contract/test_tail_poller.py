"""Live events found in the store, on the embedded one. Numbers: parsec.query.tail.poller."""

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Retryable
from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits, StoreReader, T
from parsec.query.tail import poller
from parsec.query.tail.poller import TailPoller
from parsec.query.tail.subscriptions import Subscription, Subscriptions, TailLimits
from tests.support.stored import row
from tests.support.stores import LIMITS, embedded_store


class Away:
    """A store that is away while told so."""

    def __init__(self, store: StoreReader) -> None:
        self._store = store
        self.away = False
        self.asked = 0

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, into: type[T]) -> list[T]:
        if self.away:
            raise Retryable("away")
        self.asked += 1
        return self._store.select(sql, parameters, limits, into)

    def ping(self) -> None: ...


class Standing:
    """Two partitions of a log whose events are stored and then committed."""

    def __init__(self, store: ClickHouseStore, log: str) -> None:
        self._store = store
        self._log = log
        self.committed = {0: 0, 1: 0}
        self.known = True
        self.unheard: set[int] = set()
        self.reader = Away(store.reader())
        self.tails = Subscriptions(TailLimits(100, 100, 1 << 20))
        self.polled = TailPoller(self.tails, self.reader, self.progress, LIMITS)

    def progress(self) -> list[Progress]:
        places = self.committed.items() if self.known else ()
        return [
            Progress(self._log, partition, 0, offset) for partition, offset in places if partition not in self.unheard
        ]

    def open(self, tenant: str, q: str = "") -> Subscription:
        return self.tails.open(tenant, q, lambda: None)

    def store(self, *tenants: str, partition: int = 0, commit: bool = True) -> None:
        first = self.committed[partition]
        rows = [
            row(first + n, tenant_id=each, id=f"{partition}-{first + n}", log_id=self._log, partition=partition)
            for n, each in enumerate(tenants)
        ]
        self._store.insert(rows, f"{self._log}/{partition}/{first}")
        if commit:
            self.committed[partition] += len(rows)


def ids(tail: Subscription) -> list[str]:
    return [json.loads(message)["id"] for message in tail.take(1 << 20).messages]


@pytest.fixture
def standing() -> Iterator[Standing]:
    with embedded_store() as (store, _):
        yield Standing(store, "log-1")


def test_readers_get_what_is_committed_from_now_on(standing: Standing) -> None:  # 1
    standing.store("a", "a")
    everything, some, other = standing.open("a"), standing.open("a", "id:*3 OR id:1-*"), standing.open("b")
    standing.polled.poll()
    assert ids(everything) == ids(other) == []
    standing.store("a", "a", "b", "a")
    standing.store("c", "a", partition=1)
    standing.store("a", partition=1, commit=False)
    standing.polled.poll()
    assert ids(everything) == ["0-2", "0-3", "0-5", "1-1"]
    assert ids(some) == ["0-3", "1-1"]
    assert ids(other) == ["0-4"]
    standing.committed[1] += 1
    standing.polled.poll()
    standing.polled.poll()
    assert (ids(everything), ids(some), ids(other)) == (["1-2"], ["1-2"], [])


def test_one_question_serves_all_readers_of_a_tenant_and_none_is_asked_when_nothing_came(standing: Standing) -> None:
    for _ in range(10):
        standing.open("a")
    standing.polled.poll()
    standing.store("a")
    standing.polled.poll()
    standing.polled.poll()
    assert standing.reader.asked == 1


def test_what_comes_while_the_store_is_away_follows(standing: Standing) -> None:  # 1
    tail = standing.open("a")
    standing.polled.poll()
    standing.reader.away = True
    standing.store("a")
    standing.polled.poll()
    standing.store("a")
    standing.reader.away = False
    standing.polled.poll()
    assert ids(tail) == ["0-0", "0-1"]


def test_nothing_old_is_shown_when_the_log_gets_known_later_and_all_of_a_new_partition_is(standing: Standing) -> None:
    standing.store("a")
    standing.known = False
    tail = standing.open("a")
    standing.polled.poll()
    standing.known = True
    standing.polled.poll()
    assert ids(tail) == []
    standing.committed[2] = 0
    standing.store("a", partition=2)
    standing.polled.poll()
    assert ids(tail) == ["2-0"]


def test_what_is_stored_between_the_coming_of_a_reader_and_the_next_poll_is_shown(standing: Standing) -> None:  # 3
    standing.store("a")
    standing.polled.poll()
    tail = standing.open("a")
    standing.store("a")
    standing.polled.poll()
    assert ids(tail) == ["0-1"]
    standing.tails.leave(tail)
    standing.store("a")
    standing.polled.poll()
    later = standing.open("a")
    standing.store("a")
    standing.polled.poll()
    assert ids(later) == ["0-3"]


def test_what_is_not_heard_of_for_a_while_or_goes_back_is_not_shown_again(standing: Standing) -> None:  # 1
    tail = standing.open("a")
    standing.polled.poll()
    standing.store("a", "a", partition=1)
    standing.polled.poll()
    assert ids(tail) == ["1-0", "1-1"]
    standing.unheard = {1}
    standing.polled.poll()
    standing.unheard = set()
    standing.polled.poll()
    standing.committed[1] = 0
    standing.polled.poll()
    standing.committed[1] = 2
    standing.store("a", partition=1)
    standing.polled.poll()
    assert ids(tail) == ["1-2"]


def test_the_places_are_looked_for_again_soon_until_they_are_known(standing: Standing) -> None:
    standing.known = False
    waits: list[float] = []

    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            standing.known = len(waits) > 1
            return len(waits) > 2

    standing.polled.run(Waits())
    assert waits == [poller.KNOWN_SOON_S, poller.KNOWN_SOON_S, poller.EVERY_S]


def test_what_a_second_has_too_much_of_is_counted(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:  # 2
    monkeypatch.setattr(poller, "MOST_ROWS", 3)
    tail = standing.open("a")
    standing.polled.poll()
    standing.store("a", "b", "a", "a")
    standing.store("a", "a", "b", partition=1)
    standing.polled.poll()
    taken = tail.take(1 << 20)
    assert ([json.loads(each)["id"] for each in taken.messages], taken.unchecked) == (["0-0", "0-2", "0-3"], 2)
