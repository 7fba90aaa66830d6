"""Redis in trouble: whatever it does, the processor goes on, and what was not checked is counted.

Numbers cite the invariants of parsec.adapters.redis.dedup.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from parsec.adapters.redis.dedup import RedisDedup
from parsec.adapters.redis.link import LONGEST_PAUSE_S, RedisAddress
from parsec.core.errors import Fatal
from parsec.ports.dedup import Batch, Position, Window
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock
from tests.support.redis_server import RedisServer, free_port, redis_server
from tests.support.tls import certificate, tls_in_front_of

WINDOW_S = 600.0

integration = pytest.mark.integration


def tell(server: Redis, command: str) -> None:
    server.execute_command(*command.split())  # type: ignore[no-untyped-call]


class Rig:
    """A processor's side, and a client that looks behind it."""

    def __init__(self, server: RedisAddress, stem: str = "test:") -> None:
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self.dedup = RedisDedup(server, stem, Window(WINDOW_S, 100_000), self.telemetry, self.clock)

    def claim(self, first: int, *ids: str) -> dict[int, Position]:
        offsets = range(first, first + len(ids))
        return dict(self.dedup.claim(Batch("log", 0, self.clock.time_ns(), ["acme"] * len(ids), ids, offsets)))

    @property
    def unchecked(self) -> float:
        return self.telemetry.value("parsec_dedup_unavailable_events_total")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, "--appendonly", "no") as running:
        yield running


@pytest.fixture
def rig(server: RedisServer) -> Iterator[Rig]:
    made = Rig(RedisAddress("127.0.0.1", server.port))
    yield made
    made.dedup.close()


@pytest.fixture
def behind(server: RedisServer) -> Iterator[Redis]:
    client = Redis(port=server.port)
    yield client
    client.close()


def held(first: int) -> Position:
    return Position("log", 0, first)


def test_nobody_there_is_counted_and_repeats_within_a_batch_are_still_found() -> None:  # 3
    rig = Rig(RedisAddress("127.0.0.1", free_port()))
    assert rig.claim(1, "a", "b", "a") == {3: held(1)}
    assert rig.unchecked == 2
    rig.dedup.release(Batch("log", 0, 0, ["acme"], ["a"], [1]))
    assert rig.unchecked == 2
    assert rig.dedup.wants_restore()


def test_a_name_that_nobody_knows_is_no_answer_either() -> None:
    rig = Rig(RedisAddress("nowhere.invalid", 1))
    assert rig.claim(1, "a") == {}
    assert rig.unchecked == 1


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(Fatal, match=r"parsec-logs\[redis\]"):
        Rig(RedisAddress("127.0.0.1", 1))


@integration
def test_after_a_failure_none_is_tried_for_a_while(server: RedisServer, rig: Rig) -> None:  # 2
    rig.claim(1, "a")
    server.kill9()
    assert rig.claim(2, "a") == {}
    server.start()
    assert rig.claim(3, "b") == {}, "not tried yet"
    assert rig.unchecked == 2
    rig.clock.advance(LONGEST_PAUSE_S)
    assert rig.claim(4, "c") == {}
    assert rig.claim(5, "c") == {5: held(4)}
    assert rig.unchecked == 2


@integration
def test_a_server_that_came_back_between_two_batches_is_not_even_noticed(server: RedisServer, rig: Rig) -> None:
    rig.claim(1, "a")
    server.restart()
    rig.claim(2, "b")
    assert rig.claim(3, "b") == {3: held(2)}
    assert rig.unchecked == 0


@integration
def test_a_server_that_hangs_does_not_hang_us(server: RedisServer, rig: Rig) -> None:  # 2
    rig.claim(1, "a")
    server.pause()
    ids = [f"id-{n}" for n in range(20_000)]
    assert rig.claim(2, *ids) == {}
    assert rig.unchecked == 20_000
    server.resume()
    rig.clock.advance(LONGEST_PAUSE_S)
    assert rig.claim(50_000, "a") == {50_000: held(1)}
    assert rig.claim(60_000, *ids)[60_000] == held(2), "a claim that was made unheard is held by its own position"
    assert rig.claim(2, *ids[:100]) == {}


@integration
def test_what_was_not_checked_shortens_the_window_that_is_told(server: RedisServer, rig: Rig) -> None:
    rig.claim(1, "a")
    rig.clock.advance(WINDOW_S)
    rig.claim(2, "b")
    assert not rig.dedup.wants_restore()
    server.pause()
    rig.claim(3, "c")
    server.resume()
    rig.clock.advance(LONGEST_PAUSE_S)
    rig.claim(4, "d")
    assert rig.dedup.effective_s() == 0
    assert rig.dedup.wants_restore()
    rig.clock.advance(60)
    rig.claim(5, "e")
    assert rig.dedup.effective_s() == rig.telemetry.value("parsec_dedup_window_seconds") == 60


