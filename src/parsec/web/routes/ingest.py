"""POST /ingest: body in, answer out. Raw ASGI, because at 30,000 requests a second a framework is most of the cost.

In: one HTTP request. Out: the answer of design section 4. Errors: every refusal is such an answer; memory is taken
from one budget before it is used, so overload is refused while it is still cheap. Next: parsec.ingest.pipeline.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import cast, get_args
from urllib.parse import parse_qs

import msgspec
import structlog
from starlette.types import Message, Receive, Scope, Send

from parsec.api.ingest import IngestAnswer
from parsec.core.errors import Rejected
from parsec.ingest.budget import ByteBudget
from parsec.ingest.field_mapping import FieldMap, named_tenant
from parsec.ingest.pipeline import AckMode, Pipeline, Request
from parsec.ingest.rate_limits import Spent
from parsec.ingest.response import Outcome
from parsec.keys.caller import Caller
from parsec.telemetry import Telemetry
from parsec.web.auth import CHALLENGE, Authenticator, Credential
from parsec.web.cors import DATA_ONLY
from parsec.web.http1.refusals import BODY_TOO_SLOW
from parsec.web.request_body import Disconnected, RequestBodyReader, Reservation, too_large

_ENCODER = msgspec.json.Encoder()
_JSON_HEADER = (b"content-type", b"application/json")
_TOO_SLOW = Rejected(
    BODY_TOO_SLOW.code,
    f"{BODY_TOO_SLOW.detail} Send smaller requests, or from nearer.",
    status=BODY_TOO_SLOW.status,
)


class IngestGuard(msgspec.Struct, frozen=True):
    """What is asked before a body is read: may anything be taken in now, and how much of it."""

    max_body_bytes: int
    budget: ByteBudget
    closed_because: Callable[[], str | None]
    """Why nothing can be made durable now (disk full, log full, log closed), or None."""
    callers: Authenticator


class IngestHeaders(msgspec.Struct, gc=False):
    """The request headers that matter here."""

    encoding: str = ""
    tenant: str | None = None
    idempotency_key: str | None = None
    length: int | None = None
    credentials: tuple[Credential, ...] = ()
    plain_client: bool = True  # it neither waits before it sends its body nor is a browser

    @property
    def plain(self) -> bool:
        """The body is what it says, not compressed."""
        return self.encoding in ("", "identity")


class _Query(msgspec.Struct, frozen=True):
    fields: FieldMap
    ack: AckMode


class IngestRoute:
    """One path: an ASGI application, and `whole` for bodies that are there already."""

    def __init__(self, pipeline: Pipeline, door: IngestGuard, telemetry: Telemetry) -> None:
        self._pipeline = pipeline
        self._door = door
        self._telemetry = telemetry
        self._bodies = RequestBodyReader(door.max_body_bytes)
        self._log = structlog.get_logger(__name__).bind()  # once: see parsec.web.app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = Reservation(self._door.budget)
        try:
            outcome = await self._outcome(scope, receive, held)
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001 (the top of a request)
            outcome = self._failed(error)
        finally:
            held.release()
        self._count(outcome)
        for message in _messages(outcome):
            await send(message)

    def whole(self, query_string: bytes, heads: IngestHeaders, body: bytes, answer: Callable[[Outcome], None]) -> None:
        """For a POST whose small body, not compressed, has come: calls `answer` once, now or when all is durable."""
        held = Reservation(self._door.budget)

        def settled(outcome: Outcome) -> None:
            held.release()
            self._count(outcome)
            answer(outcome)

        try:
            caller, query, refusal = self._asked(heads, query_string, held)
            if refusal is None and not held.grow_to(len(body)):
                refusal = self._pipeline.answers.too_many_bodies()
            if refusal is None:
                if len(body) > self._door.max_body_bytes:
                    raise too_large(self._door.max_body_bytes)
                self._pipeline.ingest_at_once(self._request(query, heads, caller, body), settled)
                return
        except Exception as error:  # noqa: BLE001 (the top of a request)
            refusal = self._failed(error)
        settled(refusal)

    def too_slow(self) -> Outcome:
        """The answer to a body that did not come in time; its deadline is kept by parsec.web.http1.limits."""
        outcome = self._pipeline.answers.refused(_TOO_SLOW)
        self._count(outcome)
        return outcome

    async def _outcome(self, scope: Scope, receive: Receive, held: Reservation) -> Outcome:
        if scope["method"] != "POST":
            raise Rejected("method_not_allowed", "POST events to this address.", status=405)
        heads = heads_of(scope["headers"])
        caller, query, refusal = self._asked(heads, scope["query_string"], held)
        if refusal is not None:
            return refusal
        body = await self._bodies.read(receive, heads.encoding, heads.length, held)
        if body is None:
            return self._pipeline.answers.too_many_bodies()
        return await self._pipeline.ingest(self._request(query, heads, caller, body))

    def _asked(
        self, heads: IngestHeaders, query_string: bytes, held: Reservation
    ) -> tuple[Caller, _Query, Outcome | None]:
        """Before a body: who asks for what, and why nothing of theirs is taken in now. Raises Rejected."""
        caller, query = self._caller(heads), _query(query_string)
        held.tenant = caller.tenant or named_tenant(heads.tenant, query.fields)
        why = self._door.closed_because()
        if why is not None:
            return caller, query, self._pipeline.answers.unavailable("unavailable", why)
        return caller, query, self._pipeline.not_now(held.tenant)  # '': nobody knows yet whose it is

    def _caller(self, heads: IngestHeaders) -> Caller:
        """Who sends events, and for which tenant if the key says so. Raises Rejected."""
        caller = self._door.callers.of(heads.credentials)
        caller.must("ingest")
        if caller.tenant is not None and heads.tenant is not None:
            named = heads.tenant.strip().lower()
            if named and named != caller.tenant:
                message = "X-Tenant-ID names another tenant than the API key's; leave it out."
                raise Rejected("tenant_mismatch", message, field="X-Tenant-ID", status=403)
        return caller

    def _request(self, query: _Query, heads: IngestHeaders, caller: Caller, body: bytes) -> Request:
        self._telemetry.body_bytes.add(len(body))
        fixed = caller.tenant is not None
        tenant = caller.tenant if fixed else heads.tenant
        return Request(body, query.fields, query.ack, tenant, heads.idempotency_key, tenant_fixed=fixed)

    def _failed(self, error: Exception) -> Outcome:
        if isinstance(error, Rejected):
            return self._pipeline.answers.refused(error)
        self._log.exception("A request failed inside Parsec.")
        return self._pipeline.answers.internal_error()

    def _count(self, outcome: Outcome) -> None:
        status = outcome.status
        self._telemetry.requests.add(of=str(status))
        answer = outcome.answer
        self._log.debug("Events answered.", status=status, accepted=answer.accepted, rejected=answer.rejected)


def heads_of(headers: list[tuple[bytes, bytes]]) -> IngestHeaders:
    """From headers with names in lower case that the HTTP parser has checked."""
    heads = IngestHeaders()
    for name, value in headers:
        if name == b"content-length":
            heads.length = int(value)
        elif name == b"content-encoding":
            heads.encoding = value.decode("latin-1").strip().lower()
        elif name == b"x-tenant-id":
            heads.tenant = value.decode("latin-1")
        elif name == b"idempotency-key":
            heads.idempotency_key = value.decode("latin-1")
        elif name == b"authorization" or name == b"x-api-key":
            heads.credentials += ((name, value),)
        elif name == b"expect" or name == b"origin":
            heads.plain_client = False
    return heads


@lru_cache(maxsize=128)
def _query(query_string: bytes) -> _Query:
    ack = parse_qs(query_string.decode("latin-1"), keep_blank_values=True).get("ack", ["durable"])[-1]
    if ack not in get_args(AckMode):
        raise Rejected("invalid_parameter", "ack must be durable or enqueued.", field="ack")
    return _Query(FieldMap.parse(query_string), cast("AckMode", ack))


def _messages(outcome: Outcome) -> tuple[Message, Message]:
    """The answer as ASGI wants it."""
    body, headers = _written(outcome)
    start = {"type": "http.response.start", "status": outcome.status, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


def answer_of(outcome: Outcome) -> bytes:
    """The answer from its headers on, as it goes over the wire behind the status line."""
    answer = outcome.answer
    if outcome.status == 200 and not answer.errors:
        return _all_well(answer.ack, answer.accepted)
    return _on_wire(outcome)


@lru_cache(maxsize=1024)
def _all_well(ack: str, accepted: int) -> bytes:
    """The usual answer, which says little else than a number."""
    return _on_wire(Outcome(200, IngestAnswer(True, ack, accepted, 0, [])))


def _on_wire(outcome: Outcome) -> bytes:
    body, headers = _written(outcome)
    return b"".join([b"%b: %b\r\n" % header for header in (*headers, *DATA_ONLY)]) + b"\r\n" + body


def _written(outcome: Outcome) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Body and headers."""
    body = _ENCODER.encode(outcome.answer)
    headers = [_JSON_HEADER, (b"content-length", b"%d" % len(body))]
    if outcome.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % outcome.retry_after_s))
    if outcome.spent is not None:
        headers += _rate_headers(outcome.spent)
    if outcome.status == 405:
        headers.append((b"allow", b"POST"))
    if outcome.status == 401:
        headers.append(CHALLENGE)
    return body, headers


def _rate_headers(spent: Spent) -> list[tuple[bytes, bytes]]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-06; the policy says which of the two limits it was."""
    burst, per_s = spent.rate.burst, spent.rate.per_s
    policy = f'{burst:.0f};w={math.ceil(burst / per_s)};unit="{spent.what}"'
    return [
        (b"ratelimit-limit", b"%.0f" % burst),
        (b"ratelimit-remaining", b"0"),
        (b"ratelimit-reset", b"%d" % spent.retry_after_s),
        (b"ratelimit-policy", policy.encode()),
    ]
