"""Definitions of tables are put back wherever they differ from their copies, except during a change of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from parsec.adapters.store.chdb import schema_backup, sync
from parsec.adapters.store.chdb.schema_backup import SchemaBackup

DATABASE = "d40ba462-0b50-4187-992d-0955cbcfbb87"
EVENTS = "d74ee91c-a9b6-4e22-a62c-f57725a6ae72"
LETTERS = "0adee91c-a9b6-4e22-a62c-f57725a6ae72"


def sql(uuid: str, *columns: str) -> str:
    return f"ATTACH TABLE _ UUID '{uuid}'\n(\n" + "".join(f"    `{name}` String,\n" for name in columns) + ")\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The files of two tables, with a part of each, as the engine lays them out; the copies are made."""
    files = {
        "metadata/parsec.sql": f"ATTACH DATABASE _ UUID '{DATABASE}'\nENGINE = Atomic\n",
        f"store/d40/{DATABASE}/events.sql": sql(EVENTS, "id", "offset", "message"),
        f"store/d40/{DATABASE}/dead_letters.sql": sql(LETTERS, "raw", "offset"),
        f"store/d74/{EVENTS}/format_version.txt": "1",
        f"store/d74/{EVENTS}/20261130_1_1_0/columns.txt": "columns format version: 1\n1 columns:\n`id` String\n",
        f"store/0ad/{LETTERS}/format_version.txt": "1",
        f"store/0ad/{LETTERS}/all_1_1_0/columns.txt": "columns format version: 1\n1 columns:\n`raw` String\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "data/parsec").mkdir(parents=True)
    (tmp_path / "data/parsec/events").symlink_to(f"../../store/d74/{EVENTS}")
    (tmp_path / "metadata/parsec").symlink_to(f"../store/d40/{DATABASE}")
    SchemaBackup(tmp_path).save()
    return tmp_path


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    capture = LogCapture()
    logger = structlog.wrap_logger(None, [capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(schema_backup, "_log", logger)
    return capture


def state(store: Path) -> dict[str, object]:
    """Everything but what was put aside."""
    return {
        str(path.relative_to(store)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in store.rglob("*")
        if (path.is_symlink() or path.is_file()) and not path.name.endswith(".corrupt")
    }


def definitions(store: Path) -> list[Path]:
    return [store / name for name in state(store) if not name.startswith("tables") and "_1_1_0" not in name]


def flipped(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n-- more")


@pytest.mark.parametrize("hurt", [emptied, longer, Path.unlink, lambda path: flipped(path, -1)])
def test_a_definition_that_differs_is_put_back_and_reported(
    store: Path, hurt: Callable[[Path], None], logs: LogCapture
) -> None:
    before = state(store)
    for path in definitions(store):
        if path.is_symlink():
            path.unlink()
        else:
            hurt(path)
    SchemaBackup(store).restore()
    assert state(store) == before
    assert sorted(line["file"] for line in logs.entries) == sorted(
        str(path.relative_to(store)) for path in definitions(store)
    )
    assert {line["log_level"] for line in logs.entries} == {"error"}


def test_each_byte_of_a_definition_counts(store: Path) -> None:
    """Invariant 1: a flipped bit of a UUID still parses."""
    before, path = state(store), store / f"store/d40/{DATABASE}/events.sql"
    for byte in range(len(path.read_bytes())):
        flipped(path, byte)
        SchemaBackup(store).restore()
        assert state(store) == before


def test_a_link_to_another_place_is_put_back(store: Path) -> None:
    before = state(store)
    for link in (store / "metadata/parsec", store / "data/parsec/events"):
        link.unlink()
        link.symlink_to("elsewhere")
    SchemaBackup(store).restore()
    assert state(store) == before


@pytest.mark.parametrize("gone", ["metadata", "data", f"store/d40/{DATABASE}", "store/d40"])
def test_a_directory_of_definitions_that_is_gone_comes_back(store: Path, gone: str) -> None:
    before = state(store)
    shutil.rmtree(store / gone)
    SchemaBackup(store).restore()
    assert state(store) == before


def test_a_file_in_the_place_of_a_directory_is_put_aside(store: Path) -> None:
    before = state(store)
    shutil.rmtree(store / "metadata")
    (store / "metadata").write_text("?")
    SchemaBackup(store).restore()
    assert state(store) == before
    assert (store / "metadata.corrupt").read_text() == "?"


def test_the_owner_gets_the_permission_to_read_back(store: Path, logs: LogCapture) -> None:
    path = store / f"store/d40/{DATABASE}/events.sql"
    path.chmod(0)
    path.parent.chmod(0o500)
    SchemaBackup(store).restore()
    assert path.stat().st_mode & 0o600 == 0o600
    assert path.parent.stat().st_mode & 0o700 == 0o700
    assert [line["file"] for line in logs.entries] == [str(path.relative_to(store))]


@pytest.mark.parametrize("other", [EVENTS.replace("d74", "d75"), EVENTS[:-1] + "3"])
def test_parts_under_a_wrong_name_are_found(store: Path, other: str) -> None:
    before = state(store)
    (store / f"store/{other[:3]}").mkdir(exist_ok=True)
    (store / f"store/d74/{EVENTS}").rename(store / f"store/{other[:3]}/{other}")
    SchemaBackup(store).restore()
    assert state(store) == before


def test_parts_of_no_table_are_reported_and_left(store: Path, logs: LogCapture) -> None:
    shutil.copytree(store / f"store/d74/{EVENTS}", store / "store/d75/d75ee91c-a9b6-4e22-a62c-f57725a6ae72")
    before = state(store)
    SchemaBackup(store).restore()
    assert state(store) == before
    assert [line["directory"][-36:] for line in logs.entries] == ["d75ee91c-a9b6-4e22-a62c-f57725a6ae72"]


@pytest.mark.parametrize("copy", ["tables.json", "tables.2.json"])
def test_one_damaged_copy_is_not_used_and_is_written_again(store: Path, copy: str) -> None:
    """Invariant 3, for a flip in each place."""
    before = state(store)
    for byte in range(0, len((store / copy).read_bytes()), 7):
        flipped(store / copy, byte)
        flipped(store / "metadata/parsec.sql", 30)
        backup = SchemaBackup(store)
        backup.restore()
        backup.save()
        assert state(store) == before


class Killed(Exception):
    pass


def change(store: Path, backup: SchemaBackup, *, ends: bool) -> None:
    """A statement adds a column; perhaps the process is killed before the copies are made."""
    with backup.changing(save=ends):
        path = store / f"store/d40/{DATABASE}/events.sql"
        path.write_text(path.read_text() + "`new` String")


@pytest.mark.parametrize("ends", [True, False])
def test_a_definition_that_a_statement_changed_is_kept(store: Path, *, ends: bool) -> None:
    """Invariant 2."""
    change(store, SchemaBackup(store), ends=ends)
    before = state(store)
    SchemaBackup(store).restore()
    assert state(store) == before
    (store / "metadata/parsec.sql").unlink()
    SchemaBackup(store).restore()
    assert state(store) == before


def test_what_a_killed_change_left_gives_way_when_the_engine_refuses_it(store: Path) -> None:
    saved = (store / f"store/d40/{DATABASE}/events.sql").read_text()
    change(store, SchemaBackup(store), ends=False)
    SchemaBackup(store).restore(refused=True)
    assert (store / f"store/d40/{DATABASE}/events.sql").read_text() == saved


def test_damage_before_a_change_does_not_become_the_copy(store: Path) -> None:
    before = (store / "metadata/parsec.sql").read_text()
    flipped(store / "metadata/parsec.sql", 30)
    change(store, SchemaBackup(store), ends=True)
    assert (store / "metadata/parsec.sql").read_text() == before


def test_a_table_that_was_dropped_before_the_kill_does_not_come_back(store: Path) -> None:
    backup = SchemaBackup(store)
    with backup.changing(save=False):
        (store / "metadata_dropped").mkdir()
        table = store / f"store/d40/{DATABASE}/dead_letters.sql"
        table.rename(store / f"metadata_dropped/parsec.dead_letters.{LETTERS}.sql")
    SchemaBackup(store).restore()
    assert not table.exists()


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("CREATE TABLE IF NOT EXISTS other (a String)", True),
        ("CREATE TABLE IF NOT EXISTS events\n(a String)", False),
        ("-- why\n-- so\nCREATE TABLE IF NOT EXISTS other\n(a String)", True),
        ("ALTER TABLE events ADD COLUMN a String", True),
        ("ALTER TABLE events MODIFY SETTING a = 1", True),
        ("alter table events drop column a", True),
        ("EXCHANGE TABLES events AND twin", True),
        ("RENAME TABLE twin TO events", True),
        ("DROP TABLE twin", True),
        ("ALTER TABLE events DETACH PART 'all_1_1_0'", False),
        ("ALTER TABLE events DROP PARTITION ID '20261130'", False),
        ("ALTER TABLE events REPLACE PARTITION ID '20261130' FROM twin", False),
        ("ALTER TABLE dead_letters DELETE WHERE 1", False),
        ("INSERT INTO events VALUES (1)", False),
        ("SELECT 'CREATE TABLE'", False),
        ("SYSTEM STOP MERGES", False),
    ],
)
def test_which_statements_change_definitions(store: Path, statement: str, *, changes: bool) -> None:
    assert SchemaBackup(store).changes_definitions(statement) == changes


def test_nothing_is_written_when_nothing_changed(store: Path) -> None:
    before = (store / "tables.json").stat().st_ino
    SchemaBackup(store).save()
    assert (store / "tables.json").stat().st_ino == before


def test_when_the_engine_refuses_its_files_the_owner_gets_access_to_all_of_them(store: Path) -> None:
    path = store / f"store/d74/{EVENTS}/20261130_1_1_0/columns.txt"
    path.chmod(0)
    SchemaBackup(store).restore()
    assert path.stat().st_mode & 0o600 == 0, "a walk of each start would take long"
    SchemaBackup(store).restore(refused=True)
    assert path.stat().st_mode & 0o600 == 0o600


def rename(store: Path, new: str) -> Path:
    table = store / f"store/d40/{DATABASE}/events.sql"
    return table.rename(table.with_name(new))


def test_what_a_migration_changed_is_synced_before_its_next_statement(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 4."""
    synced: list[list[str]] = []
    monkeypatch.setattr(
        sync,
        "file_system",
        lambda path: synced.append([found.name for found in path.glob("store/d40/*/events*")]),
    )
    with SchemaBackup(store).changing(save=False):
        rename(store, "events_before_6.sql")
    assert synced == [["events_before_6.sql"]]


@pytest.mark.parametrize("refused", [False, True])
def test_a_table_that_was_renamed_before_the_kill_has_one_name(store: Path, *, refused: bool) -> None:
    """Two definitions with one UUID keep the engine from opening."""
    with SchemaBackup(store).changing(save=False):
        rename(store, "events_before_6.sql")
    SchemaBackup(store).restore(refused=refused)
    expected = "events.sql" if refused else "events_before_6.sql"
    assert [path.name for path in store.glob("store/d40/*/events*")] == [expected]


def test_a_definition_under_a_damaged_name_gets_its_own_back(store: Path) -> None:
    before = state(store)
    rename(store, "eventr.sql")
    SchemaBackup(store).restore()
    assert state(store) == before
