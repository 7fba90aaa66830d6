"""POST /ingest, for openapi.yaml."""

from typing import Annotated

import msgspec

from parsec.ingest.error_codes import CODES
from parsec.ingest.field_mapping import PARAMETERS
from parsec.ingest.response import Answer as IngestAnswer
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
    Schema,
    sent,
)
from parsec.web.responses import Problem

_TENANT_PATTERN = r"^\s*[A-Za-z0-9][A-Za-z0-9._-]{0,63}\s*$"
_EVENT: Schema = {"$ref": "#/components/schemas/NewEvent"}
_BATCH: Schema = {"$ref": "#/components/schemas/NewEvents"}
_SOME: Schema = {"type": "array", "contains": _EVENT}

Named = Annotated[str, msgspec.Meta(pattern=r"\S")]


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is sent. Other fields move into `metadata`.

    What the address, a header or the API key fills in may be absent; `PARSEC_INGEST_LENIENT` fills in more.
    """

    id: Annotated[str, msgspec.Meta(max_length=128, description="Derived when absent.")] | None = None
    tenant_id: Annotated[str, msgspec.Meta(pattern=_TENANT_PATTERN, description="Trimmed, then lower case.")] | None = (
        None
    )
    timestamp: Annotated[
        str | int | float,
        msgspec.Meta(
            description="RFC 3339 with any offset, or a number (or digits) of s, ms, us or ns since 1970, told apart "
            "by size; at most 24 hours ahead of the server's clock.",
            extra_json_schema={"format": "parsec-timestamp"},
        ),
    ]
    severity: Annotated[
        str | int,
        msgspec.Meta(
            description="trace, debug, info, warn, error, fatal, or a common alias, in any case; or syslog's 0 to 7.",
            extra_json_schema={"format": "parsec-severity"},
        ),
    ]
    source: Annotated[Named, msgspec.Meta(max_length=256, description="Trimmed, then lower case.")]
    message: Annotated[Named, msgspec.Meta(description="Trimmed.")]
    metadata: (
        Annotated[
            dict[str, object],
            msgspec.Meta(
                max_length=256, description="Nested up to 32 deep, this being the first; comes back exactly as sent."
            ),
        ]
        | None
    ) = None


class NewEvents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch: as an array, but inside an object. Each event gets its own verdict."""

    events: Annotated[list[object], msgspec.Meta(extra_json_schema=dict(_SOME))]


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
        JSON: {"anyOf": [_EVENT, {"description": "Each event gets its own verdict.", **_SOME}, _BATCH]},
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
            Parameter("tenant_id", "Of events that name none.", {"type": "string", "pattern": _TENANT_PATTERN}),
            Parameter("source", "Of events that have none.", {"type": "string", "pattern": r"\S", "maxLength": 256}),
            Parameter("severity", "Of events that have none.", {"type": "string", "format": "parsec-severity"}),
            Parameter(
                "X-Tenant-ID",
                "Of events that name none, where the address names none.",
                {"type": "string", "pattern": _TENANT_PATTERN},
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
        mentions=(NewEvent, NewEvents),
    ),
)
