"""Leases in Redis beyond what tests/contract says of them: silence, what is left behind, and a missing driver."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from parsec.adapters.redis.link import FIRST_PAUSE_S, RedisAddress
from parsec.adapters.redis.rates import LISTED_S, RedisLeases
from parsec.core.clock import SystemClock
from parsec.core.errors import Fatal
from parsec.ports.rate_leases import Want
from tests.support.manual_clock import ManualClock
from tests.support.redis_server import RedisServer, free_port, redis_server

WANT = Want("events:acme", 100, 1000, 0, 100)


def test_without_an_answer_nothing_is_leased_and_it_is_tried_again_later() -> None:
    clock = ManualClock()
    leases = RedisLeases(RedisAddress("127.0.0.1", free_port()), "test:", "a", clock)
    started = time.monotonic()
    assert [leases.lease([WANT]) for _ in range(100)] == [None] * 100
    assert time.monotonic() - started < 10
    leases.close()


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(Fatal, match=r"parsec-logs\[redis\]"):
        RedisLeases(RedisAddress("127.0.0.1", 1), "test:", "a", SystemClock())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, "--appendonly", "no") as running:
        yield running


@pytest.mark.integration
def test_every_key_goes_by_itself_once_its_bucket_is_full_again(server: RedisServer) -> None:
    leases = RedisLeases(RedisAddress("127.0.0.1", server.port), "test:", "a", SystemClock())
    assert leases.lease([WANT, Want("bytes:acme", 1, 1000, 1500, 100)]) is not None
    with Redis(port=server.port) as behind:
        lives_ms = {key.decode(): behind.pttl(key) for key in behind.keys("*")}
    assert lives_ms.keys() == {"test:limits:processes", "test:limits:events:acme", "test:limits:bytes:acme"}
    assert 1000 < lives_ms["test:limits:events:acme"] <= 2000
    assert 1_490_000 < lives_ms["test:limits:bytes:acme"] <= 1_501_000
    assert 0 < lives_ms["test:limits:processes"] <= 10_000 * LISTED_S
    leases.close()


@pytest.mark.integration
def test_a_server_that_hangs_or_comes_back_empty_costs_half_a_second_and_a_burst(server: RedisServer) -> None:
    clock = ManualClock()
    leases = RedisLeases(RedisAddress("127.0.0.1", server.port), "test:", "a", clock)
    assert leases.lease([WANT]) is not None
    server.pause()
    started = time.monotonic()
    assert leases.lease([WANT]) is None
    assert time.monotonic() - started < 5
    server.resume()
    server.kill9()
    server.restart()
    clock.advance(FIRST_PAUSE_S)
    found = leases.lease([WANT])
    assert found is not None
    assert list(found.amounts) == [100]
    leases.close()
