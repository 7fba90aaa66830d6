"""Small requests are answered beside large ones and beside a backlog. How fast, bench/stalls.py says."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Raw

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.core.clock import SystemClock
from parsec.core.envelope import Envelope, encode_lines
from parsec.ports.broker import Group
from parsec.telemetry import Telemetry
from tests.support.load import event
from tests.support.process import Parsec

PATIENCE_S = 20.0
"""Generous: nobody who waits this long was merely slow."""
LARGE_BYTES = 10 << 20


def large_body(join: bytes, around: tuple[bytes, bytes]) -> tuple[bytes, int]:
    """About 10 MiB of events and their number."""
    one = json.dumps(event("", "large", "x" * 1000) | {"id": None}).encode()
    count = LARGE_BYTES // (len(one) + len(join))
    return around[0] + join.join([one] * count) + around[1], count


def ask_until(done: threading.Event, parsec: Parsec) -> int:
    """Single events, one after the other; how many were answered before `done`."""
    answered = 0
    while not done.is_set():
        body = json.dumps(event(f"small-{answered}", "small")).encode()
        status, _, answer = parsec.request("POST", "/ingest", body, timeout_s=PATIENCE_S)
        assert status == 200, answer
        answered += 1
    return answered


def while_running(parsec: Parsec, work: Callable[[], None]) -> int:
    """How many single events were answered while `work` ran in a thread of its own; raises what it raises."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        working.add_done_callback(lambda _: done.set())
        answered = ask_until(done, parsec)
        working.result()
    return answered


def write_backlog(data_dir: Path, events: int) -> None:
    """Events in the log that no processor has seen."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    log = EmbeddedLog.open(data_dir, LogOptions(disk_reserve=0), SystemClock(), Telemetry())
    for first in range(0, events, 1000):
        group = [
            Envelope(1, "backlog", f"evt-{n}", now, "info", "api", "hello", Raw(b"{}"), now, "local", "node-1")
            for n in range(first, first + 1000)
        ]
        log.publish([Group(group, encode_lines(group))])
    log.close()


def test_small_requests_are_answered_while_large_ones_are_decoded(tmp_path: Path) -> None:
    bodies = [large_body(b",", (b"[", b"]")), large_body(b"\n", (b"", b"\n"))]

    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:

        def post_large() -> None:
            for body, count in bodies * 2:
                status, _, answer = parsec.request("POST", "/ingest", body, timeout_s=PATIENCE_S)
                assert (status, json.loads(answer)["accepted"]) == (200, count)

        answered = while_running(parsec, post_large)
        assert answered > len(bodies) * 2, "large requests were answered before small ones"
        parsec.wait_processed()
        assert len(parsec.search("small")) == answered


def test_small_requests_are_answered_while_a_backlog_is_processed(tmp_path: Path) -> None:
    waiting = 60_000
    write_backlog(tmp_path / "data", waiting)
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:

        def wait_for_backlog() -> None:
            end = time.monotonic() + 3 * PATIENCE_S
            while parsec.stats()["ledger"]["committed"] < waiting:
                assert time.monotonic() < end, "the backlog is not processed"
                time.sleep(0.02)

        answered = while_running(parsec, wait_for_backlog)
        assert answered > 0
        parsec.wait_processed()
        ledger = parsec.stats()["ledger"]
        assert ledger["stored"] == ledger["end"] == waiting + answered
        assert len(parsec.search("small")) == answered
