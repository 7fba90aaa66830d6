"""Load on a Parsec, and an exact account of what it answered.

In: a plan (connections, batch, rate, how long). Out: a Result. Errors: Rejected when the very first answers are
refusals for good, OSError when nobody listens. Used by `parsec bench` and bench/.

Each request has the same body for a second and an Idempotency-Key of its own, so that ids differ and the client is not
busy with making JSON: it must be faster than what it measures.
"""

import asyncio
import math
import os
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

from parsec.client.answers import Answer

_ANSWERS = msgspec.json.Decoder(Answer)
_STEPS_PER_OCTAVE = 32


class Plan(msgspec.Struct, frozen=True):
    """What to send. `rate`: events/s in all, 0 for as fast as answers come. `events` 0: until `duration_s` is over."""

    url: str
    connections: int = 8
    batch: int = 100
    rate: float = 0.0
    duration_s: float = 10.0
    events: int = 0
    tenant: str = "bench"
    message_bytes: int = 60
    ack: str = "durable"
    api_key: str | None = None


class Latencies:
    """A histogram of seconds with steps of 2.2 %, in bounded memory however long it runs."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        step = int(math.log2(max(seconds, 1e-6) * 1e6) * _STEPS_PER_OCTAVE)
        self._counts[step] = self._counts.get(step, 0) + 1
        self.count += 1

    def quantile(self, q: float) -> float:
        """Upper edge of the step that holds the q-quantile, in seconds; 0 without any."""
        left = q * self.count
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return float(2 ** ((step + 1) / _STEPS_PER_OCTAVE) / 1e6)
        return 0.0


class Result(msgspec.Struct):
    """What was sent and what came back; events, not requests, unless the name says so."""

    seconds: float = 0.0
    requests: int = 0
    accepted: int = 0
    rejected: int = 0
    refused: int = 0
    unanswered: int = 0
    statuses: dict[int, int] = {}
    latencies: Latencies = msgspec.field(default_factory=Latencies)


class Load:
    """One run of a plan; `result` grows while it runs."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = perf_counter) -> None:
        self._plan = plan
        self._clock = clock
        self._run = os.urandom(6).hex()
        self._sent_requests = 0
        self._request = b""
        self._started = 0.0
        self.result = Result(statuses={})

    async def run(self) -> Result:
        """Sends until the plan is fulfilled. Raises OSError when a connection cannot be opened."""
        parts = urlsplit(self._plan.url)
        loop = asyncio.get_running_loop()
        self._renew()
        self._started = self._clock()
        opened = [
            await loop.create_connection(lambda: _Connection(self), parts.hostname or "127.0.0.1", parts.port or 80)
            for _ in range(self._plan.connections)
        ]
        renewal = asyncio.create_task(self._keep_renewing())
        try:
            await asyncio.gather(*(connection.finished for _, connection in opened))
        finally:
            renewal.cancel()
            for transport, _ in opened:
                transport.close()
        self.result.seconds = self._clock() - self._started
        return self.result

    def next_request(self) -> tuple[bytes | None, float]:
        """The next request and the seconds to wait before it; None: the plan is fulfilled."""
        plan = self._plan
        sent_events = self._sent_requests * plan.batch
        elapsed = self._clock() - self._started
        if plan.events and sent_events >= plan.events:
            return None, 0.0
        if not plan.events and elapsed >= plan.duration_s:
            return None, 0.0
        wait_s = sent_events / plan.rate - elapsed if plan.rate else 0.0
        self._sent_requests += 1
        return self._request.replace(b"RUN-KEY", b"%s-%d" % (self._run.encode(), self._sent_requests), 1), wait_s

    def count(self, status: int, body: bytes, seconds: float) -> None:
        """Books one answer."""
        result = self.result
        result.requests += 1
        result.statuses[status] = result.statuses.get(status, 0) + 1
        result.latencies.add(seconds)
        if status == 200:
            answer = _ANSWERS.decode(body)
            result.accepted += answer.accepted
            result.rejected += answer.rejected
        elif status in (429, 503):
            result.refused += self._plan.batch
        else:
            result.rejected += self._plan.batch

    def count_unanswered(self) -> None:
        """Books a request whose connection broke: nobody knows whether it was taken."""
        self.result.unanswered += self._plan.batch

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._renew()

    def _renew(self) -> None:
        plan = self._plan
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = msgspec.json.encode([_event(plan, now, n) for n in range(plan.batch)])
        key = f"Authorization: Bearer {plan.api_key}\r\n" if plan.api_key else ""
        head = (
            f"POST /ingest?ack={plan.ack} HTTP/1.1\r\nHost: {urlsplit(plan.url).netloc}\r\n{key}"
            f"Content-Type: application/json\r\nIdempotency-Key: RUN-KEY\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body


def _event(plan: Plan, timestamp: str, number: int) -> dict[str, object]:
    words = f"GET /api/v1/users/{number} completed with status 200 in {number % 500} ms "
    message = (words * (plan.message_bytes // len(words) + 1))[: max(plan.message_bytes, 1)]
    return {
        "tenant_id": plan.tenant,
        "timestamp": timestamp,
        "severity": ("info", "info", "info", "warn", "error")[number % 5],
        "source": f"service-{number % 20}",
        "message": message,
        "metadata": {"user_id": number, "latency_ms": number % 500 + 0.5, "trace_id": f"{number:032x}", "region": "eu"},
    }


class _Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0
        self._waiting = False
        self._body = b""
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not derived from asyncio's
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._waiting:
            self._load.count_unanswered()
        self._finish()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._waiting = False
        self._load.count(self._parser.get_status_code(), self._body, perf_counter() - self._sent_at)
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._next()

    def _next(self) -> None:
        request, wait_s = self._load.next_request()
        if request is None:
            self._finish()
        elif wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._send, request)
        else:
            self._send(request)

    def _send(self, request: bytes) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        self._sent_at = perf_counter()
        self._waiting = True
        self._transport.write(request)

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)
