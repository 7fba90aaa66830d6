"""The endpoints as openapi.yaml describes them: texts, errors and media types. Parameters and structs are in
parsec.api.

Next: parsec.web.openapi.document.
"""

from typing import Any

from parsec.api import parameters
from parsec.api.endpoint import Endpoint
from parsec.api.event import NEW_EVENT_SCHEMA, NEW_EVENTS_SCHEMA, TENANT_PATTERN, NewEvent, NewEventBatch, StoredEvent
from parsec.api.ingest import CODES, IngestAnswer
from parsec.api.problem import PROBLEM_TYPE, Problem
from parsec.api.query import EventPage
from parsec.web.http1 import refusals
from parsec.web.http1.refusals import Refusal
from parsec.web.openapi.operation import (
    JSON_TYPE,
    KEY_ERRORS,
    NO_KEY,
    NOT_FOUND,
    QUERY_ERRORS,
    RETRY_AFTER,
    TEXT,
    WRONG_QUERY,
    Body,
    Header,
    Operation,
    Response,
    problem,
    sent,
)

_EXAMPLE = {
    "tenant_id": "acme", "timestamp": "2026-01-31T12:00:00Z", "severity": "error", "source": "api",
    "message": "payment timed out", "metadata": {"order": 4711},
}  # fmt: skip
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


