"""openapi.yaml: every route is in it, what it refers to exists, and it is YAML."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from parsec.web.app import right_for
from parsec.web.openapi.document import document, text
from parsec.web.openapi.endpoints import OPERATIONS

WEB = Path(__file__).parents[3] / "src" / "parsec" / "web"
ASGI_PATHS = {"/ingest"}
"""Reached without the framework: see parsec.web.app."""


def routes_in_the_code() -> Iterator[str]:
    """The path of every Route made in parsec.web, as OpenAPI writes it."""
    for file in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                assert name not in ("Mount", "Host", "add_route", "WebSocketRoute"), f"{file}: not looked into here"
                if name == "Route":
                    path = node.args[0]
                    assert isinstance(path, ast.Constant), f"{file}:{node.lineno}: a path must be a literal"
                    yield re.sub(r":[a-z]+}", "}", str(path.value))


def test_every_route_is_declared_and_every_declaration_is_a_route() -> None:
    declared = set(document()["paths"])
    assert declared == ASGI_PATHS | set(routes_in_the_code()), "declare it in parsec/web/openapi, then make docs"


def test_names_of_operations_are_unique() -> None:
    assert len({operation.endpoint.name for operation in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.endpoint.name)
def test_the_scope_is_the_one_that_the_route_asks_for(operation: Any) -> None:
    path = operation.endpoint.path
    assert operation.scope == ("ingest" if path in ASGI_PATHS else right_for(path) or "")
    assert {401, 403} <= {response.status for response in operation.responses} or not operation.scope


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.endpoint.name)
def test_a_path_names_its_parameters(operation: Any) -> None:
    in_path = {each.name for each in operation.endpoint.parameters if each.spec.in_path}
    assert set(re.findall(r"{(\w+)}", operation.endpoint.path)) == in_path
    assert all(each.required == each.spec.in_path for each in operation.endpoint.parameters)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield each
            yield from references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from references(each)


def test_what_it_refers_to_exists_and_nothing_lies_idle() -> None:
    whole = document()
    names = {reference.removeprefix("#/components/") for reference in references(whole)}
    parts = {f"{kind}/{name}" for kind in ("schemas", "responses") for name in whole["components"][kind]}
    assert names <= parts
    assert {part for part in parts if part.startswith("schemas/")} <= names


def test_the_text_is_yaml_of_the_same_document() -> None:
    assert yaml.safe_load(text()) == msgspec.json.decode(msgspec.json.encode(document()))
