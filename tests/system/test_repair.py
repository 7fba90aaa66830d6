"""What the store lost while Parsec was stopped is stored again from the log, exactly once, beside new events."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.damage import flip_bit
from tests.support.load import TENANT, event
from tests.support.process import Parsec, eventually
from tests.support.sabotaged import under

SETTINGS = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "100"}
EVENTS = 1200


def send(parsec: Parsec, first: int, count: int) -> None:
    assert parsec.ingest([event(f"a-{n}") for n in range(first, first + count)])[1]["accepted"] == count


def stored_check(parsec: Parsec) -> Any:
    return parsec.get("/health")[1]["checks"]["stored_events"]


def wait_repaired(parsec: Parsec, within_s: float = 60.0) -> None:
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
        assert "The log no longer has them." in str(parsec.get(f"/query/events?tenant={TENANT}")[1]["missing"])
        assert f"parsec_store_missing_events {lost}.0" in parsec.get("/metrics")[1].decode()
        assert parsec.get("/readyz")[0] == 200


def lose_parts(data_dir: Path, table: str, keep: Callable[[str], bool] = lambda _: False) -> int:
    """Deletes the parts of a table of a stopped Parsec; how many."""
    directory = data_dir / "store" / "data" / "parsec" / table
    parts = [each for each in directory.iterdir() if each.name[-1].isdigit() and "_" in each.name]
    lost = [part for part in parts if not keep(part.name)]
    for part in lost:
        shutil.rmtree(part)
    return len(lost)


def dead(parsec: Parsec) -> int:
    return len(parsec.get(f"/deadletters?tenant={TENANT}&limit=1000")[1]["dead_letters"])


@pytest.mark.parametrize(
    "tables",
    [
        ("events", "dead_letters"),
        ("ledger_marks",),
        pytest.param(("events",), marks=pytest.mark.soak),
        pytest.param(("dead_letters",), marks=pytest.mark.soak),
        pytest.param(("events", "ledger_marks"), marks=pytest.mark.soak),
    ],
)
def test_a_table_that_is_gone_is_made_again(tmp_path: Path, tables: Sequence[str]) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, under("refusing"), **SETTINGS) as parsec:
        send(parsec, 0, 60)
        send(parsec, 20, 60)  # 40 of them again
        assert parsec.ingest([event(f"p-{n}", message=f"poison {n}") for n in range(7)])[1]["accepted"] == 7
        parsec.wait_processed()
        assert dead(parsec) == 7
        parsec.kill()
        assert all(lose_parts(data_dir, table) for table in tables)
        parsec.start()
        wait_repaired(parsec)
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(80)})
        assert dead(parsec) == 7
        parsec.kill()
        parsec.start()
        wait_repaired(parsec)
        assert "missing from the store" not in parsec.logs().rpartition("Starting.")[2]


def test_a_store_and_the_state_of_the_log_that_are_gone_are_made_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, **SETTINGS) as parsec:
        send(parsec, 0, 60)
        send(parsec, 20, 60)
        parsec.wait_processed()
        parsec.kill()
        shutil.rmtree(data_dir / "store")
        for file in data_dir.glob("state.db*"):
            file.unlink()
        parsec.start()
        parsec.wait_processed()  # a new ledger, from the log's first offset on
        wait_repaired(parsec)
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(80)})


@pytest.mark.timeout(300)
def test_kills_repeats_and_new_events_during_a_repair(tmp_path: Path) -> None:
    survives_kills(tmp_path / "data", EVENTS, kills=2)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_kills_during_a_long_repair(tmp_path: Path) -> None:
    survives_kills(tmp_path / "data", 60_000, kills=10)


def wait_begun(parsec: Parsec) -> None:
    end = time.monotonic() + 120
    while not parsec.get("/admin/repair")[1]["stored_again"]:
        assert time.monotonic() < end, parsec.logs()[-3000:]
        time.sleep(0.02)


def survives_kills(data_dir: Path, events: int, kills: int) -> None:
    """Chunks are small, so that a repair takes long enough; new events and repeats of old ones arrive all the time."""
    with Parsec(data_dir, under(REPAIR_OFFSETS=events // 24), **SETTINGS) as parsec:
        for first in range(0, events, 300):
            send(parsec, first, 300)
        send(parsec, 0, 100)
        parsec.wait_processed()
        parsec.kill()
        shutil.rmtree(data_dir / "store")
        for turn in range(kills):
            parsec.start()
            send(parsec, events + 10 * turn, 10)
            wait_begun(parsec)
            send(parsec, events // 2, 50)
            parsec.kill()
        parsec.start()
        send(parsec, events + 10 * kills, 10)
        parsec.wait_processed()
        wait_repaired(parsec)
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(events + 10 * (kills + 1))})


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


def test_a_damaged_part_is_stored_again_at_once_and_by_hand(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Parsec(data_dir, **SETTINGS) as parsec:
        send(parsec, 0, EVENTS)
        parsec.wait_processed()
        column = next((data_dir / "store" / "data" / "parsec" / "events").glob("2*/data.bin"))
        flip_bit(column, Random(1))
        code, said = repair("--url", f"http://127.0.0.1:{parsec.port}")
        assert (code, "1,200 events stored again" in said) == (0, True), said
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(EVENTS)})
        send(parsec, 0, 50)  # repeats of events that were lost for a moment
        parsec.wait_processed()
        wait_repaired(parsec)
        eventually(lambda: parsec.get("/health")[1]["status"] == "healthy")
        assert parsec.get(f"/query/events?tenant={TENANT}")[1]["missing"] == []
        assert found(parsec) == Counter({f"a-{n}": 1 for n in range(EVENTS)})
