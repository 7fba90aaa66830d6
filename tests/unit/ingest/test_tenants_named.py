"""The tenants that a glance sees are those that reading in full finds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.ingest.admission import tenants_named
from parsec.ingest.body.fast_path import QUICK_BYTES
from tests.support.ingesting import compact, event, lines, take

NAMES = st.sampled_from(["acme", "other", "third"])
EVENTS = st.lists(NAMES.map(lambda name: event(tenant_id=name, extra={"tenant_id": "no", "a": ["}"]})), min_size=1)


@given(EVENTS, st.sampled_from([compact, lines, lambda events: compact({"events": events}), lambda e: compact(e[0])]))
def test_the_same_names_as_in_full(events: list[dict[str, Any]], shape: Any) -> None:
    body = shape(events)
    found = {envelope.tenant_id for envelope in take(body).envelopes}
    assert tenants_named(body) - {""} == found


def test_an_event_without_a_name_of_its_own_has_none() -> None:
    assert tenants_named(compact([event(tenant_id=None)])) == {""}
    assert tenants_named(json.dumps([event(metadata={"tenant_id": "other"})]).encode()) == {"acme"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[",
        b'[{"tenant_id": 5}]',
        b'{"tenant_id": "acme"',
        b"[" * 100_000,
        b"\xff\xfe",
        compact([event()]) + b" " * QUICK_BYTES,
    ],
    ids=["empty", "no JSON", "cut array", "a number", "cut object", "deep", "no UTF-8", "large"],
)
def test_what_is_not_usual_is_left_to_reading_in_full(body: bytes) -> None:
    assert tenants_named(body) == set()
