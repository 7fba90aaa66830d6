"""GET /query/... and GET /deadletters, for openapi.yaml."""

from typing import Any

from parsec.api.endpoint import Endpoint
from parsec.api.event import StoredEvent
from parsec.api.parameters import (
    AGGREGATE,
    CONTEXT,
    DEAD_LETTER,
    DEAD_LETTERS,
    EVENT,
    EVENTS,
    FIELDS,
    HISTOGRAM,
    TAIL,
    VALUES,
)
from parsec.api.query import EventPage
from parsec.web.openapi.operation import (
    JSON_TYPE,
    KEY_ERRORS,
    NOT_FOUND,
    QUESTION_ERRORS,
    RETRY_AFTER,
    TEXT,
    WRONG_QUESTION,
    Operation,
    Response,
    problem,
    sent,
)


def _question(endpoint: Endpoint[Any, Any], summary: str, help_: str, *errors: Response) -> Operation:
    """A question that is answered with the struct of its endpoint."""
    answers = (sent("The answer.", endpoint.answer), *QUESTION_ERRORS, *errors)
    return Operation(endpoint, summary, help_, answers, "query")


QUERY_OPERATIONS = (
    Operation(
        EVENTS,
        "Find events",
        "One page as JSON, or all events as JSON lines or CSV. If the store fails in the middle of the latter, the "
        "connection breaks off before the end of the body. The headers `Parsec-Complete-Until` and `Parsec-Missing` (a "
        "JSON list) then replace the fields of the JSON answer; with `limit`, `Parsec-Cursor` asks for the next page.",
        (
            Response(200, "Events.", {JSON_TYPE: EventPage, "application/x-ndjson": TEXT, "text/csv": TEXT}),
            *QUESTION_ERRORS,
        ),
        "query",
        mentions=(StoredEvent,),
    ),
    Operation(
        TAIL,
        "Follow events as they are stored",
        "Server-sent events: each message is an event as JSON; `event: gap` counts events that a slow reader missed; "
        "`event: end` says that Parsec stops or the key ends. The answer goes on until one side closes it.",
        (
            Response(200, "Events from now on.", {"text/event-stream": TEXT}, {"Cache-Control": {"const": "no-store"}}),
            WRONG_QUESTION,
            *KEY_ERRORS,
            problem(429, "Too many tails are open.", RETRY_AFTER),
            problem(503, "Parsec stops.", RETRY_AFTER),
        ),
        "query",
    ),
    _question(HISTOGRAM, "Count events per interval", "Every bucket of the range, also the empty ones; at most 2,000."),
    _question(AGGREGATE, "Compute metrics of events, in groups", "The greatest group by the first metric comes first."),
    _question(FIELDS, "List the fields of events", "With the number of events that have each."),
    _question(VALUES, "List the values of a field", "The most frequent come first."),
    _question(EVENT, "Get one event", "The newest event with this id.", NOT_FOUND),
    _question(
        CONTEXT,
        "Get the events around an event",
        "Events of the same source within a day before and after, oldest first.",
        NOT_FOUND,
    ),
    _question(
        DEAD_LETTERS,
        "List dead letters",
        "Records that could not become rows of the store, the newest first. The tenant `-` stands for those without a "
        "readable tenant; it needs the scope `admin`.",
    ),
    _question(
        DEAD_LETTER, "Get one dead letter with its bytes", "`raw` when they are UTF-8, else `raw_base64`.", NOT_FOUND
    ),
)
