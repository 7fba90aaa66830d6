"""The OpenAPI document of all endpoints.

In: the operations of parsec.web.openapi, the structs of parsec.api. Out: openapi.yaml, as text. Errors: none.
"""

from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

import msgspec
import yaml

from parsec import __version__
from parsec.api.address import DEFAULT_URL
from parsec.api.endpoint import Parameter
from parsec.api.problem import Problem
from parsec.web.openapi.endpoints import EARLY, OPERATIONS
from parsec.web.openapi.operation import JSON_TYPE, Operation, Response, Schema

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer parsec_...`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user, the API key as the password."},
}
_REFERENCE = "#/components/schemas/{name}"
_ABOUT = """Send log events, get an answer once they are safe, and query them. docs/api.md describes the same for
people, and docs/errors.md lists the error codes. Parsec may add fields to any answer. Without API keys it serves its
own machine only and needs no key; with keys, `security` names the scope that a key needs."""


def text() -> str:
    """openapi.yaml."""
    plain = msgspec.to_builtins(document(), str_keys=True)  # no tuples, and copies instead of aliases
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    types = list(dict.fromkeys((Problem, *(part for operation in OPERATIONS for part in _types(operation)))))
    references, components = msgspec.json.schema_components(types, schema_hook=_anything, ref_template=_REFERENCE)
    for schema in components.values():
        schema["description"] = cleandoc(schema.get("description", ""))
    named = dict(zip(types, references, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parsec",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": DEFAULT_URL}],
        "paths": {
            path: {each.endpoint.method: _operation(each, named) for each in OPERATIONS if each.endpoint.path == path}
            for path in dict.fromkeys(each.endpoint.path for each in OPERATIONS)
        },
        "components": {
            "responses": {str(status): _response(response, named) for status, response in EARLY.items()},
            "schemas": {name: components[name] for name in sorted(components)},
            "securitySchemes": _SECURITY,
        },
    }


def parameter_schema(parameter: Parameter) -> dict[str, Any]:
    """The JSON Schema of a parameter's value."""
    spec = parameter.spec
    bounds = {"minimum": spec.minimum, "maximum": spec.maximum} if parameter.kind == "integer" else {}
    words = {"format": spec.format or None, "pattern": spec.pattern or None, "maxLength": spec.max_chars}
    type_ = {"enum": parameter.choices} if parameter.choices else {"type": parameter.json_type}
    schema = {name: value for name, value in (type_ | bounds | words).items() if value is not None}
    if parameter.is_list and not spec.commas:
        return {"type": "array", "items": schema, "maxItems": spec.max_count}
    default = parameter.default if spec.default is None else spec.default
    return schema if default is None or parameter.is_list else schema | {"default": default}


def _anything(type_: type) -> dict[str, Any]:
    """`object` in a struct stands for any JSON."""
    if type_ is object:
        return {"description": "Any JSON."}
    raise NotImplementedError


def _types(operation: Operation) -> list[type]:
    bodies = [body for response in operation.responses for body in response.body.values()]
    return [*operation.mentions, *(body for body in bodies if isinstance(body, type))]


def _operation(operation: Operation, named: Mapping[type, Schema]) -> dict[str, Any]:
    endpoint = operation.endpoint
    described: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": operation.summary,
        "description": operation.help,
    }
    if operation.scope:
        described["security"] = [{name: [operation.scope]} for name in _SECURITY]
    if endpoint.parameters or operation.headers:
        headers = [
            {"name": one.name, "in": "header", "description": one.help, "required": False, "schema": one.schema}
            for one in operation.headers
        ]
        described["parameters"] = [*(_parameter(each) for each in endpoint.parameters), *headers]
    if operation.body is not None:
        described["requestBody"] = {
            "description": operation.body.help,
            "required": True,
            "content": {
                media: {"schema": schema} | ({"example": operation.body.example} if media == JSON_TYPE else {})
                for media, schema in operation.body.content.items()
            },
        }
    described["responses"] = _responses(operation, named)
    return described


def _responses(operation: Operation, named: Mapping[type, Schema]) -> dict[str, Any]:
    """Those of the route, and those that any request may get before a route sees it."""
    responses = {response.status: _response(response, named) for response in operation.responses}
    for status, refusal in EARLY.items():
        if status in responses:
            responses[status]["content"] |= _response(refusal, named)["content"]
        else:
            responses[status] = {"$ref": f"#/components/responses/{status}"}
    return {str(status): responses[status] for status in sorted(responses)}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    spec = parameter.spec
    described = {
        "name": parameter.name,
        "in": "path" if spec.in_path else "query",
        "description": f"{spec.help} Needs `{spec.needs}`." if spec.needs else spec.help,
        "required": parameter.required,
        "schema": parameter_schema(parameter),
    }
    return described if spec.example is None else described | {"example": spec.example}


def _response(response: Response, named: Mapping[type, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": response.help}
    if response.headers:
        described["headers"] = {name: {"required": True, "schema": schema} for name, schema in response.headers.items()}
    if response.body:
        described["content"] = {
            media: {"schema": named[body] if isinstance(body, type) else body} for media, body in response.body.items()
        }
    return described
