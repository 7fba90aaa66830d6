"""Generated events are varied, valid, and of the expected size and spread."""

import re
from collections import Counter
from typing import Any

import msgspec

from parsec.loadgen.events import DECK, EventSource, tenant_names

TIME = "2026-11-30T17:00:00.123"


def drawn(seed: int, requests: int, batch: int = 100, tenants: int = 20) -> list[dict[str, Any]]:
    source = EventSource(seed, tenant_names(tenants), batch)
    return [event for _ in range(requests) for event in msgspec.json.decode(source.body(TIME))]


def shape(event: dict[str, Any]) -> str:
    return re.sub("[0-9]+", "#", event["message"])


def test_no_two_events_are_equal_and_their_texts_are_of_the_seed() -> None:
    events, same, other = drawn(1, 100), drawn(1, 100), drawn(2, 100)
    assert len({msgspec.json.encode(event) for event in events}) == len(events) == 10_000
    assert len({event["metadata"]["trace_id"] for event in events + same}) == 20_000
    assert [shape(event) for event in events] == [shape(event) for event in same] != [shape(event) for event in other]


def test_they_are_as_varied_as_those_of_real_services() -> None:
    events = drawn(3, DECK // 100)
    assert len({shape(event)[:12] for event in events}) >= 20
    assert {len(event["metadata"]) for event in events} == {4, 5, 6}
    assert all({"user", "customer"} & event["metadata"].keys() for event in events)
    assert 290 <= sum(len(msgspec.json.encode(event)) for event in events) / len(events) <= 350
    owners = Counter(event["tenant_id"] for event in events)
    assert owners.keys() == set(tenant_names(20))
    assert owners.most_common(1)[0][0] == "bench-00"


def test_a_key_may_name_the_tenant_and_a_request_may_be_of_any_size() -> None:
    assert all("tenant_id" not in event for event in drawn(4, 2, tenants=0))
    assert len(drawn(5, 2, batch=1)) == 2
    assert len(drawn(6, 1, batch=DECK * 2)) == DECK * 2
