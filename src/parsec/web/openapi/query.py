"""/query/..., for openapi.yaml."""

from parsec.api.event import StoredEvent
from parsec.api.query import (
    AggregateAnswer,
    DeadLetterDetail,
    DeadLetterPage,
    EventAnswer,
    EventContext,
    EventPage,
    FieldList,
    Histogram,
    ValueList,
)
from parsec.query.language.ast import MAX_CHARS
from parsec.query.sql.aggregate import MOST_FIELDS, MOST_GROUPS, MOST_METRICS
from parsec.query.sql.facets import MOST_VALUES
from parsec.query.sql.projection import MAX_FIELDS
from parsec.web.openapi.operation import (
    JSON,
    KEY_ERRORS,
    NOT_THERE,
    QUESTION_ERRORS,
    RETRY_AFTER,
    TEXT,
    WRONG_QUESTION,
    Answer,
    Operation,
    Parameter,
    problem,
    sent,
)
from parsec.web.parameters import DEFAULT_LIMIT, MAX_LIMIT
from parsec.web.routes.query import DEFAULT_TOP, MOST_AROUND, WEEK_S

_TIME = {"type": "string", "format": "parsec-time"}


def _whole(least: int, most: int, default: int | None = None) -> dict[str, object]:
    return {"type": "integer", "minimum": least, "maximum": most} | ({} if default is None else {"default": default})


TENANT = Parameter(
    "tenant",
    "Whose; needed where the API key is for no tenant or none is used, and else that of the key.",
)
FROM = Parameter(
    "from", "The first moment: RFC 3339, a number since 1970, `now`, or relative as `-2h`.", _TIME, example="-2h"
)
TO = Parameter("to", "The first moment that is left out, written in the same ways; default: now.", _TIME)
LIMIT = Parameter("limit", "The most that are wanted.", _whole(1, MAX_LIMIT, DEFAULT_LIMIT))
CURSOR = Parameter(
    "cursor",
    "The `cursor` of the page before, with the same question; it keeps the range of its first page.",
    {"type": "string", "format": "parsec-cursor"},
)
Q = Parameter(
    "q",
    'An expression of docs/query-language.md, as `severity:error "timed out"`; absent: all events.',
    {"type": "string", "format": "parsec-query", "maxLength": MAX_CHARS},
    example='severity:error "timed out"',
)
_FIELD = {"type": "string", "format": "parsec-field"}
_SCOPE = (TENANT, Q, FROM, TO)
_ID = Parameter("id", "An event's id.", {"type": "string", "format": "parsec-event-id"}, "path", required=True)

