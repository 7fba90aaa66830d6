"""Field names and constants from the address."""

import pytest

from parsec.core.errors import Rejected
from parsec.ingest.field_mapping import MAX_NAMES, PLAIN, FieldMap


def test_no_query_string_means_the_standard_names() -> None:
    assert FieldMap.parse(b"") is PLAIN
    assert (PLAIN.message, PLAIN.standard_only, PLAIN.renames) == (("message",), True, False)


def test_listed_names_come_first_and_the_standard_name_last_unless_listed() -> None:
    parsed = FieldMap.parse(b"message_field=log,msg&severity_field=severity,level&id_field=%40id")
    assert parsed.message == ("log", "msg", "message")
    assert parsed.severity == ("severity", "level")
    assert parsed.id == ("@id", "id")
    assert (parsed.standard_only, parsed.renames) == (True, True)


@pytest.mark.parametrize("query", [b"message_field=source", b"message_field=metadata.text", b"tenant_field=id"])
def test_a_name_that_is_another_standard_field_is_marked(query: bytes) -> None:
    assert not FieldMap.parse(query).standard_only


def test_constants_are_canonical() -> None:
    parsed = FieldMap.parse(b"tenant_id=+ACME+&source=Web%20Shop&severity=WARNING&ack=enqueued")
    assert (parsed.default_tenant_id, parsed.default_source, parsed.default_severity) == ("acme", "web shop", "warn")
    assert not parsed.renames


def test_the_same_query_string_is_parsed_once() -> None:
    assert FieldMap.parse(b"source=once") is FieldMap.parse(b"source=once")


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        (b"mesage_field=x", "unknown_parameter", "mesage_field"),
        (b"MESSAGE_FIELD=x", "unknown_parameter", "MESSAGE_FIELD"),
        (b"message_field=", "invalid_parameter", "message_field"),
        (b"message_field=a,,b", "invalid_parameter", "message_field"),
        (b"message_field=" + b"x" * 257, "invalid_parameter", "message_field"),
        (b"message_field=" + b",".join(b"%d" % n for n in range(MAX_NAMES + 1)), "invalid_parameter", "message_field"),
        (b"source=a&source=b", "invalid_parameter", "source"),
        (b"source=%20", "invalid_parameter", "source"),
        (b"source=%ff", "invalid_parameter", None),
        (b"source=\xff", "invalid_parameter", None),
        (b"&".join(b"ack=durable" for _ in range(65)), "invalid_parameter", None),
        (b"tenant_id=-x", "invalid_tenant_id", "tenant_id"),
        (b"severity=loud", "invalid_severity", "severity"),
        (b"source=" + b"x" * 257, "invalid_source", "source"),
    ],
)
def test_refused(query: bytes, code: str, field: str | None) -> None:
    with pytest.raises(Rejected) as refused:
        FieldMap.parse(query)
    assert (refused.value.code, refused.value.field, refused.value.status) == (code, field, 400)


def test_what_exists_is_listed() -> None:
    with pytest.raises(
        Rejected, match="ack, id_field, message_field, severity, severity_field, severity_numbers, source, "
    ):
        FieldMap.parse(b"nope=1")


def test_a_long_query_string_is_not_remembered() -> None:
    query = b"message_field=" + b",".join(b"%d" % n + b"x" * 200 for n in range(12))
    assert FieldMap.parse(query) == FieldMap.parse(query)
    assert FieldMap.parse(query) is not FieldMap.parse(query)
