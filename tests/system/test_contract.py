"""openapi.yaml against the real process: the document that is served, and the parameters that routes know."""

import re
from pathlib import Path

import pytest

from parsec.web.openapi.endpoints import OPERATIONS
from parsec.web.openapi.operation import Operation
from tests.support.process import Parsec

COMMITTED = Path(__file__).parents[2] / "openapi.yaml"
STRICT = [each for each in OPERATIONS if each.endpoint.path.startswith(("/query", "/deadletters", "/ingest"))]


def test_the_committed_document_is_served(parsec: Parsec) -> None:
    status, headers, body = parsec.request("GET", "/openapi.yaml")
    assert (status, headers["content-type"]) == (200, "application/yaml")
    assert body == COMMITTED.read_bytes()


@pytest.mark.parametrize("operation", STRICT, ids=lambda operation: operation.endpoint.name)
def test_the_parameters_are_those_that_the_route_knows(parsec: Parsec, operation: Operation) -> None:
    path = re.sub(r"{\w+}", "0", operation.endpoint.path)
    status, _, body = parsec.request(operation.endpoint.method.upper(), f"{path}?no_such_parameter=1", b"{}")
    assert (status, b"unknown_parameter" in body) == (400, True), body
    sentence = re.search(rb"(?:Valid parameters:|The parameters are) ([a-z_, ]+)\.", body)
    assert sentence, body
    known = set(sentence[1].decode().split(", "))
    assert known == {each.name for each in operation.endpoint.parameters if not each.spec.in_path}
