"""Damaged parts are detached and reported when a query, an insert or a check meets them; all else goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.ports.broker import Range
from tests.support.stored import events, row
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
    assert "1 damaged parts of table events (3 rows) are detached" in str(engine.damaged_parts.why())
    assert (part.parent / "detached" / f"broken_{part.name}" / "data.bin").exists()
    store.insert([row(0), row(1), row(2)], "log-1/0/0-2")  # the token went with the part
    assert store.stored_offsets(Range("log-1", 0, 0, 9)) == {0, 1, 2, 3, 4}
