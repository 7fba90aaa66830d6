"""The real process on a data directory that the version before migration 6 left: nothing is lost, nothing twice."""

import sys
import time
from pathlib import Path
from typing import Any

from tests.support.load import event
from tests.support.process import Parsec

EVENTS = 300
DUE = "2026-07-29 00:00:00"
# What that version did differently: its migrations, and inserts that take texts for dates.
EARLIER = """
import sys
from parsec.adapters.store import clickhouse, migrations
first = migrations.migrations()[:5]
clickhouse.migrations = lambda: first
clickhouse._SETTINGS = ", ".join(part for part in clickhouse._SETTINGS.split(", ") if "infer" not in part)
sys.argv = ["parsec", "serve"]
from parsec.cli import main
main()
"""


def batch(first: int, count: int) -> list[dict[str, Any]]:
    return [{**event(f"e-{n}", "acme"), "metadata": {"due": DUE, "n": n}} for n in range(first, first + count)]


def rewritten(parsec: Parsec) -> bool:
    check = parsec.get("/health")[1]["checks"].get("backfill", {"status": "healthy"})
    return bool(check["status"] == "healthy")


def test_an_upgrade_that_is_killed_again_and_again_keeps_every_event_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    settings = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "50"}
    with Parsec(data_dir, (sys.executable, "-c", EARLIER), **settings) as earlier:
        assert earlier.ingest(batch(0, EVENTS))[1]["accepted"] == EVENTS
        earlier.wait_processed()
        assert earlier.search("acme", q=f'metadata.due:"{DUE}"') == []
    sent = EVENTS
    with Parsec(data_dir, **settings) as parsec:
        for _ in range(2):
            assert parsec.ingest(batch(sent, 10))[1]["accepted"] == 10
            sent += 10
            parsec.kill()
            parsec.start()
        assert parsec.ingest(batch(0, 10))[1]["accepted"] == 10, "repeats"
        end = time.monotonic() + 60
        while not rewritten(parsec):
            assert time.monotonic() < end, parsec.logs()[-3000:]
            time.sleep(0.1)
        parsec.wait_processed()
        found = parsec.search("acme", q=f'metadata.due:"{DUE}"', limit=1000)
        assert sorted(each["id"] for each in found) == sorted(f"e-{n}" for n in range(sent))
        audit = parsec.get("/admin/audit")[1]
        assert (audit["difference"], audit["partitions"][0]["ledger"]["duplicate"]) == (0, 10)
        assert parsec.terminate() == 0
        # The definitions of before do not come back.
        parsec.start()
        assert parsec.get("/health")[1]["status"] == "healthy"
        assert len(parsec.search("acme", limit=1000)) == sent
        assert "restored from its backup" not in parsec.logs()
