"""Claims in a real Redis that is killed and comes back: processing goes on, and every event is stored once."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
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
