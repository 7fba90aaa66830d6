"""Parts that a merge left short are found, and put out of the way of what they came from, or detached."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parsec.adapters.store.chdb.part_integrity import MergedPartCheck
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Range
from tests.support.stored import events, row
from tests.support.stores import TestEngine, embedded_store

_ACTIVE = "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active"
EVERYTHING = {f"evt-{n}" for n in range(40)}


@pytest.fixture
def merged() -> Iterator[tuple[ClickHouseStore, TestEngine, Path]]:
    """A store of 40 events in one part, which was merged in two steps; all parts that it came from are there."""
    with embedded_store() as (store, engine):
        for first in range(0, 40, 10):
            store.insert([row(first + n) for n in range(10)], f"log-1/0/{first}-{first + 9}")
            if first >= 20:
                engine.ask("OPTIMIZE TABLE events FINAL")
        yield store, engine, Path(str(engine.ask(_ACTIVE)))


def look(engine: TestEngine, merged: MergedPartCheck) -> None:
    client = engine.connect({})
    try:
        merged.check(client)
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
    whole = MergedPartCheck(engine.damaged_parts.detach)
    look(engine, whole)
    look(engine, whole)
    assert part.is_dir()
    assert {e["id"] for e in events(store)} == EVERYTHING


def test_a_short_part_gives_way_to_what_it_came_from(merged: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    store, engine, part = merged
    shorten(part)
    with pytest.raises(Fatal, match=f"{part.name} short of 1 bytes.*nothing is lost"):
        engine.watch_merges(threading.Event())
    assert not part.exists()
    start_again(engine)
    assert {e["id"] for e in events(store)} == EVERYTHING
    assert engine.ask("SELECT count() FROM system.detached_parts WHERE database = currentDatabase()") == 0


def test_a_short_part_whose_sources_are_gone_is_detached(merged: tuple[ClickHouseStore, TestEngine, Path]) -> None:
    store, engine, part = merged
    engine.ask("DETACH TABLE events SYNC")
    for source in part.parent.glob("*_0"):
        shutil.rmtree(source)
    engine.ask("ATTACH TABLE events")
    store.insert([row(99)], "log-1/0/99-99")
    (part / "data.bin").unlink()
    look(engine, MergedPartCheck(engine.damaged_parts.detach))
    assert (part.parent / "detached" / f"broken_{part.name}").is_dir()
    assert {e["id"] for e in events(store)} == {"evt-99"}


@pytest.mark.parametrize("failed", [False, True], ids=["as if it were whole", "and failed"])
def test_what_an_insert_left_short_is_inserted_again(monkeypatch: pytest.MonkeyPatch, *, failed: bool) -> None:
    """As on a disk that is full for a moment. An insert that failed may have left its part all the same."""
    taken = Range("log-1", 0, 1, 2)
    with embedded_store() as (store, engine):
        store.insert([row(0)], "log-1/0/0-0")
        look = engine._inserted_check.drop_short_parts

        def short(client: Any, table: str) -> list[str]:
            part = f"{_ACTIVE} AND rows = 2"
            shorten(Path(str(engine.ask(part))))
            if failed:
                raise OSError("no space left")
            return look(client, table)

        monkeypatch.setattr(engine._inserted_check, "drop_short_parts", short)
        with pytest.raises(Retryable):
            store.insert([row(1), row(2)], "log-1/0/1-2")
        monkeypatch.setattr(engine._inserted_check, "drop_short_parts", look)
        assert store.stored_offsets(taken) == set()
        store.insert([row(1), row(2)], "log-1/0/1-2")
        assert store.stored_offsets(taken) == {1, 2}
        assert engine.ask("SELECT count() FROM events") == 3
