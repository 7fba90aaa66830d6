"""Rates that several processes share: what all of them take together, with leases and without."""

import asyncio
from collections.abc import Sequence

import pytest

from parsec.ingest.rate_lease import LEASE_REST, MIN_PAUSE_S, RateLease
from parsec.ingest.rate_limits import Allowance, Policy, Rate, TenantLimits
from parsec.ports.rate_leases import Leased, Want
from tests.support.manual_clock import ManualClock
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
        if self.limits.refusal([tenant]) is not None:
            return False
        self.limits.take({tenant: events}, 100)
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


class Slow:
    """Leases that are given after so many seconds, or fail."""

    def __init__(self, clock: ManualClock, seconds: float = 0.0, fault: Exception | None = None) -> None:
        self.calls = 0
        self._clock = clock
        self._seconds = seconds
        self._fault = fault

    def lease(self, wants: Sequence[Want]) -> Leased | None:
        self.calls += 1
        self._clock.advance(self._seconds)
        if self._fault is not None:
            raise self._fault
        return Leased([0.0] * len(wants), 1)

    def close(self) -> None:
        return


def run_part(leases: Slow, clock: ManualClock) -> tuple[list[float], int]:
    """Runs the part while a tenant is short, until its third pause or a failure: pauses and number of failures."""
    pauses: list[float] = []
    failures: list[None] = []

    async def run() -> None:
        enough = asyncio.Event()

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                enough.set()
                await asyncio.Event().wait()

        def fail() -> None:
            failures.append(None)
            enough.set()

        limits = TenantLimits(Policy(Allowance(events=RATE)), clock, shared=True)
        limits.take({"acme": 10_000}, 1)
        part = RateLease(limits, leases, fail, clock, pause)
        await part.start()
        await asyncio.wait_for(enough.wait(), 20)
        await part.stop(0.0)

    asyncio.run(run())
    return pauses, len(failures)


def test_a_fault_of_ours_stops_the_service() -> None:
    clock = ManualClock()
    leases = Slow(clock, fault=RuntimeError("a bug"))
    assert run_part(leases, clock) == ([], 1)
    assert leases.calls == 1


@pytest.mark.parametrize(("answer_s", "pause_s"), [(0.001, MIN_PAUSE_S), (0.05, LEASE_REST * 0.05)])
def test_a_slow_server_is_asked_less_often(answer_s: float, pause_s: float) -> None:
    clock = ManualClock()
    pauses, failures = run_part(Slow(clock, answer_s), clock)
    assert pauses == pytest.approx([pause_s] * 3)
    assert failures == 0
