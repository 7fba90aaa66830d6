"""Each rule of the field table, on the quick way and on the careful one."""

import hashlib
from typing import Any

import msgspec
import pytest

from parsec.api.ingest import IngestError
from parsec.core.envelope import decode_one, encode_lines
from parsec.ingest.event_ids import DIGEST_SLICE_BYTES
from parsec.ingest.normalize import MAX_ERRORS, Verdicts
from tests.support.ingesting import RECEIVED_AT, Taken, compact, context, event, lines, take, with_text


def both(one: dict[str, Any], query: bytes = b"", **changes: Any) -> Taken:
    """Alone, in an array, and beside a line that makes the careful reader look at each: the same every way."""
    body = compact(one)
    alone = take(body, query, idempotency_key="k", **changes)
    quick = take(b"[%b]" % body, query, idempotency_key="k", **changes)
    careful = take(body + b"\noops\n", query, idempotency_key="k", **changes)
    assert told(alone) == told(quick) == told(careful, but_last=True)
    return alone


def told(taken: Taken, but_last: bool = False) -> tuple[bytes, list[IngestError]]:
    errors = taken.verdicts.errors
    return encode_lines(taken.envelopes), errors[:-1] if but_last else errors


def test_an_event_becomes_an_envelope() -> None:
    only = both(event(tenant_id=" ACME ", severity="WARNING", source=" Web ", message=" hi \n\n")).only
    assert msgspec.structs.asdict(only) | {"metadata": bytes(only.metadata)} == {
        "v": 1,
        "tenant_id": "acme",
        "id": "evt-1",
        "timestamp": "2026-09-21T14:00:00.123Z",
        "severity": "warn",
        "source": "web",
        "message": " hi \n",
        "metadata": b'{"n":1}',
        "received_at": RECEIVED_AT,
        "region": "local",
        "node": "node-1",
    }


@pytest.mark.parametrize("field", ["tenant_id", "timestamp", "severity", "source"])
@pytest.mark.parametrize("blank", [None, "", " \t"])
def test_required_fields(field: str, blank: str | None) -> None:
    error = both(event(**{field: blank})).error
    assert (error.index, error.id, error.field) == (0, "evt-1", field)
    assert error.code == "missing_field"


@pytest.mark.parametrize("field", ["tenant_id", "timestamp", "source"])
def test_null_is_missing(field: str) -> None:
    assert take(with_text(field, b"null")).error.code == "missing_field"


@pytest.mark.parametrize(
    ("field", "json_text", "code"),
    [
        ("id", b"5", "invalid_id"), ("id", b"{}", "invalid_id"), ("id", b'"' + b"x" * 129 + b'"', "invalid_id"),
        ("tenant_id", b"5", "invalid_tenant_id"), ("tenant_id", b'"a b"', "invalid_tenant_id"),
        ("timestamp", b"true", "invalid_timestamp"), ("timestamp", b"[]", "invalid_timestamp"),
        ("timestamp", b'"soon"', "invalid_timestamp"), ("timestamp", b"-5", "invalid_timestamp"),
        ("timestamp", b"1e400", "invalid_timestamp"), ("timestamp", b"9" * 5000, "invalid_timestamp"),
        ("timestamp", b'"9999-01-01T00:00:00Z"', "timestamp_in_future"),
        ("source", b"5", "invalid_source"), ("source", b'"' + b"x" * 257 + b'"', "invalid_source"),
        ("metadata", b"[]", "invalid_metadata"), ("metadata", b'"x"', "invalid_metadata"),
        ("metadata", b'{"a":' * 33 + b"1" + b"}" * 33, "too_deep"),
    ],
)  # fmt: skip
def test_wrong_values(field: str, json_text: bytes, code: str) -> None:
    for extra in ({}, {"host": 1}):
        error = take(with_text(field, json_text, **extra)).error
        assert (error.code, error.field, error.retryable) == (code, field, False)
        assert error.id == (None if field == "id" else "evt-1")
        assert error.message.endswith(".")
        assert len(error.message) < 250


