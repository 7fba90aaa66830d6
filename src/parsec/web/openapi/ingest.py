"""POST /ingest, for openapi.yaml."""

from parsec.api.error_codes import CODES
from parsec.api.event import NEW_EVENT_SCHEMA, NEW_EVENTS_SCHEMA, TENANT_PATTERN, NewEvent, NewEventBatch
from parsec.api.ingest import IngestAnswer
from parsec.api.parameters import INGEST
from parsec.api.problem import PROBLEM_TYPE, Problem
from parsec.web.openapi.operation import JSON_TYPE, NO_KEY, RETRY_AFTER, TEXT, Body, Header, Operation, Response, sent

_EXAMPLE = {
    "tenant_id": "acme",
    "timestamp": "2026-01-31T12:00:00Z",
    "severity": "error",
    "source": "api",
    "message": "payment timed out",
    "metadata": {"order": 4711},
}
_BODY = Body(
    "One event, an array of events, a batch object, JSON lines, or JSON objects one after the other; the Content-Type "
    "does not matter. The request succeeds if at least one event is accepted.",
    {
        JSON_TYPE: {
            "anyOf": [
                NEW_EVENT_SCHEMA,
                {"description": "Each event is accepted or rejected by itself.", **NEW_EVENTS_SCHEMA},
                {"$ref": "#/components/schemas/NewEventBatch"},
            ]
        },
        "application/x-ndjson": {"description": "An event on each line that is not blank.", **TEXT},
    },
    [_EXAMPLE],
)


def _codes(status: int) -> str:
    return ", ".join(f"`{name}`" for name, code in CODES.items() if code.status == status)


def _refused(status: int, why: str, *, again: bool = False) -> Response:
    codes = _codes(status)
    help_ = f"{why} Codes: {codes}." if codes else why
    return sent(help_, IngestAnswer, status, RETRY_AFTER if again else None)


INGEST_OPERATIONS = (
    Operation(
        INGEST,
        "Send events",
        "The valid events of a request are accepted together: all are as safe as `ack` says, or the answer is 429 or "
        "503. A request that is sent again byte for byte is stored once.",
        (
            sent("At least one event was accepted; `errors` lists the rejected ones.", IngestAnswer),
            _refused(400, "Every event is invalid, or the body or a parameter cannot be read."),
            sent(f"The API key is missing or invalid. Codes: {_codes(401)}.", IngestAnswer, 401, NO_KEY),
            Response(
                403,
                "The API key may not send events, or belongs to another tenant than the header names; as a problem: a "
                "page of another origin may not write here.",
                {JSON_TYPE: IngestAnswer, PROBLEM_TYPE: Problem},
            ),
            _refused(408, "The body did not arrive in time."),
            _refused(413, "Too large."),
            _refused(415, "Unknown encoding."),
            _refused(
                429, "Send the same bytes again later. `RateLimit-*` headers describe a used up limit.", again=True
            ),
            _refused(503, "Nothing can be made durable now. Send the same bytes again later.", again=True),
        ),
        "ingest",
        (
            Header(
                "X-Tenant-ID",
                "For events without a tenant, unless the parameter `tenant_id` names one.",
                {"type": "string", "pattern": TENANT_PATTERN},
            ),
            Header(
                "Idempotency-Key",
                "Replaces the digest of the body in derived ids, so that a retry may differ in bytes.",
                TEXT,
            ),
            Header(
                "Content-Encoding", "How the body is compressed.", {"enum": ["identity", "gzip", "deflate", "zstd"]}
            ),
        ),
        _BODY,
        (NewEvent, NewEventBatch),
    ),
)
