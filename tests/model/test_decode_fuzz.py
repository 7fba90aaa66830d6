"""Any bytes: no exception but Rejected, a verdict for each item, envelopes that read back; quick and careful agree."""

import json
import os
import re
import time
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings

from parsec.api.event_rules import MAX_METADATA_DEPTH, nests_deeper
from parsec.api.ingest import CODES, IngestError
from parsec.core.envelope import SCHEMA_VERSION, Envelope, decode_one, encode_lines
from parsec.core.errors import Rejected
from parsec.core.timestamp import read_column, read_text
from parsec.ingest.body.fast_path import WideEvent
from parsec.ingest.body.inflate import inflater
from tests.support.ingesting import NOW_NS, Taken, compact, event, take
from tests.support.results import keep

QUERIES = (b"", b"message_field=log,metadata.a&severity_field=level", b"tenant_id=t&source=s&severity=info")

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
stamps = st.sampled_from(
    ["2026-09-21T14:00:00Z", "2026-09-21T14:00:00.123456789+02:00", "2016-12-31T23:59:60Z", "soon", "", " ",
     "1700000000", 1_700_000_000, 1_700_000_000.25, 1_700_000_000_123, -1, 1e300, "9999-12-31T23:59:59Z"]
)  # fmt: skip
events = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=5) | st.just("x" * 129) | leaves,
        "tenant_id": st.sampled_from(["acme", " ACME", "a b", "", "\u212a"]) | leaves,
        "timestamp": stamps | leaves,
        "severity": st.sampled_from(["info", "WARN", "loud", "", 3, 9]) | leaves,
        "source": st.sampled_from(["api", " Api", ""]) | leaves,
        "message": st.text(max_size=8) | leaves,
        "metadata": st.dictionaries(st.sampled_from(["a", "_a", "host", ""]), values, max_size=3) | values,
        "host": values,
        "a": values,
        "log": values,
        "level": st.sampled_from(["error", 4, None]),
    },
)
sound = st.builds(
    event, id=st.text(max_size=4), message=st.text(min_size=1), metadata=st.dictionaries(st.text(), values)
)
spellings: st.SearchStrategy[dict[str, Any]] = st.sampled_from([
    {"separators": (",", ":")}, {"separators": (", ", ": ")}, {"separators": (",", ":"), "ensure_ascii": False},
    {"indent": 1, "ensure_ascii": False},
])  # fmt: skip


