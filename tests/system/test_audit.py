"""The recount on the real process: true under load and after kills, and not to be fooled by a store tampered with."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import Load, event
from tests.support.process import Parsec, eventually
from tests.support.sabotaged import under
from tests.support.tampering import ROW_DOUBLED, ROW_GONE, tamper

DIFFERENCE = 4


def offline(data_dir: Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, what was printed, what was said."""
    command = [sys.executable, "-m", "parsec", "audit", "--offline", "--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def send(parsec: Parsec, first: int, count: int, tenant: str = "acme") -> None:
    assert parsec.ingest([event(f"a-{n}", tenant) for n in range(first, first + count)])[1]["accepted"] == count


def test_rows_gone_and_doubled_are_found_running_and_stopped(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="100") as parsec:
        send(parsec, 0, 50)
        send(parsec, 40, 20)
        parsec.wait_processed()
        status, found = parsec.get("/admin/audit")
        assert (status, found["difference"], found["not_recounted"], found["recounted"]) == (200, 0, 0, 70)
        assert found["partitions"][0]["found"] == {"stored": 60, "duplicate": 10, "dead": 0, "lost": 0}
        parsec.kill()
    assert offline(data_dir)[0] == 0
    tamper(data_dir, ROW_GONE.format(offset=7), ROW_DOUBLED.format(offset=9))
    code, told, said = offline(data_dir)
    assert (code, told["difference"]) == (DIFFERENCE, 2), said
    (stretch,) = told["partitions"][0]["where"]
    assert (stretch["stored"], stretch["doubled"], stretch["doubled_at"]) == (-1, 1, [9])
    assert told["partitions"][0]["missing"] == [{"offset": 7, "tenant_id": "acme", "id": "a-7"}]
    with parsec:
        eventually(lambda: parsec.get("/admin/audit")[1]["difference"] == 1)  # the missing row is stored again
        assert 'parsec_audit_difference_events{partition="0"} 1.0' in parsec.get("/metrics")[1].decode()
        assert 'parsec_ledger_difference_events{partition="0"} 0.0' in parsec.get("/metrics")[1].decode()


def test_rows_that_left_by_age_are_not_taken_for_lost(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_RETENTION="1d") as parsec:
        send(parsec, 0, 10)
        parsec.wait_processed()
        found = parsec.get("/admin/audit")[1]
        assert (found["difference"], found["recounted"], found["not_recounted"]) == (0, 0, 10)
        assert parsec.terminate() == 0
    code, told, said = offline(data_dir)
    assert (code, told["not_recounted"]) == (1, 10)
    assert "not recounted" in said


def test_a_running_parsec_is_not_recounted_offline(parsec: Parsec) -> None:
    code, told, said = offline(parsec.data_dir)
    assert (code, told) == (3, {})
    assert "in use" in said


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_it_agrees_under_load_with_the_log_trimmed_and_after_kills(tmp_path: Path) -> None:
    settings = {"PARSEC_LOG_RETENTION": "0s", "PARSEC_PROCESS_LINGER_MS": "100", "PARSEC_DISK_RESERVE": "0"}
    parsec = Parsec(tmp_path / "data", under(SEGMENT_BYTES=1 << 20), **settings)
    with parsec:
        for turn in range(3):
            if turn:
                parsec.start()
            load = Load(parsec.port, f"r{turn}").start()
            end = time.monotonic() + 5
            recounts = []
            while time.monotonic() < end:
                status, found = parsec.get("/admin/audit")
                assert (status, found["difference"], found["not_recounted"]) == (200, 0, 0), found
                recounts.append(found["recounted"])
            assert recounts[-1] > recounts[0], "nothing came in meanwhile"
            parsec.kill()
            load.stop()
        segments = sorted((tmp_path / "data" / "segments").glob("*.log"))
        assert int(segments[0].stem, 10 if segments[0].stem.isdigit() else 16) > 0, "the log was not trimmed"
    code, told, said = offline(tmp_path / "data")
    assert (code, told["difference"]) == (0, 0), said