@pytest.mark.parametrize(
    ("json_text", "stored"),
    [
        (b"1700000000", "2023-11-14T22:13:20Z"), (b"1700000000.123456789", "2023-11-14T22:13:20.123456789Z"),
        (b"1700000000123", "2023-11-14T22:13:20.123Z"), (b"1.7e9", "2023-11-14T22:13:20Z"),
        (b'"1700000000123"', "2023-11-14T22:13:20.123Z"), (b'" 2023-11-14 22:13:20z "', "2023-11-14T22:13:20Z"),
        (b"1700000000.0000000001", "2023-11-14T22:13:20.000000000Z"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_timestamps(json_text: bytes, stored: str, extra: dict[str, Any]) -> None:
    assert take(with_text("timestamp", json_text, **extra)).only.timestamp == stored


@pytest.mark.parametrize(
    "level", [3, "3", 3.0, "ERR", " error ", 50, 17, "\x1b[31mERROR\x1b[0m", "SEVERITY_NUMBER_ERROR"]
)
@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_a_severity_is_read_however_it_is_spelled(level: object, extra: dict[str, Any]) -> None:
    only = both(event(severity=level, **extra)).only
    assert (only.severity, bytes(only.metadata)) == ("error", compact({"n": 1} | extra))


@pytest.mark.parametrize(
    ("query", "number", "severity"),
    [
        (b"", 5, "info"), (b"severity_numbers=otel", 5, "debug"), (b"severity_numbers=otel", "21", "fatal"),
        (b"", 30, "info"), (b"severity_numbers=python", 30, "warn"), (b"severity_numbers=pino", 45, "warn"),
        (b"severity_numbers=syslog", 0, "fatal"), (b"severity_numbers=syslog", "WARN", "warn"),
    ],
)  # fmt: skip
def test_a_sender_may_say_whose_numbers_it_means(query: bytes, number: object, severity: str) -> None:
    assert both(event(severity=number), query).only.severity == severity


@pytest.mark.parametrize(
    ("query", "severity"),
    [
        (b"severity_field=severityNumber", "trace"), (b"severity_field=log.severity_number", "trace"),
        (b"severity_field=SeverityText,SeverityNumber", "trace"), (b"severity_field=levelno", "trace"),
        (b"severity_field=severityNumber&severity_numbers=syslog", "error"), (b"severity_field=level", "error"),
    ],
)  # fmt: skip
def test_some_names_tell_whose_numbers_they_hold(query: bytes, severity: str) -> None:
    names = ("severityNumber", "SeverityNumber", "levelno", "level")
    one = event(severity=None, log={"severity_number": 3}, **dict.fromkeys(names, 3))
    assert both(one, query).only.severity == severity


@pytest.mark.parametrize("word", ["loud", "-1", "99", True, False, ["fatal"], {"a": 1}, 1.5, 1e300, "x" * 10_000])
@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_an_unknown_severity_keeps_the_event_and_the_word(word: object, extra: dict[str, Any]) -> None:
    only = both(event(severity=word, **extra)).only
    assert only.severity == "info"
    assert msgspec.json.decode(only.metadata) == {"n": 1} | extra | {"_severity": word}
    assert both(event(severity=word, **extra), b"severity=error").only.severity == "error"
    taken = event(severity=word, metadata={"_severity": 1}, **extra)
    assert msgspec.json.decode(both(taken).only.metadata) == {"_severity": 1} | extra | {"__severity": word}
    error = both(event(severity=word, **extra), strict_severity=True).error
    assert (error.code, error.field) == ("invalid_severity", "severity")


def test_a_mapped_severity_that_is_unknown_is_kept_too() -> None:
    only = both(event(level="loud", severity=None), b"severity_field=level").only
    assert (only.severity, bytes(only.metadata)) == ("info", b'{"n":1,"_severity":"loud"}')


def test_a_severity_of_null_keeps_the_event() -> None:
    body = with_text("severity", b"null")
    assert (take(body).only.severity, bytes(take(body).only.metadata)) == ("info", b'{"n":1,"_severity":null}')
    assert bytes(take(body, b"severity=warn").only.metadata) == b'{"n":1}'
    assert take(body, strict_severity=True).error.code == "missing_field"


def test_the_word_of_an_unknown_severity_never_costs_the_event() -> None:
    full = {str(n): n for n in range(256)}
    assert msgspec.json.decode(both(event(severity="loud", metadata=full)).only.metadata) == full
    deep = b"[" * 40 + b"]" * 40
    assert msgspec.json.decode(take(with_text("severity", deep)).only.metadata) == {"n": 1, "_severity": deep.decode()}


# Messages.


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("  indented", "  indented"), ("\tat f(x)\n", "\tat f(x)"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"),
        ("a \n", "a "), ("\x00a\x1b[0m\x7f", "\x00a\x1b[0m\x7f"), ("\x00", "\x00"), ("\u3000a\u00a0", "\u3000a\u00a0"),
        ("\na", "\na"), ("\ufeffa", "\ufeffa"), ("\n\na", "\n\na"), ("a\x1f", "a\x1f"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_a_message_comes_back_as_sent(sent: str, kept: str, extra: dict[str, Any]) -> None:
    assert both(event(message=sent, **extra)).only.message == kept


@pytest.mark.parametrize(
    ("json_text", "kept"),
    [
        (b"[104,105]", "hi"), (b"[ 104 , 105, 10]", "hi"), (b"[195,164,255,254,97]", "\xe4\\xff\\xfea"),
        (b"[0,97]", "\x00a"),
        (b"[104,256]", "[104,256]"), (b"[-1]", "[-1]"), (b'["a","b"]', '["a","b"]'), (b"5", "5"), (b"-1.50", "-1.50"),
        (b"true", "true"), (b"false", "false"), (b'{"a": [1]}', '{"a": [1]}'), (b"{}", "{}"), (b"[[104]]", "[[104]]"),
    ],
)  # fmt: skip
def test_a_message_that_is_no_string_is_kept_as_text(json_text: bytes, kept: str) -> None:
    assert take(with_text("message", json_text)).only.message == kept
    assert take(with_text("message", json_text, host=1)).only.message == kept
    renamed = with_text("MESSAGE", json_text, message=None)
    assert take(renamed, b"message_field=MESSAGE").only.message == kept


@pytest.mark.parametrize("message", [b"null", b'""', b'" \\t\\r\\n"', b'"\\u00a0"', b"[]", b"[32,10]"])
def test_a_blank_message_with_metadata_is_kept_empty_and_else_is_blank(message: bytes) -> None:
    for kept in (take(with_text("message", message)), take(with_text("message", message, metadata=None, host=1))):
        assert kept.only.message == ""
    none: list[dict[str, object] | None] = [None, {}]
    for nothing in none:
        taken = take(with_text("message", message, metadata=nothing) + b"\n" + compact(event()))
        assert (taken.verdicts.blank, taken.verdicts.errors, len(taken.envelopes)) == (1, [], 1)
        assert taken.items == 2


def test_an_event_without_a_message_is_kept_for_its_metadata() -> None:
    assert both(event(message=None)).only.message == ""
    assert take(compact(event(message=None, metadata=None))).verdicts.blank == 1
    assert both(event(message="", metadata=None, severity="loud"), b"").verdicts.blank == 1


def test_a_fault_of_a_blank_event_is_still_a_fault() -> None:
    assert both(event(message="", metadata=None, timestamp="soon")).error.code == "invalid_timestamp"


@pytest.mark.parametrize(
    ("lacks", "other", "parameter"),
    [
        ("timestamp", {"ts": 1_700_000_000}, "?timestamp_field=ts "), ("timestamp", {"@timestamp": 1}, "=@timestamp "),
        ("timestamp", {"eventTime": "x"}, "?timestamp_field=eventTime "), ("timestamp", {"Date": 1}, "=Date "),
        ("timestamp", {"date": "x", "zzz": 1, "time": 1}, "?timestamp_field=time "),
        ("timestamp", {"metadata": {"ts": 1}}, "?timestamp_field=metadata.ts "),
        ("severity", {"level": 30}, "?severity_field=level "), ("severity", {"severityText": "x"}, "=severityText "),
        ("severity", {"log": {"level": 1}}, "=log.level "), ("severity", {"log.level": 1}, "=log.level "),
        ("source", {"service": {"name": "x"}}, "?source_field=service.name "), ("source", {"logger": "x"}, "=logger "),
        ("message", {"msg": "x"}, "?message_field=msg "), ("message", {"short message": "x"}, "=short%20message "),
        ("tenant_id", {"tenant": "x"}, "?tenant_field=tenant "), ("tenant_id", {"org_id": "x"}, "=org_id "),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_with_what_looks_like_it(lacks: str, other: dict[str, Any], parameter: str) -> None:
    error = both(event(**{lacks: None} | other)).error
    assert (error.code, error.field) == ("missing_field", lacks)
    assert parameter in error.message


@pytest.mark.parametrize(
    "other", [{"nothing": 1}, {"ts": None}, {"ts": ""}, {"a,ts": 1}, {"ts": [1]}, {"ts": {"ts": {}}}]
)
def test_what_is_missing_without_a_likely_field_is_told_alone(other: dict[str, Any]) -> None:
    assert both(event(timestamp=None, **other)).error.message.endswith("every event needs one.")


def test_the_advice_works() -> None:
    assert both(event(timestamp=None, ts=1_700_000_000), b"timestamp_field=ts").only.timestamp == "2023-11-14T22:13:20Z"
    assert both(event(message=None, msg="hi"), b"message_field=log").only.message == ""


def test_unknown_fields_move_into_metadata_as_they_are() -> None:
    body = with_text("host", b'{"a":[1.50,1e400]}', metadata={"n": 1, "pid": 2}, pid=3)
    assert bytes(take(body).only.metadata) == b'{"n":1,"pid":2,"_pid":3,"host":{"a":[1.50,1e400]}}'


def test_null_metadata_is_none() -> None:
    assert bytes(take(with_text("metadata", b"null")).only.metadata) == b"{}"
    assert bytes(take(with_text("metadata", b"null", host=1)).only.metadata) == b'{"host":1}'


def test_pretty_json_leaves_no_line_break_in_an_envelope() -> None:
    import json

    only = take(json.dumps(event(metadata={"a": {"b": [1]}}, host={"c": 2}), indent=2).encode()).only
    assert bytes(only.metadata) == b'{"a":{"b":[1]},"host":{"c":2}}'
    assert encode_lines([only]).count(b"\n") == 1


# Tenants.


@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_a_header_fills_in_a_tenant(extra: dict[str, Any]) -> None:
    assert both(event(tenant_id=None, **extra), default_tenant="other").only.tenant_id == "other"
    assert both(event(tenant_id=" ", **extra), default_tenant="other").only.tenant_id == "other"
    assert both(event(**extra), default_tenant="other").only.tenant_id == "acme"


@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_a_keys_tenant_refuses_others(extra: dict[str, Any]) -> None:
    assert both(event(tenant_id=None, **extra), key_tenant="acme").only.tenant_id == "acme"
    assert both(event(tenant_id="ACME", **extra), key_tenant="acme").only.tenant_id == "acme"
    error = both(event(tenant_id="other", **extra), key_tenant="acme").error
    assert (error.code, error.field) == ("tenant_mismatch", "tenant_id")
    assert both(event(tenant_id=None, **extra), b"tenant_id=other", key_tenant="acme").error.code == ("tenant_mismatch")


# Names and constants.


@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_constants_fill_in_and_never_override(extra: dict[str, Any]) -> None:
    query = b"tenant_id=t&source=s&severity=debug"
    only = both(event(tenant_id=None, source=None, severity="", **extra), query).only
    assert (only.tenant_id, only.source, only.severity) == ("t", "s", "debug")
    only = both(event(**extra), query).only
    assert (only.tenant_id, only.source, only.severity) == ("acme", "api", "info")


def test_fields_by_other_names() -> None:
    body = {"log": "hi", "date": 1_700_000_000, "level": "err", "app": "web", "team": "acme", "uid": "u-1", "x": 1}
    query = b"message_field=msg,log&timestamp_field=date&severity_field=level&source_field=app"
    query += b"&tenant_field=team&id_field=uid"
    only = both(body, query).only
    assert (only.message, only.severity, only.source, only.tenant_id, only.id) == ("hi", "error", "web", "acme", "u-1")
    assert (only.timestamp, bytes(only.metadata)) == ("2023-11-14T22:13:20Z", b'{"x":1}')


def test_the_first_name_that_holds_something_wins_and_the_rest_stays() -> None:
    only = both(event(msg="", log="from log", message="from message"), b"message_field=msg,log").only
    assert only.message == "from log"
    assert bytes(only.metadata) == b'{"n":1,"message":"from message","msg":""}'


def test_the_standard_name_serves_when_no_listed_one_does() -> None:
    assert both(event(), b"message_field=log").only.message == "hello"
    assert both(event(), b"message_field=source").only.message == "api"


def test_a_dotted_name_is_literal_first_and_a_path_second() -> None:
    nested = event(message=None, log={"text": "nested"})
    assert both(nested, b"message_field=log.text").only.message == "nested"
    assert bytes(both(nested, b"message_field=log.text").only.metadata) == b'{"n":1,"log":{"text":"nested"}}'
    literal = event(message=None, log={"text": "nested"}) | {"log.text": "literal"}
    assert both(literal, b"message_field=log.text").only.message == "literal"
    assert both(event(message=None, metadata={"a": {"b": "m"}}), b"message_field=metadata.a.b").only.message == "m"
    assert both(event(message=None, log="x"), b"message_field=log.text").only.message == ""


# Lenient.


@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_lenient_fills_in_what_is_missing_and_nothing_else(extra: dict[str, Any]) -> None:
    only = both(event(timestamp=None, severity="", source=" ", **extra), lenient=True).only
    assert (only.timestamp, only.severity, only.source) == (RECEIVED_AT, "info", "unknown")
    assert both(event(timestamp="soon", **extra), lenient=True).error.code == "invalid_timestamp"
    assert both(event(severity="loud", **extra), lenient=True).only.severity == "info"
    assert both(event(message=None, **extra), lenient=True).only.message == ""
    assert both(event(message=None, msg="hi", **extra), lenient=True).only.message == ""


# Ids.


class OtherRandom:
    def bytes(self, n: int) -> bytes:
        return b"\xff" * n


def ids(body: bytes, query: bytes = b"", **changes: Any) -> list[str]:
    return [envelope.id for envelope in take(body, query, **changes).envelopes]


TWINS = lines([event(id=None), event(id=None), event(id="own"), event(id=None, host=1), event(id="")])


def test_the_same_bytes_give_the_same_ids_and_equal_events_differ() -> None:
    first = ids(TWINS)
    assert first == ids(TWINS)
    assert len(set(first)) == 5
    assert first[2] == "own"
    assert all(len(one) <= 128 and one.isascii() for one in first)


def test_other_bytes_or_another_tenant_give_other_ids() -> None:
    body = lines([event(id=None, tenant_id=None)])
    assert ids(body, default_tenant="a") != ids(body, default_tenant="b")
    assert ids(body, default_tenant="a") != ids(body + b"\n", default_tenant="a")


def test_the_same_bytes_under_another_address_are_other_events() -> None:
    """Two hosts that differ in `?source=` alone may well send the same line in the same second."""
    body = lines([event(id=None, tenant_id=None, source=None)])
    addresses = [b"", b"source=web-1", b"source=web-2", b"severity=info", b"message_field=a", b"severity_numbers=otel"]
    assert len({ids(body, address, default_tenant="a", lenient=True)[0] for address in addresses}) == len(addresses)

    first = ids(body, b"source=web-1&severity=info", default_tenant="a", lenient=True)
    assert first == ids(body, b"severity=INFO&ack=enqueued&source=%20Web-1", default_tenant="a", lenient=True)
    assert first == ids(body, b"tenant_id=a&source=web-1&severity=info", lenient=True)


def test_a_large_body_is_hashed_in_slices_to_the_same_digest() -> None:
    body = b" " * (2 * DIGEST_SLICE_BYTES + 1) + TWINS
    event_ids = context(body).ids
    assert len(list(event_ids.digest_in_slices())) == 3
    assert event_ids.digest == hashlib.sha256(body).hexdigest()
    for needless in (context(body, idempotency_key="k").ids, context(body, derive=False).ids, context(TWINS).ids):
        assert not list(needless.digest_in_slices())
        assert not needless.digest


def test_an_idempotency_key_takes_the_place_of_the_digest() -> None:
    assert ids(TWINS, idempotency_key="k") == ids(TWINS + b"\n", idempotency_key="k")
    assert ids(TWINS, idempotency_key="k")[0] != ids(TWINS, idempotency_key="l")[0]
    assert ids(TWINS, idempotency_key="")[0] == ids(TWINS)[0]
    digest = hashlib.sha256(TWINS).digest().decode("latin-1")
    assert ids(TWINS, idempotency_key=digest)[0] != ids(TWINS)[0]


def test_without_a_timestamp_of_its_own_an_events_id_is_random() -> None:
    body = lines([event(id=None, timestamp=None), event(id=None, timestamp=None), event(id=None)])

    first, other = ids(body, lenient=True), ids(body, lenient=True, random=OtherRandom())
    assert len({*first, *other}) == 5
    assert first[2] == other[2]


def test_random_ids_are_random_for_all() -> None:
    first, other = ids(TWINS, derive=False), ids(TWINS, derive=False, random=OtherRandom())
    assert len({*first, *other}) == 9
    assert first[2] == other[2] == "own"


# Size.


@pytest.mark.parametrize("filler", ["x", "é", "\x01", "😀", '"'])
@pytest.mark.parametrize("extra", [{}, {"host": 1}])
def test_the_encoded_event_is_what_is_measured(filler: str, extra: dict[str, Any]) -> None:
    around = event(message="|", **extra)
    empty = len(encode_lines([take(compact(around), max_event_bytes=10_000).only])) - 1
    each = len(msgspec.json.encode(filler)) - 2
    fits = (10_000 - empty) // each
    at_limit = take(compact(around | {"message": "|" + filler * fits}), max_event_bytes=10_000).only
    assert 10_000 - each < len(encode_lines([at_limit])) - 1 <= 10_000
    error = take(compact(around | {"message": "|" + filler * (fits + 1)}), max_event_bytes=10_000).error
    assert (error.code, error.id) == ("event_too_large", "evt-1")


def test_large_metadata_counts_and_its_neighbours_stay() -> None:
    big = event(id="big", metadata={"a": "x" * 300_000})
    taken = take(compact([event(), big, event(id="evt-2")]))
    assert [envelope.id for envelope in taken.envelopes] == ["evt-1", "evt-2"]
    assert [(error.index, error.code) for error in taken.verdicts.errors] == [(1, "event_too_large")]


# Verdicts.


def test_a_hundred_verdicts_are_told_and_all_are_counted() -> None:
    taken = take(lines([event(timestamp="soon")] * 150 + [event(source="")] * 50 + [event()]))
    assert len(taken.verdicts.errors) == MAX_ERRORS == 100
    assert taken.verdicts.rejected == 200
    assert taken.verdicts.counts == {("acme", "invalid_timestamp"): 150, ("acme", "missing_field"): 50}
    assert len(taken.envelopes) == 1


def test_a_verdict_is_counted_for_whom_it_concerns() -> None:
    odd = [
        event(tenant_id=" ACME ", source=""),
        event(tenant_id="?"),
        event(tenant_id=7),
        {"message": "no tenant"},
        event(tenant_id="b", timestamp="soon"),
    ]
    taken = take(lines(odd) + b"{broken\n")
    assert taken.verdicts.counts == {
        ("acme", "missing_field"): 1,
        ("", "invalid_tenant_id"): 2,
        ("", "missing_field"): 1,
        ("b", "invalid_timestamp"): 1,
        ("", "invalid_json"): 1,
    }


def test_verdicts_keep_their_order() -> None:
    verdicts = Verdicts()
    for index in range(3):
        verdicts.add(IngestError(index, None, "invalid_json", None, "x."), "")
    assert [error.index for error in verdicts.errors] == [0, 1, 2]


def test_one_odd_event_leaves_its_neighbours_on_the_quick_way_alone() -> None:
    odd = [
        event(id="a"),
        event(id="b", timestamp="soon"),
        event(id="c", tenant_id="?"),
        event(id="d" * 129),
        event(id="e"),
    ]
    taken = take(compact(odd))
    assert [envelope.id for envelope in taken.envelopes] == ["a", "e"]
    assert [error.index for error in taken.verdicts.errors] == [1, 2, 3]


def test_every_envelope_reads_back() -> None:
    taken = take(lines([event(), event(message="é\n\x00😀", host=[1]), event(metadata={"a": {"b": 1}})]))
    text = encode_lines(taken.envelopes)
    back = [decode_one(line) for line in text.splitlines()]
    assert [msgspec.json.encode(one) for one in back] == [msgspec.json.encode(one) for one in taken.envelopes]
