"""Damaged parts are detached and reported when a query, an insert or a check meets them; all else goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from parsec.adapters.store.chdb.damaged_parts import DamagedPart
from parsec.adapters.store.chdb.scrub import BYTES_PER_S, URGENT_BYTES_PER_S, PartScrub
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.ports.broker import Range
from parsec.ports.store import LedgerCheckpoint
from parsec.telemetry import Telemetry
from tests.support.stored import events, letter, row
from tests.support.stores import TestEngine, embedded_store

_PATH = "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = '{}' AND active AND rows = {}"


@pytest.fixture
def stored() -> Iterator[tuple[ClickHouseStore, TestEngine, Path]]:
    """Two parts, one with 3 rows (0 to 2) and indexes, one with 2; the path of the first."""
    with embedded_store() as (store, engine):
        store.insert([row(0), row(1), row(2)], "log-1/0/0-2")
        engine.ask("OPTIMIZE TABLE events FINAL")
        store.insert([row(3), row(4)], "log-1/0/3-4")
        yield store, engine, Path(str(engine.ask(_PATH.format("events", 3))))


def flip(file: Path) -> None:
    """One bit in the middle."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def reload(engine: TestEngine, table: str = "events") -> None:
    """As at a start of the engine."""
    engine.ask(f"DETACH TABLE {table} SYNC")
    engine.ask(f"ATTACH TABLE {table}")


def by_query(store: ClickHouseStore, _: TestEngine) -> None:
    assert {event["id"] for event in events(store)} == {"evt-3", "evt-4"}


def by_the_processor(store: ClickHouseStore, _: TestEngine) -> None:
    assert sum(len(batch.ids) for batch in store.recent_ids(0, 1e9, 1000)) == 2


@pytest.mark.parametrize("meet", [by_query, by_the_processor])
def test_a_part_that_is_met_is_detached_and_the_rest_is_answered(
    stored: tuple[ClickHouseStore, TestEngine, Path], meet: Callable[[ClickHouseStore, TestEngine], None]
) -> None:
    store, engine, part = stored
    reload(engine)  # nothing of the part is in a cache
    flip(part / "data.bin")
    before = store.damage_changes()
    meet(store, engine)
    assert store.damage_changes() > before
    assert "1 damaged part of table events (3 rows) is detached" in str(engine.damaged_parts.why())
    assert (part.parent / "detached" / f"broken_{part.name}" / "data.bin").exists()
    store.insert([row(0), row(1), row(2)], "log-1/0/0-2")  # the token went with the part
    assert store.stored_offsets(Range("log-1", 0, 0, 9)) == {0, 1, 2, 3, 4}


@contextmanager
def scrubbing(engine: TestEngine) -> Iterator[tuple[PartScrub, Client, Telemetry]]:
    client, telemetry = engine.connect({}), Telemetry()
    try:
        yield (
            PartScrub(lambda: engine.connect({}), engine.damaged_parts, engine._schema_backup, telemetry, 1e9),
            client,
            telemetry,
        )
    finally:
        client.close()


UNUSED = {"default_compression_codec.txt", "metadata_version.txt", "columns_substreams.txt"}
"""Files of a part in which most bits are not needed to read it; some keep it from being loaded."""


@pytest.mark.parametrize("wide", [False, True], ids=["small part", "files for each column"])
def test_a_flipped_bit_in_each_file_of_a_part_is_found(*, wide: bool) -> None:
    with embedded_store() as (store, engine), scrubbing(engine) as (_, client, _):
        if wide:
            engine.ask("ALTER TABLE events MODIFY SETTING min_bytes_for_wide_part = 0")
        store.insert([row(offset, message=f"word{offset % 50} {offset}") for offset in range(300)], "log-1/0/0-299")
        engine.ask("OPTIMIZE TABLE events FINAL")
        part = Path(str(engine.ask(_PATH.format("events", 300))))
        files = [file for file in sorted(part.iterdir()) if file.stat().st_size]
        assert len(files) > (60 if wide else 20)
        for file in files:
            flip(file)
            found = engine.damaged_parts.check(client, "events", part.name)
            assert found is not None or file.name in UNUSED, file.name
            flip(file)
        assert engine.damaged_parts.check(client, "events", part.name) is None


