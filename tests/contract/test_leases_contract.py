"""What parsec.ports.rate_leases promises, in memory and on a real server of the Redis protocol."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parsec.adapters.redis.link import RedisAddress
from parsec.adapters.redis.rates import RedisLeases
from parsec.core.clock import SystemClock
from parsec.ports.rate_leases import Leases, Want
from tests.support.manual_clock import ManualClock
from tests.support.memory_leases import MemoryBank, MemoryLeases
from tests.support.redis_server import redis_server

Processes = Callable[[str], Leases]


class Subject:
    """Processes that share leases, and the time between two calls."""

    def __init__(self, process: Processes, wait: Callable[[float], None]) -> None:
        self._process = process
        self._made: dict[str, Leases] = {}
        self.wait = wait

    def lease(self, node: str, *wants: Want) -> list[float]:
        if node not in self._made:
            self._made[node] = self._process(node)
        leased = self._made[node].lease(wants)
        assert leased is not None
        self.processes = leased.processes
        return list(leased.amounts)

    def close(self) -> None:
        for made in self._made.values():
            made.close()
            made.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        clock = ManualClock()
        bank = MemoryBank(clock)
        made = Subject(lambda node: MemoryLeases(bank, node), clock.advance)
        yield made
        made.close()
        return
    with redis_server(tmp_path, "--appendonly", "no") as server:
        address = RedisAddress("127.0.0.1", server.port)
        made = Subject(lambda node: RedisLeases(address, "test:", node, SystemClock()), time.sleep)
        yield made
        made.close()


def slow(wanted: float, owed: float = 0.0, name: str = "events:acme") -> Want:
    """Of a rate so low that nothing comes back during a test."""
    return Want(name, 1e-6, 1000, owed, wanted)


def test_a_burst_is_there_at_once_and_never_more(subject: Subject) -> None:
    got = [subject.lease("a", slow(300))[0] for _ in range(5)]
    assert got == pytest.approx([300, 300, 300, 100, 0], abs=0.01)


def test_what_was_spent_on_credit_is_taken_and_may_leave_less_than_nothing(subject: Subject) -> None:
    assert subject.lease("a", slow(0, owed=1500)) == [0]
    assert subject.lease("a", slow(100)) == [0]
    assert subject.lease("b", slow(100)) == [0]


def test_processes_share_and_nobody_takes_all(subject: Subject) -> None:
    assert subject.lease("a", slow(1)) == [1]
    assert subject.processes == 1
    first = subject.lease("b", slow(1000))[0]
    assert subject.processes == 2
    assert first == pytest.approx(999 / 2, abs=0.01)
    assert subject.lease("a", slow(1000))[0] == pytest.approx(999 / 4, abs=0.01)


def test_the_rate_comes_back_with_time_up_to_the_burst(subject: Subject) -> None:
    want = Want("events:acme", 2000, 1000, 0, 1000)
    assert subject.lease("a", want) == [1000]
    assert subject.lease("a", want)[0] < 900
    subject.wait(0.8)
    assert subject.lease("a", want)[0] == pytest.approx(1000)


def test_names_have_rates_of_their_own_and_answers_keep_the_order(subject: Subject) -> None:
    assert subject.lease("a", slow(1000, name="events:x")) == [1000]
    wants = [slow(n, name=f"events:{name}") for n, name in enumerate("wxyz", 1)]
    assert subject.lease("a", *wants) == pytest.approx([1, 0, 3, 4], abs=0.001)


def test_many_wants_at_once(subject: Subject) -> None:
    wants = [slow(5, name=f"events:{n}") for n in range(2500)]
    assert subject.lease("a", *wants) == [5.0] * 2500


def test_other_rates_hold_from_the_call_that_brings_them(subject: Subject) -> None:
    assert subject.lease("a", slow(1)) == [1]
    assert subject.lease("a", Want("events:acme", 1e-6, 10, 0, 1000)) == pytest.approx([10])
