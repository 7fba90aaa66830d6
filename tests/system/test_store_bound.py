"""PARSEC_STORE_MAX_BYTES on the real process: the oldest day goes, counted and logged, and nothing else changes."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from parsec.core.clock import SystemClock
from parsec.core.envelope import Envelope, encode_lines
from parsec.ports.broker import Group
from tests.support.events import envelope
from tests.support.load import event
from tests.support.logs import open_log
from tests.support.process import Parsec, eventually
from tests.system.test_audit import offline

MANY = 2000
NOTHING_GOES = 1 << 40


def day(ago: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=ago)


def backlog(data_dir: Path, *days_ago: int) -> None:
    """Events that were received on these days and wait in the log; their texts cannot be compressed."""
    log = open_log(data_dir, clock=SystemClock())
    random = Random(1)
    for ago in days_ago:
        at = f"{day(ago):%Y-%m-%dT%H:%M:%SZ}"

        def old(n: int, ago: int = ago, at: str = at) -> Envelope:
            return msgspec.structs.replace(
                envelope(n), id=f"old-{ago}-{n}", timestamp=at, received_at=at, message=random.randbytes(60).hex()
            )

        events = [old(n) for n in range(MANY)]
        log.publish([Group(events, encode_lines(events))])
    log.close()


def bounded(data_dir: Path, max_bytes: int) -> Parsec:
    return Parsec(
        data_dir, PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="100", PARSEC_STORE_MAX_BYTES=str(max_bytes)
    )


def send(parsec: Parsec, name: str, count: int) -> None:
    assert parsec.ingest([event(f"{name}-{n}", "acme") for n in range(count)])[1]["accepted"] == count
    parsec.wait_processed()


def found(parsec: Parsec) -> dict[str, int]:
    """How many events there are of each kind; each once."""
    ids = [each["id"] for each in parsec.search("acme")]
    assert len(ids) == len(set(ids))
    kinds = [name.rpartition("-")[0] for name in ids]
    return {kind: kinds.count(kind) for kind in kinds}


def when_dropped(parsec: Parsec, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    eventually(lambda: holds(parsec.stats()["store"]))
    store: dict[str, Any] = parsec.stats()["store"]
    return store


def sound(parsec: Parsec) -> dict[str, Any]:
    assert parsec.stats()["ledger"]["difference"] == 0
    status, recount = parsec.get("/admin/audit")
    assert (status, recount["difference"]) == (200, 0), recount
    return dict(recount)


def test_the_oldest_day_goes_and_nothing_else_changes(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    backlog(data_dir, 5, 3)
    with bounded(data_dir, NOTHING_GOES) as parsec:
        parsec.wait_processed()
        send(parsec, "first", 10)
        assert found(parsec) == {"old-5": MANY, "old-3": MANY, "first": 10}
        assert sound(parsec)["recounted"] == 2 * MANY + 10
        parsec.kill()
    with bounded(data_dir, NOTHING_GOES) as parsec:
        size = when_dropped(parsec, lambda store: store["bytes"] > 0)["bytes"]
        assert parsec.terminate() == 0
    with bounded(data_dir, size * 3 // 4) as parsec:
        store = when_dropped(parsec, lambda store: store["dropped_events"] > 0)
        assert (store["dropped_events"], store["dropped_dead_letters"]) == (MANY, 0)
        assert size // 3 < store["dropped_bytes"] < size * 2 // 3
        assert 0 < store["bytes"] <= store["max_bytes"] == size * 3 // 4
        assert f'parsec_store_dropped_events_total{{reason="max_bytes"}} {MANY}.0' in parsec.get("/metrics")[1].decode()
        (told,) = [line for line in parsec.logs().splitlines() if "oldest day was dropped" in line]
        line = json.loads(told)
        assert (line["level"], line["day"], line["events"]) == ("warning", f"{day(5):%Y-%m-%d}", MANY)
        assert line["bytes"] == store["dropped_bytes"]
        assert parsec.get("/health")[1]["status"] == "healthy"
        # What cannot be recounted any more is said to be so: both days stand in one stretch with what came next.
        assert sound(parsec)["not_recounted"] == 2 * MANY + 10
        parsec.wait_compared()
        status, answer = parsec.get(
            f"/query/events?tenant=acme&from={day(6):%Y-%m-%d}T00:00:00Z&to={day(4):%Y-%m-%d}T00:00:00Z"
        )
        assert (status, answer["events"], answer["cursor"], answer["missing"]) == (200, [], None, [])
        send(parsec, "second", 5)
        assert sound(parsec)["recounted"] == 5
        parsec.kill()
        parsec.start()
        send(parsec, "second", 7)  # five of them again
        assert found(parsec) == {"old-3": MANY, "first": 10, "second": 7}
        assert sound(parsec)["recounted"] == 12
        parsec.kill()
    code, recount, said = offline(data_dir)
    assert (code, recount["difference"], recount["recounted"]) == (0, 0, 12), said


def test_today_stays_and_health_says_what_to_do(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    backlog(data_dir, 2, 1)
    with bounded(data_dir, NOTHING_GOES) as parsec:
        parsec.wait_processed()
        send(parsec, "today", 10)
        parsec.kill()
    with bounded(data_dir, 1) as parsec:
        eventually(lambda: parsec.get("/health")[1]["status"] == "degraded")
        status, health = parsec.get("/health")
        assert (status, health["checks"]["store_bound"]["status"]) == (200, "degraded")
        assert "PARSEC_STORE_MAX_BYTES" in health["checks"]["store_bound"]["why"]
        assert "Raise PARSEC_STORE_MAX_BYTES" in parsec.logs()
        assert found(parsec) == {"today": 10}
        send(parsec, "more", 1)
        assert sound(parsec)["not_recounted"] == 2 * MANY + 10
        assert parsec.stats()["store"]["dropped_events"] == 2 * MANY
        assert parsec.terminate() == 0


def test_without_a_bound_nobody_looks(parsec: Parsec) -> None:
    send(parsec, "a", 3)
    assert set(parsec.stats()["store"].values()) == {0}
    assert "store_bound" not in parsec.get("/health")[1]["checks"]
