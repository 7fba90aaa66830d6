"""The embedded store for tests: one engine per process, one database per test.

Opening an engine takes a second and only one directory may be open at a time, so a client is kept until the process
ends and every test gets a database of its own name.
"""

import atexit
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from parsec.adapters.store.chdb.engine import ChdbEngine
from parsec.adapters.store.clickhouse import ClickHouseStore, Engine
from parsec.adapters.store.server import ClickHouseServer
from parsec.ports.store import QueryLimits
from tests.support.memory_disk import quick_directory

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

LIMITS = QueryLimits(1 << 30, 30.0)
LETTERS_S = 30 * 86_400.0

E = TypeVar("E", bound=Engine)

_numbers = count()


class TestEngine(ChdbEngine):
    """A database in the shared directory."""

    __test__ = False

    def __init__(self) -> None:
        directory, _ = _shared()
        super().__init__(directory, f"test_{next(_numbers)}")

    def ask(self, sql: str) -> Any:
        """The answer's only value, or its first row."""
        return _ask(self, sql)


class ServerEngine:
    """A database of its own on a server."""

    def __init__(self, url: str) -> None:
        self._server = ClickHouseServer(url=url, user="default", password="", database=f"test_{next(_numbers)}")
        self.connect = self._server.connect
        self.write = self._server.write
        self.make_durable = self._server.make_durable
        self.detach_damaged = self._server.detach_damaged
        self.damage_changes = self._server.damage_changes

    def ask(self, sql: str) -> Any:
        """As TestEngine.ask."""
        return _ask(self, sql)


def embedded_store() -> AbstractContextManager[tuple[ClickHouseStore, TestEngine]]:
    """An empty store, and its engine to look behind it."""
    return _store(TestEngine())


def server_store(url: str) -> AbstractContextManager[tuple[ClickHouseStore, ServerEngine]]:
    """An empty store on a server, and its engine."""
    return _store(ServerEngine(url))


@contextmanager
def _store(engine: E) -> Iterator[tuple[ClickHouseStore, E]]:
    store = ClickHouseStore(engine, LETTERS_S)
    try:
        yield store, engine
    finally:
        store.close()


def _ask(engine: Engine, sql: str) -> Any:
    """Over a client of its own."""
    client = engine.connect({})
    try:
        return client.command(sql)
    finally:
        client.close()


@cache
def _shared() -> "tuple[Path, Client]":
    directory = quick_directory("store")
    keeper = ChdbEngine(directory).connect({})

    def remove() -> None:
        keeper.close()
        shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
    return directory, keeper
