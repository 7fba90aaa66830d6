"""Bytes that were meant to hurt, each with its verdict, alone and among sound neighbours."""

import re

import msgspec
import pytest

from parsec.core.envelope import decode_one, encode_lines
from parsec.core.errors import Rejected
from parsec.ingest.body.slow_path import MAX_SCANNED_BYTES
from tests.support.hostile_events import BROKEN, HUGE, KEPT, REFUSED
from tests.support.ingesting import Taken, compact, event, lines, take, with_text


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


@pytest.mark.parametrize(("one", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_alone_of_all(one: bytes, code: str) -> None:
    for taken in among(one) if code != "not_an_object" else [take(b"[%b,%b]" % (compact(event()), one))]:
        assert taken.codes == [code]
        assert taken.verdicts.errors[0].index == 1
        assert len(taken.verdicts.errors[0].message) < 300


NO_CHARACTERS = {
    "metadata": with_text("metadata", b'{"a":"ok\\\\ud800 \\ud83d\\ude00","b":["\\ud800"]}'),
    "message": with_text("message", b'"a\xf0\x9f"'),
    "odd": with_text("odd", b'"\\ude00\\ud83d"'),
    "\\xc3(": compact(event())[:-1] + b',"\xc3(":1}',
    "\\udc00": compact(event())[:-1] + b',"\\udc00":1}',
}


@pytest.mark.parametrize(("field", "one"), NO_CHARACTERS.items(), ids=NO_CHARACTERS)
def test_what_is_no_character_is_told_with_its_field_and_byte(field: str, one: bytes) -> None:
    for taken in among(one):
        (error,) = taken.verdicts.errors
        assert (error.index, error.field) == (1, field)
        at = re.search(r"byte (\d+)", error.message)
        assert at is not None
        assert one[int(at[1]) :].startswith((b"\\ud800", b"\xf0\x9f", b"\\ude00", b"\xc3(", b"\\udc00"))
        assert one[int(at[1]) - 1 : int(at[1])] != b"\\"


def test_in_a_large_event_only_the_byte_is_told() -> None:
    one = compact(event(message="m" * MAX_SCANNED_BYTES))[:-1] + b',"odd":"\xff"}'
    (error,) = take(compact(event())[:-1] + b"}\n" + one).verdicts.errors
    assert (error.code, error.field) == ("invalid_utf8", None)
    assert f"byte {len(one) - 3} of it is 0xff" in error.message


@pytest.mark.parametrize(("name", "one"), BROKEN.items(), ids=BROKEN)
def test_broken_json_is_one_verdict(name: str, one: bytes) -> None:
    first, last = compact(event(id="first")), compact(event(id="last"))
    taken = take(b"\n".join((first, one, last)))
    assert [envelope.id for envelope in taken.envelopes] == ["first", "last"]
    assert [(error.index, error.code) for error in taken.verdicts.errors] == [(1, "invalid_json")]
    taken = take(b"[" + b",".join((first, one, last)) + b"]")
    kept = [envelope.id for envelope in taken.envelopes]
    assert kept == (["first"] if "cut" in name else ["first", "last"])
    assert [(error.index, error.code) for error in taken.verdicts.errors] == [(1, "invalid_json")]


def test_of_duplicate_standard_fields_the_last_counts() -> None:
    one = compact(event())[:-1] + b',"message":"second"}'
    assert [taken.envelopes[1].message for taken in among(one)] == ["second"] * 4


def test_metadata_without_an_event_around_it_is_not_decoded_as_a_number() -> None:
    only = take(with_text("metadata", b'{"a":[' + b",".join([HUGE] * 40) + b"]}")).only
    assert len(msgspec.json.encode(only.metadata)) > 40 * 5000


BAD_BODIES = {
    "unknown severities": lines([event(severity="loud", id=f"e{n}") for n in range(10_000)]),
    "unknown severities in an array": compact([event(severity="loud", id=f"e{n}") for n in range(10_000)]),
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
        assert len(taken.envelopes) + taken.verdicts.rejected == taken.items
        assert len(taken.verdicts.errors) <= 100
