"""Room for tenants with little in flight while another has filled the capacity."""

import asyncio
import sys

from hypothesis import given
from hypothesis import strategies as st

from parsec.ingest.admission import Admission
from parsec.ingest.channel import BatchLimits, Channel, Submission
from parsec.ingest.field_mapping import FieldMap
from parsec.ingest.pipeline import Identity, Outcome, Pipeline, PipelineOptions, Request
from parsec.ingest.rate_limits import Policy, TenantLimits
from parsec.telemetry import Telemetry
from tests.support.events import envelopes
from tests.support.ingesting import CountingRandom, compact, event
from tests.support.manual_clock import ManualClock

ALL = BatchLimits(sys.maxsize, sys.maxsize)


def admission(memory_bytes: int = 1 << 30, channel: Channel | None = None) -> Admission:
    limits = TenantLimits(Policy(), ManualClock())
    return Admission(channel or Channel(80, 1 << 20), limits, memory_bytes, lambda: None)


class Rig:
    """A pipeline whose channel takes 80 events; `worker` empties it."""

    def __init__(self) -> None:
        self.channel = Channel(80, 1 << 20, loop=asyncio.get_running_loop())
        self.admission = admission(channel=self.channel)
        options = PipelineOptions(Identity("local", "node-1"), 1000, 1 << 16, False, "random", 30.0)
        self.pipeline = Pipeline(self.admission, options, Telemetry(), ManualClock(), CountingRandom())

    def send(self, tenant: str, events: int = 1, ack: str = "durable") -> int | None:
        """The status; None while it is not durable."""
        body = compact([event(tenant_id=tenant, id=None, timestamp="2027-01-15T00:00:00Z") for _ in range(events)])
        answers: list[Outcome] = []
        fields = FieldMap.parse(f"ack={ack}".encode())
        for _ in self.pipeline.ingest(Request(answers.append, fields, body=body)):
            pass
        return answers[0].status if answers else None

    async def worker(self) -> None:
        self.channel.acknowledge(self.channel.take(ALL, 0) or [], "durable")
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_a_flood_fills_the_channel_for_itself_only() -> None:
    async def run() -> None:
        rig = Rig()
        for _ in range(2):
            while rig.send("flood", 10) is None:
                pass
            assert rig.send("flood") == 429
            assert rig.admission.admit("flood") is not None
            for tenant in ("calm", "other", "third"):
                assert [rig.send(tenant) for _ in range(11)] == [None] * 10 + [429]
                assert rig.admission.admit(tenant) is not None
            assert rig.admission.admit("") is None
            await rig.worker()
            assert rig.admission.admit("flood") is None

    asyncio.run(run())


def test_one_large_request_leaves_room_to_others() -> None:
    async def run() -> None:
        rig = Rig()
        assert rig.send("large", 1000) is None
        assert rig.send("large") == 429
        assert rig.send("calm") is None

    asyncio.run(run())


def test_the_channel_holds_at_most_twice_its_bound_and_two_requests_whatever_the_names() -> None:
    async def run() -> None:
        rig = Rig()
        statuses = [rig.send(f"made-up-{n}", 7) for n in range(100)]
        assert statuses.count(None) == rig.channel.buffered_events // 7
        assert 2 * 80 <= rig.channel.buffered_events < 2 * (80 + 7)
        assert rig.admission.admit("") is not None
        await rig.worker()
        assert rig.admission._in_channel == {}

    asyncio.run(run())


def test_what_is_enqueued_only_counts_until_it_is_durable() -> None:
    async def run() -> None:
        rig = Rig()
        assert [rig.send("flood", 10, "enqueued") for _ in range(9)] == [200] * 8 + [429]
        await rig.worker()
        assert rig.admission._in_channel == {}
        assert rig.send("flood", 10, "enqueued") == 200

    asyncio.run(run())


def test_bodies_of_one_tenant_leave_memory_to_others() -> None:
    memory = admission(1600)
    assert all(memory.reserve("flood", 0, 100) for _ in range(16))
    assert not memory.reserve("flood", 0, 100)
    assert memory.reserve("calm", 0, 100)
    assert not memory.reserve("calm", 0, 100)
    assert memory.reserve("other", 0, 300)
    assert not memory.reserve("third", 0, 1)
    memory.release("other", 300)
    assert memory.reserve("third", 0, 1)
    assert memory.reserved_bytes == 1701


def test_small_bodies_that_name_nobody_are_not_kept_out_by_large_ones() -> None:
    memory = admission(1 << 20)
    assert all(memory.reserve("", 0, 1 << 17) for _ in range(8))
    assert not memory.reserve("", 0, 1 << 17)
    assert memory.reserve("", 0, 1 << 15)
    assert memory.reserve("", 1 << 15, 1 << 15)
    assert not memory.reserve("", 1 << 16, 1 << 15)
    assert [memory.reserve("", 0, 1 << 16) for _ in range(4)] == [True] * 3 + [False]
    memory.release("", 1 << 17)
    assert memory.reserve("", 0, 1 << 16)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.integers(1, 99)), max_size=30))
def test_what_is_taken_is_counted_by_tenant_and_given_back(requests: list[tuple[str, int, int]]) -> None:
    admission_ = admission(channel=Channel(1 << 20, 1 << 20))
    sums = dict.fromkeys("abc", (0, 0))
    memory = dict.fromkeys("abc", 0)
    for tenant, events, size in requests:
        assert admission_.admit(tenant, size) is None
        assert admission_.offer(Submission(envelopes(events), size), {tenant: events}) is None
        sums[tenant] = sums[tenant][0] + events, sums[tenant][1] + size
        memory[tenant] += size
    assert admission_._in_channel == {name: amounts for name, amounts in sums.items() if amounts[0]}
    assert admission_._in_memory == {name: amount for name, amount in memory.items() if amount}
    assert admission_.reserved_bytes == sum(memory.values())
    for tenant, events, size in requests:
        admission_.leave({tenant: events}, size)
        admission_.release(tenant, size)
    assert (admission_._in_channel, admission_._in_memory, admission_.reserved_bytes) == ({}, {}, 0)
