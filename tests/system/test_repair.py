"""What the store lost while Parsec was stopped is stored again from the log, exactly once, beside new events."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.load import TENANT, event
from tests.support.process import Parsec, eventually
from tests.support.sabotaged import under

SETTINGS = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "100"}
EVENTS = 1200


def send(parsec: Parsec, first: int, count: int) -> None:
    assert parsec.ingest([event(f"a-{n}") for n in range(first, first + count)])[1]["accepted"] == count


def stored_check(parsec: Parsec) -> Any:
    return parsec.get("/health")[1]["checks"]["stored_events"]


def wait_repaired(parsec: Parsec, within_s: float = 30.0) -> None:
    """Until the store was compared with the ledger and nothing is missing."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        audit = parsec.get("/admin/audit")[1]
        if audit["difference"] == 0 and stored_check(parsec)["status"] == "healthy":
            return
        time.sleep(0.1)
    raise AssertionError(f"not repaired: {audit} {stored_check(parsec)}\n{parsec.logs()[-3000:]}")


def found(parsec: Parsec) -> Counter[str]:
    return Counter(each["id"] for each in parsec.search(TENANT))


def test_a_store_that_is_gone_is_stored_again_from_the_log(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, **SETTINGS) as parsec:
        send(parsec, 0, EVENTS)
        send(parsec, 100, 50)
        parsec.wait_processed()
        parsec.kill()
        shutil.rmtree(data_dir / "store")
        parsec.start()
        send(parsec, EVENTS, 30)
        wait_repaired(parsec)
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(EVENTS + 30)})
        parsec.kill()
        parsec.start()
        wait_repaired(parsec)
    assert parsec.logs().count("Events that were stored are missing from the store.") == 1
    assert parsec.logs().count("All that was missing from the store was stored again from the log.") == 1


def test_what_the_log_has_no_more_is_reported_as_lost(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, under(SEGMENT_BYTES=1 << 16), **SETTINGS, PARSEC_LOG_RETENTION="0s") as parsec:
        for first in range(0, EVENTS, 300):
            send(parsec, first, 300)
            parsec.wait_processed()
        parsec.kill()
        shutil.rmtree(data_dir / "store")
        parsec.start()
        eventually(lambda: "lost from the store" in stored_check(parsec).get("why", ""))
        lost = parsec.get("/admin/audit")[1]["difference"]
        assert 0 < lost == EVENTS - len(found(parsec)) < EVENTS
        assert f"{lost} events are lost" in stored_check(parsec)["why"]
        assert "The log has them no more." in str(parsec.get(f"/query/events?tenant={TENANT}")[1]["missing"])
        assert f"parsec_store_missing_events {lost}.0" in parsec.get("/metrics")[1].decode()
        assert parsec.get("/readyz")[0] == 200


def test_by_hand_offline_and_then_by_a_running_parsec(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, **SETTINGS) as parsec:
        send(parsec, 0, EVENTS)
        parsec.wait_processed()
        parsec.kill()
        shutil.rmtree(data_dir / "store")
        code, said = repair("--offline", "--data-dir", str(data_dir))
        assert (code, "1,200 events stored again" in said) == (0, True), said
        parsec.start()
        wait_repaired(parsec)
        assert "missing from the store" not in parsec.logs()
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(EVENTS)})
        assert repair("--offline", "--data-dir", str(data_dir))[0] == 3
        code, said = repair("--url", f"http://127.0.0.1:{parsec.port}")
        assert (code, said) == (0, "parsec: nothing is missing from the store\n")


def repair(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "parsec", "repair", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr
