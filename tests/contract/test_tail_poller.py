"""New events found in the embedded store for subscriptions. Numbers: parsec.query.tail.poller."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Retryable
from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits, Row, StoreReader, T
from parsec.query.sql import new_events
from parsec.query.sql.page import PageRequest
from parsec.query.tail.poller import TailPoller
from parsec.query.tail.subscriptions import CommittedOffsets, Subscription, Subscriptions, TailLimits
from tests.support.manual_clock import ManualClock
from tests.support.stored import ALL_TIMES, ask, row
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
        self.tails = Subscriptions(TailLimits(100, 100, 1 << 20), CommittedOffsets(self.progress))
        self._poller = TailPoller(self.tails, self.reader, threading.Event(), LIMITS, ManualClock())

    def progress(self) -> list[Progress]:
        places = self.committed.items() if self.known else ()
        return [
            Progress(self._log, partition, 0, offset) for partition, offset in places if partition not in self.unheard
        ]

    def poll(self) -> None:
        list(self._poller.round())

    def open(self, tenant: str, q: str = "") -> Subscription:
        return self.tails.open(tenant, q, lambda: None)

    def store(self, *tenants: str, partition: int = 0, commit: bool = True) -> None:
        first = self.committed[partition]
        rows = [
            row(first + n, tenant_id=each, id=f"{partition}-{first + n}", log_id=self._log, partition=partition)
            for n, each in enumerate(tenants)
        ]
        self.keep(rows, partition=partition, commit=commit)

    def keep(self, rows: Sequence[Row], *, partition: int = 0, commit: bool = True) -> None:
        self._store.insert(rows, f"{self._log}/{partition}/{self.committed[partition]}")
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
    standing.poll()
    assert ids(everything) == ids(other) == []
    standing.store("a", "a", "b", "a")
    standing.store("c", "a", partition=1)
    standing.store("a", partition=1, commit=False)
    standing.poll()
    assert ids(everything) == ["0-2", "0-3", "0-5", "1-1"]
    assert ids(some) == ["0-3", "1-1"]
    assert ids(other) == ["0-4"]
    standing.committed[1] += 1
    standing.poll()
    standing.poll()
    assert (ids(everything), ids(some), ids(other)) == (["1-2"], ["1-2"], [])


def test_one_statement_serves_all_readers_of_a_tenant_and_none_is_asked_when_nothing_came(standing: Standing) -> None:
    for _ in range(10):
        standing.open("a")
    standing.poll()
    standing.store("a")
    standing.poll()
    standing.poll()
    assert standing.reader.asked == 1


def test_what_comes_while_the_store_is_away_follows(standing: Standing) -> None:  # 1
    tail = standing.open("a")
    standing.poll()
    standing.reader.away = True
    standing.store("a")
    standing.poll()
    standing.store("a")
    standing.reader.away = False
    standing.poll()
    assert ids(tail) == ["0-0", "0-1"]


def test_nothing_old_is_shown_when_the_log_gets_known_later_and_all_of_a_new_partition_is(standing: Standing) -> None:
    standing.store("a")
    standing.known = False
    tail = standing.open("a")
    standing.poll()
    standing.known = True
    standing.poll()
    assert ids(tail) == []
    standing.committed[2] = 0
    standing.store("a", partition=2)
    standing.poll()
    assert ids(tail) == ["2-0"]


def test_what_is_stored_between_the_coming_of_a_reader_and_the_next_poll_is_shown(standing: Standing) -> None:  # 3
    standing.store("a")
    standing.poll()
    tail = standing.open("a")
    standing.store("a")
    standing.poll()
    assert ids(tail) == ["0-1"]
    standing.tails.remove(tail)
    standing.store("a")
    standing.poll()
    later = standing.open("a")
    standing.store("a")
    standing.poll()
    assert ids(later) == ["0-3"]


def test_what_is_not_heard_of_for_a_while_or_goes_back_is_not_shown_again(standing: Standing) -> None:  # 1
    tail = standing.open("a")
    standing.poll()
    standing.store("a", "a", partition=1)
    standing.poll()
    assert ids(tail) == ["1-0", "1-1"]
    standing.unheard = {1}
    standing.poll()
    standing.unheard = set()
    standing.poll()
    standing.committed[1] = 0
    standing.poll()
    standing.committed[1] = 2
    standing.store("a", partition=1)
    standing.poll()
    assert ids(tail) == ["1-2"]


def test_a_subscription_over_its_bound_gets_a_gap_and_its_neighbour_does_not(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:  # 4
    monkeypatch.setattr(new_events, "MOST_ROWS", 3)
    everything, some = standing.open("a"), standing.open("a", "id:0-0 OR id:1-1")
    standing.store("a", "b", "a", "a")
    standing.store("a", "a", "b", partition=1)
    standing.poll()
    taken = everything.take(1 << 20)
    assert [json.loads(each)["id"] for each in taken.messages] == ["0-3", "1-0", "1-1"]  # the newest
    assert (taken.skipped, taken.unchecked) == (2, 0)
    taken = some.take(1 << 20)
    assert [json.loads(each)["id"] for each in taken.messages] == ["0-0", "1-1"]
    assert (taken.skipped, taken.unchecked) == (0, 0)


def test_a_reader_that_comes_between_two_rounds_begins_where_it_came(standing: Standing) -> None:  # 1
    early = standing.open("a", "id:0-*")
    standing.store("a", "a")
    late, other = standing.open("a", "id:0-*"), standing.open("a", "NOT id:x")
    standing.store("a")
    standing.poll()
    assert (ids(early), ids(late), ids(other)) == (["0-0", "0-1", "0-2"], ["0-2"], ["0-2"])
    assert standing.reader.asked == 1


ODD = (
    {"message": "\u00dcbertragung FERTIG"}, {"message": "stra\u00dfe STRASSE"}, {"message": "user_id=7 10.0.0.1"},
    {"message": "a\nb"}, {"message": "\u212a is Kelvin"}, {"message": "\u4f60\u597d world"}, {"message": "tab\there"},
    {"metadata": '{"n":7}'}, {"metadata": '{"n":"7"}'}, {"metadata": '{"n":7.0}'}, {"metadata": '{"n":[7,8]}'},
    {"metadata": '{"n":["7"]}'}, {"metadata": '{"n":[1,"7"]}'}, {"metadata": '{"n":null}'}, {"metadata": '{"n":true}'},
    {"metadata": '{"n":1e3}'}, {"metadata": '{"n":9007199254740993}'}, {"metadata": '{"n":18446744073709551615}'},
    {"metadata": '{"n":{"b":7}}'}, {"metadata": '{"n.b":7}'}, {"metadata": '{"n":{}}'}, {"metadata": '{"n":""}'},
    {"metadata": '{"n":"2026-07-29"}'}, {"metadata": '{"n":"2026-07-29T00:00:00Z"}'}, {"metadata": '{"":7}'},
    {"source": "d%b"}, {"source": "d_b"}, {"id": "E'1"}, {"region": ""}, {"severity": "fatal"},
)  # fmt: skip
FILTERS = (
    "", "\u00fcbertragung", "strasse", "stra\u00dfe", "user_id", "10.0.*", "k", "\u4f60", "\u4f60\u597d",
    "/a.b/", "/^a$/", "metadata.n:7", "metadata.n:7*", "metadata.n:*", "metadata.n.b:7",
    "metadata.n:true", "metadata.n:>6",
    "metadata.n:1000", "metadata.n:9007199254740993", "metadata.n:18446744073709551615", "NOT metadata.n:*",
    "metadata.n:/7/", "metadata.n:2026*", 'metadata.n:"2026-07-29"', "metadata.n:>2026", 'metadata."":7', "source:d%*",
    "source:d_b", "NOT source:d*", "id:E*", "region:*", "severity:>=error", "/\\x{212A}/", "/(?i)k/", "/\\pL\\d/",
    "t*e", "/\\x68ere/", "timestamp:>2026-11-23T12:00:00.000000020Z",
)  # fmt: skip


def test_tail_and_search_find_the_same_among_odd_events(standing: Standing) -> None:
    tails = [standing.open("acme", q) for q in FILTERS]
    standing.keep([row(n, log_id="log-1", **{"id": f"e{n:02d}", **odd}) for n, odd in enumerate(ODD)])
    standing.poll()
    for q, tail in zip(FILTERS, tails, strict=True):
        found = ask(standing.reader, PageRequest("acme", ALL_TIMES, 100, q=q, order="oldest"), LIMITS)
        searched = json.loads(bytes(found.events))
        assert [json.loads(message) for message in tail.take(1 << 20).messages] == searched, q