_INGEST = (
    Operation(
        parameters.INGEST,
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


def _query(endpoint: Endpoint[Any, Any], summary: str, help_: str, *errors: Response) -> Operation:
    """A query, answered with the struct of its endpoint."""
    answers = (sent("The answer.", endpoint.answer), *QUERY_ERRORS, *errors)
    return Operation(endpoint, summary, help_, answers, "query")


_QUERY = (
    Operation(
        parameters.EVENTS,
        "Find events",
        "One page as JSON, or all events as JSON lines or CSV. If the store fails in the middle of the latter, the "
        "connection breaks off before the end of the body. The headers `Parsec-Complete-Until` and `Parsec-Missing` (a "
        "JSON list) then replace the fields of the JSON answer; with `limit`, `Parsec-Cursor` asks for the next page.",
        (
            Response(200, "Events.", {JSON_TYPE: EventPage, "application/x-ndjson": TEXT, "text/csv": TEXT}),
            *QUERY_ERRORS,
        ),
        "query",
        mentions=(StoredEvent,),
    ),
    Operation(
        parameters.TAIL,
        "Follow events as they are stored",
        "Server-sent events: each message is an event as JSON; `event: gap` counts events that a slow reader missed; "
        "`event: end` says that Parsec stops or the key ends. The answer goes on until one side closes it.",
        (
            Response(200, "Events from now on.", {"text/event-stream": TEXT}, {"Cache-Control": {"const": "no-store"}}),
            WRONG_QUERY,
            *KEY_ERRORS,
            problem(429, "Too many tails are open.", RETRY_AFTER),
            problem(503, "Parsec stops.", RETRY_AFTER),
        ),
        "query",
    ),
    _query(
        parameters.HISTOGRAM,
        "Count events per interval",
        "Every bucket of the range, also the empty ones; at most 2,000.",
    ),
    _query(
        parameters.AGGREGATE,
        "Compute metrics of events, in groups",
        "The greatest group by the first metric comes first.",
    ),
    _query(parameters.FIELDS, "List the fields of events", "With the number of events that have each."),
    _query(parameters.VALUES, "List the values of a field", "The most frequent come first."),
    _query(parameters.EVENT, "Get one event", "The newest event with this id.", NOT_FOUND),
    _query(
        parameters.CONTEXT,
        "Get the events around an event",
        "Events of the same source within a day before and after, oldest first.",
        NOT_FOUND,
    ),
    _query(
        parameters.DEAD_LETTERS,
        "List dead letters",
        "Records that could not become rows of the store, the newest first. The tenant `-` stands for those without a "
        "readable tenant; it needs the scope `admin`.",
    ),
    _query(
        parameters.DEAD_LETTER,
        "Get one dead letter with its bytes",
        "`raw` when they are UTF-8, else `raw_base64`.",
        NOT_FOUND,
    ),
)


def _check(endpoint: Endpoint[Any, Any], summary: str, help_: str, good: str, bad: str) -> Operation:
    headers = {"Cache-Control": {"const": "no-store"}}
    answers = (sent(good, endpoint.answer, 200, headers), sent(bad, endpoint.answer, 503, headers))
    return Operation(endpoint, summary, help_, answers)


_SERVICE = (
    _check(
        parameters.HEALTH,
        "Show the state of every part",
        "Answers at once, even if a part hangs. `degraded` and `unhealthy` parts say `why`.",
        "Healthy or degraded.",
        "Unhealthy.",
    ),
    _check(
        parameters.LIVEZ,
        "Tell whether a restart would help",
        "For a supervisor: 503 when only a restart can help a part.",
        "The process is alive.",
        "Restart the process.",
    ),
    _check(
        parameters.READYZ,
        "Tell whether to send requests here",
        "For a load balancer: 503 during start and stop, and when a part is unhealthy.",
        "Send requests here.",
        "Send no requests here.",
    ),
    Operation(
        parameters.STATS,
        "Show counts and the ledger",
        "The work of this process since its start, and the fate of every offset of the log.",
        (sent("The counts.", parameters.STATS.answer), *KEY_ERRORS),
        "admin",
    ),
    Operation(
        parameters.METRICS,
        "Show metrics for Prometheus",
        "In the Prometheus text format, or as OpenMetrics if `Accept` asks for it: see docs/metrics.md.",
        (Response(200, "The metrics.", {"text/plain": TEXT, "application/openmetrics-text": TEXT}), *KEY_ERRORS),
        "admin",
    ),
    Operation(
        parameters.OPENAPI,
        "Show this document",
        "The HTTP interface of this version of Parsec, as OpenAPI.",
        (Response(200, "OpenAPI 3.1.", {"application/yaml": {}}),),
    ),
)
NO_PROCESSOR = problem(404, "This process stores no events: ask one with the role `process`.")
_ADMIN = (
    Operation(
        parameters.KEYLESS,
        "List who sends without an API key",
        "Requests of the last minutes that this process served without a key. They get 401 once a key is required.",
        (sent("The senders.", parameters.KEYLESS.answer), *KEY_ERRORS),
        "admin",
    ),
    Operation(
        parameters.AUDIT,
        "Recount the ledger",
        "Counts rows and dead letters of the store by position, up to the committed offset of each partition, and "
        "compares them with the ledger. `difference` is 0 when everything is in its place; the events of "
        "`not_recounted` offsets may have left the store by age or by size.",
        (sent("The recount.", parameters.AUDIT.answer), *QUERY_ERRORS),
        "admin",
    ),
    Operation(
        parameters.REPAIR,
        "Repair the store",
        "Reads all parts of the store, detaches damaged ones, compares the store with the ledger, and stores again "
        "from the log what is missing. It goes on after the answer: GET shows how far it is; at the end `phase` is "
        "`idle`.",
        (sent("The repair begins.", parameters.REPAIR.answer), WRONG_QUERY, *KEY_ERRORS, NO_PROCESSOR),
        "admin",
    ),
    Operation(
        parameters.REPAIR_STATUS,
        "Show what the store lacks",
        "By the last comparison of the store with the ledger, and how much of it is stored again.",
        (sent("The status.", parameters.REPAIR_STATUS.answer), WRONG_QUERY, *KEY_ERRORS, NO_PROCESSOR),
        "admin",
    ),
)


def _early() -> dict[int, Response]:
    by_status: dict[int, list[Refusal]] = {}
    known = [each for each in vars(refusals).values() if isinstance(each, Refusal)]
    for refusal in (refusals.malformed("The request could be read in two ways."), *known):
        by_status.setdefault(refusal.status, []).append(refusal)
    return {
        status: problem(
            status,
            " ".join(f"`{one.code}`: {one.detail}" for one in refused),
            RETRY_AFTER if all(one.retry_after_s is not None for one in refused) else None,
        )
        for status, refused in sorted(by_status.items())
    }


EARLY = _early()
"""The answers that a request to any endpoint may get before a route sees it; the connection ends after each."""


OPERATIONS: tuple[Operation, ...] = (*_INGEST, *_QUERY, *_ADMIN, *_SERVICE)
