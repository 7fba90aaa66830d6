"""An answer says what it lacks, also when the damage is found by its own query, or while it runs."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from parsec.adapters.store.chdb.damaged_parts import DamagedPart
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Fatal
from parsec.keys.key import ANYONE
from parsec.ports.store import QueryLimits, StoreReader, T
from parsec.query.completeness import CompletenessCheck
from parsec.telemetry import Telemetry
from parsec.web.query_executor import QueryExecutor
from parsec.web.routes.query import QueryRoutes
from tests.support.manual_clock import ManualClock
from tests.support.stored import NOON, row
from tests.support.stores import LIMITS, TestEngine, embedded_store

_PART = "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active AND rows = 3"
MISSING = "Events received on 2026-11-23 are missing: 1 damaged part of the store is detached."


class Interrupted:
    """A reader; something happens once, after its next query that names events."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self.then: Callable[[], object] | None = None

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, into: type[T]) -> list[T]:
        found = self._reader.select(sql, parameters, limits, into)
        if "FROM events" in sql and self.then is not None:
            then, self.then = self.then, None
            then()
        return found


class Asking:
    """Routes over a store with one part of 3 events and one of 1,500."""

    def __init__(self, store: ClickHouseStore, engine: TestEngine) -> None:
        self._engine = engine
        store.insert([row(0), row(1), row(2)], "log-1/0/0-2")
        store.insert([row(3 + n) for n in range(1500)], "log-1/0/3-1502")
        self.reader = Interrupted(store.reader())
        self.part = Path(str(engine.ask(_PART)))
        self.executor = QueryExecutor(ThreadPoolExecutor(2), LIMITS, Telemetry())
        clock = ManualClock(NOON)
        check = CompletenessCheck(self.reader, lambda: NOON, lambda: 0, lambda: 0, clock, store.damage_changes)
        self.routes = QueryRoutes(self.reader, check, self.executor, clock)

    def detach(self) -> None:
        """As the scrub does, on another thread."""
        client = self._engine.connect({})
        damaged = DamagedPart("events", self.part.name, "Code: 40.")
        thread = threading.Thread(target=self._engine.damaged_parts.detach, args=(client, damaged))
        thread.start()
        thread.join()
        client.close()

    def request(self, **parameters: str) -> Request:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            raise AssertionError

        query = "&".join(
            f"{name}={value}"
            for name, value in {"tenant": "acme", "from": "0", "to": "2027-01-01T00:00:00Z", **parameters}.items()
        )
        scope = {
            "type": "http", "method": "GET", "path": "/query/events", "headers": [], "query_string": query.encode(),
            "caller": ANYONE, "cursor_cipher": None,
        }  # fmt: skip
        return Request(scope, receive)

    def ask(self, **parameters: str) -> Response:
        return asyncio.run(self.routes.events(self.request(**parameters)))


@pytest.fixture
def asking() -> Iterator[Asking]:
    with embedded_store() as (store, engine):
        made = Asking(store, engine)
        yield made
        made.executor.close()


def body(response: Response) -> Any:
    return json.loads(bytes(response.body))


def test_a_query_that_meets_damage_answers_with_the_rest_and_says_so(asking: Asking) -> None:
    assert body(asking.ask(limit="5", order="oldest"))["missing"] == []
    asking._engine.ask("DETACH TABLE events SYNC")
    asking._engine.ask("ATTACH TABLE events")
    data = bytearray((asking.part / "data.bin").read_bytes())
    (asking.part / "data.bin").write_bytes(bytes(byte ^ 1 for byte in data))
    answer = body(asking.ask(limit="5", order="oldest"))
    assert [event["id"] for event in answer["events"]] == [f"evt-{n}" for n in range(3, 8)]
    assert answer["missing"] == [MISSING]


def test_a_query_during_which_a_part_is_detached_is_asked_again(asking: Asking) -> None:
    asking.reader.then = asking.detach
    answer = body(asking.ask(limit="5", order="oldest"))
    assert [event["id"] for event in answer["events"]] == [f"evt-{n}" for n in range(3, 8)]
    assert answer["missing"] == [MISSING]


def test_the_first_page_of_a_stream_is_asked_again_and_later_ones_end_it(asking: Asking) -> None:
    async def read() -> int:
        response = await asking.routes.events(asking.request(format="ndjson", order="oldest"))
        assert json.loads(response.headers["parsec-missing"]) == []
        assert isinstance(response, StreamingResponse)
        lines = 0
        async for chunk in response.body_iterator:
            lines += bytes(chunk).count(b"\n") if isinstance(chunk, bytes) else 0
            asking.detach()
        return lines

    with pytest.raises(Fatal, match="repeat the query"):
        asyncio.run(read())

    async def again() -> Response:
        return await asking.routes.events(asking.request(format="ndjson", order="oldest"))

    assert json.loads(asyncio.run(again()).headers["parsec-missing"]) == [MISSING]
