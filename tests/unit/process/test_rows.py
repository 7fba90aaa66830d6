"""Records to rows: what ingest writes passes, what another producer may write gets a verdict, nothing raises."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.api import event_rules
from parsec.api.event_rules import MAX_STORED_AHEAD_S
from parsec.core.envelope import encode_one
from parsec.core.errors import Rejected
from parsec.core.timestamp import DAY, SECOND, text_of
from parsec.ports.broker import Slice
from parsec.ports.store import DeadLetter, Row
from parsec.process.rows import MAX_RECORD_BYTES, Rules, row, rows
from tests.support.events import envelope, envelopes

NOW = 1_795_435_200 * SECOND  # 2026-11-23T12:00:00Z
RULES = Rules(30 * 86_400.0, NOW)

CANONICAL = {"tenant_id": event_rules.tenant, "severity": event_rules.severity, "source": event_rules.source}
FIELDS: dict[str, Any] = json.loads(encode_one(envelope()))


def record(**other: Any) -> bytes:
    return json.dumps(FIELDS | other).encode()


def one(value: bytes, rules: Rules = RULES) -> Row | DeadLetter:
    return row(value, "log-1", 2, 7, rules)


def both_ways(*values: bytes) -> tuple[list[Row], list[DeadLetter]]:
    """What `rows` says, after checking that it is what `row` says of each."""
    made, letters = rows(Slice("log-1", 2, 1, 7, 7 + len(values), range(7, 7 + len(values)), values), RULES)
    single = [row(value, "log-1", 2, 7 + n, RULES) for n, value in enumerate(values)]
    assert made == [r for r in single if isinstance(r, Row)]
    assert letters == [r for r in single if isinstance(r, DeadLetter)]
    return made, letters


def test_a_row_has_the_fields_of_its_envelope_and_its_position() -> None:
    assert one(encode_one(envelope(5))) == Row(
        "acme", 1_795_435_200_123_000_000, "info", "api", "hello", '{"n":5}', "evt-5", 1_795_435_201_000_000_000,
        "local", "node-1", "log-1", 2, 7, 20_811,
    )  # fmt: skip


def test_a_slice_of_good_records_is_rows_in_order() -> None:
    made, letters = both_ways(*map(encode_one, envelopes(50)))
    assert [r.id for r in made] == [f"evt-{n}" for n in range(50)]
    assert [r.offset for r in made] == list(range(7, 57))
    assert letters == []


def test_an_empty_slice_is_nothing() -> None:
    assert both_ways() == ([], [])


def test_a_bad_record_leaves_its_neighbours_alone() -> None:
    made, letters = both_ways(record(id="a"), b"\xff", record(id="b"))
    assert [(r.id, r.offset) for r in made] == [("a", 7), ("b", 9)]
    assert letters[0].offset == 8
    assert letters[0].raw == b"\xff"


def nested(depth: int) -> Any:
    return 1 if depth == 0 else {"a": nested(depth - 1)}


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "invalid_envelope"),
    "not JSON": (b"hello", "invalid_envelope"),
    "no object": (b"[]", "invalid_envelope"),
    "two objects": (record() + b"\n" + record(), "invalid_envelope"),
    "invalid UTF-8": (record().replace(b"hello", b"\xff\xfe"), "invalid_envelope"),
    "lone surrogate": (record().replace(b"hello", b"\\ud800"), "invalid_envelope"),
    "a field is missing": (record().replace(b'"node"', b'"nod"'), "invalid_envelope"),
    "a field of another type": (record(message=5), "invalid_envelope"),
    "another version": (record(v=2), "invalid_envelope"),
    "nested too deeply": (b'{"v":' + b"[" * 100_000, "invalid_envelope"),
    "tenant with a capital": (record(tenant_id="Acme"), "invalid_field"),
    "tenant empty": (record(tenant_id=""), "invalid_field"),
    "tenant with a newline": (record(tenant_id="acme\n"), "invalid_field"),
    "tenant of 65": (record(tenant_id="a" * 65), "invalid_field"),
    "severity": (record(severity="INFO"), "invalid_field"),
    "source empty": (record(source=""), "invalid_field"),
    "source of 257": (record(source="s" * 257), "invalid_field"),
    "source not in lower case": (record(source="API"), "invalid_field"),
    "source with a blank": (record(source="api "), "invalid_field"),
    "id empty": (record(id=""), "invalid_field"),
    "id of 129": (record(id="i" * 129), "invalid_field"),
    "message empty": (record(message="", metadata={}), "invalid_field"),
    "message blank": (record(message=" \n", metadata={}), "invalid_field"),
    "region of 257": (record(region="r" * 257), "invalid_field"),
    "node of 257": (record(node="n" * 257), "invalid_field"),
    "timestamp no time": (record(timestamp="yesterday"), "invalid_field"),
    "timestamp with an offset": (record(timestamp="2026-11-23T12:00:00+01:00"), "invalid_field"),
    "timestamp before 1970": (record(timestamp="1969-12-31T23:59:59Z"), "invalid_field"),
    "timestamp in 9999": (record(timestamp="9999-12-31T23:59:59Z"), "invalid_field"),
    "timestamp ahead of receipt": (record(timestamp="2026-11-24T12:10:02Z"), "timestamp_in_future"),
    "received no time": (record(received_at=""), "invalid_field"),
    "received in the future": (record(received_at=text_of(NOW + (MAX_STORED_AHEAD_S + 1) * SECOND)), "invalid_field"),
    "received in 9999": (record(received_at="9999-12-31T23:59:59Z"), "invalid_field"),
    "received too long ago": (record(received_at=text_of(NOW - 30 * DAY - 1)), "expired"),
    "metadata no object": (record(metadata=[1]), "invalid_field"),
    "metadata null": (record(metadata=None), "invalid_field"),
    "metadata of depth 33": (record(metadata=nested(33)), "invalid_field"),
    "metadata of 257 keys": (record(metadata={str(n): n for n in range(257)}), "invalid_field"),
    "metadata not UTF-8": (record(metadata={"a": "hello"}).replace(b'"a": "hello"', b'"a":"\xff"'), "invalid_field"),
}


@pytest.mark.parametrize(("value", "reason"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_a_row_is_a_dead_letter_with_a_reason(value: bytes, reason: str) -> None:
    made, letters = both_ways(record(id="good"), value)
    assert [r.id for r in made] == ["good"]
    assert [(dead.reason, dead.raw, dead.offset, dead.stage) for dead in letters] == [(reason, value, 8, "rows")]
    assert letters[0].detail


def test_two_envelopes_in_one_record_are_not_mistaken_for_two_records() -> None:
    made, letters = both_ways(record(id="a") + b"\n" + record(id="b"), b"")
    assert made == []
    assert [dead.reason for dead in letters] == ["invalid_envelope"] * 2


def test_the_largest_record_is_bounded() -> None:
    dead = one(record(message="x" * MAX_RECORD_BYTES))
    assert isinstance(dead, DeadLetter)
    assert dead.reason == "event_too_large"


EDGES: dict[str, dict[str, Any]] = {
    "tenant of 64": {"tenant_id": "a" * 64},
    "source of 256": {"source": "s" * 256},
    "id of 128": {"id": "ä" * 128},
    "first nanosecond": {"timestamp": "1970-01-01T00:00:00Z"},
    "last moment ahead": {"timestamp": "2026-11-24T12:10:01Z"},
    "received just ahead": {"received_at": text_of(NOW + MAX_STORED_AHEAD_S * SECOND)},
    "received just not expired": {
        "received_at": text_of(NOW - 30 * DAY),
        "timestamp": "2026-10-01T00:00:00Z",
    },
    "NUL": {"message": "\0", "source": "\0", "id": "\0"},
    "an unknown field": {"more": 1},
    "message between blanks": {"message": " hello "},
    "metadata of depth 32": {"metadata": nested(32)},
    "metadata of 256 keys": {"metadata": {str(n): n for n in range(256)}},
}


@pytest.mark.parametrize("fields", EDGES.values(), ids=EDGES.keys())
def test_what_just_fits_is_a_row(fields: dict[str, Any]) -> None:
    made, letters = both_ways(record(**fields))
    assert (len(made), letters) == (1, [])


@pytest.mark.parametrize(
    ("value", "tenant"),
    [
        (record(severity="?"), "acme"),
        (b'{"tenant_id":"acme"}', "acme"),
        (b'{"tenant_id":"Not One"}', ""),
        (b'{"tenant_id":7}', ""),
        (b"\x00", ""),
    ],
)
def test_a_dead_letter_names_its_tenant_where_that_can_be_told(value: bytes, tenant: str) -> None:
    dead = one(value)
    assert isinstance(dead, DeadLetter)
    assert dead.tenant_id == tenant


@pytest.mark.parametrize(
    ("retention_s", "day"),
    [(86_400.0, 20_782), (3600.0, 20_781), (43_200.0, 20_781), (43_201.0, 20_782), (1e10, 65_535)],
)
def test_a_row_expires_at_the_end_of_the_day_its_retention_ends(retention_s: float, day: int) -> None:
    made = one(record(received_at="2026-11-23T12:00:00Z"), Rules(retention_s, NOW))
    assert isinstance(made, Row)
    assert made.expires_on == day


@given(st.binary(max_size=300))
def test_no_bytes_raise(value: bytes) -> None:
    both_ways(value, record())


MUTATED = st.dictionaries(
    st.sampled_from([*FIELDS, "more"]),
    st.none() | st.integers() | st.text(max_size=70) | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(), max_size=3),
)  # fmt: skip


@given(st.lists(MUTATED, max_size=6))
def test_many_at_once_get_the_same_verdicts_as_one_by_one(changes: list[dict[str, Any]]) -> None:
    both_ways(*[record(**change) for change in changes])


SPELLED = st.sampled_from(
    ["acme", "Acme", " acme", "a" * 64, "a" * 65, "", " ", "INFO", "info", "warning", "s" * 256, "İ" * 129, "\u212a",
     "\0"]
) | st.text(max_size=5)  # fmt: skip


@given(tenant_id=SPELLED, severity=SPELLED, source=SPELLED, message=SPELLED, id=SPELLED, spoilt=st.integers(0, 6))
def test_a_record_is_a_row_exactly_if_its_fields_are_canonical_by_the_rules_of_an_event(
    spoilt: int, **fields: str
) -> None:
    """One field at a time (or none, or all), so that no rule hides behind another."""
    if spoilt < len(fields):
        fields = dict([list(fields.items())[spoilt]])
    elif spoilt == len(fields):
        fields = {}
    sent = FIELDS | fields
    try:
        canonical = (
            all(rule(sent[field]) == sent[field] for field, rule in CANONICAL.items())
            and event_rules.event_id(sent["id"]) != ""
            and not event_rules.is_blank(sent["message"], json.dumps(sent["metadata"]).encode())
        )
    except Rejected:
        canonical = False
    made, _ = both_ways(record(**fields))
    assert bool(made) == canonical


@given(st.recursive(st.integers() | st.floats(allow_nan=False) | st.text(max_size=5), st.lists, max_leaves=5))
def test_metadata_of_any_kind_keeps_its_text(value: Any) -> None:
    text = json.dumps({"a": value}).encode()
    made = one(encode_one(msgspec.structs.replace(envelope(), metadata=msgspec.Raw(text))))
    if b"Infinity" in text:
        assert isinstance(made, DeadLetter)
    else:
        assert isinstance(made, Row)
        assert made.metadata == text.decode()