def spelled(value: object, how: dict[str, Any]) -> bytes:
    return json.dumps(value, **how).encode("utf-8", "surrogatepass")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Something like JSON in any of the shapes, often damaged."""
    given_values: list[Any] = draw(st.lists(events | sound | values, max_size=5))
    parts = [spelled(one, draw(spellings)) for one in given_values]
    shape = draw(st.sampled_from(["array", "batch", "lines", "concatenated", "arrays"]))
    body = {
        "array": b"[" + b",".join(parts) + b"]",
        "batch": b'{"events":[' + b", ".join(parts) + b"]}",
        "lines": b"\n".join(parts) + b"\n",
        "concatenated": b" ".join(parts),
        "arrays": b"\r\n".join(b"[%b]" % part for part in parts),
    }[shape]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        cut = draw(st.integers(0, 3))
        put = draw(st.binary(max_size=3) | st.sampled_from(DAMAGE))
        body = body[:at] + put + body[at + cut :]
    return body


DAMAGE = [
    b"", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\n", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN",
    b"1e400", b"\\ud800", b"\\ude00", b"9" * 40, b"[" * 40, b"{" + b'"a":{' * 1200, b'"a":1,' * 300, b"null", b"},{",
    b'{"events":[',
]  # fmt: skip


def checked(body: bytes, query: bytes = b"", **changes: Any) -> Taken | None:
    """What came of it. None: refused as a whole."""
    try:
        taken = take(body, query, max_events=1000, **changes)
    except Rejected as error:
        refused = error
    else:
        return seen_to_hold(taken)
    assert CODES[refused.code].status == refused.status
    return None


def seen_to_hold(taken: Taken) -> Taken:
    assert len(taken.envelopes) + taken.verdicts.rejected + taken.verdicts.blank == taken.items > 0
    assert sum(taken.verdicts.counts.values()) == taken.verdicts.rejected
    assert {code for _, code in taken.verdicts.counts} <= CODES.keys()
    text = encode_lines(taken.envelopes)
    assert text.count(b"\n") == len(taken.envelopes)
    assert b"\r" not in text
    for line, envelope in zip(text.split(b"\n")[:-1], taken.envelopes, strict=True):
        back = decode_one(line)
        assert back.v == SCHEMA_VERSION
        assert bytes(back.metadata) == bytes(envelope.metadata)
        assert not nests_deeper(bytes(back.metadata), MAX_METADATA_DEPTH)
        assert len(msgspec.json.decode(back.metadata, type=dict[str, msgspec.Raw])) <= 256
        assert len(line) <= 256 << 10
        assert 0 < len(back.id) <= 128
        assert all((back.tenant_id, back.source, back.message.strip() or back.metadata != b"{}"))
        assert read_text(back.timestamp, NOW_NS) == back.timestamp
    indexes = [-1 if error.index is None else error.index for error in taken.verdicts.errors]
    assert indexes == sorted({index for index in indexes if 0 <= index < taken.items})
    return taken


many = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@many
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes(body: bytes) -> None:
    checked(body)


@many
@given(bodies(), st.sampled_from(QUERIES), st.booleans(), st.sampled_from(["", "acme"]))
def test_anything_like_json(body: bytes, query: bytes, lenient: bool, tenant: str) -> None:
    checked(body, query, lenient=lenient, default_tenant=tenant, key_tenant=tenant if lenient else "")


def told(taken: Taken) -> tuple[list[bytes], list[tuple[str, str | None, str | None, str]]]:
    """Envelopes, and verdicts without their index."""

    def plain(error: IngestError) -> tuple[str, str | None, str | None, str]:
        return error.code, error.field, error.id, error.message

    return encode_lines(taken.envelopes).split(b"\n")[:-1], [plain(error) for error in taken.verdicts.errors]


@many
@given(st.lists(events | sound, min_size=1, max_size=6), spellings, st.sampled_from(QUERIES), st.booleans())
def test_every_way_of_reading_gives_the_same(
    given_events: list[dict[str, Any]], how: dict[str, Any], query: bytes, lenient: bool
) -> None:
    """One text per event in an array, a batch, on lines (quick), and after a line that makes each be read alone."""
    given_events = [one for one in given_events if "events" not in one]
    parts = [spelled(one, how) for one in given_events]
    same = {"idempotency_key": "k", "lenient": lenient}
    array = checked(b"[" + b",".join(parts) + b"]", query, **same)
    assert array is not None
    batch = checked(b'{"events":[' + b",".join(parts) + b"]}", query, **same)
    assert batch is not None
    # An array within a number of slices of its own is read element by element once one element is no object.
    careful = checked(b"[" + b",".join([*parts, b"5"]) + b"]", query, **same)
    assert careful is not None
    lines = checked(b"\n".join(part.replace(b"\n", b" ") for part in parts) + b"\n", query, **same)
    assert lines is not None
    alone = checked(b"\n".join([*(part.replace(b"\n", b" ") for part in parts), b"5"]), query, **same)
    assert alone is not None
    assert told(array) == told(batch)
    assert [told(array)[0], told(lines)[0]] == [told(careful)[0], told(alone)[0]]
    assert told(array)[1] == told(careful)[1][:-1] == told(lines)[1] == told(alone)[1][:-1]
    if "indent" not in how:
        assert told(array) == told(lines)


good = st.builds(event, message=st.text(min_size=1, max_size=9).filter(str.strip), n=st.integers())
any_line = (
    st.builds(spelled, events | sound | values, st.sampled_from([{"separators": (",", ":")}, {}]))
    | st.sampled_from([
        b"oops", b'{"a":NaN}', b'{"a":"', b'{"a":[{', b"[INFO] words", b"5 x", b"[1,2",
        b'{"events":[{"message":"m"},{"a":NaN}]}', b'{"events":[],"a":1}', b'{"message":"m","events":[1]}', b"[[tru]]",
        b'{"a":1e400}', b'{"a":"\\ud800"}', b'{"a":' * 2000, b'{"a":"\xff"}', b"[" * 2000 + b"]" * 2000, b"\0\0",
        b"\xff\xfe", b"BZh91AY&SY", b"\x1f\x8b\x08", b"x\x9cK\x04\x00", b"{\0", b"\xef\xbb\xbf{}",
    ])
    | st.binary(max_size=12).map(lambda text: re.sub(rb'[\n{}\[\]"]', b" ", text))
)  # fmt: skip


@many
@given(good, st.lists(any_line, min_size=1, max_size=5), st.sampled_from(QUERIES), st.booleans())
def test_what_happens_to_a_line_never_depends_on_other_lines(
    first: dict[str, Any], given_lines: list[bytes], query: bytes, lenient: bool
) -> None:
    """A line after a sound one has the verdict and the events that it has among any others.

    No line here closes a bracket or quote that an earlier one leaves open: a value may go on over lines.
    """
    same: dict[str, Any] = {"idempotency_key": "k", "lenient": lenient}
    before = compact(first)
    together = take(b"\n".join([before, *given_lines]), query, **same)
    apart = [take(before + b"\n" + line, query, **same) for line in given_lines]
    # Index 0 is the first event; ids that are derived hold the index.
    assert together.items - 1 == sum(one.items - 1 for one in apart)
    assert together.verdicts.blank == sum(one.verdicts.blank for one in apart)
    assert told(together)[1] == [error for one in apart for error in told(one)[1]]
    of_each = [one.envelopes[1:] for one in apart]  # the first is the sound line
    assert list(map(plain_event, together.envelopes[1:])) == [plain_event(one) for each in of_each for one in each]


def plain_event(envelope: Envelope) -> tuple[str, str, str, str, bytes]:
    """Without its id and times."""
    return envelope.tenant_id, envelope.severity, envelope.source, envelope.message, bytes(envelope.metadata)


@many
@given(good, st.lists(any_line, min_size=1, max_size=3))
def test_a_bad_line_before_it_does_not_change_an_event(last: dict[str, Any], given_lines: list[bytes]) -> None:
    open_ones = [line for line in given_lines if line.strip()[:1] in (b"[", b"{")]
    given_lines = [line for line in given_lines if line not in open_ones and b"\0" not in line]
    taken = take(b"\n".join([*given_lines, compact(last)]), idempotency_key="k")
    (alone,) = take(compact(last), idempotency_key="k").envelopes
    assert plain_event(taken.envelopes[-1]) == plain_event(alone)


@many
@given(st.lists(sound, min_size=1, max_size=4), st.dictionaries(st.text(max_size=4), values, min_size=1, max_size=3))
def test_metadata_and_unknown_fields_come_back(given_events: list[dict[str, Any]], unknown: dict[str, Any]) -> None:
    wide = [unknown | one for one in given_events]
    taken = take(compact(wide))
    for envelope, one in zip(
        taken.envelopes,
        [one for one in wide if one["message"].strip() or len(one) > len(event()) or one["metadata"]],
        strict=True,
    ):
        back = json.loads(bytes(envelope.metadata))
        assert one["metadata"].items() <= back.items() or all(back[name] == v for name, v in one["metadata"].items())
        rest = [name for name in unknown if name not in event()]
        assert len(back) == len(one["metadata"]) + len(rest)
        for name in rest:
            assert any(back.get("_" * n + name, ...) == unknown[name] for n in range(8))


@many
@given(
    st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]{1,10})?(Z|[+-]\d\d:\d\d)")
)
def test_a_column_of_stamps_gives_what_each_gives(text: str) -> None:
    latest = NOW_NS // 10**9
    try:
        alone: str | None = read_text(text, latest)
    except Rejected:
        alone = None
    assert list(read_column([text], latest)) == [alone]
    assert list(read_column(["2026-09-21T14:00:00Z", text], latest))[1] == alone


@many
@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "zstd", ""]), st.integers(1, 50))
def test_inflating_anything(data: bytes, encoding: str, step: int) -> None:
    one = inflater(encoding, 1000)
    plain, code = b"", ""
    try:
        plain = b"".join(part for at in range(0, len(data), step) for part in one.feed(data[at : at + step]))
        one.finish()
    except Rejected as refused:
        code = refused.code
    assert code in ("", "invalid_encoding", "payload_too_large")
    assert len(plain) <= 1000


def test_the_generators_reach_every_way() -> None:
    """Else the properties above would hold for nothing."""
    from parsec.ingest.body.decode import chunks
    from parsec.ingest.body.fast_path import Event

    kinds = {
        type(item)
        for body in (compact([event()]), compact([event(host=1)]), compact([event(id=5)]))
        for piece in chunks(body, 10)
        for item in piece.items
    }
    assert kinds == {Event, WideEvent, dict}


LONG_EXAMPLES = int(os.environ.get("PARSEC_SOAK_BODIES", "50000"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_anything_like_json_for_long() -> None:
    tried = 0

    @settings(max_examples=LONG_EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
    @given(bodies(), st.sampled_from(QUERIES))
    def anything(body: bytes, query: bytes) -> None:
        nonlocal tried
        tried += 1
        checked(body, query)

    started = time.monotonic()
    anything()
    figures = {"bodies": tried, "seconds": round(time.monotonic() - started), "failures": 0}
    keep("decode_fuzz", "tests/model/test_decode_fuzz.py", figures)
