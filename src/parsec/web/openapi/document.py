"""The declarations of all routes as one OpenAPI document.

In: parsec.web.openapi's operations. Out: openapi.yaml, as text. Errors: none.
"""

from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any

import msgspec

from parsec import __version__
from parsec.api.problem import Problem
from parsec.web.openapi import ingest, query, service
from parsec.web.openapi.operation import JSON, Answer, Operation, Parameter, Schema
from parsec.web.openapi.query import DEAD_LETTER_OPERATIONS
from parsec.web.openapi.service import ADMIN_OPERATIONS, EARLY
from parsec.web.openapi.yaml_text import yaml

OPERATIONS: tuple[Operation, ...] = (
    *ingest.OPERATIONS,
    *query.OPERATIONS,
    *DEAD_LETTER_OPERATIONS,
    *ADMIN_OPERATIONS,
    *service.OPERATIONS,
)

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer parsec_...`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user, the API key as the password."},
}
_REFERENCE = "#/components/schemas/{name}"
_ABOUT = """Log events in, answers when they are safe, and questions about them. docs/api.md says the same for people;
docs/errors.md has every error code. Parsec may add fields to any answer. Without API keys it serves this machine alone
and asks for none; `security` says what holds as soon as there is one, with the scope that a key needs."""


def text() -> str:
    """openapi.yaml."""
    return yaml(document())


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    types = list(dict.fromkeys((Problem, *(part for operation in OPERATIONS for part in _types(operation)))))
    references, components = msgspec.json.schema_components(types, schema_hook=_anything, ref_template=_REFERENCE)
    for schema in components.values():
        schema["description"] = cleandoc(schema.get("description", ""))
    named = dict(zip(types, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parsec",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:8080"}],
        "paths": paths,
        "components": {
            "responses": {str(status): _answer(refused, named) for status, refused in EARLY.items()},
            "schemas": {name: components[name] for name in sorted(components)},
            "securitySchemes": _SECURITY,
        },
    }


def _anything(type_: type) -> dict[str, Any]:
    """`object` in a struct stands for any JSON."""
    if type_ is object:
        return {"description": "Any JSON."}
    raise NotImplementedError


def _types(operation: Operation) -> Sequence[type]:
    bodies = [body for answer in operation.answers for body in answer.body.values()]
    return [*operation.mentions, *(part for body in bodies if isinstance(body, tuple) for part in body)]


def _operation(operation: Operation, named: Mapping[type, Schema]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.help,
    }
    if operation.scope:
        told["security"] = [{name: [operation.scope]} for name in _SECURITY]
    if operation.parameters:
        told["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body is not None:
        told["requestBody"] = {
            "description": operation.body.help,
            "required": True,
            "content": {
                media: {"schema": schema} | ({"example": operation.body.example} if media == JSON else {})
                for media, schema in operation.body.content.items()
            },
        }
    told["responses"] = _responses(operation, named)
    return told


def _responses(operation: Operation, named: Mapping[type, Schema]) -> dict[str, Any]:
    """Those of the route, and those that any request may get before a route sees it."""
    answers = {answer.status: _answer(answer, named) for answer in operation.answers}
    for status, refused in EARLY.items():
        if status in answers:
            answers[status]["content"] |= _answer(refused, named)["content"]
        else:
            answers[status] = {"$ref": f"#/components/responses/{status}"}
    return {str(status): answers[status] for status in sorted(answers)}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = parameter.schema
    if parameter.at_most > 1:
        schema = {"type": "array", "items": schema, "maxItems": parameter.at_most}
    told = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.help,
        "required": parameter.required,
        "schema": schema,
    }
    return told if parameter.example is None else told | {"example": parameter.example}


def _answer(answer: Answer, named: Mapping[type, Schema]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.help}
    if answer.headers:
        told["headers"] = {name: {"required": True, "schema": schema} for name, schema in answer.headers.items()}
    if answer.body:
        told["content"] = {media: {"schema": _schema(body, named)} for media, body in answer.body.items()}
    return told


def _schema(body: tuple[type, ...] | Schema, named: Mapping[type, Schema]) -> Schema:
    if isinstance(body, tuple):
        parts = [named[part] for part in body]
        return parts[0] if len(parts) == 1 else {"allOf": parts}
    return body
