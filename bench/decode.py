"""What one event costs on its way from bytes to envelope: decode and normalise, in microseconds, best of several runs.

    python bench/decode.py [--events 100] [--seconds 0.3] [--json FILE]

Each row is one shape of body with events of about 320 bytes. `worst` rows are what a hostile client may send.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from parsec.api.event_rules import MAX_AHEAD_S
from parsec.core.clock import SystemRandom
from parsec.core.envelope import encode_lines
from parsec.core.errors import Rejected
from parsec.ingest.body.decode import chunks
from parsec.ingest.event_ids import EventIds
from parsec.ingest.field_mapping import FieldMap
from parsec.ingest.normalize import ENVELOPE_BYTES, Context, Verdicts, normalize

NOW_NS = 1_790_000_000_000_000_000
OFFSET_STAMP = "2026-09-21T16:13:20.5+02:00"
RECEIVED_AT = "2026-09-21T14:13:20.000000Z"


def context(body: bytes, query_string: bytes = b"") -> Context:
    """As a request without a key has it."""
    fields = FieldMap.parse(query_string)
    ids = EventIds(body, None, fields.canonical, True, SystemRandom())
    latest_s = NOW_NS // 1_000_000_000 + MAX_AHEAD_S
    return Context(
        fields, fields.default_tenant_id, "", RECEIVED_AT, latest_s, "local", "node-1", False, 256 << 10,
        ENVELOPE_BYTES, ids,
    )  # fmt: skip


def event(i: int, **changes: object) -> dict[str, object]:
    """About 320 bytes as compact JSON."""
    fields: dict[str, object] = {
        "id": f"evt-{i:08d}-4f2a9c",
        "tenant_id": "acme",
        "timestamp": f"2026-09-21T14:{i // 60 % 60:02d}:{i % 60:02d}.{i * 7919 % 1_000_000:06d}Z",
        "severity": ("info", "warn", "error", "debug")[i % 4],
        "source": ("checkout-api", "cart-api", "search")[i % 3],
        "message": f"GET /api/v1/orders/{i} 200 in {i % 97} ms for user {i * 7} from 10.0.{i % 200}.{i % 251}",
        "metadata": {
            "request_id": f"r-{i:06d}", "user_id": i * 7, "latency_ms": i % 97 + 0.5, "path": "/api/v1/orders",
        },
    }  # fmt: skip
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not None}


def bodies(count: int) -> dict[str, tuple[bytes, bytes]]:
    """Row name to body and query string."""

    def array(events: Sequence[object]) -> bytes:
        return json.dumps(events, separators=(",", ":")).encode()

    def lines(events: Sequence[object]) -> bytes:
        return b"\n".join(array([one])[1:-1] for one in events) + b"\n"

    plain = [event(i) for i in range(count)]
    return {
        "array": (array(plain), b""),
        "array, spaces as json.dumps writes": (json.dumps(plain).encode(), b""),
        "NDJSON": (lines(plain), b""),
        "batch object": (b'{"events":%b}' % array(plain), b""),
        "without ids": (array([event(i, id=None) for i in range(count)]), b""),
        "nested metadata with an array": (array([event(i, metadata={"a": {"b": [1, i]}}) for i in range(count)]), b""),
        "timestamps with an offset": (array([event(i, timestamp=OFFSET_STAMP) for i in range(count)]), b""),
        "timestamps in milliseconds": (array([event(i, timestamp=1_789_999_999_000 + i) for i in range(count)]), b""),
        "timestamps as float seconds": (array([event(i, timestamp=1_789_999_999.25 + i) for i in range(count)]), b""),
        "two unknown fields": (array([event(i, host="web-1", pid=i) for i in range(count)]), b""),
        "renamed fields": (
            array([event(i, message=None, log=f"line {i}", severity=None, level="warn") for i in range(count)]),
            b"message_field=log&severity_field=level",
        ),
        "unknown severities": (array([event(i, severity="bogus") for i in range(count)]), b""),
        "worst: every event bad": (array([event(i, timestamp="bogus") for i in range(count)]), b""),
        "worst: every line broken": (lines(plain).replace(b'"}', b'"]'), b""),
        "worst: array of {}": (array([{}] * count), b""),
        "worst: array of numbers": (array([1] * count), b""),
        "worst: line of {}": (b"{}" * count, b""),
        "worst: half a surrogate pair each": (
            array([event(i, message="X") for i in range(count)]).replace(b'"X"', b'"\\ud800"'),
            b"",
        ),
    }  # fmt: skip


def run(body: bytes, query_string: bytes) -> int:
    """Decodes and normalises; how many events are valid."""
    valid = 0
    verdicts = Verdicts()
    around = context(body, query_string)
    try:
        for piece in chunks(body, 1_000_000):
            valid += len(normalize(piece, around, verdicts))
    except Rejected:
        return 0
    return valid


def best_us(work: Callable[[], object], seconds: float) -> float:
    """Microseconds of the fastest call within `seconds`."""
    best = float("inf")
    until = time.perf_counter() + seconds
    while (start := time.perf_counter()) < until:
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100, help="events per body")
    parser.add_argument("--seconds", type=float, default=0.3, help="time per row")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    print(f"{'shape':38} {'bytes/event':>11} {'us/event':>9}   valid")
    for name, (body, query_string) in bodies(options.events).items():
        figures[name] = round(best_us(partial(run, body, query_string), options.seconds) / options.events, 3)
        valid = run(body, query_string)
        print(f"{name:38} {len(body) / options.events:11.0f} {figures[name]:9.3f}   {valid}")
    body, query_string = bodies(options.events)["array"]
    around = context(body, query_string)
    envelopes = [one for piece in chunks(body, 1_000_000) for one in normalize(piece, around, Verdicts())]
    name = "encode_lines, for comparison"
    figures[name] = round(best_us(lambda: encode_lines(envelopes), options.seconds) / options.events, 3)
    print(f"{name:38} {'':11} {figures[name]:9.3f}")
    if options.json:
        options.json.write_text(json.dumps({"events": options.events, "us_per_event": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