def test_a_sound_part_whose_first_row_the_client_cannot_read_passes() -> None:
    """Paths `a` and `a.b` in one row: the client fails to make one object of them."""
    with embedded_store() as (store, engine), scrubbing(engine) as (scrub, client, telemetry):
        store.insert([row(0, metadata='{"a":[1,{"b":"c"}]}', search_text='{"a":[1],"a":{"b":["c"]}}')], "log-1/0/0-0")
        scrub.check_all(client, threading.Event())
        assert telemetry.value("parsec_store_scrub_last_pass_seconds") > 0
        assert engine.damaged_parts.why() is None
        assert len(events(store)) == 1


def test_a_pass_detaches_what_it_finds_and_says_how_far_it_is(stored: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    store, engine, part = stored
    flip(part / "skp_idx_id_bloom.idx")
    with scrubbing(engine) as (scrub, client, telemetry):
        assert telemetry.value("parsec_store_scrub_last_pass_seconds") == 0
        scrub.check_all(client, threading.Event())
        assert telemetry.value("parsec_store_scrub_last_pass_seconds") > 0
        assert telemetry.value("parsec_store_scrub_bytes_total") > 0
        assert telemetry.value("parsec_store_scrub_waiting_bytes") == 0
    by_query(store, engine)


class Waits(threading.Event):
    """Never set; remembers how long it was waited for."""

    seconds = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds += timeout or 0.0
        return False


@pytest.mark.parametrize(("urgent", "rate"), [(False, BYTES_PER_S), (True, URGENT_BYTES_PER_S)])
def test_a_pass_takes_its_time(stored: tuple[ClickHouseStore, TestEngine, Path], *, urgent: bool, rate: int) -> None:
    _, engine, _ = stored
    engine.ask("SYSTEM STOP MERGES")
    size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active AND rows > 0"
    with scrubbing(engine) as (scrub, client, _):
        waits = Waits()
        scrub.check_all(client, waits, urgent=urgent)
        assert waits.seconds == pytest.approx(int(str(engine.ask(size))) / rate)
    engine.ask("SYSTEM START MERGES")


def test_a_part_that_cannot_be_checked_does_not_keep_others_from_it(
    stored: tuple[ClickHouseStore, TestEngine, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, engine, part = stored
    flip(part / "data.bin")
    check = engine.damaged_parts.check

    def failing(client: Client, table: str, name: str) -> DamagedPart | None:
        if name != part.name:
            raise DatabaseError("Code: 241. DB::Exception: memory limit exceeded")
        return check(client, table, name)

    monkeypatch.setattr(engine.damaged_parts, "check", failing)
    with scrubbing(engine) as (scrub, client, _):
        scrub.check_all(client, threading.Event())
    by_query(store, engine)


@pytest.mark.parametrize("table", ["dead_letters", "ledger_marks", "_migrations", "dropped_days"])
def test_the_scrub_finds_damage_in_every_table(table: str) -> None:
    with embedded_store() as (store, engine), scrubbing(engine) as (scrub, client, _):
        store.insert_dead_letters([letter(1)])
        store.save_checkpoint(LedgerCheckpoint("log-1", 0, 0, 0, 0, 0, 0, 0, 40_000))
        engine.ask("INSERT INTO dropped_days (day, events) VALUES (1, 7)")
        engine.ask(f"OPTIMIZE TABLE {table} FINAL")
        active = f"SELECT path FROM system.parts WHERE database = currentDatabase() AND active AND table = '{table}'"  # noqa: S608
        flip(Path(str(engine.ask(active))) / "data.bin")
        scrub.check_all(client, threading.Event())
        assert f"1 damaged part of table {table} " in str(engine.damaged_parts.why())
        store.insert([row(0)], "log-1/0/0-0")
        assert len(events(store)) == 1


def test_a_merge_that_fails_for_damage_makes_a_pass_urgent(stored: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    store, engine, part = stored
    with scrubbing(engine) as (scrub, client, _):
        stop = threading.Event()
        assert not scrub.check_all(client, stop)
        assert not scrub.check_all(client, stop)
        reload(engine)
        flip(part / "data.bin")
        with pytest.raises(DatabaseError):  # as in a merge of the engine's own, whose error nobody sees
            engine.ask("OPTIMIZE TABLE events FINAL")
        assert scrub._is_urgent(client)
        assert not scrub.check_all(client, stop, urgent=True)
        assert engine.ask("SELECT count() FROM events") == 2
        engine.ask("OPTIMIZE TABLE events FINAL")
        assert not scrub._is_urgent(client)
        assert len(events(store)) == 2


def test_errors_that_no_part_explains_do_not_make_pass_after_pass_urgent(
    stored: tuple[ClickHouseStore, TestEngine, Path],
) -> None:
    _, engine, _ = stored
    with scrubbing(engine) as (scrub, client, _):
        scrub.check_all(client, threading.Event())
        for urgent in (True, False):
            with pytest.raises(DatabaseError):
                engine.ask("SELECT throwIf(1, 'x', 33::Int16) SETTINGS allow_custom_error_code_in_throwif = 1")
            assert scrub._is_urgent(client) == urgent
            scrub.check_all(client, threading.Event(), urgent=urgent)


def test_odd_metadata_makes_no_pass_urgent(stored: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    """Else a tenant could have the store read again and again."""
    store, engine, _ = stored
    with scrubbing(engine) as (scrub, client, _):
        scrub.check_all(client, threading.Event())
        odd = [
            '{"a":1e400}',
            '{"a":"\\u0000"}',
            '{"a":[[1],["b"],{"c":1}]}',
            '{"a.b":1,"a":{"b":-0}}',
            f'{{"a":{"9" * 40}}}',
        ]
        store.insert([row(10 + n, metadata=text) for n, text in enumerate(odd)], "log-1/0/10-14")
        engine.ask("OPTIMIZE TABLE events FINAL")
        assert len(events(store)) == 10
        assert not scrub._is_urgent(client)


def test_a_sound_part_stays_whatever_an_error_says(stored: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    """Invariant 1."""
    store, engine, part = stored
    for code in (49, 107, 159, 241, 243, 76, 27):
        assert not engine.detach_damaged(
            DatabaseError(f"Code: {code}. DB::Exception: x (while reading from part {part}/)")
        )
    assert len(events(store)) == 5
    assert engine.damaged_parts.why() is None


def test_limits_never_detach_even_a_damaged_part(stored: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    """Invariant 1."""
    _, engine, part = stored
    flip(part / "data.bin")
    for code in (159, 241, 243, 76, 394):
        assert not engine.detach_damaged(
            DatabaseError(f"Code: {code}. DB::Exception: x (while reading from part {part}/)")
        )
    assert engine.damaged_parts.why() is None


def test_what_the_engine_detached_at_its_start_is_reported_until_it_is_stored_again(
    stored: tuple[ClickHouseStore, TestEngine, Path],
) -> None:
    """Invariant 3."""
    store, engine, part = stored
    flip(part / "columns.txt")
    reload(engine)
    assert len(events(store)) == 5  # from the part that it was merged from, which is still there
    engine._tables.clear()  # as at a start
    engine.make_durable(engine.connect({}))
    assert "1 damaged part of table events (3 rows)" in str(engine.damaged_parts.why())
    before = store.damage_changes()
    engine.damaged_parts.restored(("events", "dead_letters"), before - 1)
    assert engine.damaged_parts.why() is not None, "another part was detached since"
    engine.damaged_parts.restored(("events", "dead_letters"), before)
    assert engine.damaged_parts.why() is None
    assert store.damage_changes() > before


def test_a_part_with_the_name_of_one_that_was_detached_before_is_detached(
    stored: tuple[ClickHouseStore, TestEngine, Path],
) -> None:
    """Numbers of blocks begin anew after a start without parts."""
    store, engine, part = stored
    (part.parent / "detached" / f"broken_{part.name}").mkdir()
    reload(engine)
    flip(part / "data.bin")
    by_query(store, engine)
    assert len(list((part.parent / "detached").iterdir())) == 2


def test_a_sound_part_is_not_read_again_for_each_error_that_names_it(
    stored: tuple[ClickHouseStore, TestEngine, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine, part = stored
    checked: list[str] = []
    monkeypatch.setattr(engine.damaged_parts, "check", lambda _, table, name: checked.append(f"{table} {name}"))
    for _ in range(3):
        assert not engine.detach_damaged(DatabaseError(f"Code: 49. DB::Exception: x (while reading from part {part}/)"))
    assert checked == [f"events {part.name}"]
