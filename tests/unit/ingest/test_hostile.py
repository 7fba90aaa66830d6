"""Bytes that were meant to hurt, each with its verdict, alone and among sound neighbours."""

import msgspec
import pytest

from parsec.core.envelope import decode_one, encode_lines
from parsec.core.errors import Rejected
from tests.support.ingesting import Taken, compact, event, lines, take, with_text

DEEP = b"[" * 100_000 + b"]" * 100_000
HUGE = b"9" * 5000


def among(one: bytes) -> list[Taken]:
    """In an array, a batch and lines, between two sound events; the first and the last are always taken."""
    first, last = compact(event(id="first")), compact(event(id="last"))
    taken = [
        take(b"[" + b",".join((first, one, last)) + b"]"),
        take(b'{"events":[' + b",".join((first, one, last)) + b"]}"),
        take(b"\n".join((first, one, last)) + b"\n"),
        take(b"\r\n\r\n".join((first, one, last))),
    ]
    for each in taken:
        assert [each.envelopes[0].id, each.envelopes[-1].id] == ["first", "last"]
        assert each.items == 3
    return taken


KEPT = {
    "1e400": b'{"n":1e400}',
    "integers of any length": b'{"n":123456789012345678901234567890,"m":' + HUGE + b"}",
    "floats digit by digit": b'{"n":0.1000000000000000055511151231257827,"m":1.50,"z":-0.0}',
    "NUL": b'{"\\u0000":"a\\u0000b"}',
    "empty names": b'{"":{"":""}}',
    "duplicate names": b'{"a":1,"a":{"a":2,"a":3}}',
    "a dotted name beside a path": b'{"a.b":1,"a":{"b":2}}',
    "nulls in arrays": b'{"a":[null,1,"x",{}]}',
    "whole surrogate pairs": b'{"a":"\\ud83d\\ude00"}',
    "what looks like half a pair": b'{"a":"\\\\ud800"}',
    "non-characters": b'{"a":"\xef\xbf\xbe\xef\xb7\x90"}',
    "32 levels": b'{"a":' * 32 + b"1" + b"}" * 32,
}


