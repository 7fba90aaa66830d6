"""P1 and P4 on a disk that fills: ingest says 503 before anything is lost, the processor drains, ingest resumes."""

import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.sabotaged import under
from tests.support.tmpfs import tmpfs

MIB = 1 << 20
DISK_BYTES = 128 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory; the directory of Parsec's log file stays outside of it."""
    with tmpfs(tmp_path / "disk", f"size={DISK_BYTES}") as mount:
        yield mount


def free_bytes(path: Path) -> int:
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes free, or as few as it can."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while (left := free_bytes(disk) - leave) > 0:
            try:
                file.write(bytes(min(left, MIB)))
            except OSError:
                break
    return filler


def until(what: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


class Insistent:
    """A client that sends the same request again until it is taken, as it is told to. Remembers every answer."""

    def __init__(self, parsec: Parsec, run: str, batch: int = 50) -> None:
        self._parsec = parsec
        self._run = run
        self._batch = batch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.acknowledged: set[str] = set()
        self.refusals: Counter[str] = Counter()
        self.wrong_answers: list[str] = []

    def start(self) -> "Insistent":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the client hangs"
        assert not self.wrong_answers, self.wrong_answers[:3]

    def wait_for_more(self, events: int) -> None:
        """Until so many more were acknowledged."""
        enough = len(self.acknowledged) + events
        until(f"{events} more events acknowledged", lambda: len(self.acknowledged) >= enough)

    def wait_for_refusal(self) -> None:
        before = self.refusals.total()
        until("a refusal", lambda: self.refusals.total() > before)

    def _send(self) -> None:
        n = 0
        while not self._stop.is_set():
            ids = [f"{self._run}-{n + k}" for k in range(self._batch)]
            try:
                taken = self._post(ids)
            except (OSError, http.client.HTTPException) as error:
                self.wrong_answers.append(repr(error))
                return
            if taken:
                self.acknowledged.update(ids)
                n += self._batch
            else:
                self._stop.wait(0.05)

    def _post(self, ids: list[str]) -> bool:
        events = [event(one, message="x" * 1000) for one in ids]
        status, headers, body = self._parsec.request("POST", "/ingest", json.dumps(events).encode())
        answer = json.loads(body)
        if status == 200 and answer["ack"] == "durable" and answer["accepted"] == len(ids):
            return True
        if status == 503 and headers.get("retry-after", "").isdigit() and answer["errors"][0]["retryable"]:
            self.refusals[answer["errors"][0]["message"]] += 1
        else:
            self.wrong_answers.append(f"{status} {headers} {body[:300]!r}")
        return False


def all_found_once(parsec: Parsec, client: Insistent) -> None:
    """What was acknowledged, and nothing else, is stored, each event once."""
    parsec.wait_processed()
    found = Counter(one["id"] for one in parsec.search(TENANT))
    assert found.keys() == client.acknowledged
    assert set(found.values()) == {1}
    ledger = parsec.stats()["ledger"]
    assert (ledger["lost"], ledger["dead"], ledger["difference"]) == (0, 0, 0)
    assert ledger["stored"] == len(found)


def log_files(data_dir: Path) -> int:
    return sum(path.stat().st_size for path in (data_dir / "segments").glob("*.log"))


def test_below_the_reserve_ingest_stops_the_processor_drains_and_both_go_on(small_disk: Path) -> None:
    reserve = 48 * MIB
    settings = {
        "PARSEC_DISK_RESERVE": str(reserve),
    }
    # The store wants as much free space as a block has bytes.
    parsec = Parsec(small_disk / "data", under(SEGMENT_BYTES=MIB, INSERT_BYTES=4 * MIB), **settings)
    parsec.log_path = small_disk.with_suffix(".log")
    with parsec:
        client = Insistent(parsec, "reserve").start()
        client.wait_for_more(3000)
        # So little that what the processor gives back of the log does not lift it above the reserve.
        filler = fill(small_disk, reserve // 3)
        client.wait_for_refusal()
        refused_at = len(client.acknowledged)
        assert parsec.get("/readyz")[0] == 503
        parsec.wait_processed()
        until("the log is trimmed", lambda: log_files(parsec.data_dir) <= 2 * MIB)
        client.wait_for_refusal()
        assert len(client.acknowledged) == refused_at
        filler.unlink()
        client.wait_for_more(1000)
        client.stop()
        assert all("PARSEC_DISK_RESERVE" in message for message in client.refusals)
        until("ready again", lambda: parsec.get("/readyz")[0] == 200)
        all_found_once(parsec, client)
        assert parsec.terminate() == 0


def test_a_disk_filled_by_the_log_itself_is_made_free_by_the_processor_alone(small_disk: Path) -> None:
    """All of the log is one growing segment, and nobody else makes room."""
    reserve, log_share = 48 * MIB, 10 * MIB
    settings = {
        "PARSEC_DISK_RESERVE": str(reserve),
    }
    parsec = Parsec(small_disk / "data", under(SEGMENT_BYTES=1 << 30, INSERT_BYTES=4 * MIB), **settings)
    parsec.log_path = small_disk.with_suffix(".log")
    with parsec:
        fill(small_disk, reserve + log_share)
        client = Insistent(parsec, "growing", batch=500).start()
        for _ in range(3):
            client.wait_for_refusal()
            client.wait_for_more(1000)
        client.stop()
        assert all("PARSEC_DISK_RESERVE" in message for message in client.refusals)
        assert len(client.acknowledged) > 2 * log_share // 1200, "the log was never emptied"
        all_found_once(parsec, client)
        assert parsec.terminate() == 0


def test_a_disk_full_to_its_last_byte_loses_nothing(small_disk: Path) -> None:
    """Without a reserve writes fail in the middle: segments, state and store must all take it."""
    settings = {
        "PARSEC_DISK_RESERVE": "0",
        "PARSEC_PROCESS_LINGER_MS": "200",
        "KAFKA_MAX_RETRIES": "1",
    }
    parsec = Parsec(small_disk / "data", under(SEGMENT_BYTES=MIB // 4), **settings)
    parsec.log_path = small_disk.with_suffix(".log")
    with parsec:
        client = Insistent(parsec, "full").start()
        client.wait_for_more(1000)
        filler = fill(small_disk, 0)
        client.wait_for_refusal()
        fill(small_disk, 0)
        client.wait_for_refusal()
        until("not ready", lambda: parsec.get("/readyz")[0] == 503)
        assert parsec.get("/livez")[0] == 200
        filler.unlink()
        until("ready again", lambda: parsec.get("/readyz")[0] == 200)
        client.wait_for_more(1000)
        client.stop()
        all_found_once(parsec, client)
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()


@pytest.mark.parametrize("used", [False, True], ids=["new directory", "with events"])
def test_a_start_on_a_full_disk_says_so_and_the_next_one_has_everything(small_disk: Path, *, used: bool) -> None:
    before = [f"before-{n}" for n in range(20)] if used else []
    parsec = Parsec(small_disk / "data", PARSEC_DISK_RESERVE="0")
    parsec.log_path = small_disk.with_suffix(".log")
    if used:
        with parsec:
            assert parsec.ingest([event(one) for one in before])[0] == 200
            assert parsec.terminate() == 0
    filler = fill(small_disk, 0)
    assert parsec.start(wait=False).process.wait(30) == 3
    (told,) = [line for line in parsec.logs().splitlines() if "could not start" in line]
    assert f"the disk of {parsec.data_dir} is full (0 KiB free): make room and start again" in json.loads(told)["why"]
    assert "Traceback" not in parsec.logs()
    filler.unlink()
    with parsec:
        assert parsec.ingest([event("after")])[0] == 200
        parsec.wait_processed()
        assert sorted(one["id"] for one in parsec.search(TENANT)) == sorted(["after", *before])
        assert parsec.terminate() == 0


def test_a_log_full_of_unread_events_refuses_until_they_are_stored(tmp_path: Path) -> None:
    bound = 1 * MIB
    settings = {
        "PARSEC_LOG_MAX_BYTES": str(bound),
        "PARSEC_DISK_RESERVE": "0",
        "PARSEC_PROCESS_LINGER_MS": "2500",
    }
    with Parsec(tmp_path / "data", under(SEGMENT_BYTES=MIB // 16), **settings) as parsec:
        client = Insistent(parsec, "bound").start()
        client.wait_for_refusal()
        ledger = parsec.stats()["ledger"]
        assert ledger["end"] > ledger["committed"], "only unread events may stop ingest"
        assert log_files(parsec.data_dir) <= bound + MIB // 4
        client.wait_for_more(1000)
        client.wait_for_refusal()
        client.wait_for_more(100)
        client.stop()
        assert all("PARSEC_LOG_MAX_BYTES" in message for message in client.refusals)
        all_found_once(parsec, client)
        assert parsec.terminate() == 0
