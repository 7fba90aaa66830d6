"""Limits of two processes with one real Redis: together they let through the rate, and go on without it."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.integration

PER_S = 300
BATCH = 5


class Flood:
    """Clients that send more than the rate to each of several processes; what was taken, by the second."""

    def __init__(self, processes: Sequence[Parsec]) -> None:
        self.taken = 0
        self.wrong: list[int] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(each,), daemon=True) for each in processes]
        for thread in self._threads:
            thread.start()

    def during(self, seconds: float) -> float:
        """Events taken per second."""
        before, started = self.taken, time.monotonic()
        time.sleep(seconds)
        return (self.taken - before) / (time.monotonic() - started)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _client(self, parsec: Parsec) -> None:
        body = [event(f"{n}", "acme") for n in range(BATCH)]
        while not self._stop.is_set():
            status, answer = parsec.ingest(body)
            with self._lock:
                if status == 200:
                    self.taken += answer["accepted"]
                elif status != 429:
                    self.wrong.append(status)
            self._stop.wait(0.004)


def test_two_processes_let_through_the_rate_of_one_with_redis_and_without(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", "--appendonly", "no") as server:
        settings = {
            "REDIS_ADDR": f"127.0.0.1:{server.port}",
            "PARSEC_LIMIT_EVENTS_PER_S": str(PER_S),
            "PARSEC_DISK_RESERVE": "0",
        }
        with Parsec(tmp_path / "one", **settings) as one, Parsec(tmp_path / "two", **settings) as two:
            flood = Flood([one, two])
            try:
                flood.during(4)
                shared = flood.during(10)
                server.kill9()
                flood.during(2)
                apart = flood.during(6)
                server.restart()
                flood.during(7)
                again = flood.during(6)
            finally:
                flood.stop()
    assert flood.wrong == []
    assert shared == pytest.approx(PER_S, rel=0.1)
    assert apart == pytest.approx(PER_S, rel=0.1)
    assert again == pytest.approx(PER_S, rel=0.1)
