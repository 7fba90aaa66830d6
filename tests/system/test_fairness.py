"""A tenant that sends without end costs the others nothing: with limits, and by what each may hold without them."""

import json
import select
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.flood import Flood
from tests.support.load import event
from tests.support.process import Parsec


class Calm:
    """A tenant that keeps to its share: what it was answered, and what it sent."""

    def __init__(self, parsec: Parsec, tenant: str, requests: int, batch: int, pause_s: float) -> None:
        self.tenant = tenant
        self.statuses: list[int] = []
        self.sent = requests * batch
        self._thread = threading.Thread(target=self._run, args=(parsec, requests, batch, pause_s), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self, parsec: Parsec, requests: int, batch: int, pause_s: float) -> None:
        pause = threading.Event()
        for n in range(requests):
            events = [event(f"{self.tenant}-{n}-{k}", self.tenant) for k in range(batch)]
            self.statuses.append(parsec.ingest(events)[0])
            pause.wait(pause_s)


def each_is_stored_once(parsec: Parsec, calm: list[Calm]) -> None:
    parsec.wait_processed()
    for one in calm:
        assert set(one.statuses) == {200}
        ids = [found["id"] for found in parsec.search(one.tenant)]
        assert len(ids) == len(set(ids)) == one.sent


@pytest.mark.integration
@pytest.mark.parametrize("named", [True, False], ids=["named by a header", "named in events"])
def test_fifty_times_its_share_is_taken_as_its_share(tmp_path: Path, named: bool) -> None:
    limits = {"PARSEC_LIMIT_EVENTS_PER_S": "200", "PARSEC_DISK_RESERVE": "0"}
    with (
        Parsec(tmp_path / "data", **limits) as parsec,
        Flood(parsec.port, "flood", 100, per_s=100, named=named) as flood,
    ):
        calm = [Calm(parsec, f"calm-{n}", 60, 10, 0.1) for n in range(4)]
        for one in calm:
            one.join()
        flood.__exit__()
        each_is_stored_once(parsec, calm)
        assert len(parsec.search("flood")) == flood.accepted
    assert flood.statuses.keys() == {200, 429}
    assert flood.codes.keys() == {"rate_limited"}
    assert 200 * flood.seconds * 0.7 <= flood.accepted <= 400 + 200 * flood.seconds + 100


def test_without_limits_a_flood_fills_the_queue_for_itself_only(tmp_path: Path) -> None:
    with (
        Parsec(tmp_path / "data", PARSEC_CHANNEL_EVENTS="200", PARSEC_DISK_RESERVE="0") as parsec,
        Flood(parsec.port, "flood", 1000, connections=6, per_s=300) as flood,
    ):
        calm = [Calm(parsec, f"calm-{n}", 40, 5, 0.01) for n in range(3)]
        for one in calm:
            one.join()
        flood.__exit__()
        each_is_stored_once(parsec, calm)
    assert flood.statuses.keys() == {200, 429}
    assert flood.codes.keys() == {"queue_full"}


def test_without_limits_bodies_that_are_on_their_way_keep_no_small_ones_out(tmp_path: Path) -> None:
    memory = {"PARSEC_INGEST_MEMORY": "1MiB", "PARSEC_MAX_BODY_BYTES": "1MiB", "PARSEC_DISK_RESERVE": "0"}
    body = json.dumps([event(str(n), "slow") for n in range(240)]).encode()
    assert 64 << 10 < len(body) < 80 << 10
    head = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Parsec(tmp_path / "data", **memory) as parsec, ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", parsec.port), 10)) for _ in range(20)]
        for connection in slow:
            connection.sendall(head + body[:-1])
        assert select.select(slow, [], [], 10)[0]  # the memory is full: somebody is refused
        time.sleep(0.5)
        calm = [Calm(parsec, f"calm-{n}", 10, 190, 0.02) for n in range(3)]
        for one in calm:
            one.join()
        refused = select.select(slow, [], [], 0)[0]
        for connection in slow:
            if connection not in refused:
                connection.sendall(body[-1:])
            assert connection.recv(65536)[:12] == (b"HTTP/1.1 429" if connection in refused else b"HTTP/1.1 200")
        each_is_stored_once(parsec, calm)
