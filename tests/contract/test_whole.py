"""Parts that a merge left short are found, and put out of the way while what they came from is still there."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.adapters.store.whole import MergedAreWhole
from parsec.core.errors import Fatal
from tests.support.stored import events, row
from tests.support.stores import TestEngine, embedded_store

EVERYTHING = {f"evt-{n}" for n in range(40)}


@pytest.fixture
def merged() -> Iterator[tuple[ClickHouseStore, TestEngine, Path]]:
    """A store of 40 events in one part, which was merged in two steps; all parts that it came from are there."""
    with embedded_store() as (store, engine):
        for first in range(0, 40, 10):
            store.insert([row(first + n) for n in range(10)], f"log-1/0/{first}-{first + 9}")
            if first >= 20:
                engine.ask("OPTIMIZE TABLE events FINAL")
        part = "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"
        yield store, engine, Path(str(engine.ask(part)))


def look(engine: TestEngine, merged: MergedAreWhole) -> None:
    client = engine.connect({})
    try:
        merged.look(client)
    finally:
        client.close()


def start_again(engine: TestEngine) -> None:
    """The table is read as at a start of the engine."""
    engine.ask("DETACH TABLE events SYNC")
    engine.ask("ATTACH TABLE events")


def shorten(part: Path, by: int = 1) -> None:
    with (part / "data.bin").open("r+b") as file:
        file.truncate((part / "data.bin").stat().st_size - by)


def test_whole_parts_are_left_alone(merged: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    store, engine, part = merged
    whole = MergedAreWhole()
    look(engine, whole)
    look(engine, whole)
    assert part.is_dir()
    assert {e["id"] for e in events(store)} == EVERYTHING


def test_a_short_part_gives_way_to_what_it_came_from(merged: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    store, engine, part = merged
    shorten(part)
    with pytest.raises(Fatal, match=f"{part.name} short of 1 bytes.*nothing is lost"):
        engine.keep_settled(threading.Event())
    assert not part.exists()
    start_again(engine)
    assert {e["id"] for e in events(store)} == EVERYTHING
    assert engine.ask("SELECT count() FROM system.detached_parts WHERE database = currentDatabase()") == 0


def test_a_short_part_whose_sources_are_gone_stays(merged: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    """What can be read of it is all there is."""
    _, engine, part = merged
    engine.ask("DETACH TABLE events SYNC")
    for source in part.parent.glob("*_0"):
        shutil.rmtree(source)
    engine.ask("ATTACH TABLE events")
    (part / "data.bin").unlink()
    with pytest.raises(Fatal, match="is gone; the next start sets it aside"):
        look(engine, MergedAreWhole())
    assert part.is_dir()
