"""What the embedded engine does to its process, and what is left when that is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from parsec.adapters.store.chdb.unsynced_merges import BOOT_FILE
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.adapters.store.migrations import migrations
from parsec.core.errors import Fatal
from tests.support.stores import TestEngine, embedded_store


def test_a_directory_that_cannot_be_opened_is_fatal() -> None:
    with embedded_store(), pytest.raises(Fatal, match="cannot be opened"):
        ClickHouseStore(_engine_at(Path("/proc/no-such-place/store")), 86_400.0)


def _engine_at(path: Path) -> TestEngine:
    engine = TestEngine()
    engine._directory = path
    return engine


OPEN = """
import os, signal, sys, time
from pathlib import Path
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.adapters.store.chdb.engine import ChdbEngine
store = ClickHouseStore(ChdbEngine(Path(sys.argv[1])), 86400.0)
"""


def _run(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN + code, str(tmp_path / "store")], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGBUS])
def test_the_engine_leaves_signals_alone(tmp_path: Path, number: signal.Signals) -> None:
    done = _run(tmp_path, f"os.kill(os.getpid(), {int(number)}); time.sleep(30)")
    assert done.returncode == -number, done.stderr


def test_control_c_is_still_pythons_and_no_heavy_module_is_loaded(tmp_path: Path) -> None:
    code = """
assert not {"pyarrow", "pandas", "numpy"} & sys.modules.keys()
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    store.close()
    print("interrupted")
"""
    done = _run(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_what_was_inserted_survives_kill_9(tmp_path: Path) -> None:
    code = """
from parsec.ports.store import Row
store.insert([Row("acme", 1, "info", "api", "m", "{}", f"e{n}", 1795435200 * 10**9, "r", "n", "log-1", 0, n, 65535)
              for n in range(100)], "t")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert _run(tmp_path, code).returncode == -signal.SIGKILL
    code = """
from parsec.ports.broker import Range
print(len(store.stored_offsets(Range("log-1", 0, 0, 1000))))
store.close()
"""
    done = _run(tmp_path, code)
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr


MERGED = """
from parsec.ports.store import Row
for part in range(3):
    store.insert([Row("acme", 1, "info", "api", "m", "{}", f"e{n}", 1795435200 * 10**9, "r", "n", "log-1", 0, n, 65535)
                  for n in range(10 * part, 10 * part + 10)], str(part))
store._client.command("OPTIMIZE TABLE events FINAL")
store.close()
"""
READ_ALL = """
import threading
from parsec.ports.broker import Range
store._engine.check_parts(threading.Event(), 86400.0)
print(len(store.stored_offsets(Range("log-1", 0, 0, 1000))))
store.close()
"""


@pytest.mark.parametrize(("is_power_cut", "left"), [(True, 30), (False, 0)])
def test_after_a_power_cut_the_sources_of_an_unsynced_merge_are_used(
    tmp_path: Path, is_power_cut: bool, left: int
) -> None:
    """Its word index has its size and none of its bytes. The same damage in the life of one machine is no power cut."""
    assert _run(tmp_path, MERGED).returncode == 0
    (index,) = tmp_path.glob("store/store/*/*/*_1_3_1/skp_idx_message_words.pst.idx")
    index.write_bytes(bytes(index.stat().st_size))
    if is_power_cut:
        (tmp_path / "store" / BOOT_FILE).write_bytes(bytes(16))
    done = _run(tmp_path, READ_ALL)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, [str(left)]), done.stdout + done.stderr


DEFINITIONS = (
    "metadata/parsec.sql",
    "store/*/*/dropped_days.sql",
    "store/*/*/events.sql",
    "store/*/*/format_version.txt",
)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_definitions_of_tables_are_put_back(tmp_path: Path, damage: str) -> None:
    insert = "store._client.command('INSERT INTO dropped_days (day, events) VALUES (1, 7)'); store.close()"
    assert _run(tmp_path, insert).returncode == 0
    store = tmp_path / "store"
    files = [path for pattern in DEFINITIONS for path in store.glob(pattern)]
    assert len(files) > len(DEFINITIONS)
    before = [path.read_bytes() for path in files]
    for path, content in zip(files, before, strict=True):
        if damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "changed":
            path.write_bytes(b"!" + content[1:])
        else:
            path.unlink()
    found = _run(tmp_path, "print(store._client.query('SELECT day, events FROM dropped_days').result_rows)")
    assert "[(1, 7)]" in found.stdout, found.stderr
    assert "restored from its backup" in found.stdout
    assert [path.read_bytes() for path in files] == before
    assert len(list(store.glob("*.corrupt"))) == (0 if damage == "gone" else len(files))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a":"\xff"}'])
def test_a_damaged_copy_of_the_definitions_stops_nothing_and_is_made_anew(tmp_path: Path, content: bytes) -> None:
    assert _run(tmp_path, "store.close()").returncode == 0
    copy = tmp_path / "store" / "tables.json"
    before = copy.read_bytes()
    copy.write_bytes(content)
    done = _run(tmp_path, "store.close()")
    assert (done.returncode, copy.read_bytes()) == (0, before), done.stderr
    assert "a new one is made" in done.stdout


