"""A start on a backlog: events are taken in at once, memory stays flat while it is worked off, each is there once."""

import json
import time
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.results import keep
from tests.support.sabotaged import under

PER_REQUEST = 10_000
GROWTH_BYTES = 300 << 20
"""Two batches of rows in the making, and the engine's caches: far less than the backlog's rows would take."""


def start_on_a_backlog(data_dir: Path, events: int) -> dict[str, float]:
    """What it found: seconds to the first accepted event and until all is stored, memory at the start and at most."""
    with Parsec(data_dir, under("idle")) as parsec:
        for first in range(0, events, PER_REQUEST):
            body = json.dumps([event(f"b-{first + n}") for n in range(PER_REQUEST)]).encode()
            assert parsec.ingest(body)[1]["accepted"] == PER_REQUEST
        assert parsec.terminate() == 0
    started = time.monotonic()
    with Parsec(data_dir) as parsec:
        assert parsec.ingest([event("while-behind")])[0] == 200
        first_accepted_s = time.monotonic() - started
        assert parsec.stats()["ledger"]["in_flight"] > 0, "the backlog was gone before the first event came"
        peaks, behind = [parsec.resident_bytes()], True
        while behind:
            time.sleep(0.2)
            peaks.append(parsec.resident_bytes())
            behind = parsec.stats()["ledger"]["in_flight"] > 0
        drained_s = time.monotonic() - started
        # What a first batch takes is there to stay; a backlog in memory would go on growing.
        settled = peaks[len(peaks) // 4]
        assert max(peaks) < settled + GROWTH_BYTES, peaks
        _, answer = parsec.get(f"/query/aggregate?tenant={TENANT}&from=-1d&metric=count")
        ledger = parsec.stats()["ledger"]
    assert answer["groups"][0]["values"]["count"] == events + 1
    assert (ledger["stored"], ledger["lost"], ledger["dead"], ledger["difference"]) == (events + 1, 0, 0, 0)
    return {
        "events": events,
        "first_accepted_s": round(first_accepted_s, 2),
        "drained_s": round(drained_s, 1),
        "settled_mib": settled >> 20,
        "most_mib": max(peaks) >> 20,
        "last_mib": peaks[-1] >> 20,
        **{name: ledger[name] for name in ("stored", "duplicate", "dead", "lost", "difference")},
    }


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_start_on_half_a_million_events(tmp_path: Path) -> None:
    start_on_a_backlog(tmp_path / "data", 500_000)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_start_on_ten_million_events(tmp_path: Path) -> None:
    keep("backlog", "tests/system/test_backlog.py", start_on_a_backlog(tmp_path / "data", 10_000_000))
