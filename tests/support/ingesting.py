"""A body through decode and normalise, for tests that look at envelopes and verdicts."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from parsec.api.event_rules import MAX_AHEAD_S
from parsec.api.ingest import IngestError
from parsec.core.envelope import Envelope
from parsec.core.timestamp import SECOND
from parsec.ingest.body.decode import chunks
from parsec.ingest.event_ids import EventIds
from parsec.ingest.field_mapping import FieldMap
from parsec.ingest.normalize import ENVELOPE_BYTES, Context, Verdicts, normalize

NOW_NS = 1_790_000_000_000_000_000
RECEIVED_AT = "2026-09-21T14:13:20.000000Z"


class CountingRandom:
    """Bytes that differ at each call and are the same in each run."""

    def __init__(self) -> None:
        self.calls = 0

    def bytes(self, n: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(n, "big")


class Taken(msgspec.Struct, frozen=True):
    """What came of a body."""

    envelopes: list[Envelope]
    verdicts: Verdicts
    items: int

    @property
    def codes(self) -> list[str]:
        return [error.code for error in self.verdicts.errors]

    @property
    def only(self) -> Envelope:
        assert self.verdicts.errors == []
        assert len(self.envelopes) == 1
        return self.envelopes[0]

    @property
    def error(self) -> IngestError:
        assert self.envelopes == []
        assert len(self.verdicts.errors) == 1
        return self.verdicts.errors[0]


def context(body: bytes, query_string: bytes = b"", **changes: Any) -> Context:
    """As the pipeline makes it, at NOW_NS."""
    fields = FieldMap.parse(query_string)
    ids = {"idempotency_key": None, "derive": True, "random": CountingRandom()}
    ids |= {name: changes.pop(name) for name in list(ids) if name in changes}
    values: dict[str, Any] = {
        "fields": fields,
        "default_tenant": fields.default_tenant_id or changes.get("key_tenant", ""),  # no header X-Tenant-ID
        "key_tenant": "",
        "received_at": RECEIVED_AT,
        "latest_s": NOW_NS // SECOND + MAX_AHEAD_S,
        "region": "local",
        "node": "node-1",
        "lenient": False,
        "strict_severity": False,
        "max_event_bytes": 256 << 10,
        "overhead_bytes": ENVELOPE_BYTES,
        "ids": EventIds(body=body, parameters=fields.canonical, **ids),  # type: ignore[arg-type]
    }
    return Context(**(values | changes))


def take(body: bytes, query_string: bytes = b"", *, max_events: int = 10_000, **changes: Any) -> Taken:
    """Raises Rejected as the pipeline would see it."""
    around = context(body, query_string, **changes)
    verdicts = Verdicts()
    envelopes: list[Envelope] = []
    items = 0
    for piece in chunks(body, max_events, around.fields.message):
        assert piece.first_index == items
        items += len(piece.items)
        envelopes += normalize(piece, around, verdicts)
    return Taken(envelopes, verdicts, items)


def event(**changes: Any) -> dict[str, Any]:
    """A valid event with these fields; None takes a field away."""
    fields: dict[str, Any] = {
        "id": "evt-1",
        "tenant_id": "acme",
        "timestamp": "2026-09-21T14:00:00.123Z",
        "severity": "info",
        "source": "api",
        "message": "hello",
        "metadata": {"n": 1},
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not None}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def lines(events: Sequence[object]) -> bytes:
    return b"".join(compact(one) + b"\n" for one in events)


def with_text(field: str, json_text: bytes, **changes: Any) -> bytes:
    """One event as JSON, in which `field` is exactly `json_text`."""
    return compact(event(**changes) | {field: "@@"}).replace(b'"@@"', json_text)
