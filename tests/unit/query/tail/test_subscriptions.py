"""Subscriptions: what waits for a reader, how many there may be, where each begins.

Numbers: parsec.query.tail.subscriptions.
"""

import pytest

from parsec.core.errors import Rejected
from parsec.ports.broker import Progress
from parsec.query.language.ast import Everything
from parsec.query.tail.subscriptions import CommittedOffsets, Subscription, Subscriptions, TailLimits

LIMITS = TailLimits(per_tenant=3, in_all=4, waiting_bytes=1000)


def nothing() -> None: ...


class Log:
    """Where partition 0 is committed, as far as it is heard of."""

    def __init__(self, committed: int | None = 0) -> None:
        self.committed = committed

    def progress(self) -> list[Progress]:
        return [] if self.committed is None else [Progress("log", 0, 0, self.committed)]


def subscriptions(log: Log | None = None) -> Subscriptions:
    return Subscriptions(LIMITS, CommittedOffsets((log or Log()).progress))


def subscription() -> Subscription:
    return Subscription("acme", Everything(), {}, 1000, nothing)


def test_the_oldest_goes_when_too_much_waits_and_is_counted() -> None:  # 1
    tail = subscription()
    tail.put([b"%03d" % n + b"x" * 97 for n in range(25)])
    taken = tail.take(10_000)
    assert [int(message[:3]) for message in taken.messages] == list(range(15, 25))
    assert (taken.skipped, taken.unchecked, taken.ended) == (15, 0, False)
    assert tail.take(10_000).skipped == 0


def test_a_message_beyond_the_bound_waits_alone() -> None:  # 1
    tail = subscription()
    tail.put([b"a" * 10, b"b" * 5000])
    assert [len(message) for message in tail.take(1).messages] == [5000]
    tail.put([b"c" * 600, b"d" * 600])
    assert tail.take(1).messages == [b"d" * 600]


def test_a_reader_is_woken_once_for_all_that_came() -> None:  # 3
    woken: list[int] = []
    tail = Subscription("acme", Everything(), {}, 1000, lambda: woken.append(1))
    tail.put([b"a"])
    tail.put([b"b"])
    tail.miss(unchecked=3)
    assert len(woken) == 1
    assert tail.take(1).messages == [b"a"]
    tail.put([b"c"])
    assert len(woken) == 1  # it has not seen the end of what waits yet
    assert (tail.take(10).messages, tail.take(10).messages) == ([b"b", b"c"], [])
    tail.put([b"d"])
    assert len(woken) == 2


def test_subscriptions_are_bounded_for_each_tenant_and_in_all() -> None:
    tails = subscriptions()
    of_acme = [tails.open("acme", "", nothing) for _ in range(3)]
    for tenant, whose in (("acme", "This tenant has 3"), ("c", "This process has 4")):
        with pytest.raises(Rejected, match=whose) as caught:
            tails.open(tenant, "", nothing)
        assert (caught.value.code, caught.value.status) == ("too_many_tails", 429)
        if tenant == "acme":
            tails.open("b", "", nothing)
    tails.remove(of_acme[0])
    tails.remove(of_acme[0])
    tails.open("acme", "hello", nothing)


def test_the_end_comes_after_what_waits_and_no_one_enters_then() -> None:
    tails = subscriptions()
    tail = tails.open("acme", "", nothing)
    tail.put([b"a", b"b"])
    tails.close()
    assert [(taken.messages, taken.ended) for taken in (tail.take(1), tail.take(1))] == [
        ([b"a"], False),
        ([b"b"], True),
    ]
    with pytest.raises(Rejected, match="Parsec is stopping"):
        tails.open("acme", "", nothing)


def test_a_question_that_is_none_is_refused() -> None:
    with pytest.raises(Rejected, match="Column 1"):
        subscriptions().open("acme", "colour:red", nothing)


def test_a_subscription_begins_where_the_log_is_committed() -> None:
    log = Log(committed=None)
    tails = subscriptions(log)
    assert tails.open("acme", "", nothing).since == {}
    log.committed = 7
    assert tails.open("acme", "", nothing).since == {("log", 0): 7}


def test_a_committed_offset_never_goes_back() -> None:
    log = Log(committed=7)
    committed = CommittedOffsets(log.progress)
    before = committed.now()
    for heard in (3, None, 7):
        log.committed = heard
        assert committed.now() is before


def test_a_subscription_that_was_left_is_gone_and_others_stay() -> None:
    tails = subscriptions()
    one, two = tails.open("acme", "a", nothing), tails.open("acme", "a", nothing)
    tails.remove(one)
    tails.remove(one)
    assert tails.by_tenant == {"acme": (two,)}
    tails.remove(two)
    assert tails.by_tenant == {}
