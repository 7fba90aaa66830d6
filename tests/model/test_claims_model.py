"""Claims as a state machine: crashes at any step, frozen owners, a set that expires, overflows, is lost or silent.

Two promises. Always: nothing is dropped unless an event with its id is in the store. And an id is stored once, unless
one of the things happened that docs/guarantees.md names as the end of that promise; such ids are excused one by one.
"""

from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from parsec.adapters.local.dedup import LocalDedup
from parsec.adapters.redis.dedup import RedisDedup
from parsec.adapters.redis.link import RedisAddress
from parsec.ports.dedup import Batch, Dedup, Position, Window
from parsec.telemetry import Telemetry
from tests.support.claiming import Claimer, Record, World, batch
from tests.support.manual_clock import ManualClock
from tests.support.redis_server import redis_server

WINDOW_S = 80.0
PARTITIONS = st.integers(0, 1)
RECORDS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=8)


class Silent:
    """Makes claims of the first half of a batch and says nothing of any."""

    def __init__(self, dedup: Dedup) -> None:
        self._dedup = dedup

    def claim(self, batch: Batch) -> dict[int, Position]:
        half = len(batch.offsets) // 2
        if half:
            self._dedup.claim(Batch(batch.log_id, batch.partition, batch.moment_ns, batch.tenants[:half],
                                    batch.ids[:half], batch.offsets[:half]))  # fmt: skip
        return {}

    def take_over(self, *_: object) -> dict[int, Position]:
        return {}

    def release(self, _: Batch) -> None:
        """Nothing reaches the set."""


