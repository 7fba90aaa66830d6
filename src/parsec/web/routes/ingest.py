"""POST /ingest: body in, answer out. Raw ASGI, because at 30,000 requests a second a framework is most of the cost.

In: one HTTP request. Out: the response that docs/api.md describes. Errors: every refusal is such a response.
Next: parsec.ingest.pipeline.
"""

import asyncio
import math
from collections.abc import Callable
from functools import lru_cache, partial

import msgspec
from starlette.types import Receive, Scope, Send

from parsec.api.event_rules import TENANTS
from parsec.api.ingest import IngestAnswer
from parsec.core.errors import Rejected
from parsec.ingest.admission import TOO_MANY_BODIES
from parsec.ingest.body.inflate import too_large
from parsec.ingest.field_mapping import FieldMap
from parsec.ingest.pipeline import Outcome, Pipeline, Request
from parsec.ingest.rate_limits import Spent
from parsec.web.auth import CHALLENGE, Authenticator, Credential
from parsec.web.cors import DATA_ONLY
from parsec.web.http1.refusals import BODY_TOO_SLOW
from parsec.web.request_body import Disconnected, RequestBodyReader
from parsec.web.routes.keyless import KeylessSenders

_ENCODER = msgspec.json.Encoder()
_JSON_HEADER = (b"content-type", b"application/json")
_TOO_SLOW = Rejected(BODY_TOO_SLOW.code, BODY_TOO_SLOW.detail, status=BODY_TOO_SLOW.status)


class IngestHeaders(msgspec.Struct, gc=False):
    """The request headers that matter here. `is_plain`: the body is not compressed, and the client neither waits for
    "100 Continue" nor is a browser. `repeated`: a header that may be sent once but was sent twice. `address`: of the
    client; not a header."""

    encoding: str | None = None
    tenant: str | None = None
    idempotency_key: str | None = None
    length: int | None = None
    credentials: tuple[Credential, ...] = ()
    is_plain: bool = True
    repeated: str = ""
    user_agent: bytes = b""
    address: str = ""


