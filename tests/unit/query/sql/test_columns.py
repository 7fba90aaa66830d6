"""Bound values, expressions of fields, and what an answer shows of a row."""

import msgspec
import pytest

from parsec.core.errors import Rejected
from parsec.query.language.ast import Field
from parsec.query.sql.columns import (
    EVENT_FIELDS,
    WHOLE_EVENT,
    Parameters,
    Projection,
    any_value,
    number_value,
    object_at,
    shorten,
    text_value,
    typed_value,
)


def test_the_same_value_of_the_same_type_is_sent_once() -> None:
    parameters = Parameters()
    names = [
        parameters.bind(*each) for each in (("a",), ("b",), ("a",), ("a", "Identifier"), (1, "Int64"), (True, "Bool"))
    ]
    assert names == ["{v0:String}", "{v1:String}", "{v0:String}", "{v2:Identifier}", "{v3:Int64}", "{v4:Bool}"]
    assert parameters.values == {"v0": "a", "v1": "b", "v2": "a", "v3": 1, "v4": True}


@pytest.mark.parametrize(("value", "sql", "sent"), [
    (7, "{v0:Int64}", 7),
    (-(1 << 63), "{v0:Int64}", -(1 << 63)),
    (1 << 63, "{v0:UInt64}", 1 << 63),
    (0.1, "reinterpretAsFloat64({v0:UInt64})", 0x3FB999999999999A),
    (7.0, "reinterpretAsFloat64({v0:UInt64})", 0x401C000000000000),
])  # fmt: skip
def test_a_number_is_sent_exactly(value: float, sql: str, sent: int) -> None:
    parameters = Parameters()
    assert (parameters.number(value), parameters.values) == (sql, {"v0": sent})


def test_a_path_is_an_identifier_and_otherwise_a_value() -> None:
    parameters = Parameters()
    assert typed_value("a.b c`d", "Int64", parameters) == "attributes.{v0:Identifier}.:`Int64`"
    assert any_value("a.b c`d", parameters) == "attributes.{v0:Identifier}"
    for path in ("it's", "back\\slash", "line\nbreak", "\x7f", ""):
        parameters = Parameters()
        assert any_value(path, parameters) == "getSubcolumn(attributes, {v0:String})"
        assert typed_value(path, "Bool", parameters) == "dynamicElement(getSubcolumn(attributes, {v0:String}), 'Bool')"
        assert parameters.values == {"v0": path}


def test_fields_as_texts_and_numbers() -> None:
    parameters = Parameters()
    assert text_value(Field("source"), parameters) == "source"
    assert text_value(Field("metadata", "a"), parameters) == "CAST(attributes.{v0:Identifier}, 'Nullable(String)')"
    assert text_value(Field("timestamp"), parameters).startswith("concat(replaceRegexpOne(")
    assert object_at("a", parameters) == "getSubcolumn(attributes, concat('^`', {v1:String}, '`'))"
    assert number_value(Field("metadata", "a"), parameters) == (
        "coalesce(toFloat64(attributes.{v0:Identifier}.:`Float64`), toFloat64(attributes.{v0:Identifier}.:`UInt64`),"
        " toFloat64(attributes.{v0:Identifier}.:`Int64`))"
    )


@pytest.mark.parametrize(("stored", "shown"), [
    ("2026-11-23T12:00:00.000000000Z", "2026-11-23T12:00:00Z"),
    ("2026-11-23T12:00:10.500000000Z", "2026-11-23T12:00:10.5Z"),
    ("2026-11-23T12:00:00.000000001Z", "2026-11-23T12:00:00.000000001Z"),
])  # fmt: skip
def test_a_time_is_shown_without_zeros_at_its_end(stored: str, shown: str) -> None:
    assert shorten(stored) == shown


def shown(projection: Projection, *values: str) -> str:
    return msgspec.json.encode(projection.event(values)).decode()


def test_a_whole_event_has_its_metadata_as_it_was_sent() -> None:
    assert WHOLE_EVENT.columns == EVENT_FIELDS
    time = "2026-11-23T12:00:00.000000000Z"
    assert shown(WHOLE_EVENT, "e1", "acme", time, "info", "api", "hi", '{"a": 1.0}', time) == (
        '{"id":"e1","tenant_id":"acme","timestamp":"2026-11-23T12:00:00Z","severity":"info","source":"api",'
        '"message":"hi","metadata":{"a": 1.0},"received_at":"2026-11-23T12:00:00Z"}'
    )


def test_chosen_fields_come_in_their_order_and_paths_are_nested_or_dotted() -> None:
    projection = Projection(("metadata.a.b", "id", "metadata.x.y.z", "metadata.no"))
    assert projection.columns == ("metadata", "id")
    assert shown(projection, '{"a":{"b":[1]},"x.y":{"z":null}}', "e1") == (
        '{"metadata.a.b":[1],"id":"e1","metadata.x.y.z":null,"metadata.no":null}'
    )


def test_a_literal_dotted_key_goes_before_a_nested_one() -> None:
    assert shown(Projection(("metadata.a.b",)), '{"a":{"b":1},"a.b":2}') == '{"metadata.a.b":2}'


def test_a_path_through_a_list_of_objects_shows_the_list_of_their_values() -> None:
    metadata = '{"items":[{"sku":"A1"},{"n":1.50},7,{"sku":{"of":[{"x":1},{"x":null}]}}],"l":[[{"x":1}]]}'
    names = ("metadata.items.sku", "metadata.items.n", "metadata.items.sku.of.x", "metadata.l.x", "metadata.items.no")
    assert msgspec.json.decode(shown(Projection(names), metadata)) == {
        "metadata.items.sku": ["A1", {"of": [{"x": 1}, {"x": None}]}],
        "metadata.items.n": [1.5],
        "metadata.items.sku.of.x": [[1, None]],
        "metadata.l.x": None,
        "metadata.items.no": None,
    }


def test_a_field_that_does_not_exist_is_refused_by_the_name_of_the_parameter() -> None:
    with pytest.raises(Rejected, match="`fields`: unknown field 'colour'") as caught:
        Projection(("id", "colour"))
    assert (caught.value.code, caught.value.field) == ("invalid_parameter", "fields")