class Claims(RuleBasedStateMachine):
    """One process owns both partitions; its set is in its memory and made anew from the store."""

    shared: ClassVar = False
    ids: ClassVar = 1000

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self.world = World(2)
        self.born: dict[str, float] = {}
        self.excused: set[str] = set()
        self.epoch = 0
        self.early = 0.0
        self.silent = False
        self.dedup = self.new_set()
        self.owners = [self.new_owner(0), self.new_owner(1)]
        self.frozen: list[Claimer] = []

    def new_set(self) -> Dedup:
        return LocalDedup(Window(WINDOW_S, self.ids), self.telemetry, self.clock)

    def new_owner(self, partition: int) -> Claimer:
        return Claimer(self.world, partition, self.reached)

    def reached(self) -> Dedup | Silent:
        return Silent(self.dedup) if self.silent else self.dedup

    @rule(partition=PARTITIONS, records=RECORDS)
    def append(self, partition: int, records: list[tuple[str, bool]]) -> None:
        for letter, poison in records:
            name = f"{letter}{self.epoch}"
            self.born.setdefault(name, self.clock.monotonic())
            # The id goes to both partitions, which a wise key never does.
            self.world.logs[partition].append(Record(name, self.clock.time_ns(), poison and letter == "a"))
            if self.silent:
                self.excused.add(name)

    @rule(partition=PARTITIONS, steps=st.integers(1, 12))
    def run(self, partition: int, steps: int) -> None:
        for _ in range(steps):
            self.owners[partition].step()

    @rule(partition=PARTITIONS)
    def crash(self, partition: int) -> None:
        if self.shared:
            self.owners[partition] = self.new_owner(partition)
            return
        self.owners = [self.new_owner(0), self.new_owner(1)]
        self.dedup = self.new_set()
        rows = [(at, self.world.record(at)) for at in sorted(self.world.rows)]
        for at, record in sorted(rows, key=lambda row: row[1].received_ns if row[1] else 0):
            if record is not None:
                self.dedup.claim(batch(at.partition, {at.offset: record}))

    @rule(partition=PARTITIONS, steps=st.integers(1, 8))
    def impatience(self, partition: int, steps: int) -> None:
        """Holders that do not land are given up. Who is about to insert just then is the end of the promise."""
        about_to_land = [at for owner in [*self.owners, *self.frozen] for at in owner.in_hand]
        self.excused |= {record.id for record in map(self.world.record, about_to_land) if record is not None}
        self.owners[partition].patient = lambda _: False
        self.run(partition, steps)
        self.owners[partition].patient = lambda _: True

    @rule(seconds=st.sampled_from([1, 5, 30]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        now = self.clock.monotonic()
        if any(now - born >= WINDOW_S for name, born in self.born.items() if name not in self.excused):
            self.excuse_all()

    @rule(partition=PARTITIONS, place=st.integers(0, 20))
    def lose(self, partition: int, place: int) -> None:
        """The log loses a record that is not committed yet."""
        log, at = self.world.logs[partition], self.world.committed[partition] + place
        if at < len(log) and Position("log", partition, at) not in self.world.rows:
            log[at] = None

    @rule(partition=PARTITIONS)
    @precondition(lambda self: self.shared)
    def freeze(self, partition: int) -> None:
        self.frozen.append(self.owners[partition])
        self.owners[partition] = self.new_owner(partition)

    @rule(steps=st.integers(1, 6))
    @precondition(lambda self: self.frozen)
    def wake(self, steps: int) -> None:
        for _ in range(steps):
            self.frozen[0].step()
        self.frozen.pop(0)

    @rule()
    @precondition(lambda self: self.shared)
    def flush(self) -> None:
        self.dedup = self.new_set()
        self.excuse_all()

    @rule()
    @precondition(lambda self: self.shared)
    def silence(self) -> None:
        self.silent = not self.silent
        self.excuse_all()

    @invariant()
    def what_leaves_early_is_excused(self) -> None:
        early = self.telemetry.value("parsec_dedup_ids_early_total")
        if early > self.early:
            self.early = early
            self.excuse_all()

    @invariant()
    def an_id_is_stored_once(self) -> None:
        copies = self.world.copies()
        assert not [name for name, count in copies.items() if count > 1 and name not in self.excused]

    def excuse_all(self) -> None:
        """All ids so far; those that come are new ones and held to the promise again."""
        self.excused |= set(self.born)
        self.epoch += 1

    def teardown(self) -> None:
        if self.silent:
            self.silence()
        for owner in self.owners:
            owner.patient = self.may_land
        for _ in range(3000):
            if self.world.committed == [len(log) for log in self.world.logs]:
                break
            self.run(0, 1)
            self.run(1, 1)
            self.what_leaves_early_is_excused()
        self.an_id_is_stored_once()
        assert self.world.committed == [len(log) for log in self.world.logs], "somebody waits for ever"
        stored = set(self.world.copies())
        for partition, log in enumerate(self.world.logs):
            assert sum(self.world.counts[partition].values()) == len(log)
            for offset, record in enumerate(log):
                at = Position("log", partition, offset)
                assert record is None or at in self.world.dead or record.id in stored, "an event was dropped"

    def may_land(self, holder: Position) -> bool:
        ahead = self.world.committed[holder.partition] <= holder.offset
        return ahead and self.world.record(holder) is not None


class SmallClaims(Claims):
    ids = 8


class SharedClaims(Claims):
    """Each partition has its own process; one set for both, which outlives them."""

    shared = True


class SmallSharedClaims(SharedClaims):
    ids = 8


class RedisClaims(SharedClaims):
    """The same on a real server."""

    port: ClassVar = 0

    def new_set(self) -> Dedup:
        """A stem of its own is as good as a flush."""
        stem = f"{uuid4()}:"
        return RedisDedup(RedisAddress("127.0.0.1", self.port), stem, Window(WINDOW_S, 8), self.telemetry, self.clock)


MANY = settings(max_examples=100, stateful_step_count=40)
TestClaims = Claims.TestCase
TestClaims.settings = MANY
TestSmallClaims = SmallClaims.TestCase
TestSmallClaims.settings = MANY
TestSharedClaims = SharedClaims.TestCase
TestSharedClaims.settings = MANY
TestSmallSharedClaims = SmallSharedClaims.TestCase
TestSmallSharedClaims.settings = MANY


@pytest.mark.integration
def test_claims_on_a_real_server(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendonly", "no") as server:
        RedisClaims.port = server.port
        few = settings(MANY, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
        run_state_machine_as_test(RedisClaims, settings=few)
