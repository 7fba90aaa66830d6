"""While no event can be made durable `/readyz` says so with the reason, also without traffic, and soon not any more."""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.sabotaged import under
from tests.support.tmpfs import tmpfs

NOT_READY_S, READY_S = 10.0, 2.0
SLOW_MACHINE_S = 1.0
"""For the requests that find out."""


def wait_for(parsec: Parsec, status: int, within_s: float) -> str:
    """Until `/readyz` answers this; the reason that the log gives then."""
    end = time.monotonic() + within_s + SLOW_MACHINE_S
    while True:
        found, answer = parsec.get("/readyz")
        if found == status:
            why: str = answer["why"].get("log", "")
            return why
        assert time.monotonic() < end, f"{answer} after {within_s} s"
        time.sleep(0.05)


def is_refused(parsec: Parsec, words: str) -> None:
    """`/readyz`, `/health` and `POST /ingest` agree, and the process lives."""
    assert words in wait_for(parsec, 503, NOT_READY_S)
    health = parsec.get("/health")
    assert (health[0], health[1]["checks"]["log"]["status"]) == (503, "unhealthy")
    assert words in health[1]["checks"]["log"]["why"]
    status, answer = parsec.ingest([event("refused")])
    assert (status, answer["accepted"]) == (503, 0)
    assert words in answer["errors"][0]["message"]
    assert parsec.get("/livez")[0] == 200


def is_mended(parsec: Parsec, sent: int) -> None:
    wait_for(parsec, 200, READY_S)
    assert parsec.ingest([event(f"e-{sent}")])[1]["ack"] == "durable"
    parsec.wait_processed()
    assert sorted(each["id"] for each in parsec.search(TENANT)) == sorted(f"e-{n}" for n in range(sent + 1))


def test_a_disk_that_refuses_makes_it_not_ready_until_it_is_mended(tmp_path: Path) -> None:
    fault = tmp_path / "data.fault"
    with Parsec(tmp_path / "data", under("ailing"), PARSEC_DISK_RESERVE="0") as parsec:
        assert parsec.ingest([event("e-0")])[0] == 200
        parsec.wait_processed()
        for sent, code in enumerate((errno.EIO, errno.EROFS), 1):
            fault.write_text(str(code))
            if code == errno.EROFS:  # the first of them without traffic, this one with it
                assert parsec.ingest([event("refused")])[0] == 503
            is_refused(parsec, os.strerror(code))
            fault.unlink()
            is_mended(parsec, sent)
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()


@pytest.mark.integration
def test_a_directory_of_segments_that_is_replaced_or_deleted(tmp_path: Path) -> None:
    segments = tmp_path / "data" / "segments"
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:
        assert parsec.ingest([event("e-0")])[0] == 200
        parsec.wait_processed()
        shutil.rmtree(segments)
        segments.write_text("in the way")
        is_refused(parsec, str(segments))
        segments.unlink()
        is_mended(parsec, 1)
        shutil.rmtree(segments)  # it is made anew without a person
        with suppress(AssertionError):
            wait_for(parsec, 503, 0.5)
        end = time.monotonic() + NOT_READY_S
        while parsec.ingest([event("e-2")])[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        parsec.wait_processed()
        ledger = parsec.stats()["ledger"]
        assert (ledger["stored"], ledger["lost"], ledger["difference"]) == (3, 0, 0)
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with few inodes."""
    with tmpfs(tmp_path / "disk", "size=64m,nr_inodes=2000") as mount:
        yield mount


@pytest.mark.integration
def test_a_file_system_without_inodes_or_read_only(mounted: Path) -> None:
    parsec = Parsec(mounted / "data", PARSEC_DISK_RESERVE="0")
    parsec.log_path = mounted.with_suffix(".log")
    with parsec:
        assert parsec.ingest([event("e-0")])[0] == 200
        parsec.wait_processed()
        fillers = mounted / "fillers"
        fillers.mkdir()
        with suppress(OSError):
            for n in range(3000):
                (fillers / str(n)).touch()
        is_refused(parsec, "No space left on device")
        shutil.rmtree(fillers)
        is_mended(parsec, 1)
        segments = str(mounted / "data" / "segments")
        subprocess.run(["mount", "--bind", segments, segments], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", segments], check=True)
            is_refused(parsec, "Read-only file system")
        finally:
            subprocess.run(["umount", "--lazy", segments], check=True)
        is_mended(parsec, 2)
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()
