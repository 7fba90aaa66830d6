"""Claims in a real Redis that is killed and comes back: processing goes on, and every event is stored once."""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.clickhouse_front import clickhouse_front
from tests.support.load import TENANT, Load, event
from tests.support.process import Parsec
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.integration


def test_redis_killed_and_back_costs_a_check_and_no_event(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", "--appendonly", "no") as server:
        address = f"127.0.0.1:{server.port}"
        with Parsec(tmp_path / "data", REDIS_ADDR=address) as parsec:
            sent = 0
            for away in (False, True) * 5:
                if away:
                    server.kill9()
                for _ in range(10):
                    batch = [event(f"evt-{sent + n}") for n in range(20)]
                    sent += 20
                    assert parsec.ingest(batch)[0] == 200
                    if not away:
                        assert parsec.ingest(batch)[0] == 200
                parsec.wait_processed()
                if away:
                    server.restart()
            copies = Counter(str(one["id"]) for one in parsec.search(TENANT))
            unchecked = parsec.get("/metrics")[1].decode()
    assert len(copies) == sent
    assert set(copies.values()) == {1}
    assert "parsec_dedup_unavailable_events_total 0.0" not in unchecked


@pytest.mark.timeout(300)
def test_ten_kills_of_redis_under_load(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "redis", "--appendonly", "no") as server,
        Parsec(tmp_path / "data", REDIS_ADDR=f"127.0.0.1:{server.port}") as parsec,
    ):
        load = Load(parsec.port, "redis", pause_s=0.01).start()
        for n in range(1, 11):
            load.wait_for(n * 500, lambda: parsec.process.poll() is None)
            server.kill9()
            load.wait_for(n * 500 + 250, lambda: parsec.process.poll() is None)
            server.restart()
        each_is_stored_once(parsec, load)


@pytest.mark.timeout(300)
def test_redis_and_the_store_flap_for_a_minute(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (
        clickhouse_front(tmp_path / "store") as store,
        redis_server(tmp_path / "redis", "--appendonly", "no") as server,
        Parsec(
            tmp_path / "data",
            REDIS_ADDR=f"127.0.0.1:{server.port}",
            STORAGE_BACKEND="clickhouse",
            CLICKHOUSE_URL=store.url,
        ) as parsec,
    ):
        load = Load(parsec.port, "flap", clients=2, pause_s=0.05).start()
        nap, chance, end = threading.Event(), random.Random(1), time.monotonic() + 60
        while time.monotonic() < end:
            for away, back in ((server.pause, server.resume), (store.pause, store.resume)):
                away()
                nap.wait(chance.uniform(0.2, 4))
                back()
                nap.wait(chance.uniform(0.2, 2))
        each_is_stored_once(parsec, load)


def each_is_stored_once(parsec: Parsec, load: Load) -> None:
    """Ends the load, and compares what was acknowledged with what is found."""
    load.stop()
    parsec.wait_processed()
    copies = Counter(str(one["id"]) for one in parsec.search(TENANT))
    ledger = parsec.stats()["ledger"]
    assert (load.wrong_answers, load.unanswered) == ([], [])
    assert set(copies) == load.acknowledged
    assert set(copies.values()) == {1}
    assert (ledger["stored"], ledger["lost"], ledger["difference"]) == (len(copies), 0, 0)
