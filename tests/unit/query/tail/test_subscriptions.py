"""What waits for readers, who may be one, and what the processor's rows become. Numbers:
parsec.query.tail.subscriptions ("tails n") and parsec.query.tail.fanout ("live n").
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from parsec.core.errors import Rejected, Retryable
from parsec.ports.store import Row
from parsec.query.tail import fanout
from parsec.query.tail.fanout import Live
from parsec.query.tail.subscriptions import Subscription, Subscriptions, TailLimits

BOUNDS = TailLimits(per_tenant=3, in_all=4, waiting_bytes=1000)
NOON = 1_795_435_200_000_000_000


def nothing() -> None: ...


def row(n: int, tenant: str = "acme", **other: str) -> Row:
    made = Row(tenant, NOON + n, "info", "api", f"hello {n}", '{"n":[1]}', f"e{n}", NOON, "r", "n", "log", 0, n, 20_800)
    return msgspec.structs.replace(made, **other)


@contextmanager
def running(fed: Live) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=fed.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


class Waiting:
    """A reader that waits until enough has come."""

    def __init__(self, tails: Subscriptions, tenant: str, q: str = "") -> None:
        self._came = threading.Event()
        self.tail = tails.open(tenant, q, self._came.set)
        self.messages: list[bytes] = []
        self.unchecked = 0

    def until(self, enough: Callable[["Waiting"], bool]) -> list[str]:
        while not enough(self):
            assert self._came.wait(10), self.messages
            self._came.clear()
            while (taken := self.tail.take(100)).messages or taken.unchecked:
                self.messages += taken.messages
                self.unchecked += taken.unchecked
        return [json.loads(message)["id"] for message in self.messages]


def test_the_oldest_goes_when_too_much_waits_and_is_counted() -> None:  # tails 1
    tail = Subscription("acme", "", 1000, nothing)
    tail.put([b"%03d" % n + b"x" * 97 for n in range(25)])
    taken = tail.take(10_000)
    assert [int(message[:3]) for message in taken.messages] == list(range(15, 25))
    assert (taken.skipped, taken.unchecked, taken.ended) == (15, 0, False)
    assert tail.take(10_000).skipped == 0


def test_a_message_beyond_the_bound_waits_alone() -> None:  # tails 1
    tail = Subscription("acme", "", 1000, nothing)
    tail.put([b"a" * 10, b"b" * 5000])
    assert [len(message) for message in tail.take(1).messages] == [5000]
    tail.put([b"c" * 600, b"d" * 600])
    assert tail.take(1).messages == [b"d" * 600]


def test_a_reader_is_woken_once_for_all_that_came() -> None:  # tails 3
    woken: list[int] = []
    tail = Subscription("acme", "", 1000, lambda: woken.append(1))
    tail.put([b"a"])
    tail.put([b"b"])
    tail.miss(3)
    assert len(woken) == 1
    assert tail.take(1).messages == [b"a"]
    tail.put([b"c"])
    assert len(woken) == 1  # it has not seen the end of what waits yet
    assert (tail.take(10).messages, tail.take(10).messages) == ([b"b", b"c"], [])
    tail.put([b"d"])
    assert len(woken) == 2


def test_readers_are_bounded_for_each_tenant_and_in_all() -> None:
    tails = Subscriptions(BOUNDS)
    of_acme = [tails.open("acme", "", nothing) for _ in range(3)]
    for tenant, whose in (("acme", "This tenant has 3"), ("c", "This process has 4")):
        with pytest.raises(Rejected, match=whose) as caught:
            tails.open(tenant, "", nothing)
        assert (caught.value.code, caught.value.status) == ("too_many_tails", 429)
        if tenant == "acme":
            tails.open("b", "", nothing)
    tails.leave(of_acme[0])
    tails.leave(of_acme[0])
    tails.open("acme", "hello", nothing)


def test_who_asks_the_same_shares_a_question_until_all_have_left() -> None:
    tails = Subscriptions(BOUNDS)
    first, second = tails.open("acme", "hello", nothing), tails.open("acme", "hello", nothing)
    other = tails.open("acme", "NOT hello", nothing)
    assert [len(watch.tails) for watch in tails.watched["acme"]] == [2, 1]
    for tail in (first, second, other):
        tails.leave(tail)
    assert tails.watched == {}


def test_the_end_comes_after_what_waits_and_nobody_enters_then() -> None:
    tails = Subscriptions(BOUNDS)
    tail = tails.open("acme", "", nothing)
    tail.put([b"a", b"b"])
    tails.close()
    assert [(taken.messages, taken.ended) for taken in (tail.take(1), tail.take(1))] == [
        ([b"a"], False),
        ([b"b"], True),
    ]
    with pytest.raises(Retryable):
        tails.open("acme", "", nothing)


def test_a_question_that_is_none_is_refused() -> None:
    with pytest.raises(Rejected, match="Column 1"):
        Subscriptions(BOUNDS).open("acme", "colour:red", nothing)


def test_each_reader_gets_what_its_tenant_stored_and_its_question_finds() -> None:
    tails = Subscriptions(BOUNDS)
    everything, some, strange = Waiting(tails, "acme"), Waiting(tails, "acme", "hello -id:e3"), Waiting(tails, "other")
    fed = Live(tails)
    with running(fed):
        fed.offer([row(n) for n in range(3)] + [row(0, "other", id="s0"), row(0, "third")])
        fed.offer([row(n) for n in range(3, 5)] + [row(1, "other", message="odd")])
        assert everything.until(lambda got: len(got.messages) == 5) == ["e0", "e1", "e2", "e3", "e4"]
        assert some.until(lambda got: len(got.messages) == 4) == ["e0", "e1", "e2", "e4"]
        assert strange.until(lambda got: len(got.messages) == 2) == ["s0", "e1"]
    assert json.loads(everything.messages[1]) == {
        "id": "e1", "tenant_id": "acme", "timestamp": "2026-11-23T12:00:00.000000001Z", "severity": "info",
        "source": "api", "message": "hello 1", "metadata": {"n": [1]}, "received_at": "2026-11-23T12:00:00Z",
    }  # fmt: skip


def test_what_was_stored_before_a_reader_came_is_not_for_it() -> None:
    tails = Subscriptions(BOUNDS)
    early = Waiting(tails, "acme")
    fed = Live(tails)
    fed.offer([row(0)])
    late = Waiting(tails, "acme")
    fed.offer([row(1)])
    with running(fed):
        assert late.until(lambda got: len(got.messages) == 1) == ["e1"]
        assert early.until(lambda got: len(got.messages) == 2) == ["e0", "e1"]


def test_rows_beyond_the_bound_are_counted_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:  # live 2
    monkeypatch.setattr(fanout, "WAITING_BYTES", 100)
    tails = Subscriptions(BOUNDS)
    mine, others = Waiting(tails, "acme"), Waiting(tails, "other")
    fed = Live(tails)
    fed.offer([row(0), row(0, "other")])
    fed.offer([row(n, message="x" * 50) for n in range(1, 4)])
    fed.offer([row(4), row(1, "other")])
    with running(fed):
        assert mine.until(lambda got: len(got.messages) == 2) == ["e0", "e4"]
        assert others.until(lambda got: len(got.messages) == 2) == ["e0", "e1"]
    assert (mine.unchecked, others.unchecked) == (3, 0)


def test_nothing_is_kept_while_nobody_listens() -> None:  # live 1
    tails = Subscriptions(BOUNDS)
    fed = Live(tails)
    rows = Untouched()
    fed.offer(rows)
    tails.leave(tails.open("acme", "", nothing))
    fed.offer(rows)


class Untouched(list[Row]):
    def __iter__(self) -> Iterator[Row]:
        raise AssertionError("rows were looked at")