OPERATIONS = (
    Operation(
        "get",
        "/query/events",
        "events",
        "Find events",
        "A page at a time as JSON, or all there are as JSON lines or CSV. When the store fails in the middle of the "
        "latter, the connection breaks off before the end of the body. Their headers `Parsec-Complete-Until` and "
        "`Parsec-Missing` (a JSON list) say what JSON says; with `limit`, `Parsec-Cursor` asks for the next page.",
        [
            Answer(
                200,
                "Events.",
                {JSON: (EventPage,), "application/x-ndjson": TEXT, "text/csv": TEXT},
            ),
            *QUESTION_ERRORS,
        ],
        [
            *_SCOPE,
            Parameter("order", "By the event's timestamp.", {"enum": ["newest", "oldest"], "default": "newest"}),
            Parameter(
                "fields",
                f"What to show of each event, at most {MAX_FIELDS} names with commas between, as "
                "`id,message,metadata.user.id`; absent: all.",
                {"type": "string", "format": "parsec-fields"},
                example="id,message,metadata.user.id",
            ),
            LIMIT,
            CURSOR,
            Parameter("format", "The header `Accept` says the same.", {"enum": ["json", "ndjson", "csv"]}),
        ],
        scope="query",
        mentions=(StoredEvent,),
    ),
    Operation(
        "get",
        "/query/tail",
        "tail",
        "Events as they are stored",
        "Server-sent events: an event's JSON in each message; `event: gap` says how many a slow reader missed; "
        "`event: end` that Parsec stops. The answer goes on until one of both sides leaves.",
        [
            Answer(200, "Events from now on.", {"text/event-stream": TEXT}, {"Cache-Control": {"const": "no-store"}}),
            WRONG_QUESTION,
            *KEY_ERRORS,
            problem(429, "There are too many readers.", RETRY_AFTER),
            problem(503, "Parsec stops.", RETRY_AFTER),
        ],
        [TENANT, Q],
        scope="query",
    ),
    Operation(
        "get",
        "/query/histogram",
        "histogram",
        "How many events in each stretch of time",
        "Every bucket of the range, empty ones, too; at most 2,000.",
        [sent("Buckets in order of time.", Histogram), *QUESTION_ERRORS],
        [
            *_SCOPE,
            Parameter("interval", "Seconds; 0 or absent: about 60 buckets.", _whole(0, 52 * WEEK_S)),
            Parameter("by", "A field whose 10 most frequent values are counted by name.", _FIELD),
        ],
        scope="query",
    ),
    Operation(
        "get",
        "/query/aggregate",
        "aggregate",
        "Figures about events, in groups",
        "The greatest first, by the first metric.",
        [sent("Groups.", AggregateAnswer), *QUESTION_ERRORS],
        [
            *_SCOPE,
            Parameter("top", "The most groups.", _whole(1, MOST_GROUPS, DEFAULT_TOP)),
            Parameter(
                "metric",
                "`count`, `distinct(f)`, `min(f)`, `max(f)`, `avg(f)`, `sum(f)`, `p95(f)`; absent: `count`.",
                {"type": "string", "format": "parsec-metric"},
                at_most=MOST_METRICS,
                example=("count", "p95(metadata.latency_ms)"),
            ),
            Parameter("by", "A field to group by.", _FIELD, at_most=MOST_FIELDS),
        ],
        scope="query",
    ),
    Operation(
        "get",
        "/query/fields",
        "fields",
        "Which fields events have",
        "And how many events have each.",
        [sent("Fields.", FieldList), *QUESTION_ERRORS],
        _SCOPE,
        scope="query",
    ),
    Operation(
        "get",
        "/query/fields/{name}/values",
        "values",
        "Which values a field has",
        "The most frequent first.",
        [sent("Values.", ValueList), *QUESTION_ERRORS],
        [
            Parameter("name", "A field, as `source` or `metadata.user.id`.", _FIELD, "path", required=True),
            *_SCOPE,
            Parameter("limit", "The most values.", _whole(1, MOST_VALUES, DEFAULT_LIMIT)),
        ],
        scope="query",
    ),
    Operation(
        "get",
        "/query/events/{id}",
        "event",
        "One event",
        "The newest one with this id.",
        [sent("The event.", EventAnswer), *QUESTION_ERRORS, NOT_THERE],
        [_ID, TENANT],
        scope="query",
    ),
    Operation(
        "get",
        "/query/events/{id}/context",
        "context",
        "What happened around an event",
        "What the same source said within a day before and after, oldest first.",
        [sent("The event and its neighbours.", EventContext), *QUESTION_ERRORS, NOT_THERE],
        [
            _ID,
            TENANT,
            Parameter("before", "How many before it.", _whole(0, MOST_AROUND, 10)),
            Parameter("after", "How many after it.", _whole(0, MOST_AROUND, 10)),
        ],
        scope="query",
    ),
)


_WHOLE = {"type": "integer", "minimum": 0}

DEAD_LETTER_OPERATIONS = (
    Operation(
        "get",
        "/deadletters",
        "deadLetters",
        "What could not become a row of the store, and why",
        "The newest first. The tenant `-` stands for letters that do not tell whose they are.",
        [sent("A page.", DeadLetterPage), *QUESTION_ERRORS],
        [TENANT, FROM, TO, Parameter("reason", "Only those with this reason."), LIMIT, CURSOR],
        scope="query",
    ),
    Operation(
        "get",
        "/deadletters/{log_id}/{partition}/{offset}",
        "deadLetter",
        "One dead letter with its bytes",
        "`raw` where the bytes are UTF-8, else `raw_base64`.",
        [sent("The letter.", DeadLetterDetail), *QUESTION_ERRORS, NOT_THERE],
        [
            Parameter("log_id", "Which log.", where="path", required=True),
            Parameter("partition", "Which partition.", {**_WHOLE, "maximum": 2**32 - 1}, "path", required=True),
            Parameter("offset", "Which offset.", {**_WHOLE, "maximum": 2**64 - 1}, "path", required=True),
            TENANT,
        ],
        scope="query",
    ),
)
