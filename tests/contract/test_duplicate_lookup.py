"""Requests that come again after minutes, by a clock that is told: from their bytes to rows of the embedded store.

Decoding, ids, rows, claims and store are the real ones; only log and clock are not.
"""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from parsec.adapters.local.dedup import LocalDedup
from parsec.adapters.redis.dedup import RedisDedup
from parsec.adapters.redis.link import RedisAddress
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.api.event_rules import MAX_AHEAD_S
from parsec.core.envelope import encode_one
from parsec.core.timestamp import SECOND, text_of
from parsec.ports.dedup import Dedup, Window
from parsec.process.batching import InsertLimits
from parsec.process.claims import Claims
from parsec.process.loop import Options, Processor
from parsec.process.rows import Rules, rows
from parsec.telemetry import Telemetry
from tests.support.ingesting import compact, event, lines, take
from tests.support.manual_clock import ManualClock
from tests.support.memory_log import MemoryLog
from tests.support.processing import FixedRandom
from tests.support.redis_server import redis_server
from tests.support.stores import TestEngine, embedded_store

WINDOW = Window(600.0, 100_000)
MINUTE = 60.0

WITH_IDS = lines([event(id=f"evt-{n}", timestamp="2026-09-21T14:00:00Z") for n in range(20)])
WITHOUT_IDS = lines([event(id=None, message=f"line {n}", timestamp="2026-09-21T14:00:00Z") for n in range(20)])
EQUAL_LINES = lines([event(id=None, timestamp="2026-09-21T14:00:00Z")] * 50)


class Way:
    """The way of a request into the store. `forget`: the process was killed and started again; claims in its memory are
    gone, those in Redis are still there."""

    def __init__(self, store: ClickHouseStore, engine: TestEngine, redis: RedisAddress | None) -> None:
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self._log = MemoryLog()
        self._redis = redis
        self._prefix = f"{uuid4().hex}:"
        self._store = store
        self._engine = engine
        self.forget()

    def forget(self) -> None:
        dedup: Dedup = LocalDedup(WINDOW, self.telemetry, self.clock)
        if self._redis is not None:
            dedup = RedisDedup(self._redis, self._prefix, WINDOW, self.telemetry, self.clock)
        claims = Claims(dedup, self._store, WINDOW, self.telemetry)
        options = Options(
            lambda piece: rows(piece, Rules(1e9, self.clock.time_ns())), InsertLimits(1000, 1 << 20, 0.01)
        )
        self._processor = Processor(
            self._log.reader(0), self._store, claims, options, self.telemetry, self.clock, FixedRandom()
        )

    def send(self, *bodies: bytes) -> None:
        """One after the other at the same moment, and until all is stored."""
        now_ns = self.clock.time_ns()
        for body in bodies:
            taken = take(body, latest_s=now_ns // SECOND + MAX_AHEAD_S, received_at=text_of(now_ns))
            assert taken.codes == []
            self._log.append(*map(encode_one, taken.envelopes))
        for _ in range(100):
            if self._log.progress[0].committed == len(self._log.records[0]):
                return
            self._processor.step(0)
            self.clock.advance(0.01)
        raise AssertionError("the processor does not finish its work")

    def wait(self, minutes: float) -> None:
        """Time goes by, with another event each minute."""
        for n in range(int(minutes)):
            self.clock.advance(MINUTE)
            self.send(compact(event(id=f"tick-{self.clock.time_ns()}-{n}", source="tick")))

    def stored(self) -> int:
        return int(self._engine.ask("SELECT count() FROM events WHERE source != 'tick'"))

    @property
    def duplicates(self) -> int:
        return self._log.progress[0].counts.duplicate


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisAddress]:
    with redis_server(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as running:
        yield RedisAddress("127.0.0.1", running.port)


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.integration)])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    shared = request.getfixturevalue("redis") if request.param == "redis" else None
    with embedded_store() as (store, engine):
        yield Way(store, engine, shared)


@pytest.fixture(params=[False, True], ids=["claims kept", "claims made anew"])
def forgets(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("body", [WITH_IDS, WITHOUT_IDS], ids=["with ids", "without ids"])
@pytest.mark.parametrize("minutes", [0, 9])
def test_a_request_that_comes_again_within_the_window_is_one_copy(
    way: Way, body: bytes, minutes: int, forgets: bool
) -> None:
    way.send(body, body) if minutes == 0 else way.send(body)
    way.wait(minutes)
    if forgets:
        way.forget()
    way.send(body)
    assert way.stored() == 20
    assert way.duplicates == (40 if minutes == 0 else 20)


def test_nine_minutes_count_from_the_first_copy_and_not_from_a_repeat(way: Way, forgets: bool) -> None:
    way.send(WITH_IDS)
    for _ in range(2):
        way.wait(8)
        if forgets:
            way.forget()
        way.send(WITH_IDS)
    assert way.stored() == 40, "sixteen minutes after the first copy the window is over"


def test_beyond_the_window_a_request_is_stored_again(way: Way, forgets: bool) -> None:
    way.send(WITH_IDS, WITHOUT_IDS)
    way.wait(15)
    if forgets:
        way.forget()
    way.send(WITH_IDS, WITHOUT_IDS)
    assert (way.stored(), way.duplicates) == (80, 0)


def test_fifty_equal_lines_are_fifty_rows_however_often_the_request_comes(way: Way, forgets: bool) -> None:
    way.send(EQUAL_LINES, EQUAL_LINES)
    way.wait(9)
    if forgets:
        way.forget()
    way.send(EQUAL_LINES)
    assert (way.stored(), way.duplicates) == (50, 100)
