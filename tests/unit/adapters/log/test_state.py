"""Small state: what a commit said is there again, and damage is quarantined."""

from pathlib import Path

import apsw
import pytest

from parsec.adapters.log.state import SavedLog, State
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Counts, Progress, Range
from parsec.telemetry import Telemetry
from tests.support.logs import damaged

LOG_ID = "aa" * 16


def opened(directory: Path, telemetry: Telemetry | None = None) -> State:
    return State.open(directory / "state.db", telemetry or Telemetry())


def test_all_of_it_is_there_again(tmp_path: Path) -> None:
    state = opened(tmp_path)
    assert state.load() is None
    state.save(SavedLog(LOG_ID, 100, 7, 20))
    state.save(SavedLog(LOG_ID, 200, 9, 30))
    state.add_reader("processor", 3)
    state.add_reader("other", 0)
    taken = Range(LOG_ID, 0, 3, 8)
    state.reserve("processor", taken, 2)
    state.save_cut(5, 99)
    state.close()
    state = opened(tmp_path)
    assert state.load() == SavedLog(LOG_ID, 200, 9, 30)
    assert state.cuts() == {5: 99}
    assert state.readers(LOG_ID)["processor"] == Progress(LOG_ID, 0, 3, 3, Counts(), taken, 2)
    counts = Counts(stored=4, duplicate=1, dead=1, lost=0)
    state.commit("processor", 9, counts, 31)
    assert state.readers(LOG_ID) == {
        "processor": Progress(LOG_ID, 0, 3, 9, counts),
        "other": Progress(LOG_ID, 0, 0, 0),
    }
    saved = state.load()
    assert saved is not None
    assert saved.durable == 31
    state.save_end(40)
    assert state.load() == SavedLog(LOG_ID, 40, 9, 40)
    state.close()


def test_a_cut_is_forgotten_with_its_segment_or_when_it_begins_anew(tmp_path: Path) -> None:
    state = opened(tmp_path)
    for first in (5, 6, 7):
        state.save_cut(first, 99)
    state.delete_cuts(6)
    assert state.cuts() == {6: 99, 7: 99}
    state.save(SavedLog(LOG_ID, 100, 7, 7))
    assert state.cuts() == {6: 99}
    state.close()


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    """Segments are deleted because of a commit, so it must survive a power cut before it returns: WAL with FULL."""
    state = opened(tmp_path)
    connection = state._connection
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    state.close()


@pytest.mark.parametrize("content", [b"not a database at all " * 400, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_state_is_quarantined(tmp_path: Path, content: bytes) -> None:
    telemetry = Telemetry()
    for n in range(2):
        (tmp_path / "state.db").write_bytes(content)
        state = opened(tmp_path, telemetry)
        assert state.load() is None
        state.close()
        for path in tmp_path.glob("state.db*"):
            if not path.name.endswith(".corrupt"):
                path.unlink()
        assert len(list(tmp_path.glob("*.corrupt"))) == n + 1
    assert damaged(telemetry, "state") == 2


def test_a_state_of_another_shape_is_quarantined(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "state.db"))
    connection.execute("CREATE TABLE log (one INTEGER)")
    connection.close()
    telemetry = Telemetry()
    opened(tmp_path, telemetry).close()
    assert damaged(telemetry, "state") == 1
    assert list(tmp_path.glob("*.corrupt"))


def test_a_full_disk_is_passing_and_a_closed_state_is_not(tmp_path: Path) -> None:
    state = opened(tmp_path)
    state.add_reader("processor", 0)
    state._connection.pragma("max_page_count", 1)
    with pytest.raises(Retryable):  # noqa: PT012
        for n in range(10_000):
            state.add_reader(f"{n:0500d}", 0)
    state.close()
    with pytest.raises(Fatal):
        state.load()
