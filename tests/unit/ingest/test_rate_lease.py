"""Rates that several processes share: what all of them take together, with leases and without."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from parsec.core.clock import ManualClock
from parsec.ingest.policy import Allowance, Policy
from parsec.ingest.rate_lease import RateLease
from parsec.ingest.rate_limits import Cost, TenantLimits
from parsec.ingest.token_bucket import Rate
from parsec.ports.rate_leases import Leased, Leases, Want
from tests.support.memory_leases import MemoryBank, MemoryLeases

RATE = Rate(100, 200)


class Process:
    """One of several, with what it let through."""

    def __init__(self, bank: MemoryBank, name: str, rate: Rate) -> None:
        policy = Policy(Allowance(events=rate))
        self.limits = TenantLimits(policy, bank.clock, shared=True)
        self.leases = MemoryLeases(bank, name)
        self.leasing = RateLease(self.limits, self.leases, lambda: None)
        self.taken = 0

    def send(self, tenant: str, events: int) -> bool:
        costs = (Cost(tenant, events, 100),)
        if self.limits.refusal(costs) is not None:
            return False
        self.limits.take(costs)
        self.taken += events
        return True


class Cluster:
    """Processes with one clock, each of which leases every 20 ms."""

    def __init__(self, count: int, rate: Rate = RATE) -> None:
        self.clock = ManualClock()
        bank = MemoryBank(self.clock)
        self.processes = [Process(bank, str(n), rate) for n in range(count)]

    def run(self, seconds: float, events: int = 1, tenant: str = "acme", busy: int | None = None) -> int:
        """Events taken while `busy` of the processes, by default all, are sent more than the rate by far."""
        before = sum(process.taken for process in self.processes)

        async def steps() -> None:
            for _ in range(round(seconds / 0.02)):
                for process in self.processes[:busy]:
                    for _ in range(5):
                        process.send(tenant, events)
                for process in self.processes:
                    await process.leasing.step()
                self.clock.advance(0.02)

        asyncio.run(steps())
        return sum(process.taken for process in self.processes) - before


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("events", [1, 7, 300])
def test_all_processes_together_take_the_rate(count: int, events: int) -> None:  # limits 3
    cluster = Cluster(count)
    cluster.run(8, events)
    taken = cluster.run(16, events)
    assert 1600 * 0.95 - count * events <= taken <= 1600 * 1.05 + count * events


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_beginning_has_one_burst_and_what_processes_hold(count: int) -> None:
    cluster = Cluster(count)
    assert cluster.run(5) <= 200 + 500 + count * 50
    assert cluster.run(5) <= 500 + count * 50


def test_what_is_let_in_on_credit_counts() -> None:  # limits 3
    cluster = Cluster(5, Rate(0.001, 1000))
    assert 1000 <= cluster.run(4) <= 1300


def test_one_busy_process_of_five_gets_all_of_the_rate() -> None:
    cluster = Cluster(5)
    cluster.run(4)
    cluster.run(2, busy=1)
    assert cluster.run(10, busy=1) == pytest.approx(1000, rel=0.05)


def test_a_rate_of_less_than_one_event_per_lease_is_kept_too() -> None:
    cluster = Cluster(3, Rate(2, 1))
    cluster.run(5)
    assert cluster.run(25) == pytest.approx(50, abs=3)


def test_without_leases_each_process_takes_its_part() -> None:
    cluster = Cluster(2)
    cluster.run(4)
    for away in (True, False):
        for process in cluster.processes:
            process.leases.away = away
        cluster.run(4)
        assert cluster.run(10) == pytest.approx(1000, rel=0.05)


def test_a_tenant_that_rests_has_its_burst_again() -> None:
    cluster = Cluster(2)
    cluster.run(4)
    cluster.clock.advance(5)
    assert 200 <= cluster.run(1) <= 200 + 100 + 2 * 50


def test_who_comes_again_when_told_is_let_in() -> None:
    cluster = Cluster(2)
    process = cluster.processes[0]
    assert process.send("acme", 500)
    spent = process.limits.spent("acme")
    assert spent is not None
    cluster.run(spent.retry_after_s, busy=0)
    assert process.send("acme", 1)


def test_nobody_is_refused_below_the_rate() -> None:
    cluster = Cluster(2)
    refused = 0

    async def steps() -> None:
        nonlocal refused
        for turn in range(500):
            process = cluster.processes[turn % 2]
            refused += not process.send("acme", 1)
            for each in cluster.processes:
                await each.leasing.step()
            cluster.clock.advance(0.02)

    asyncio.run(steps())
    assert refused == 0


class Broken:
    """Leases with a bug; and how often they were asked."""

    def __init__(self, seconds: float = 0.0, fault: Exception | None = None) -> None:
        self.calls = 0
        self._seconds = seconds
        self._fault = fault

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        self.calls += 1
        time.sleep(self._seconds)
        if self._fault is not None:
            raise self._fault
        return Leased([0.0] * len(wants), 1)

    def close(self) -> None:
        return


def run_for(seconds: float, leases: Leases) -> int:
    """Runs the part while a tenant is short; how often it said that it failed."""
    failures: list[None] = []

    async def run() -> None:
        limits = TenantLimits(Policy(Allowance(events=RATE)), ManualClock(), shared=True)
        limits.take((Cost("acme", 10_000, 1),))
        part = RateLease(limits, leases, lambda: failures.append(None))
        await part.start()
        await asyncio.sleep(seconds)
        await part.stop(0.0)

    asyncio.run(run())
    return len(failures)


def test_a_fault_of_ours_stops_the_service() -> None:
    leases = Broken(fault=RuntimeError("a bug"))
    assert run_for(0.2, leases) == 1
    assert leases.calls == 1


def test_a_slow_server_is_asked_less_often() -> None:
    leases = Broken(seconds=0.05)
    assert run_for(0.6, leases) == 0
    assert 1 <= leases.calls <= 3
