"""POST /ingest: body in, answer out. Raw ASGI, because at 30,000 requests a second a framework is most of the cost.

In: one HTTP request. Out: the answer of design section 4. Errors: every refusal is such an answer; memory is taken
from one budget before it is used, so overload is refused while it is still cheap. Next: parsec.ingest.pipeline.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, cast, get_args
from urllib.parse import parse_qs

import msgspec
import structlog

from parsec.core.errors import Rejected
from parsec.ingest.budget import ByteBudget
from parsec.ingest.channel import Channel
from parsec.ingest.fields import FieldMap
from parsec.ingest.inflate import inflater
from parsec.ingest.pipeline import AckMode, Answer, Outcome, Pipeline, Request
from parsec.telemetry import Telemetry

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ENCODER = msgspec.json.Encoder()
_JSON_HEADER = (b"content-type", b"application/json")


class Door(msgspec.Struct, frozen=True):
    """What is asked before a body is read: may anything be taken in now, and how much of it."""

    max_body_bytes: int
    budget: ByteBudget
    channel: Channel
    closed_because: Callable[[], str | None]
    """Why nothing can be made durable now (disk full, log full, log closed), or None."""
    body_timeout_s: float


class _Heads(msgspec.Struct):
    """The request headers that matter here."""

    encoding: str = ""
    tenant: str | None = None
    idempotency_key: str | None = None
    length: int | None = None


class _Query(msgspec.Struct, frozen=True):
    fields: FieldMap
    ack: AckMode


class _Disconnected(Exception):
    """The client left before its body was complete; nobody is there to answer."""


class IngestRoute:
    """An ASGI application for one path."""

    def __init__(self, pipeline: Pipeline, door: Door, telemetry: Telemetry) -> None:
        self._pipeline = pipeline
        self._door = door
        self._telemetry = telemetry
        self._log = structlog.get_logger(__name__).bind()  # once: see parsec.web.app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = _Reservation(self._door.budget)
        try:
            outcome = await self._outcome(scope, receive, held)
        except Rejected as refusal:
            outcome = self._pipeline.refused(refusal)
        except _Disconnected:
            return
        except Exception:  # noqa: BLE001 (the top of a request: log, count, answer)
            self._log.exception("A request failed inside Parsec.")
            outcome = self._pipeline.internal_error()
        finally:
            held.release()
        self._telemetry.requests.labels(str(outcome.status)).inc()
        answer = outcome.answer
        self._log.debug("Events answered.", status=outcome.status, accepted=answer.accepted, rejected=answer.rejected)
        all_well = outcome.status == 200 and not answer.errors
        start, body = _all_well(answer.ack, answer.accepted) if all_well else _messages(outcome)
        await send(start)
        await send(body)

    async def _outcome(self, scope: Scope, receive: Receive, held: "_Reservation") -> Outcome:
        if scope["method"] != "POST":
            raise Rejected("method_not_allowed", "POST events to this address.", status=405)
        why = self._door.closed_because()
        if why is not None:
            return self._pipeline.unavailable("unavailable", why)
        if not self._door.channel.has_room():
            return self._pipeline.queue_full()
        heads = _heads(scope["headers"])
        query = _query(scope["query_string"])
        body = await self._body(receive, heads, held)
        if body is None:
            return self._pipeline.too_many_bodies()
        self._telemetry.body_bytes.inc(len(body))
        return await self._pipeline.ingest(Request(body, query.fields, query.ack, heads.tenant, heads.idempotency_key))

    async def _body(self, receive: Receive, heads: _Heads, held: "_Reservation") -> bytes | None:
        """The inflated body. None: the budget for bodies in flight is used up. Raises Rejected."""
        limit = self._door.max_body_bytes
        inflate = inflater(heads.encoding, limit)
        if heads.encoding in ("", "identity") and (heads.length or 0) > limit:
            raise _too_large(limit)
        chunk, more = await _receive(receive)
        first = bytes(inflate.feed(chunk))
        if not held.grow_to(len(first)):
            return None
        if not more:
            return first + inflate.finish()
        body = bytearray(first)
        try:
            async with asyncio.timeout(self._door.body_timeout_s):
                while more:
                    chunk, more = await _receive(receive)
                    part = inflate.feed(chunk)
                    if not held.grow_to(len(body) + len(part)):
                        return None
                    body += part
        except TimeoutError:
            raise _too_slow(self._door.body_timeout_s) from None
        return bytes(body) + inflate.finish()


class _Reservation:
    """One request's share of the budget; grows as bytes arrive."""

    __slots__ = ("_budget", "_bytes")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._bytes = 0

    def grow_to(self, size: int) -> bool:
        if size <= self._bytes:
            return True
        if not self._budget.reserve(size - self._bytes):
            return False
        self._bytes = size
        return True

    def release(self) -> None:
        self._budget.release(self._bytes)
        self._bytes = 0


async def _receive(receive: Receive) -> tuple[bytes, bool]:
    """The next bytes of the body, and whether more will come. Raises _Disconnected."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Disconnected
    return message.get("body", b""), message.get("more_body", False)


def _heads(headers: list[tuple[bytes, bytes]]) -> _Heads:
    heads = _Heads()
    for name, value in headers:
        if name == b"content-length":
            heads.length = int(value)  # the HTTP parser has checked it
        elif name == b"content-encoding":
            heads.encoding = value.decode("latin-1").strip().lower()
        elif name == b"x-tenant-id":
            heads.tenant = value.decode("latin-1")
        elif name == b"idempotency-key":
            heads.idempotency_key = value.decode("latin-1")
    return heads


@lru_cache(maxsize=128)
def _query(query_string: bytes) -> _Query:
    ack = parse_qs(query_string.decode("latin-1"), keep_blank_values=True).get("ack", ["durable"])[-1]
    if ack not in get_args(AckMode):
        raise Rejected("invalid_parameter", "ack must be durable or enqueued.", field="ack")
    return _Query(FieldMap.parse(query_string), cast("AckMode", ack))


def _too_slow(seconds: float) -> Rejected:
    message = f"The body was not complete after {seconds:g} s. Send smaller requests, or from nearer."
    return Rejected("body_too_slow", message, status=408)


def _too_large(limit: int) -> Rejected:
    return Rejected(
        "payload_too_large", f"The body is larger than {limit} bytes. Send fewer events per request.", status=413
    )


@lru_cache(maxsize=1024)
def _all_well(ack: str, accepted: int) -> tuple[Message, Message]:
    """The usual answer, which says little else than a number."""
    return _messages(Outcome(200, Answer(True, ack, accepted, 0, [])))


def _messages(outcome: Outcome) -> tuple[Message, Message]:
    body = _ENCODER.encode(outcome.answer)
    headers = [_JSON_HEADER, (b"content-length", b"%d" % len(body))]
    if outcome.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % outcome.retry_after_s))
    if outcome.status == 405:
        headers.append((b"allow", b"POST"))
    start = {"type": "http.response.start", "status": outcome.status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}
