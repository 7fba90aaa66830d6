"""The story of one request: admit, decode, normalise, offer, await the acknowledgement.

In: a Request, whose body arrives between `admit` and `ingest`. Out: one call of its `answer` with an Outcome. Errors:
no refusal escapes as an exception; after any other the caller calls `fail`. Next: parsec.ingest.body.decode.

`Responses` makes each kind of answer, and counts it, in one place.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Literal

import msgspec
import structlog

from parsec.api.event_rules import MAX_AHEAD_S
from parsec.api.ingest import CODES, IngestAnswer, IngestError
from parsec.core.clock import Clock, Random
from parsec.core.envelope import Envelope, by_tenant
from parsec.core.errors import ParsecError, Rejected
from parsec.core.timestamp import SECOND, second_text
from parsec.ingest.admission import RETRY_AFTER_S, Admission, Overload
from parsec.ingest.body.decode import chunks
from parsec.ingest.channel import Fate, Submission
from parsec.ingest.event_ids import DIGEST_SLICE_BYTES, EventIds
from parsec.ingest.field_mapping import PLAIN, FieldMap
from parsec.ingest.normalize import ENVELOPE_BYTES, Context, Verdicts, normalize
from parsec.ingest.rate_limits import Spent
from parsec.telemetry import Telemetry

NOTHING_ACCEPTED: Mapping[str, int] = {}


class Outcome(msgspec.Struct, frozen=True):
    """HTTP status and body; for 429 and 503 the seconds to wait, and the rate limit if it was one."""

    status: int
    answer: IngestAnswer
    retry_after_s: int | None = None
    spent: Spent | None = None


MAX_LOGGED_TENANTS = 10
"""In the log line of a request whose events name their tenants themselves."""


class Request(msgspec.Struct, eq=False):
    """One POST /ingest on its way.

    `key_tenant`: the tenant of the API key; events of any other are rejected. `default_tenant`: for events that name
    none. Each is '' if there is none. `tenants`: those of its events. `body`: inflated. `held_bytes`: memory reserved
    for it.
    """

    answer: Callable[[Outcome], object]
    fields: FieldMap = PLAIN
    key_tenant: str = ""
    default_tenant: str = ""
    idempotency_key: str | None = None
    tenants: Collection[str] = ()
    body: bytes = b""
    held_bytes: int = 0
    received: float = 0.0
    answered: bool = False


class Identity(msgspec.Struct, frozen=True):
    """Written into every event that this process accepts."""

    region: str
    node: str


class PipelineOptions(msgspec.Struct, frozen=True):
    """Limits and rules of a request; see parsec.settings for each."""

    identity: Identity
    max_events: int
    max_event_bytes: int
    lenient: bool
    derive_ids: Literal["body", "random"]
    ack_timeout_s: float
    strict_severity: bool = False


class Pipeline:
    """Used on the event loop only."""

    def __init__(
        self, admission: Admission, options: PipelineOptions, telemetry: Telemetry, clock: Clock, random: Random,
        max_event_bytes: Callable[[int], int] = lambda wanted: wanted,
    ) -> None:  # fmt: skip
        """`max_event_bytes`: the largest event that the log takes, at most the one that is wanted."""
        self._admission = admission
        self._options = options
        self._telemetry = telemetry
        self._responses = Responses(telemetry)
        self._clock = clock
        self._random = random
        self._log_max_event_bytes = max_event_bytes
        self._max_event_bytes = max_event_bytes(options.max_event_bytes)
        self._overhead_bytes = ENVELOPE_BYTES + 6 * (len(options.identity.region) + len(options.identity.node))
        self._log = structlog.get_logger(__name__).bind()
        self._logs_requests = self._log.is_enabled_for(logging.DEBUG)  # asked once: without it no request pays for it
        self._unanswered: deque[Request] = deque()  # oldest first, some answered in the meantime

    def admit(self, request: Request, body_bytes: int = 0) -> bool:
        """Before the body is read; `body_bytes` of it have arrived. False: refused and answered."""
        overload = self._admission.admit(request.key_tenant or request.default_tenant, body_bytes)
        if overload is not None:
            self.refuse(request, overload)
            return False
        request.held_bytes = body_bytes
        return True

    def ingest(self, request: Request) -> Iterator[None]:
        """From the body to the channel. Yields in a large body, for the caller to give other requests a turn."""
        request.received = self._clock.monotonic()
        self._telemetry.body_bytes.add(len(request.body))
        if self._admission.limits.active and not request.key_tenant and request.fields.tenant_id == PLAIN.tenant_id:
            overload = self._admission.glance(request.body)
            if overload is not None:
                self.refuse(request, overload)
                return
        verdicts = Verdicts()
        events: list[Envelope] = []
        try:
            context = self._context(request)
            if len(request.body) > DIGEST_SLICE_BYTES:
                yield from context.ids.digest_in_slices()
            for chunk in chunks(request.body, self._options.max_events, request.fields.message):
                some = normalize(chunk, context, verdicts)
                if some and not events and chunk.size_bytes < len(request.body):
                    overload = self._admission.over_limit(some)  # rather than decode the rest in vain
                    if overload is not None:
                        self.refuse(request, overload)
                        return
                events += some
                yield
        except Rejected as why:
            self._charge_rejected(request, verdicts)
            self._answer(request, self._responses.rejected(why))
            return
        self._offer(request, events, verdicts)

    def refuse(self, request: Request, overload: Overload) -> None:
        self._answer(request, self._responses.overload(overload))

    def fail(self, request: Request, error: Exception, waited_s: float = 0.0) -> None:
        """Answers what a Rejected says; 500 for any other error, which is logged. `waited_s`: for the body, if it never
        was complete."""
        if waited_s:
            request.received = self._clock.monotonic() - waited_s
        if isinstance(error, Rejected):
            self._answer(request, self._responses.rejected(error))
        else:
            self._log.exception("A request failed because of a bug.")
            self._answer(request, self._responses.internal_error())

    def release(self, request: Request) -> None:
        """Gives back the memory of the request's body: with its answer, or because its client left before that."""
        if request.held_bytes:
            self._admission.release(request.key_tenant or request.default_tenant, request.held_bytes)
            request.held_bytes = 0

    def tick(self) -> None:
        """Called once a second: one timer for all requests. Answers those that were not acknowledged in time."""
        self._max_event_bytes = self._log_max_event_bytes(self._options.max_event_bytes)
        unanswered, received_until = self._unanswered, self._clock.monotonic() - self._options.ack_timeout_s
        while unanswered and (unanswered[0].answered or unanswered[0].received <= received_until):
            request = unanswered.popleft()
            if not request.answered:
                self._answer(request, self._responses.not_durable(TimeoutError()))

    def _context(self, request: Request) -> Context:
        options = self._options
        second, ns = divmod(self._clock.time_ns(), SECOND)
        return Context(
            fields=request.fields,
            default_tenant=request.default_tenant,
            key_tenant=request.key_tenant,
            received_at=f"{second_text(second)}.{ns // 1000:06d}Z",
            latest_s=second + MAX_AHEAD_S,
            region=options.identity.region,
            node=options.identity.node,
            lenient=options.lenient,
            strict_severity=options.strict_severity,
            max_event_bytes=self._max_event_bytes,
            overhead_bytes=self._overhead_bytes,
            ids=EventIds(
                request.body,
                request.idempotency_key,
                request.fields.canonical,
                options.derive_ids == "body",
                self._random,
            ),
        )

    def _offer(self, request: Request, events: list[Envelope], verdicts: Verdicts) -> None:
        """Offers the events as one. The request is answered once they are as safe as it asks."""
        if not events:
            self._charge_rejected(request, verdicts)
            self._answer(request, self._responses.decoded(NOTHING_ACCEPTED, request.fields.ack, verdicts))
            return
        body_bytes, request.body = len(request.body), b""
        request.tenants = counts = by_tenant(events)
        ack = partial(self._acknowledged, request, counts, body_bytes, verdicts)
        overload = self._admission.offer(Submission(events, body_bytes, ack), counts)
        if overload is not None:
            self.refuse(request, overload)
        elif request.fields.ack == "enqueued":
            self._answer(request, self._responses.decoded(counts, "enqueued", verdicts))
        else:
            unanswered = self._unanswered
            while unanswered and unanswered[0].answered:
                unanswered.popleft()  # here, a few at a time: `tick` would free a second's worth at once
            unanswered.append(request)

    def _acknowledged(
        self, request: Request, events_by_tenant: Mapping[str, int], body_bytes: int, verdicts: Verdicts, fate: Fate
    ) -> None:
        self._admission.leave(events_by_tenant, body_bytes)
        if request.answered:
            return  # in mode enqueued, or too late
        if isinstance(fate, ParsecError):
            self._answer(request, self._responses.not_durable(fate))
        else:
            self._telemetry.ack_latency.observe(self._clock.monotonic() - request.received)
            self._answer(request, self._responses.decoded(events_by_tenant, fate, verdicts))

    def _charge_rejected(self, request: Request, verdicts: Verdicts) -> None:
        tenant = request.key_tenant or request.default_tenant
        self._admission.charge_rejected(tenant, verdicts.rejected + verdicts.blank, len(request.body))

    def _answer(self, request: Request, outcome: Outcome) -> None:
        request.answered = True
        self.release(request)
        status = outcome.status
        self._telemetry.requests.add(of=str(status))
        if self._logs_requests:
            self._log_request(request, outcome)
        request.answer(outcome)

    def _log_request(self, request: Request, outcome: Outcome) -> None:
        waited_s = self._clock.monotonic() - request.received if request.received else 0.0
        self._log.debug(
            "Request answered.",
            method="POST",
            route="/ingest",
            status=outcome.status,
            ms=round(waited_s * 1000, 1),
            tenant=request.key_tenant
            or request.default_tenant
            or ",".join(islice(request.tenants, MAX_LOGGED_TENANTS)),
            accepted=outcome.answer.accepted,
            rejected=outcome.answer.rejected,
            blank=outcome.answer.blank,
        )


