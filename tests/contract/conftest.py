"""A store to test on: the embedded one, and the same engine as a server."""

import shutil
from collections.abc import Iterator

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from tests.support.clickhouse_front import clickhouse_front
from tests.support.memory_disk import quick_directory
from tests.support.stores import ServerEngine, TestEngine, embedded_store, server_store


@pytest.fixture(scope="session")
def front() -> Iterator[str]:
    directory = quick_directory("front")
    try:
        with clickhouse_front(directory / "store") as running:
            yield running.url
    finally:
        shutil.rmtree(directory)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.integration)])
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[ClickHouseStore, TestEngine | ServerEngine]]:
    if request.param == "embedded":
        with embedded_store() as embedded:
            yield embedded
    else:
        with server_store(request.getfixturevalue("front")) as served:
            yield served


@pytest.fixture
def store(opened: tuple[ClickHouseStore, TestEngine | ServerEngine]) -> ClickHouseStore:
    return opened[0]


@pytest.fixture
def engine(opened: tuple[ClickHouseStore, TestEngine | ServerEngine]) -> TestEngine | ServerEngine:
    return opened[1]
