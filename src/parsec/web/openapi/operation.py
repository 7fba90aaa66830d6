"""The description of an endpoint for people: its answers, its body, its scope.

In: an endpoint and its parameters (parsec.api.parameters). Out: structs that parsec.web.openapi.document turns into
OpenAPI. Errors: none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from parsec.api.endpoint import Endpoint
from parsec.api.problem import PROBLEM_TYPE, Problem

Schema = Mapping[str, Any]
"""JSON Schema, as OpenAPI 3.1 takes it."""

JSON_TYPE = "application/json"
TEXT: Schema = {"type": "string"}


class Response(msgspec.Struct, frozen=True):
    """An answer with one status. `body`: a struct or a schema by media type; `headers`: those that are always there."""

    status: int
    help: str
    body: Mapping[str, type | Schema]
    headers: Mapping[str, Schema] = {}


class Header(msgspec.Struct, frozen=True):
    """A header that a request may have."""

    name: str
    help: str
    schema: Schema


class Body(msgspec.Struct, frozen=True):
    """The body of a request, by media type, and an example as JSON."""

    help: str
    content: Mapping[str, Schema]
    example: Any


class Operation(msgspec.Struct, frozen=True):
    """An endpoint. `scope`: what an API key must be allowed to; empty: no key is needed."""

    endpoint: Endpoint[Any, Any]
    summary: str
    help: str
    responses: Sequence[Response]
    scope: Literal["", "ingest", "query", "admin"] = ""
    headers: Sequence[Header] = ()
    body: Body | None = None
    mentions: Sequence[type] = ()
    """Structs that its schemas refer to by name."""


RETRY_AFTER: Mapping[str, Schema] = {"Retry-After": {"type": "integer", "minimum": 1}}
NO_KEY: Mapping[str, Schema] = {"WWW-Authenticate": TEXT}


def sent(help_: str, body: type, status: int = 200, headers: Mapping[str, Schema] | None = None) -> Response:
    """A JSON object with the fields of `body`."""
    return Response(status, help_, {JSON_TYPE: body}, headers or {})


def problem(status: int, help_: str, headers: Mapping[str, Schema] | None = None) -> Response:
    """An error of any endpoint but /ingest."""
    return Response(status, help_, {PROBLEM_TYPE: Problem}, headers or {})


WRONG_QUERY = problem(400, "A parameter is missing, unknown or invalid: `field` names it, `detail` explains it.")
NOT_FOUND = problem(404, "This tenant has none.")
UNAVAILABLE = problem(503, "The store does not answer now, or too many queries are running.", RETRY_AFTER)
KEY_ERRORS = (
    problem(401, "The API key is missing or invalid.", NO_KEY),
    problem(403, "The API key does not allow this: `code` is `missing_scope` or `wrong_tenant`."),
)
QUERY_ERRORS = (WRONG_QUERY, *KEY_ERRORS, UNAVAILABLE)
