"""What parsec.ports.dedup promises, on every adapter: in memory, and on a real server of the Redis protocol.

Numbers cite the invariants of parsec.adapters.local.dedup and parsec.adapters.redis.dedup.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from parsec.adapters.local.dedup import LocalDedup
from parsec.adapters.redis.dedup import RedisDedup
from parsec.adapters.redis.link import RedisAddress
from parsec.core.errors import Fatal
from parsec.ports.dedup import Batch, Dedup, Position, Window
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock
from tests.support.redis_server import redis_server

WINDOW_S, IDS = 600.0, 1000


class Subject:
    """An adapter under test, with the clock that it and its events go by."""

    def __init__(self, port: int | None) -> None:
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self._port = port
        self.dedup = self.another()

    def another(self) -> Dedup:
        window = Window(WINDOW_S, IDS)
        if self._port is None:
            return LocalDedup(window, self.telemetry, self.clock)
        return RedisDedup(RedisAddress("127.0.0.1", self._port), "test:", window, self.telemetry, self.clock)

    def batch(
        self, ids: Sequence[str], first: int, tenant: str = "acme", log_id: str = "log", partition: int = 0
    ) -> Batch:
        offsets = range(first, first + len(ids))
        return Batch(log_id, partition, self.clock.time_ns(), [tenant] * len(ids), ids, offsets)

    def claim(self, ids: Sequence[str], first: int) -> dict[int, int]:
        """Offsets of what is held to the offsets of who holds it."""
        held = self.dedup.claim(self.batch(ids, first))
        assert all(holder[:2] == ("log", 0) for holder in held.values())
        return {offset: holder.offset for offset, holder in held.items()}

    def value(self, name: str) -> float:
        return self.telemetry.value(f"parsec_dedup_{name}")


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.integration)])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "local":
        made = Subject(None)
        yield made
        made.dedup.close()
        return
    with redis_server(tmp_path, "--appendonly", "no") as server:
        made = Subject(server.port)
        yield made
        made.dedup.close()


def test_the_first_of_an_id_holds_it_and_is_named_to_all_others(subject: Subject) -> None:  # local 1, redis 1
    assert subject.claim(["a", "b"], 10) == {}
    assert subject.claim(["c", "b", "a"], 20) == {21: 11, 22: 10}
    assert subject.claim(["c"], 30) == {30: 20}


def test_a_replay_finds_its_own_claims(subject: Subject) -> None:  # redis 3
    subject.claim(["a", "b"], 10)
    assert subject.claim(["a", "b", "c"], 10) == {}
    assert subject.claim(["c"], 20) == {20: 12}


def test_within_a_batch_the_first_one_holds_it(subject: Subject) -> None:
    assert subject.claim(["a", "b", "a", "a"], 10) == {12: 10, 13: 10}
    assert subject.claim(["a", "a"], 20) == {20: 10, 21: 10}


def test_a_replay_of_a_batch_with_repeats_comes_out_the_same(subject: Subject) -> None:
    subject.claim(["b"], 1)
    for _ in range(2):
        assert subject.claim(["a", "b", "a", "b"], 10) == {11: 1, 12: 10, 13: 1}


def test_a_batch_of_many_slices_comes_out_as_a_small_one(subject: Subject) -> None:
    ids = [f"id-{n % 900}" for n in range(6000)]
    assert subject.claim(ids, 0) == {n: n % 900 for n in range(900, 6000)}
    assert subject.claim(ids, 10_000) == {10_000 + n: n % 900 for n in range(6000)}


def test_ids_of_tenants_are_apart_and_no_two_pairs_run_together(subject: Subject) -> None:
    subject.dedup.claim(subject.batch(["a"], 1, tenant="acme"))
    assert subject.dedup.claim(subject.batch(["a"], 2, tenant="other")) == {}
    assert subject.dedup.claim(subject.batch(["ea"], 3, tenant="acm")) == {}
    assert subject.dedup.claim(subject.batch(["a\ud800", "ä", "\0"], 4)) == {}


def test_a_holder_is_named_with_its_log_and_partition(subject: Subject) -> None:
    subject.dedup.claim(subject.batch(["a"], 7, log_id="Kafka/topic id", partition=70_000))
    subject.dedup.claim(subject.batch(["b"], (1 << 48) - 1))
    assert subject.dedup.claim(subject.batch(["a", "b"], 8)) == {
        8: Position("Kafka/topic id", 70_000, 7),
        9: Position("log", 0, (1 << 48) - 1),
    }


def test_the_same_offset_of_another_log_is_another_position(subject: Subject) -> None:
    subject.claim(["a"], 1)
    assert subject.dedup.claim(subject.batch(["a"], 1, log_id="new")) == {1: Position("log", 0, 1)}
    assert subject.dedup.claim(subject.batch(["a"], 1, partition=1)) == {1: Position("log", 0, 1)}


def test_a_claim_holds_for_the_window_and_not_for_ever(subject: Subject) -> None:  # local 3
    subject.claim(["a"], 1)
    subject.clock.advance(WINDOW_S - 1)
    assert subject.claim(["a"], 2) == {2: 1}
    subject.clock.advance(WINDOW_S / 2)
    assert subject.claim(["a"], 3) == {}
    assert subject.claim(["a"], 4) == {4: 3}


def test_the_window_holds_from_any_moment_of_a_generation(subject: Subject) -> None:
    for n in range(60):
        subject.claim([f"id-{n}"], n)
        subject.clock.advance(WINDOW_S / 40)
        if n >= 39:
            assert subject.claim([f"id-{n - 38}"], 1000) == {1000: n - 38}
    assert subject.claim(["id-0"], 1000) == {}


def test_after_a_long_silence_nothing_old_is_left(subject: Subject) -> None:
    subject.claim(["a"], 1)
    subject.clock.advance(100 * WINDOW_S)
    assert subject.claim(["a"], 2) == {}


def test_time_is_that_of_receipt_so_a_backlog_keeps_its_window(subject: Subject) -> None:  # local 2, redis 4
    received = subject.batch(["a"], 1)
    again = subject.batch(["a"], 2)
    subject.clock.advance(10 * WINDOW_S)
    subject.dedup.claim(received)
    subject.clock.advance(10 * WINDOW_S)
    assert subject.dedup.claim(again) == {2: Position("log", 0, 1)}


def test_a_time_of_receipt_in_the_future_moves_nothing_ahead(subject: Subject) -> None:  # local 2
    subject.claim(["a"], 1)
    ahead = subject.clock.time_ns() + int(100 * WINDOW_S * 1e9)
    subject.dedup.claim(Batch("log", 0, ahead, ["acme"], ["b"], [2]))
    assert subject.claim(["a"], 3) == {3: 1}


def test_a_late_partition_shares_the_set(subject: Subject) -> None:
    late = subject.batch(["b"], 1, partition=1)
    again = subject.batch(["b", "a"], 2, partition=1)
    subject.clock.advance(5 * WINDOW_S)
    subject.claim(["a"], 1)
    subject.dedup.claim(late)
    assert subject.dedup.claim(again) == {2: Position("log", 1, 1), 3: Position("log", 0, 1)}


def test_the_set_is_bounded_and_tells_what_it_forgot_early(subject: Subject) -> None:  # local 3, redis 5
    for first in range(0, 5 * IDS, 100):
        subject.clock.advance(1)
        subject.claim([f"id-{n}" for n in range(first, first + 100)], first)
        assert min(first + 100, IDS) <= subject.value("ids") <= 1.34 * IDS + 200
        assert subject.value("ids") + subject.value("ids_early_total") == first + 100
    assert subject.claim([f"id-{n}" for n in range(4 * IDS, 5 * IDS)], 9 * IDS) == {
        5 * IDS + n: n for n in range(4 * IDS, 5 * IDS)
    }
    assert subject.claim(["id-0"], 100_000) == {}


def test_the_effective_window_grows_with_the_set_and_shrinks_when_it_is_too_small(subject: Subject) -> None:
    subject.claim(["a"], 0)
    assert subject.value("window_seconds") == 0
    subject.clock.advance(100)
    subject.claim(["b"], 1)
    assert subject.value("window_seconds") == subject.dedup.effective_s() == 100
    subject.clock.advance(2 * WINDOW_S)
    subject.claim(["c"], 2)
    assert subject.value("window_seconds") == WINDOW_S
    for first in range(0, 3 * IDS, 100):
        subject.clock.advance(1)
        subject.claim([f"id-{n}" for n in range(first, first + 100)], 10 + first)
    assert 9 <= subject.value("window_seconds") <= 15


def test_a_claim_is_taken_over_only_from_the_holder_named(subject: Subject) -> None:
    subject.claim(["a", "b"], 1)
    ids = ["a", "b", "new", "a"]
    named = [Position("log", 0, 1), Position("log", 0, 9), Position("log", 0, 9), Position("log", 0, 1)]
    assert subject.dedup.take_over(subject.batch(ids, 10), named) == {
        11: Position("log", 0, 2),
        13: Position("log", 0, 10),
    }
    assert subject.claim(["a", "b", "new"], 20) == {20: 10, 21: 2, 22: 12}
    assert subject.dedup.take_over(subject.batch(ids[:1], 10), named[:1]) == {}, "a replay of the same"


def test_a_claim_is_released_by_its_holder_only(subject: Subject) -> None:
    subject.claim(["a", "b"], 1)
    subject.dedup.release(subject.batch(["a"], 1))
    subject.dedup.release(subject.batch(["b", "absent"], 1))
    assert subject.value("ids") == 1
    assert subject.claim(["a", "b"], 10) == {11: 2}


def test_claims_can_be_made_anew_from_what_the_store_has(subject: Subject) -> None:
    """Oldest first, with the times of their receipt, the set comes out as it was."""
    pages = []
    for n in range(20):
        pages.append(subject.batch([f"id-{n}"], n))
        subject.clock.advance(WINDOW_S / 10)
    assert subject.dedup.wants_restore()
    for page in pages:
        assert subject.dedup.claim(page) == {}
    assert subject.dedup.effective_s() == WINDOW_S
    assert subject.claim(["id-19", "id-11", "id-1"], 100) == {100: 19, 101: 11}


def test_nothing_is_claimed_by_an_empty_batch(subject: Subject) -> None:
    assert subject.claim([], 1) == {}


def test_after_close_every_call_is_fatal(subject: Subject) -> None:
    batch = subject.batch(["a"], 1)
    subject.dedup.close()
    subject.dedup.close()
    with pytest.raises(Fatal):
        subject.dedup.claim(batch)
    with pytest.raises(Fatal):
        subject.dedup.take_over(batch, [Position("log", 0, 9)])
    with pytest.raises(Fatal):
        subject.dedup.release(batch)
