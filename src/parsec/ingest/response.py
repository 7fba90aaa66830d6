"""What a request is answered: each kind of answer once, and its count.

In: what came of a request. Out: an `Outcome` that parsec.web.routes.ingest writes down. Errors: none.
"""

from collections.abc import Sequence

import msgspec

from parsec.api.ingest import IngestAnswer, IngestError
from parsec.core.envelope import Envelope, by_tenant
from parsec.core.errors import ParsecError, Rejected
from parsec.ingest.normalize import Verdicts
from parsec.ingest.rate_limits import Spent
from parsec.telemetry import Telemetry

RETRY_AFTER_S = 1
"""What a refused client is told to wait: a full channel empties in well under a second."""


class Outcome(msgspec.Struct, frozen=True):
    """HTTP status, body, for 429 and 503 the seconds to wait, and which limit it was if it was one."""

    status: int
    answer: IngestAnswer
    retry_after_s: int | None = None
    spent: Spent | None = None


class Answers:
    """Makes outcomes and counts them."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def taken_in(self, events: Sequence[Envelope], ack: str, verdicts: Verdicts) -> Outcome:
        """The answer to a request that was read; `events` are those accepted."""
        accepted = len(events)
        if accepted:
            self._telemetry.accepted_from(by_tenant(events), accepted)
        for (tenant, code), count in verdicts.counts.items():
            self._telemetry.rejected_from(tenant, code, count)
        truncated = True if verdicts.rejected > len(verdicts.errors) else msgspec.UNSET
        answer = IngestAnswer(verdicts.rejected == 0, ack, accepted, verdicts.rejected, verdicts.errors, truncated)
        return Outcome(200 if accepted else 400, answer)

    def refused(self, refusal: Rejected) -> Outcome:
        """The answer to a request that is wrong as a whole."""
        return self._refused(refusal.status, refusal.code, refusal.message, refusal.field)

    def queue_full(self) -> Outcome:
        """The answer while the channel has no room."""
        message = "The queue is full: events arrive faster than they can be made durable. Send the same request again."
        return self._refused(429, "queue_full", message, None, RETRY_AFTER_S)

    def too_many_bodies(self) -> Outcome:
        """The answer while the bodies of other requests use up the memory set aside for them."""
        message = "Too many requests are being read at once. Send the same request again."
        return self._refused(429, "too_many_bodies", message, None, RETRY_AFTER_S)

    def rate_limited(self, spent: Spent) -> Outcome:
        """The answer to a tenant that has used up what it may send."""
        self._telemetry.rate_limited_of(spent.tenant, spent.what)
        message = (
            f"Tenant {spent.tenant} has used up its {spent.what} for now: {spent.rate.per_s:g} per second, "
            f"{spent.rate.burst:g} at once. Nothing was taken; send the same request again in {spent.retry_after_s} s."
        )
        refused = self._refused(429, "rate_limited", message, None, spent.retry_after_s, spent.tenant)
        return msgspec.structs.replace(refused, spent=spent)

    def internal_error(self) -> Outcome:
        """The answer to a fault of ours; the log has the stack."""
        return self._refused(500, "internal", "Something went wrong inside Parsec; its log says what.", None)

    def unavailable(self, code: str, why: str) -> Outcome:
        """The answer while nothing can be made durable, or during a stop."""
        return self._refused(503, code, why, None, RETRY_AFTER_S)

    def not_durable(self, error: ParsecError | TimeoutError) -> Outcome:
        """The answer when nobody acknowledged the events, for this reason or for none in time."""
        if isinstance(error, ParsecError):
            message = f"{error}. Send the same request again."
        else:
            message = "The log did not answer in time; the events may still arrive. Send the same request again."
        return self._refused(503, "not_durable", message, None, RETRY_AFTER_S)

    def _refused(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None,
        retry_after_s: int | None = None,
        tenant: str = "",
    ) -> Outcome:
        self._telemetry.rejected_from(tenant, code)
        error = IngestError(None, None, code, field, message, retryable=retry_after_s is not None)
        return Outcome(status, IngestAnswer(False, "durable", 0, 0, [error]), retry_after_s)
