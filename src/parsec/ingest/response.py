"""The answers of POST /ingest, each kind made and counted in one place.

In: the fate of a request. Out: an `Outcome` that parsec.web.routes.ingest writes as an HTTP response. Errors: none.
Next: parsec.api.ingest.
"""

from collections.abc import Mapping

import msgspec

from parsec.api.error_codes import CODES
from parsec.api.ingest import IngestAnswer, IngestError
from parsec.core.errors import ParsecError, Rejected
from parsec.ingest.admission import RETRY_AFTER_S, Overload
from parsec.ingest.normalize import Verdicts
from parsec.ingest.rate_limits import Spent
from parsec.telemetry import Telemetry

NOTHING_ACCEPTED: Mapping[str, int] = {}


class Outcome(msgspec.Struct, frozen=True):
    """HTTP status and body; for 429 and 503 the seconds to wait, and the rate limit if it was one."""

    status: int
    answer: IngestAnswer
    retry_after_s: int | None = None
    spent: Spent | None = None


class Responses:
    """Makes outcomes, and counts the events in them."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def decoded(self, events_by_tenant: Mapping[str, int], ack: str, verdicts: Verdicts) -> Outcome:
        """For a request with at least one event, or one verdict on an event; `events_by_tenant` are those accepted."""
        accepted = sum(events_by_tenant.values())
        if accepted:
            self._telemetry.accepted_from(events_by_tenant, accepted)
        for (tenant, code), count in verdicts.counts.items():
            self._telemetry.rejected_from(tenant, code, count)
        truncated = True if verdicts.rejected > len(verdicts.errors) else msgspec.UNSET
        answer = IngestAnswer(verdicts.rejected == 0, ack, accepted, verdicts.rejected, verdicts.errors, truncated)
        return Outcome(200 if accepted else 400, answer)

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
            message = "The log did not answer in time; the events may still arrive. Send the same request again."
        return self._nothing_accepted(503, "not_durable", message, None, RETRY_AFTER_S)

    def internal_error(self) -> Outcome:
        """For a bug; the log has the stack."""
        return self._nothing_accepted(500, "internal", "Parsec failed on this request. Its log has the details.")

    def _nothing_accepted(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        retry_after_s: int | None = None,
        spent: Spent | None = None,
        tenant: str = "",
    ) -> Outcome:
        self._telemetry.rejected_from(tenant, code)
        error = IngestError(None, None, code, field, message, retryable=retry_after_s is not None)
        return Outcome(status, IngestAnswer(False, "durable", 0, 0, [error]), retry_after_s, spent)
