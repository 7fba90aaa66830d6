"""An honest client beside hundreds of slow connections and tens of bombs: it is served, and memory stays."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.attackers import attackers, bombs_of_each_kind
from tests.support.load import Load, event
from tests.support.process import Parsec

SECONDS = 20.0
MOST_MORE_BYTES = 100_000_000


@pytest.mark.integration
def test_an_honest_client_is_served_beside_slow_connections_and_bombs(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:
        for n in range(200):
            assert parsec.ingest([event(f"warm-{n}-{m}") for m in range(20)])[0] == 200
        parsec.wait_processed()
        assert len(parsec.search("load")) == 4000
        before, most = parsec.resident_bytes(), 0
        with attackers(parsec.port, slow_heads=500, slow_bodies=500, bombs=10) as answers:
            honest = Load(parsec.port, "honest", clients=2, batch=10, pause_s=0.05).start()
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                assert parsec.get("/readyz")[0] == 200
                most = max(most, parsec.resident_bytes())
                time.sleep(0.1)
            honest.stop()
        print(json.dumps(answers, indent=1), f"slowest {honest.slowest_s:.3f} s, {(most - before) >> 20} MiB more")
        assert not honest.unanswered
        assert not honest.wrong_answers
        assert len(honest.acknowledged) > 100
        assert most - before < MOST_MORE_BYTES
        assert_refused(answers)
        for kind, (encoding, body) in bombs_of_each_kind().items():
            assert str(parsec.request("POST", "/ingest", body, {"Content-Encoding": encoding})[0]) in KINDS[kind], kind
        parsec.wait_processed()
        assert {e["id"] for e in parsec.search("load")} >= honest.acknowledged
        assert "Traceback" not in parsec.logs()


def assert_refused(answers: Counter[str]) -> None:
    """Whatever was answered is what such a client should hear, or that there is no room for so much at once."""
    told = {tuple(key.rpartition(" ")[::2]) for key in answers}
    assert {kind for kind, _ in told} & {"gzip", "zstd", "deflate"}
    assert not {(kind, status) for kind, status in told if status not in KINDS[kind] | {"429"}}


KINDS = {
    "slow head": {"408"},
    "slow body": {"408", "405"},
    "gzip": {"413"},
    "zstd": {"413"},
    "deflate": {"413"},
    "nested": {"400"},
    "nested twice named": {"415"},
    "many members": {"413"},
    "many frames": {"413"},
    "just below the limit": {"400"},
}
