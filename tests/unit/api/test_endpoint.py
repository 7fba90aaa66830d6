"""One declaration, two directions: what a client writes is what the server reads, and mistakes are named."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.api.endpoint import Endpoint, Parameter, Spec
from parsec.api.parameters import ENDPOINTS
from parsec.core.errors import Rejected


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A question with a parameter of each kind."""

    name: Annotated[str, Spec(help="In the path.", in_path=True)] = ""
    start: Annotated[str | None, Spec(help="Has another name in the address.")] = msgspec.field(
        default=None, name="from"
    )
    limit: Annotated[int, Spec(help="A number.", minimum=1, maximum=100)] = 10
    order: Annotated[Literal["up", "down"], Spec(help="A choice.")] = "up"
    by: Annotated[Sequence[str], Spec(help="Repeated.", max_count=2)] = ()
    fields: Annotated[Sequence[str], Spec(help="With commas.", commas=True, max_count=3)] = ()
    most: Annotated[int | None, Spec(help="Needs another.", minimum=0, maximum=5, needs="by")] = None


ENDPOINT = Endpoint("test", "/things/{name}", Query, type(None))


def read(address: str) -> Query:
    """As the server reads it, by the library that the web framework uses."""
    parts = urlsplit(address)
    path = {"name": unquote(parts.path.removeprefix("/things/"))}
    return ENDPOINT.parse(parse_qsl(parts.query, keep_blank_values=True), path)


def strategy(parameter: Parameter) -> st.SearchStrategy[Any]:
    one: st.SearchStrategy[Any] = st.text(st.characters(exclude_categories=["Cs"]))
    if parameter.kind == "integer":
        one = st.integers(parameter.spec.minimum, parameter.spec.maximum)
    elif parameter.kind == "choice":
        one = st.sampled_from(parameter.choices)
    elif parameter.spec.commas:
        one = st.from_regex(r"[a-z.]+", fullmatch=True)
    if parameter.is_list:
        return st.lists(one, max_size=parameter.spec.max_count).map(tuple)
    return one if parameter.default is not None or parameter.spec.in_path else st.none() | one


@given(st.fixed_dictionaries({each.keyword: strategy(each) for each in ENDPOINT.parameters}))
def test_the_server_reads_what_the_client_writes(values: dict[str, Any]) -> None:
    if values["most"] is not None and not values["by"]:
        values["by"] = ("x",)
    asked = Query(**values)
    assert read(ENDPOINT.address(asked)) == asked


def test_defaults_are_not_written() -> None:
    assert ENDPOINT.address(Query(name="a/b c")) == "/things/a%2Fb%20c"


@pytest.mark.parametrize(
    ("address", "code", "field", "words"),
    [
        ("?metrics=1", "unknown_parameter", "metrics", "Valid parameters: from, limit, order, by, fields, most."),
        ("?name=1", "unknown_parameter", "name", "Valid parameters: from, limit"),
        ("?limit=0", "invalid_parameter", "limit", "`limit` must be a whole number from 1 to 100."),
        ("?limit=1e1", "invalid_parameter", "limit", "whole number"),
        ("?limit=%D9%A1", "invalid_parameter", "limit", "whole number"),
        ("?limit=" + "0" * 5000 + "1", "invalid_parameter", "limit", "whole number"),
        ("?limit=", "invalid_parameter", "limit", "whole number"),
        ("?order=sideways", "invalid_parameter", "order", "`order` must be one of: up, down."),
        ("?from=a&from=b", "invalid_parameter", "from", "`from` is given twice with different values"),
        ("?by=a&by=b&by=c", "invalid_parameter", "by", "`by` takes at most 2 values."),
        ("?most=1", "missing_parameter", "by", "`most` needs `by`"),
    ],
)
def test_a_mistake_is_named(address: str, code: str, field: str, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        read(f"/things/x{address}")
    assert (caught.value.code, caught.value.field) == (code, field)
    assert words in caught.value.message


def test_the_same_value_twice_is_no_mistake() -> None:
    assert read("/things/x?limit=7&limit=7").limit == 7


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_a_declaration_is_whole(endpoint: Endpoint[Any, Any]) -> None:
    names = {each.name for each in endpoint.parameters}
    for each in endpoint.parameters:
        assert each.spec.help.endswith(".")
        assert not each.spec.needs or each.spec.needs in names
        assert (each.kind == "integer") == (each.spec.maximum is not None)
        assert each.required == each.spec.in_path
        assert (f"{{{each.name}}}" in endpoint.path) == each.spec.in_path
        assert each.default is None or each.kind != "choice" or each.default in each.choices
