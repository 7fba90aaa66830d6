"""What is said about a route: its parameters, its body, its answers.

In: nothing. Out: structs that parsec.web.openapi.document turns into OpenAPI. Errors: none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from parsec.api.problem import PROBLEM_TYPE, Problem

Schema = Mapping[str, Any]
"""JSON Schema, as OpenAPI 3.1 takes it."""

JSON = "application/json"
PROBLEM = PROBLEM_TYPE
TEXT: Schema = {"type": "string"}


class Parameter(msgspec.Struct, frozen=True):
    """One parameter. `at_most` above 1: it may stand there that many times."""

    name: str
    help: str
    schema: Schema = msgspec.field(default_factory=lambda: TEXT)
    where: Literal["query", "header", "path"] = "query"
    required: bool = False
    at_most: int = 1
    example: str | Sequence[str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """One status. `body` is a struct, several that are sent as one object, or a schema, by media type."""

    status: int
    help: str
    body: Mapping[str, tuple[type, ...] | Schema]
    headers: Mapping[str, Schema] = {}
    """Name to schema; all of them are always there."""


class Body(msgspec.Struct, frozen=True):
    """What is sent with a request, by media type, and an example as JSON."""

    help: str
    content: Mapping[str, Schema]
    example: Any


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. `scope`: what an API key must be allowed to; empty: none is needed."""

    method: Literal["get", "post", "put", "delete"]
    path: str
    name: str
    summary: str
    help: str
    answers: Sequence[Answer]
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    scope: Literal["", "ingest", "query", "admin"] = ""
    mentions: Sequence[type] = ()
    """Structs that its schemas refer to by name."""


RETRY_AFTER: Mapping[str, Schema] = {"Retry-After": {"type": "integer", "minimum": 1}}


def sent(help_: str, *parts: type, status: int = 200, headers: Mapping[str, Schema] | None = None) -> Answer:
    """A JSON object with the fields of all parts."""
    return Answer(status, help_, {JSON: parts}, headers or {})


def problem(status: int, help_: str, headers: Mapping[str, Schema] | None = None) -> Answer:
    """An error answer of any address but /ingest."""
    return Answer(status, help_, {PROBLEM: (Problem,)}, headers or {})


NO_KEY: Mapping[str, Schema] = {"WWW-Authenticate": TEXT}

WRONG_QUESTION = problem(400, "A parameter is missing, unknown or wrong: `field` names it, `detail` says how.")
NOT_THERE = problem(404, "This tenant has none.")
NOT_NOW = problem(503, "The store does not answer now, or too many questions are asked at once.", RETRY_AFTER)
KEY_ERRORS = (
    problem(401, "No API key, or none that holds.", NO_KEY),
    problem(403, "The API key is not for this: `code` is `missing_scope` or `wrong_tenant`."),
)
QUESTION_ERRORS = (WRONG_QUESTION, *KEY_ERRORS, NOT_NOW)