@pytest.mark.parametrize(("file", "more"), [("data.bin", 0), ("count.txt", 1), ("count.txt", 7)])
def test_damaged_notes_of_migrations_are_set_aside_and_all_is_applied_again(
    tmp_path: Path, file: str, more: int
) -> None:
    insert = "store._client.command('INSERT INTO dropped_days (day, events) VALUES (1, 7)')\n"
    insert += "store._client.command('OPTIMIZE TABLE _migrations FINAL'); store.close()"
    assert _run(tmp_path, insert).returncode == 0
    for link in (tmp_path / "store" / "data" / "parsec").glob("_migrations"):
        for path in link.resolve().glob(f"*/{file}"):
            if file == "count.txt":
                path.write_text(str(int(path.read_bytes()) + more))
            else:
                path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    look = "print(store._client.query('SELECT count() FROM _migrations').result_rows, "
    look += "store._client.query('SELECT day, events FROM dropped_days').result_rows); store.close()"
    found = _run(tmp_path, look)
    assert found.returncode == 0, found.stderr
    assert f"[({len(migrations())},)] [(1, 7)]" in found.stdout
    assert "set aside" in found.stdout
    assert "_migrations" in found.stdout
    assert "set aside" not in _run(tmp_path, look).stdout


def test_a_damaged_definition_without_a_copy_is_told_with_what_to_do(tmp_path: Path) -> None:
    assert _run(tmp_path, "store.close()").returncode == 0
    for copy in ("tables.json", "tables.2.json"):
        (tmp_path / "store" / copy).write_bytes(b"{")
    next((tmp_path / "store").glob("store/*/*/events.sql")).write_bytes(b"")
    found = _run(tmp_path, "")
    assert "put a backup in their place" in found.stderr
    assert "events.sql" in found.stderr


MOVED = """
from contextlib import suppress
from parsec.core.errors import Retryable
from parsec.ports.store import Row
def insert(n):
    at = 1795435200 * 10**9
    store.insert([Row("acme", 1, "info", "api", "m", "{}", f"e{n}", at, "r", "n", "log-1", 0, n, 65535)], str(n))
insert(1)
place, away = Path(sys.argv[1]), Path(sys.argv[1]).with_name("away")
place.rename(away)
for work in (lambda: insert(2), lambda: store.stored_offsets(None), lambda: store.reader()._client()):
    try:
        work()
    except Retryable as error:
        assert "was moved or deleted" in str(error), error
    else:
        raise AssertionError
assert not store._engine.detach_damaged(RuntimeError("20261123_1_1_0"))
assert not place.exists()
away.rename(place)
with suppress(Retryable):
    insert(3)
    print("inserted although nobody knows what was done meanwhile")
os._exit(0)
"""


def test_an_engine_whose_directory_moved_makes_no_other_and_takes_nothing(tmp_path: Path) -> None:
    done = _run(tmp_path, MOVED)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    code = "print(store._columns('SELECT count() FROM events', {})); store.close()"
    assert "[[1]]" in _run(tmp_path, code).stdout


def test_a_second_engine_is_told_of_the_first_and_not_to_move_files(tmp_path: Path) -> None:
    inside = f"subprocess.run([sys.executable, '-c', {OPEN!r}, sys.argv[1]], capture_output=True, text=True)"
    done = _run(tmp_path, f"import subprocess; print({inside}.stderr); store.close()")
    assert "is in use by another process" in done.stdout
    assert "Do not move or delete its files" in done.stdout
    assert "move the directory away" not in done.stdout


def test_many_broken_parts_do_not_keep_a_table_from_opening(tmp_path: Path) -> None:
    insert = """
store._client.command("SYSTEM STOP MERGES dead_letters")
for offset in range(102):
    store._client.command(f"INSERT INTO dead_letters (log_id, partition, offset) VALUES ('log-1', 0, {offset})")
store.close()
"""
    done = _run(tmp_path, insert)
    assert done.returncode == 0, done.stderr
    for link in (tmp_path / "store" / "data" / "parsec").glob("dead_letters"):
        for columns in list(link.resolve().glob("*/columns.txt"))[1:]:
            columns.write_bytes(b"?")
    found = _run(tmp_path, "print(store._client.query('SELECT count() FROM dead_letters').result_rows); store.close()")
    assert "[(1,)]" in found.stdout, found.stderr
    assert found.stdout.count("A damaged part of the store was detached") == 101


@pytest.mark.parametrize("content", [b"", b"?", b"format version: 1\ncommands: (DRON INDEX a)\n"])
def test_a_damaged_file_of_a_mutation_keeps_nothing_from_opening(tmp_path: Path, content: bytes) -> None:
    mutate = "store._client.command('INSERT INTO dead_letters (offset) VALUES (1), (2)')\n"
    mutate += "store._client.command('ALTER TABLE dead_letters DELETE WHERE offset = 1 SETTINGS mutations_sync = 1')\n"
    done = _run(tmp_path, mutate + "store.close()")
    assert done.returncode == 0, done.stderr
    mutations = list((tmp_path / "store").glob("store/*/*/mutation_*.txt"))
    assert mutations
    for path in mutations:
        path.write_bytes(content)
    found = _run(tmp_path, "print(store._client.query('SELECT offset FROM dead_letters').result_rows); store.close()")
    assert "[(2,)]" in found.stdout, found.stderr
    assert found.stdout.count("It was set aside") == len(mutations)