class IngestRoute:
    """An ASGI application, and `ingest_whole` for bodies that are there already."""

    def __init__(
        self, pipeline: Pipeline, bodies: RequestBodyReader, authenticator: Authenticator, keyless: KeylessSenders
    ) -> None:
        self.keyless = keyless
        self._pipeline = pipeline
        self._bodies = bodies
        self._authenticator = authenticator
        self._ring = authenticator.ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        request = Request(partial(_set_result, answered))
        try:
            await self._ingest(request, scope, receive)
            outcome = await answered
        except Disconnected:
            return
        finally:
            self._pipeline.release(request)
            self._bodies.end_turn(request)
        body, headers = _encoded(outcome)
        await send({"type": "http.response.start", "status": outcome.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _ingest(self, request: Request, scope: Scope, receive: Receive) -> None:
        """Raises Disconnected."""
        try:
            if scope["method"] != "POST":
                raise Rejected(
                    "method_not_allowed", "POST events to this address; GET /query/events reads them.", status=405
                )
            headers = ingest_headers(scope["headers"])
            headers.address = address_of_client(scope)
            self._identify(request, headers, scope["query_string"])
            if not self._pipeline.admit(request):
                return
            if not await self._bodies.read(request, receive, headers.encoding or "", headers.length):
                self._pipeline.refuse(request, TOO_MANY_BODIES)
                return
            for _ in self._pipeline.ingest(request):
                await asyncio.sleep(0)
            self._note_if_keyless(request, headers)
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 (the top of a request)
            self._pipeline.fail(request, error)

    def ingest_whole(
        self, query_string: bytes, headers: IngestHeaders, body: bytes, answer: Callable[[Outcome], object]
    ) -> None:
        """A POST whose small body has arrived and is not compressed. Calls `answer` once, now or later."""
        request = Request(answer)
        try:
            self._identify(request, headers, query_string)
            if self._pipeline.admit(request, len(body)):
                if len(body) > self._bodies.max_body_bytes:
                    raise too_large(self._bodies.max_body_bytes)
                request.body = body
                for _ in self._pipeline.ingest(request):
                    pass
                self._note_if_keyless(request, headers)
        except Exception as error:  # noqa: BLE001 (the top of a request)
            self._pipeline.fail(request, error)

    def too_slow(self, waited_s: float) -> bytes:
        """The response, from its headers on, to a body that did not arrive in time (parsec.web.http1.limits)."""
        outcomes: list[Outcome] = []
        self._pipeline.fail(Request(outcomes.append), _TOO_SLOW, waited_s)
        return response_of(outcomes[0])

    def _note_if_keyless(self, request: Request, headers: IngestHeaders) -> None:
        """For a request that was served."""
        if self._ring.is_open or not headers.credentials:
            self.keyless.note(headers.address, headers.user_agent, request.tenants or (request.default_tenant,))

    def _identify(self, request: Request, headers: IngestHeaders, query_string: bytes) -> None:
        """Who sends events, for which tenant, and what the address says about them. Raises Rejected."""
        if not self._ring.is_open:
            request.key_tenant = (
                self._authenticator.authenticate(headers.credentials, "ingest", headers.address).tenant or ""
            )
        if headers.repeated:
            message = f"The header {headers.repeated} is sent twice; send it once."
            raise Rejected("repeated_header", message, field=headers.repeated)
        request.idempotency_key = headers.idempotency_key
        if query_string:
            request.fields = FieldMap.parse(query_string)
        request.default_tenant = request.fields.default_tenant_id or request.key_tenant
        if headers.tenant:
            _apply_tenant_header(request, headers.tenant)


def _apply_tenant_header(request: Request, text: str) -> None:
    if request.key_tenant:
        if text.strip() and text.strip().lower() != request.key_tenant:
            message = "X-Tenant-ID names a tenant other than the API key's; leave it out."
            raise Rejected("tenant_mismatch", message, field="X-Tenant-ID", status=403)
    elif not request.default_tenant:
        try:
            request.default_tenant = TENANTS[text]
        except Rejected as error:
            raise Rejected("invalid_tenant_id", f"X-Tenant-ID: {error.message}", field="X-Tenant-ID") from error


def _set_result(answered: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not answered.done():  # its client may have left
        answered.set_result(outcome)


def ingest_headers(headers: list[tuple[bytes, bytes]]) -> IngestHeaders:
    """From headers with names in lower case that the HTTP parser has checked."""
    found = IngestHeaders()
    for name, value in headers:
        if name == b"content-length":
            found.length = int(value)
        elif name == b"content-encoding":
            found.repeated = found.repeated if found.encoding is None else "Content-Encoding"
            found.encoding = value.decode("latin-1").strip().lower()
            found.is_plain = found.is_plain and found.encoding in ("", "identity")
        elif name == b"x-tenant-id":
            found.repeated = found.repeated if found.tenant is None else "X-Tenant-ID"
            found.tenant = value.decode("latin-1")
        elif name == b"idempotency-key":
            found.repeated = found.repeated if found.idempotency_key is None else "Idempotency-Key"
            found.idempotency_key = value.decode("latin-1")
        elif name == b"authorization" or name == b"x-api-key":
            found.credentials += ((name, value),)
        elif name == b"user-agent":
            found.user_agent = value
        elif name == b"expect" or name == b"origin":
            found.is_plain = False
    return found


def address_of_client(scope: Scope) -> str:
    """The IP address of the client; empty if unknown."""
    client = scope.get("client")
    return client[0] if client else ""


def response_of(outcome: Outcome) -> bytes:
    """The response behind its status line, as it goes over the wire."""
    answer = outcome.answer
    if outcome.status == 200 and not answer.errors and not answer.blank:
        return _all_accepted(answer.ack, answer.accepted)
    return _on_wire(outcome)


@lru_cache(maxsize=1024)
def _all_accepted(ack: str, accepted: int) -> bytes:
    """The usual response, which says little else than a number."""
    return _on_wire(Outcome(200, IngestAnswer(True, ack, accepted, 0, [])))


def _on_wire(outcome: Outcome) -> bytes:
    body, headers = _encoded(outcome)
    return b"".join([b"%b: %b\r\n" % header for header in (*headers, *DATA_ONLY)]) + b"\r\n" + body


def _encoded(outcome: Outcome) -> tuple[bytes, list[tuple[bytes, bytes]]]:
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