@integration
@pytest.mark.parametrize(
    ("command", "undo"),
    [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    ],
)
def test_a_server_that_takes_no_writes_is_counted(rig: Rig, behind: Redis, command: str, undo: str) -> None:
    rig.claim(1, "a")
    tell(behind, command)
    assert rig.claim(2, "b") == {}
    assert rig.unchecked == 1
    tell(behind, undo)
    rig.clock.advance(LONGEST_PAUSE_S)
    rig.claim(3, "c")
    assert rig.claim(4, "c") == {4: held(3)}
    assert rig.unchecked == 1


@integration
def test_a_flush_is_seen_and_claims_go_on(rig: Rig, behind: Redis) -> None:
    rig.claim(1, "a")
    rig.clock.advance(60)
    rig.claim(2, "b")
    assert rig.dedup.effective_s() == 60
    behind.flushall()
    behind.script_flush()
    assert rig.claim(3, "a") == {}
    assert rig.claim(4, "a") == {4: held(3)}
    assert rig.unchecked == 0
    assert rig.dedup.effective_s() == 0


@integration
def test_a_holder_whose_log_is_unknown_holds_nothing(server: RedisServer, rig: Rig, behind: Redis) -> None:
    other = Rig(RedisAddress("127.0.0.1", server.port))
    other.dedup.claim(Batch("log", 7, other.clock.time_ns(), ["acme"], ["a"], [1]))
    behind.delete("test:claims:places")
    assert rig.claim(2, "a") == {}
    assert rig.unchecked == 1
    other.dedup.claim(Batch("log", 7, other.clock.time_ns(), ["acme"], ["b"], [3]))
    assert rig.claim(2, "a") == {2: Position("log", 7, 1)}
    other.dedup.close()


@integration
def test_processors_share_claims_of_one_stem_and_no_others(server: RedisServer, rig: Rig) -> None:  # 1
    address = RedisAddress("127.0.0.1", server.port)
    other, apart = Rig(address), Rig(address, "elsewhere:")
    rig.claim(1, "a")
    assert other.claim(2, "a") == {2: held(1)}
    assert apart.claim(3, "a") == {}
    other.dedup.close()
    apart.dedup.close()


@integration
def test_every_key_has_the_stem_and_goes_by_itself(rig: Rig, behind: Redis) -> None:  # 5
    for n in range(5):
        rig.claim(n, f"id-{n}")
        rig.clock.advance(WINDOW_S / 3)
    keys = list(behind.scan_iter())
    assert len(keys) >= 4
    assert all(key.startswith(b"test:claims") and 0 < behind.ttl(key) <= 90_000 for key in keys)


@integration
def test_the_database_is_the_one_named(server: RedisServer, behind: Redis) -> None:
    rig = Rig(RedisAddress("127.0.0.1", server.port, db=3))
    rig.claim(1, "a")
    assert behind.dbsize() == 0
    assert set(behind.info("keyspace")) == {"db3"}
    rig.dedup.close()


@integration
def test_a_user_needs_few_rights(server: RedisServer, behind: Redis) -> None:
    """What docs/operations.md names."""
    rights = "~test:* +eval +evalsha +script|load +hget +hset +hmget +hdel +hlen +unlink +pexpire +select"
    tell(behind, f"ACL SETUSER parsec on >secret {rights}")
    rig = Rig(RedisAddress("127.0.0.1", server.port, "parsec", "secret"))
    rig.claim(1, "a")
    assert rig.claim(2, "a") == {2: held(1)}
    rig.dedup.take_over(Batch("log", 0, 0, ["acme"], ["a"], [2]), [held(1)])
    rig.dedup.release(Batch("log", 0, 0, ["acme"], ["a"], [2]))
    assert rig.claim(3, "a") == {}
    assert rig.unchecked == 0
    wrong = Rig(RedisAddress("127.0.0.1", server.port, "parsec", "wrong"))
    assert wrong.claim(1, "a") == {}
    assert wrong.unchecked == 1
    rig.dedup.close()
    wrong.dedup.close()


@integration
def test_tls_is_spoken_and_the_certificate_is_verified(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, key = certificate(tmp_path)
    with tls_in_front_of(server.port, made, key) as port:
        stranger = Rig(RedisAddress("127.0.0.1", port, tls=True))
        assert stranger.claim(1, "a") == {}
        assert stranger.unchecked == 1
        stranger.dedup.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
        rig = Rig(RedisAddress("127.0.0.1", port, tls=True))
        rig.claim(1, "a")
        assert rig.claim(2, "a") == {2: held(1)}
        assert rig.unchecked == 0
        rig.dedup.close()
