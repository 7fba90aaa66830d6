"""POST /ingest, for openapi.yaml."""

from parsec.api.event import NEW_EVENT_SCHEMA, NEW_EVENTS_SCHEMA, TENANT_PATTERN, NewEvent, NewEventBatch
from parsec.api.ingest import IngestAnswer
from parsec.api.problem import Problem
from parsec.ingest.error_codes import CODES
from parsec.ingest.field_mapping import PARAMETERS
from parsec.web.openapi.operation import (
    JSON,
    NO_KEY,
    PROBLEM,
    RETRY_AFTER,
    TEXT,
    Answer,
    Body,
    Operation,
    Parameter,
    sent,
)

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
    "does not matter. Accepted is a body of which at least one event is accepted.",
    {
        JSON: {
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


def _list_of_names(parameter: str, field: str) -> Parameter:
    return Parameter(
        parameter,
        f"Names to try for `{field}`, in order, with commas between; `{field}` itself is tried last. A dot leads into "
        "nested objects.",
        {"type": "string", "pattern": "^[^,]{1,256}(,[^,]{1,256}){0,15}$"},
    )


def _codes(status: int) -> str:
    return ", ".join(f"`{name}`" for name, code in CODES.items() if code.status == status)


def _refused(status: int, why: str, *, again: bool = False) -> Answer:
    codes = _codes(status)
    help_ = f"{why} Codes: {codes}." if codes else why
    return sent(help_, IngestAnswer, status=status, headers=RETRY_AFTER if again else None)


OPERATIONS = (
    Operation(
        "post",
        "/ingest",
        "ingest",
        "Take in events",
        "A request's valid events are admitted as one: all are as safe as `ack` says, or the answer is 429 or 503. "
        "A request that is sent again byte for byte is stored once.",
        [
            sent("At least one event was accepted; `errors` tells of the others.", IngestAnswer),
            _refused(400, "Every event is invalid, or the body or the address cannot be read."),
            sent(f"No API key, or none that holds. Codes: {_codes(401)}.", IngestAnswer, status=401, headers=NO_KEY),
            Answer(
                403,
                "The API key may not send events, or is for another tenant than the header's; as a problem: a page of "
                "another origin may not write here.",
                {JSON: (IngestAnswer,), PROBLEM: (Problem,)},
            ),
            _refused(408, "The body did not arrive in time."),
            _refused(413, "Too large."),
            _refused(415, "Unknown encoding."),
            _refused(
                429, "Not now: send the same bytes again. A used up limit is told in `RateLimit-*` fields.", again=True
            ),
            _refused(503, "Nothing can be made durable now: send the same bytes again.", again=True),
        ],
        [
            Parameter("ack", "When to answer.", {"enum": ["durable", "enqueued"], "default": "durable"}),
            *(_list_of_names(name, field) for name, field in PARAMETERS.items()),
            Parameter("tenant_id", "Of events that name none.", {"type": "string", "pattern": TENANT_PATTERN}),
            Parameter("source", "Of events that have none.", {"type": "string", "pattern": r"\S", "maxLength": 256}),
            Parameter("severity", "Of events that have none.", {"type": "string", "format": "parsec-severity"}),
            Parameter(
                "X-Tenant-ID",
                "Of events that name none, where the address names none.",
                {"type": "string", "pattern": TENANT_PATTERN},
                "header",
            ),
            Parameter(
                "Idempotency-Key",
                "Takes the place of the body where ids are derived: a retry may then differ in bytes.",
                TEXT,
                "header",
            ),
            Parameter(
                "Content-Encoding",
                "How the body is compressed.",
                {"enum": ["identity", "gzip", "deflate", "zstd"]},
                "header",
            ),
        ],
        _BODY,
        scope="ingest",
        mentions=(NewEvent, NewEventBatch),
    ),
)
