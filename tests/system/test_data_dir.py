"""The data directory of a running Parsec: moved away under load, deleted, without its lock file, and open to others."""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.support.load import TENANT, Load, event
from tests.support.process import Parsec, eventually

FAST = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "20"}


def moved_under_load(parsec: Parsec, run: str, away: Path) -> Load:
    """What was acknowledged before and after the move, with the directory back in its place and the process ended."""
    load = Load(parsec.port, run, clients=3, batch=50).start()
    load.wait_for(500 + random.randrange(2000), lambda: parsec.process.poll() is None)
    parsec.data_dir.rename(away)
    refused = load.refused
    eventually(lambda: load.refused > refused)
    assert parsec.get("/livez")[0] == 200, "a restart would begin an empty directory"
    status, answer = parsec.get("/readyz")
    assert (status, "directory" in answer["why"]["data_dir"]) == (503, True)
    status, answer = parsec.ingest([event("late")])
    assert (status, "directory" in answer["errors"][0]["message"]) == (503, True)
    load.stop()
    assert load.wrong_answers == []
    # An insert that was under way may have made directories there, which are removed as soon as it is done.
    eventually(lambda: not parsec.data_dir.exists())
    away.rename(parsec.data_dir)
    assert parsec.process.wait(20) == 1
    return load


def move_and_return(tmp_path: Path, times: int) -> None:
    acknowledged: set[str] = set()
    parsec = Parsec(tmp_path / "data", **FAST)
    for n in range(times):
        with parsec:
            acknowledged |= moved_under_load(parsec, f"move-{n}", tmp_path / "away").acknowledged
    assert parsec.logs().count("The data directory is gone") == times
    assert parsec.logs().count("The data directory is back") == times
    assert "Traceback" not in parsec.logs()
    with parsec:
        parsec.wait_processed()
        stored = [each["id"] for each in parsec.search(TENANT)]
        assert len(stored) == len(set(stored))
        assert acknowledged - set(stored) == set()
        assert parsec.stats()["ledger"]["lost"] == 0


def test_a_directory_that_is_moved_under_load_takes_nothing_with_it(tmp_path: Path) -> None:
    move_and_return(tmp_path, 2)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_directory_that_is_moved_under_load_twenty_times(tmp_path: Path) -> None:
    move_and_return(tmp_path, 20)


def test_a_deleted_directory_is_not_made_anew(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", **FAST) as parsec:
        assert parsec.ingest([event("before")])[0] == 200
        parsec.wait_processed()
        shutil.rmtree(tmp_path / "data")
        for n in range(5):
            assert parsec.ingest([event(f"after-{n}")])[0] == 503
        assert parsec.get("/readyz")[0] == 503
        assert not (tmp_path / "data").exists()
        parsec.terminate()
        assert not (tmp_path / "data").exists()


def test_a_second_start_without_the_lock_file_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", **FAST) as parsec:
        assert parsec.ingest([event(f"first-{n}") for n in range(100)])[0] == 200
        (tmp_path / "data" / "lock").unlink()
        second = Parsec(tmp_path / "data", **FAST)
        second.log_path = tmp_path / "second.log"
        second.start(wait=False)
        assert second.process.wait(20) == 3
        said = second.logs()
        assert f"in use by process {parsec.process.pid} (its lock file was deleted)" in said
        assert "stop it or choose another directory. Do not move or delete its files" in said
        assert "move the directory away" not in said
        assert parsec.ingest([event(f"second-{n}") for n in range(100)])[0] == 200
        parsec.wait_processed()
        assert len(parsec.search(TENANT)) == 200
        assert parsec.terminate() == 0


def test_files_are_for_their_user_only_also_those_of_an_earlier_version(tmp_path: Path) -> None:
    def modes() -> set[int]:
        paths = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
        return {path.lstat().st_mode & 0o777 for path in paths if not path.is_symlink()}

    with Parsec(tmp_path / "data", **FAST) as parsec:
        assert parsec.ingest([event("before")])[0] == 200
        parsec.wait_processed()
        assert modes() == {0o600, 0o700}
        assert parsec.terminate() == 0
    for path in (tmp_path / "data").rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    with parsec:
        assert parsec.ingest([event("after")])[0] == 200
        parsec.wait_processed()
        assert modes() == {0o600, 0o700}
        assert os.access(tmp_path / "data" / "state.db-wal", os.F_OK)
