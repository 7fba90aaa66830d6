"""Who may ask, and what becomes of a question whose client has left. Numbers: parsec.web.query_executor."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from parsec.core.errors import Rejected
from parsec.ports.store import QueryLimits
from parsec.telemetry import Telemetry
from parsec.web.query_executor import QueryExecutor

LIMITS = QueryLimits(1 << 20, 30.0)


def request(leaves: asyncio.Event) -> Request:
    """One whose client waits until the event is set."""
    sent: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop()
        await leaves.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "path": "/", "headers": []}, receive)


def asking(body: Callable[[QueryExecutor, Telemetry], Awaitable[None]], threads: int = 4) -> None:
    telemetry = Telemetry()
    asker = QueryExecutor(ThreadPoolExecutor(threads), LIMITS, telemetry)

    async def run() -> None:
        await asyncio.wait_for(body(asker, telemetry), 20)

    asyncio.run(run())
    asker.close()


def stuck(began: threading.Event, ended: threading.Event) -> Callable[[QueryLimits], str]:
    """A question that ends only when it is stopped, and a while after."""

    def question(limits: QueryLimits) -> str:
        stopped = threading.Event()
        assert limits.cancellation is not None
        with limits.cancellation.stopped_by(stopped.set):
            began.set()
            assert stopped.wait(10)
        assert ended.wait(10)
        return "never seen"

    return question


async def begins(question: threading.Event) -> None:
    assert await asyncio.to_thread(question.wait, 10)


def test_a_question_whose_client_has_left_is_stopped_and_keeps_its_turn_until_then() -> None:  # 1, 2
    async def body(asker: QueryExecutor, telemetry: Telemetry) -> None:
        leaves, stays, ended = asyncio.Event(), asyncio.Event(), threading.Event()
        began = [threading.Event(), threading.Event()]
        asked = [asyncio.ensure_future(asker.run(request(leaves), "a", stuck(each, ended))) for each in began]
        for each in began:
            await begins(each)
        leaves.set()
        for answer_of in asked:
            with pytest.raises(ClientDisconnect):
                await answer_of
        with pytest.raises(Rejected, match="2 queries of this tenant") as refused:
            await asker.run(request(stays), "a", lambda _: "too many of this tenant")
        assert (refused.value.code, refused.value.status) == ("too_many_questions", 503)
        assert await asker.run(request(stays), "b", lambda _: "another tenant") == "another tenant"
        ended.set()
        answer = None
        while answer is None:
            try:
                answer = await asker.run(request(stays), "a", lambda _: "a turn again")
            except Rejected:
                await asyncio.sleep(0)
        assert telemetry.value("parsec_query_cancelled_total") == 2

    asking(body)


def test_a_question_that_is_cancelled_before_its_turn_never_begins() -> None:
    async def body(asker: QueryExecutor, telemetry: Telemetry) -> None:
        leaves, ended, began = asyncio.Event(), threading.Event(), threading.Event()
        ran: list[str] = []
        first = asyncio.ensure_future(asker.run(request(asyncio.Event()), "a", stuck(began, ended)))
        await begins(began)
        second = asyncio.ensure_future(asker.run(request(leaves), "b", lambda _: ran.append("b")))
        await asyncio.sleep(0)
        leaves.set()
        with pytest.raises(ClientDisconnect):
            await second
        first.cancel()
        ended.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await asker.run(request(asyncio.Event()), "b", lambda _: "c") == "c"
        assert ran == []
        assert telemetry.value("parsec_query_cancelled_total") == 1

    asking(body, threads=1)
