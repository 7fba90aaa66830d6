"""A declared parameter reaches every place that has to know it: a forgotten place is named.

openapi.yaml and the tables of docs/api.md are made from the declarations (tests/unit/test_docs.py), the client's
methods and the flags, too; here is what no generator does.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parsec.api import parameters
from parsec.api.endpoint import Endpoint
from parsec.api.parameters import (
    AGGREGATE,
    AUDIT,
    CONTEXT,
    DEAD_LETTER,
    DEAD_LETTERS,
    ENDPOINTS,
    EVENT,
    EVENTS,
    FIELDS,
    HISTOGRAM,
    INGEST,
    TAIL,
    VALUES,
)
from parsec.cli import main
from parsec.ingest.field_mapping import CHOICES, CONSTANTS, PARAMETERS

ROOT = Path(__file__).parents[3]
ROUTES = ROOT / "src" / "parsec" / "web" / "routes"
QUESTIONS = [each for each in ENDPOINTS if each is not INGEST]

COMMANDS: dict[Endpoint[Any, Any], tuple[str, ...]] = {
    EVENTS: ("query",),
    TAIL: ("tail",),
    HISTOGRAM: ("histogram",),
    FIELDS: ("fields",),
    VALUES: ("fields",),
    DEAD_LETTERS: ("deadletters", "list"),
    DEAD_LETTER: ("deadletters", "show"),
    AUDIT: ("audit",),
}
NO_COMMAND = {AGGREGATE, EVENT, CONTEXT}
"""For programs: their answers are no lists of lines."""

NO_FLAG = {
    "cursor": "the client follows cursors",
    "format": "the client reads JSON, and --output says what to print",
    "field": "--values of `parsec fields`",
    "log_id": "in the position of `parsec deadletters show`",
    "partition": "in the position of `parsec deadletters show`",
    "offset": "in the position of `parsec deadletters show`",
}

questions = pytest.mark.parametrize("endpoint", QUESTIONS, ids=lambda endpoint: endpoint.name)


def constant_of(endpoint: Endpoint[Any, Any]) -> str:
    return next(name for name, value in vars(parameters).items() if value is endpoint)


def functions() -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of the routes."""
    for file in ROUTES.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def attributes_read(function: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}


def names_read(function: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}


def helpers_called(function: ast.AST) -> set[str]:
    """Methods that are given `asked`."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}


@questions
def test_the_route_reads_it(endpoint: Endpoint[Any, Any]) -> None:
    name = constant_of(endpoint)
    of_route = [each for each in functions() if name in {*attributes_read(each), *names_read(each)}]
    read = {attribute for each in of_route for attribute in attributes_read(each)}
    called = {helper for each in of_route for helper in helpers_called(each)}
    for each in functions():
        if each.name in called and "asked" in {argument.arg for argument in each.args.args}:
            read |= attributes_read(each)
    missing = {each.keyword for each in endpoint.parameters} - read
    assert not missing, f"web/routes: the function that parses {name} does not read {missing}"


@questions
def test_the_client_has_a_method_for_it(endpoint: Endpoint[Any, Any]) -> None:
    if not endpoint.parameters:
        return
    path = ROOT / "src" / "parsec" / "client" / "requests.py"
    assert endpoint.path.partition("{")[0].rstrip("/") in path.read_text() or constant_of(endpoint) in attributes_read(
        ast.parse(path.read_text())
    ), f"client/requests.py makes no request to {endpoint.path}"


@questions
def test_a_command_has_a_flag_for_it(endpoint: Endpoint[Any, Any]) -> None:
    if not endpoint.parameters or endpoint in NO_COMMAND:
        return
    command: Any = main
    for name in COMMANDS[endpoint]:
        command = command.commands[name]
    flags = {each.name for each in command.params}
    missing = {each.keyword for each in endpoint.parameters} - flags - set(NO_FLAG)
    assert not missing, f"`parsec {' '.join(COMMANDS[endpoint])}` has no flag for {missing}"


@questions
def test_the_documentation_has_a_table_for_it(endpoint: Endpoint[Any, Any]) -> None:
    marks = re.findall(r"<!-- parameters: ([a-zA-Z ]+) -->", (ROOT / "docs" / "api.md").read_text())
    assert not endpoint.parameters or endpoint.name in " ".join(marks).split(), f"docs/api.md: {endpoint.name}"


def test_the_fuzz_test_has_values_for_its_format() -> None:
    known = set(re.findall(r'"(parsec-[a-z-]+)":', (ROOT / "tests" / "support" / "contract_hooks.py").read_text()))
    used = {each.spec.format for endpoint in ENDPOINTS for each in endpoint.parameters} - {""}
    assert used <= known, f"tests/support/contract_hooks.py has no values for {used - known}"


def test_ingest_knows_its_parameters() -> None:
    assert {each.name for each in INGEST.parameters} == {*PARAMETERS, *CONSTANTS, *CHOICES}
