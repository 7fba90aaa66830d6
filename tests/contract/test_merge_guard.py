"""On a disk that is nearly full the engine merges little, then nothing for a while; later it does again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from parsec.adapters.store.chdb.merge_guard import LARGEST_MERGE, PAUSE_S, MergeGuard
from tests.support.stored import row
from tests.support.stores import TestEngine, embedded_store

KEEP = 64 << 20
PLENTY = 1 << 40


class Disk(MergeGuard):
    """The guard of a disk with so much free space."""

    free = PLENTY

    def _free_bytes(self) -> int:
        return self.free


@pytest.fixture
def guarded() -> Iterator[tuple[Disk, Client, TestEngine]]:
    """A store with three parts."""
    with embedded_store() as (store, engine):
        for offset in range(3):
            store.insert([row(offset)], f"log-1/0/{offset}-{offset}")
        client = engine.connect({})
        try:
            yield Disk(Path(), KEEP), client, engine
        finally:
            client.command("SYSTEM START MERGES events")
            client.close()


def largest(engine: TestEngine) -> int:
    found = str(
        engine.ask("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'events'")
    )
    return int(found.split("max_bytes_to_merge_at_max_space_in_pool = ")[1].split(",")[0])


def merges(engine: TestEngine) -> bool:
    try:
        engine.ask("OPTIMIZE TABLE events FINAL SETTINGS optimize_throw_if_noop = 1")
    except Error:
        return False
    return True


def test_with_room_nothing_changes(guarded: tuple[Disk, Client, TestEngine]) -> None:
    disk, client, engine = guarded
    disk.check(client, 0.0)
    assert largest(engine) == LARGEST_MERGE
    assert merges(engine)


@pytest.mark.parametrize("room", [2 << 20, 5 << 20, 100 << 20, 3 << 30, 9 << 30])
def test_two_of_the_largest_merges_fit_beside_what_is_kept_free(
    guarded: tuple[Disk, Client, TestEngine], room: int
) -> None:
    disk, client, engine = guarded
    disk.free = KEEP + room
    disk.check(client, 0.0)
    assert 2 * largest(engine) <= room
    assert 8 * largest(engine) > room, "much smaller than needed"
    assert merges(engine)


def test_at_the_end_of_the_disk_nothing_is_merged_until_there_is_room_for_a_while(
    guarded: tuple[Disk, Client, TestEngine],
) -> None:
    disk, client, engine = guarded
    disk.free = KEEP + (1 << 20)
    disk.check(client, 5.0)
    assert not merges(engine)
    disk.free = PLENTY
    disk.check(client, 4.9 + PAUSE_S)
    assert not merges(engine)
    disk.check(client, 5.0 + PAUSE_S)
    assert largest(engine) == LARGEST_MERGE
    assert merges(engine)


def test_merges_become_smaller_at_once_and_larger_after_a_while(guarded: tuple[Disk, Client, TestEngine]) -> None:
    disk, client, engine = guarded
    for free, now, expected in (
        (KEEP + (64 << 20), 0.0, 32 << 20), (KEEP + (32 << 20), 1.0, 16 << 20), (PLENTY, PAUSE_S, 16 << 20),
        (PLENTY, 1.0 + PAUSE_S, LARGEST_MERGE),
    ):  # fmt: skip
        disk.free = free
        disk.check(client, now)
        assert largest(engine) == expected


def test_deleting_from_a_small_table_goes_on(guarded: tuple[Disk, Client, TestEngine]) -> None:
    """As for a day that is dropped to make room."""
    disk, client, engine = guarded
    disk.free = 0
    disk.check(client, 0.0)
    engine.ask("INSERT INTO dead_letters (log_id, partition, offset) VALUES ('log-1', 0, 7)")
    engine.ask("ALTER TABLE dead_letters DELETE WHERE offset = 7 SETTINGS mutations_sync = 1")
    assert engine.ask("SELECT count() FROM dead_letters") == 0