class Responses:
    """Makes outcomes, and counts the events in them."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def decoded(self, events_by_tenant: Mapping[str, int], ack: str, verdicts: Verdicts) -> Outcome:
        """For a request with at least one event, or one verdict on an event; `events_by_tenant` are those accepted.

        Blank events never make it a 400: there is nothing in them to send again.
        """
        accepted = sum(events_by_tenant.values())
        if accepted:
            self._telemetry.accepted_from(events_by_tenant, accepted)
        for (tenant, code), count in verdicts.counts.items():
            self._telemetry.rejected_from(tenant, code, count)
        self._telemetry.events_rejected += verdicts.rejected
        if verdicts.blank:
            self._telemetry.blank.add(verdicts.blank)
        truncated = True if verdicts.rejected > len(verdicts.errors) else msgspec.UNSET
        rejected = verdicts.rejected
        answer = IngestAnswer(rejected == 0, ack, accepted, rejected, verdicts.errors, verdicts.blank, truncated)
        return Outcome(400 if rejected and not accepted else 200, answer)

    def rejected(self, why: Rejected) -> Outcome:
        """For a request that is wrong as a whole."""
        return self._nothing_accepted(why.status, why.code, why.message, why.field)

    def overload(self, why: Overload) -> Outcome:
        """For a request that Parsec cannot admit now."""
        tenant = ""
        if why.spent is not None:
            tenant = why.spent.tenant
            self._telemetry.rate_limited_of(tenant, why.spent.what)
        status = CODES[why.code].status or 503
        return self._nothing_accepted(status, why.code, why.message, None, why.retry_after_s, why.spent, tenant)

    def not_durable(self, error: ParsecError | TimeoutError) -> Outcome:
        """For events that were refused by the log, or not acknowledged in time."""
        if isinstance(error, ParsecError):
            message = f"{error}. Send the same request again."
        else:
            message = "The log did not answer in time; the events may still be stored. Send the same request again."
        return self._nothing_accepted(503, "not_durable", message, None, RETRY_AFTER_S)

    def internal_error(self) -> Outcome:
        """For a bug; the log has the stack."""
        return self._nothing_accepted(500, "internal", "Parsec failed on this request. Its log has the details.")

    def _nothing_accepted(
        self, status: int, code: str, message: str, field: str | None = None, retry_after_s: int | None = None,
        spent: Spent | None = None, tenant: str = "",
    ) -> Outcome:  # fmt: skip
        self._telemetry.rejected_from(tenant, code)
        error = IngestError(None, None, code, field, message, retryable=retry_after_s is not None)
        return Outcome(status, IngestAnswer(False, "durable", 0, 0, [error]), retry_after_s, spent)
