"""What a reader of live events is sent, and when."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import StreamingResponse

from parsec.keys.key import ANYONE
from parsec.query.tail.subscriptions import CommittedOffsets, Subscriptions, TailLimits
from parsec.telemetry import Telemetry
from parsec.web.routes.tail import TailRoutes

NEVER_S = 60.0


class Opened:
    """A reader of tenant `a` whose key holds while told so."""

    def __init__(self, heartbeat_s: float) -> None:
        self.tails, self.telemetry, self.holds = (
            Subscriptions(TailLimits(1, 1, 20), CommittedOffsets(list)),
            Telemetry(),
            True,
        )
        self._routes = TailRoutes(self.tails, self.telemetry, heartbeat_s)

    async def read(self) -> AsyncIterator[str]:
        scope = {
            "type": "http", "method": "GET", "path": "/query/tail", "headers": [], "query_string": b"tenant=a",
            "caller": ANYONE, "is_still_valid": lambda: self.holds, "cursor_cipher": None,
        }  # fmt: skip
        response = await self._routes.tail(Request(scope))
        assert isinstance(response, StreamingResponse)
        async for chunk in response.body_iterator:
            assert isinstance(chunk, bytes)
            yield chunk.decode()


def test_comments_come_while_nothing_happens() -> None:
    async def body() -> None:
        sent = Opened(heartbeat_s=0.01).read()
        assert (await anext(sent)).startswith("retry:")
        assert [await anext(sent) for _ in range(3)] == [": nothing new\n\n"] * 3

    asyncio.run(body())


def test_events_gaps_and_the_end_come_as_messages_and_are_counted() -> None:
    async def body() -> None:
        opened = Opened(NEVER_S)
        sent = opened.read()
        await anext(sent)
        ((subscription,),) = opened.tails.by_tenant.values()
        subscription.put([b'{"id":"a"}', b'{"id":"b"}', b'{"id":"c"}'])
        subscription.miss(unchecked=7)
        gap = 'event: gap\ndata: {"skipped":1,"unchecked":7}\n\n'
        assert await anext(sent) == gap + 'data: {"id":"b"}\n\ndata: {"id":"c"}\n\n'
        opened.tails.close()
        assert (await anext(sent)).startswith("event: end\n")
        assert [chunk async for chunk in sent] == []
        counts = [
            opened.telemetry.value("parsec_tail_events_total", fate=fate) for fate in ("sent", "skipped", "unchecked")
        ]
        assert counts == [2, 1, 7]

    asyncio.run(body())


def test_a_key_that_ended_ends_the_answer_before_anything_else_is_sent() -> None:
    async def body() -> None:
        opened = Opened(NEVER_S)
        sent = opened.read()
        await anext(sent)
        opened.holds = False
        ((subscription,),) = opened.tails.by_tenant.values()
        subscription.put([b"{}"])
        assert [("event: end" in chunk, "{}" in chunk) async for chunk in sent] == [(True, False)]

    asyncio.run(body())
