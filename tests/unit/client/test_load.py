"""The load generator counts exactly what was answered."""

import asyncio
import json

import pytest

from parsec.client.load import Latencies, Load, Plan, Result
from tests.support.answering import Answering, Reply, answering


def run(server: Answering, **plan: object) -> Result:
    return asyncio.run(Load(Plan(server.url, **plan)).run())  # type: ignore[arg-type]


def taken(events: int) -> Reply:
    return Reply(
        200, json.dumps({"success": True, "ack": "durable", "accepted": events, "rejected": 0, "errors": []}).encode()
    )


def test_a_count_is_sent_whole_and_booked() -> None:
    with answering() as server:
        server.will(taken(10))
        result = run(server, connections=3, batch=10, events=200)
    assert (result.requests, result.accepted, result.statuses) == (20, 200, {200: 20})
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 20
    assert all(len(json.loads(asked.body)) == 10 for asked in server.asked)


def test_refusals_and_rejections_are_told_apart() -> None:
    with answering() as server:
        server.will(taken(5), Reply(429), Reply(503), Reply(400), taken(5))
        result = run(server, connections=1, batch=5, events=25)
    assert (result.accepted, result.refused, result.rejected) == (10, 10, 5)
    assert result.statuses == {200: 2, 429: 1, 503: 1, 400: 1}


def test_a_broken_connection_leaves_its_request_unanswered() -> None:
    with answering() as server:
        server.will(taken(5), Reply(0))
        result = run(server, connections=1, batch=5, events=50)
    assert (result.accepted, result.unanswered) == (5, 5)


def test_a_rate_is_kept() -> None:
    with answering() as server:
        server.will(taken(10))
        result = run(server, connections=2, batch=10, rate=500, duration_s=0.5)
    assert 0 < result.accepted <= 260


def test_nobody_listens() -> None:
    with pytest.raises(OSError, match="Connect"):
        asyncio.run(Load(Plan("http://127.0.0.1:1", connections=1)).run())


def test_quantiles_are_right_to_a_step() -> None:
    latencies = Latencies()
    for n in range(1, 1001):
        latencies.add(n / 1000)
    for q in (0.5, 0.9, 0.99, 1.0):
        assert latencies.quantile(q) == pytest.approx(q, rel=0.03)
    assert Latencies().quantile(0.5) == 0.0
