"""What the machine allows: too little is said at the start; clients never get the files of log and store."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
from tests.support.process import Parsec

FEW_IDLE, MANY_IDLE = 100, 1200


def limited(data_dir: Path, *limits: str) -> Parsec:
    return Parsec(data_dir, under=("prlimit", *limits), PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="10")


def refused(data_dir: Path, *limits: str) -> str:
    """Why the start failed, as the log says it."""
    parsec = limited(data_dir, *limits)
    assert parsec.start(wait=False).process.wait(30) == 3, parsec.logs()[-2000:]
    (line,) = [each for each in parsec.logs().splitlines() if "could not start" in each]
    assert not data_dir.exists(), "a start that is refused leaves nothing behind"
    why: str = json.loads(line)["why"]
    return why


def works_beside_idle_clients(data_dir: Path, files: int, idle: int) -> None:
    """A store of several parts takes events and answers while more clients are connected than fit."""
    with limited(data_dir, f"--nofile={files}:{files}") as parsec, ExitStack() as stack:
        assert '"reserved":' in parsec.logs()
        sent = 0
        for round_ in range(2):
            for _ in range(idle // 2):
                connection = parsec.connection()
                stack.callback(connection.close)
                with suppress(OSError):
                    connection.connect()
            time.sleep(1.1)  # until they count as idle, and may be evicted
            for n in range(10):
                batch = [event(f"{round_}-{n}-{k}") | {"metadata": {f"k{k}": {"n": n}}} for k in range(50)]
                assert parsec.ingest(batch)[1]["accepted"] == len(batch)
                sent += len(batch)
                assert parsec.get(f"/query/histogram?tenant={TENANT}&from=0&q=get")[0] == 200
        parsec.wait_processed()
        found = Counter(each["id"] for each in parsec.search(TENANT))
        assert (len(found), set(found.values())) == (sent, {1})
        assert parsec.get("/readyz")[0] == 200
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()


@pytest.mark.parametrize("files", [64, 384])
def test_too_few_open_files_are_said_at_the_start(tmp_path: Path, files: int) -> None:
    why = refused(tmp_path / "data", f"--nofile={files}:{files}")
    assert why.startswith(
        f"the limit on open files is {files}, and Parsec needs at least 512: raise it with `ulimit -n"
    )


def test_a_command_that_opens_the_store_says_it_too(tmp_path: Path) -> None:
    command = ("prlimit", "--nofile=100:100", sys.executable, "-m", "parsec", "audit", "--offline")
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "the limit on open files is 100, and Parsec needs at least 512" in done.stderr


def test_too_little_address_space_is_said_at_the_start(tmp_path: Path) -> None:
    why = refused(tmp_path / "data", f"--as={1 << 30}:{1 << 30}")
    assert why.startswith(
        "the limit on address space in bytes is 1,073,741,824, and Parsec needs at least 3,221,225,472"
    )


def test_a_soft_limit_is_raised(tmp_path: Path) -> None:
    with limited(tmp_path / "data", "--nofile=64:8192") as parsec:
        assert "The limit on open files" not in parsec.logs()


def test_idle_clients_leave_the_files_of_log_and_store_alone(tmp_path: Path) -> None:
    works_beside_idle_clients(tmp_path / "data", 512, FEW_IDLE)


@pytest.mark.integration
def test_one_file_below_the_least_is_refused(tmp_path: Path) -> None:
    assert "is 511, and Parsec needs at least 512" in refused(tmp_path / "data", "--nofile=511:511")


@pytest.mark.integration
def test_more_clients_than_there_are_files(tmp_path: Path) -> None:
    works_beside_idle_clients(tmp_path / "data", 1024, MANY_IDLE)


@pytest.mark.integration
def test_the_least_address_space_is_enough(tmp_path: Path) -> None:
    with limited(tmp_path / "data", f"--as={3 << 30}:{3 << 30}") as parsec:
        for n in range(30):
            assert parsec.ingest([event(f"{n}-{k}") for k in range(500)])[1]["accepted"] == 500
            assert parsec.get(f"/query/histogram?tenant={TENANT}&from=0&q=get")[0] == 200
        parsec.wait_processed()
        assert parsec.terminate() == 0