@pytest.mark.parametrize("metadata", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("extra", [{}, {"message": "\x00 é"}])
def test_kept_exactly(metadata: bytes, extra: dict[str, object]) -> None:
    one = with_text("metadata", metadata, **extra)
    for taken in [*among(one), take(one)]:
        assert taken.verdicts.errors == []
        kept = taken.envelopes[len(taken.envelopes) // 2]
        assert bytes(kept.metadata) == metadata
        assert bytes(decode_one(encode_lines([kept])[:-1]).metadata) == metadata


@pytest.mark.parametrize("value", [b"1e400", HUGE, b'"\\u0000"', b"[1,[2]]", b"-0.0"])
def test_unknown_fields_are_kept_as_exactly(value: bytes) -> None:
    for taken in among(with_text("odd", value)):
        assert bytes(taken.envelopes[1].metadata) == b'{"n":1,"odd":' + value + b"}"


REFUSED = {
    "half a pair in metadata": (with_text("metadata", b'{"a":"\\ud800"}'), "invalid_unicode"),
    "half a pair in a name": (with_text("metadata", b'{"\\udc00":1}'), "invalid_unicode"),
    "half a pair in the message": (with_text("message", b'"\\ud800\\u0041"'), "invalid_unicode"),
    "two halves the wrong way round": (with_text("odd", b'"\\ude00\\ud83d"'), "invalid_unicode"),
    "bytes that are not UTF-8 in metadata": (with_text("metadata", b'{"a":"\xff"}'), "invalid_utf8"),
    "bytes that are not UTF-8 in a name": (with_text("metadata", b'{"\xc3(":1}'), "invalid_utf8"),
    "bytes that are not UTF-8 in the message": (with_text("message", b'"a\xf0\x9f"'), "invalid_utf8"),
    "a surrogate in UTF-8": (with_text("odd", b'"\xed\xa0\x80"'), "invalid_utf8"),
    "an overlong form": (with_text("odd", b'"\xc0\xaf"'), "invalid_utf8"),
    "100,000 levels in metadata": (with_text("metadata", b'{"a":' + DEEP + b"}"), "too_deep"),
    "100,000 levels in an unknown field": (with_text("odd", DEEP), "too_deep"),
    "33 levels by an unknown field": (with_text("odd", b"[" * 32 + b"]" * 32), "too_deep"),
    "100,000 objects as an event": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
    "a name of 1 MB": (with_text("metadata", b'{"' + b"k" * 1_000_000 + b'":1}'), "event_too_large"),
    "an unknown name of 1 MB": (compact(event() | {"k" * 1_000_000: 1}), "event_too_large"),
    "a message of 1 MB": (compact(event(message="m" * 1_000_000)), "event_too_large"),
    "an id of 1 MB": (compact(event(id="i" * 1_000_000)), "invalid_id"),
    "a source of 1 MB": (compact(event(source="s" * 1_000_000)), "invalid_source"),
    "a tenant of 1 MB": (compact(event(tenant_id="t" * 1_000_000)), "invalid_tenant_id"),
    "a severity of 1 MB": (compact(event(severity="s" * 1_000_000)), "invalid_severity"),
    "a timestamp of 1 MB": (compact(event(timestamp="1" * 1_000_000)), "invalid_timestamp"),
    "a timestamp of 5000 digits": (with_text("timestamp", HUGE), "invalid_timestamp"),
    "a timestamp of 1e400": (with_text("timestamp", b"1e400"), "invalid_timestamp"),
    "257 names": (compact(event(metadata={str(n): n for n in range(257)})), "too_many_keys"),
    "257 unknown names": (compact(event() | {str(n): n for n in range(257)}), "too_many_keys"),
    "year 1": (compact(event(timestamp="0001-01-01T00:00:00Z")), "invalid_timestamp"),
    "year 1969": (compact(event(timestamp="1969-12-31T23:59:59Z")), "invalid_timestamp"),
    "year 9999": (compact(event(timestamp="9999-12-31T23:59:59Z")), "timestamp_in_future"),
    "a negative number": (compact(event(timestamp=-1)), "invalid_timestamp"),
    "an array for an event": (b"[[]]"[1:3], "not_an_object"),
}


@pytest.mark.parametrize(("one", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_alone_of_all(one: bytes, code: str) -> None:
    for taken in among(one) if code != "not_an_object" else [take(b"[%b,%b]" % (compact(event()), one))]:
        assert taken.codes == [code]
        assert taken.verdicts.errors[0].index == 1
        assert len(taken.verdicts.errors[0].message) < 300


BROKEN = {
    "NaN": with_text("metadata", b'{"a":NaN}'),
    "Infinity": with_text("metadata", b'{"a":-Infinity}'),
    "a bare NUL": with_text("metadata", b'{"a":"\x00"}'),
    "a bare NUL in the message": with_text("message", b'"\x00"'),
    "a BOM in the middle": b"\xef\xbb\xbf" + compact(event()),
    "a leading zero": with_text("metadata", b'{"a":01}'),
    "a trailing comma": with_text("metadata", b'{"a":1,}'),
    "single quotes": with_text("metadata", b"{'a':1}"),
    "a comment": with_text("metadata", b'{"a":1/*x*/}'),
    "cut in a string": compact(event())[:60],
    "cut behind a colon": b'{"message":',
    "an unknown escape": with_text("message", b'"\\x41"'),
    "a half escape": with_text("message", b'"\\u12"'),
}


@pytest.mark.parametrize("one", BROKEN.values(), ids=BROKEN)
def test_broken_json_is_one_verdict_among_lines_and_refuses_an_array(one: bytes) -> None:
    first, last = compact(event(id="first")), compact(event(id="last"))
    taken = take(b"\n".join((first, one, last)))
    assert [envelope.id for envelope in taken.envelopes] == ["first", "last"]
    assert [(error.index, error.code) for error in taken.verdicts.errors] == [(1, "invalid_json")]
    with pytest.raises(Rejected) as refused:
        take(b"[" + b",".join((first, one, last)) + b"]")
    assert refused.value.code == "invalid_json"


def test_of_duplicate_standard_fields_the_last_counts() -> None:
    one = compact(event())[:-1] + b',"message":"second"}'
    assert [taken.envelopes[1].message for taken in among(one)] == ["second"] * 4


def test_metadata_without_an_event_around_it_is_not_decoded_as_a_number() -> None:
    only = take(with_text("metadata", b'{"a":[' + b",".join([HUGE] * 40) + b"]}")).only
    assert len(msgspec.json.encode(only.metadata)) > 40 * 5000


BAD_BODIES = {
    "bad severity": lines([event(severity="loud", id=f"e{n}") for n in range(10_000)]),
    "bad severity in an array": compact([event(severity="loud", id=f"e{n}") for n in range(10_000)]),
    "broken lines": b'{"message":"x","a":\n' * 10_000,
    "text lines": b"GET /index.html 200 15 ms and some more words\n" * 10_000,
    "deep lines": (b"[" * 2000 + b"\n") * 10_000,
    "half pairs": b"[" + b",".join([b'{"a":"\\ud800"}'] * 10_000) + b"]",
    "brackets on one line": b"[]" * 4_000_000,
    "brackets in one value": b'{"a":[' + b"[]," * 2_000_000 + b'"\xff"]}',
    "open brackets on lines": (b"[" + b"1," * 8000 + b"\n") * 1000,
    "open strings": b'{"a":"' * 1_000_000,
    "backslashes": b'{"a":"' + b"\\" * 8_000_001,
    "blanks": b"{" + b" " * 8_000_000,
    "blank lines": b"\n" * 8_000_000 + b"x" + b"\n" * 8_000_000,
    "seams that are none": b'[{"a":"' + b"},{" * 2_000_000 + b'"}]',
    "colons and quotes": b'{"":' * 1_000_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_no_body_takes_more_than_linear_time(body: bytes) -> None:
    """Each takes well under a second; what is quadratic in any of them would take hours."""
    try:
        taken = take(body)
    except Rejected:
        pass
    else:
        assert taken.envelopes == []
        assert taken.verdicts.rejected == taken.items
        assert len(taken.verdicts.errors) <= 100
