"""On a disk that is nearly full the engine merges nothing for a while; later it does again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from clickhouse_connect.driver.exceptions import Error

from parsec.adapters.store.chdb.part_integrity import PAUSE_S, MergeGuard
from tests.support.stored import row
from tests.support.stores import TestEngine, embedded_store

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MORE_THAN_ANY_DISK_HAS = 1 << 62


class Watched:
    """A client of the real engine, in which so many merges run, and what was ordered through it."""

    def __init__(self, engine: TestEngine, running: int) -> None:
        self._engine = engine
        self._running = running
        self.orders: list[str] = []

    def command(self, sql: str) -> Any:
        if "system.merges" in sql:
            assert self._engine.ask(sql) == 0  # it is one that the engine can answer
            return self._running
        self.orders.append(sql)
        return self._engine.ask(sql)


def test_merges_end_and_begin_again(tmp_path: Path) -> None:
    with embedded_store() as (store, engine):
        for offset in range(3):
            store.insert([row(offset)], f"log-1/0/{offset}-{offset}")
        watched, merging = Watched(engine, 1), MergeGuard(tmp_path, MORE_THAN_ANY_DISK_HAS)
        try:
            merging.check(cast("Client", watched), 5.0)
            with pytest.raises(Error):
                engine.ask("OPTIMIZE TABLE events FINAL SETTINGS optimize_throw_if_noop = 1")
            merging.check(cast("Client", watched), 4.9 + PAUSE_S)
        finally:
            merging.check(cast("Client", watched), 5.0 + PAUSE_S)
        engine.ask("OPTIMIZE TABLE events FINAL SETTINGS optimize_throw_if_noop = 1")
        assert watched.orders == ["SYSTEM STOP MERGES", "SYSTEM START MERGES"]


@pytest.mark.parametrize(("running", "keep_free"), [(0, MORE_THAN_ANY_DISK_HAS), (1, 0)])
def test_without_a_merge_or_with_room_nothing_is_ordered(tmp_path: Path, running: int, keep_free: int) -> None:
    with embedded_store() as (_, engine):
        watched = Watched(engine, running)
        MergeGuard(tmp_path, keep_free).check(cast("Client", watched), 5.0)
        assert watched.orders == []
