"""Each hostile event and body by every way into the process: its verdict does not depend on how it was sent.

Of the ways, a sized plain body takes the short way past the web framework, chunks and codings take the long one.
"""

import gzip
import http.client
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.hostile_events import BROKEN, DEEP, KEPT, REFUSED
from tests.support.ingesting import compact, event, lines, with_text
from tests.support.process import Parsec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TENANT = "hostile"
SOUND_AT = b"2026-09-21T14:00:00.123Z"
PAST = b"2026-01-21T14:00:00.123Z"


class Way(NamedTuple):
    """How a body travels, and what its head calls it."""

    coding: str
    chunked: bool
    kind: str | None


WAYS = {
    "sized": Way("", False, "application/json"),
    "sized, as lines": Way("", False, "application/x-ndjson"),
    "chunked, as text": Way("", True, "text/plain; charset=latin1"),
    "gzip, chunked": Way("gzip", True, "application/octet-stream"),
    "deflate": Way("deflate", False, None),
    "zstd": Way("zstd", False, "application/json"),
}
CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}

MOMENTS = {
    "a leap second": b'"2016-12-31T23:59:60Z"',
    "an offset of +14:00": b'"2026-01-22T01:00:00+14:00"',
    "an offset of -12:00": b'"2026-01-20T23:00:00-12:00"',
    "seconds": b"1700000000",
    "milliseconds": b"1700000000123",
    "microseconds": b"1700000000123456",
    "nanoseconds": b"1700000000123456789",
}
TAKEN = {name: with_text("metadata", metadata) for name, metadata in KEPT.items()} | {
    name: with_text("timestamp", stamp) for name, stamp in MOMENTS.items()
}
ALONE = {name: case for name, case in REFUSED.items() if case[1] != "not_an_object"}

FIRST, LAST = compact(event(id="first")), compact(event(id="last"))
BODIES: dict[str, tuple[bytes, int, list[str], int]] = {
    # body: status, codes, accepted
    "empty": (b"", 400, ["no_events"], 0),
    "a BOM": (b"\xef\xbb\xbf" + FIRST, 200, [], 1),
    "a BOM and nothing": (b"\xef\xbb\xbf", 400, ["no_events"], 0),
    "UTF-16": (b"\xff\xfe" + FIRST.decode().encode("utf-16-le"), 400, ["invalid_utf8"], 0),
    "NUL": (b"\0", 400, ["invalid_utf8"], 0),
    "gzip without its header": (gzip.compress(FIRST), 400, ["invalid_encoding"], 0),
    "only blank events": (compact([event(message=" ", metadata={}), event(message=None, metadata=None)]), 200, [], 0),
    "cut": (FIRST[:60], 400, ["invalid_json"], 0),
    "a cut array": (b"[" + FIRST + b",", 200, ["invalid_json"], 1),
    "garbage behind": (FIRST + b" garbage", 200, ["invalid_json"], 1),
    "garbage behind an array": (b"[" + FIRST + b"]]", 200, ["invalid_json"], 1),
    "100,000 levels": (DEEP, 400, ["not_an_object"], 0),
    "one bad line": (FIRST + b"\nbad\n" + LAST, 200, ["invalid_json"], 2),
    "10,000 bad events": (compact([event(timestamp="soon")] * 10_000), 400, ["invalid_timestamp"] * 100, 0),
    "10,000 bad lines": (lines([event(timestamp="soon")] * 10_000), 400, ["invalid_timestamp"] * 100, 0),
    "10,000 lines of no JSON": (b"GET / 200\n" * 10_000, 400, ["invalid_json"] * 100, 0),
}


@pytest.fixture
def connection(parsec: Parsec) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", parsec.port, timeout=30)
    yield opened
    opened.close()


def answer(connection: http.client.HTTPConnection, way: Way, body: bytes) -> tuple[int, list[str], int]:
    """Status, codes and what was accepted."""
    body = body.replace(SOUND_AT, PAST).replace(b'"acme"', b'"%b"' % TENANT.encode())
    coded = CODINGS[way.coding](body) if way.coding else body
    headers = {"Content-Encoding": way.coding} if way.coding else {}
    if way.kind is not None:
        headers["Content-Type"] = way.kind
    if way.chunked:
        parts = (coded[at : at + 50_000] for at in range(0, len(coded), 50_000))
        headers["Transfer-Encoding"] = "chunked"
        connection.request("POST", "/ingest", parts, headers, encode_chunked=True)
    else:
        connection.request("POST", "/ingest", coded, headers)
    response = connection.getresponse()
    told: dict[str, Any] = json.loads(response.read())
    return response.status, [error["code"] for error in told["errors"]], told["accepted"]


def shapes(one: bytes) -> dict[str, bytes]:
    """Between two sound events."""
    return {
        "an array": b"[%b,%b,%b]" % (FIRST, one, LAST),
        "a batch": b'{"events":[%b,%b,%b]}' % (FIRST, one, LAST),
        "lines": b"%b\n%b\n%b\n" % (FIRST, one, LAST),
    }


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_event_has_one_verdict(connection: http.client.HTTPConnection, way: Way) -> None:
    for name, one in TAKEN.items():
        assert answer(connection, way, one) == (200, [], 1), name
        for shape, body in shapes(one).items():
            assert answer(connection, way, body) == (200, [], 3), (name, shape)
    for name, (one, code) in ALONE.items():
        assert answer(connection, way, one) == (400, [code], 0), name
        for shape, body in shapes(one).items():
            assert answer(connection, way, body) == (200, [code], 2), (name, shape)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_no_json_costs_itself_or_what_follows_where_it_is_cut(
    connection: http.client.HTTPConnection, way: Way
) -> None:
    for name, one in BROKEN.items():
        assert answer(connection, way, one) == (400, ["invalid_json"], 0), name
        for shape, body in shapes(one).items():
            accepted = 1 if "cut" in name and shape != "lines" else 2
            assert answer(connection, way, body) == (200, ["invalid_json"], accepted), (name, shape)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("body", "status", "codes", "accepted"), BODIES.values(), ids=BODIES)
def test_a_body_has_one_verdict(
    connection: http.client.HTTPConnection, way: Way, body: bytes, status: int, codes: list[str], accepted: int
) -> None:
    assert answer(connection, way, body) == (status, codes, accepted)


def test_what_was_taken_is_stored_and_nothing_is_dead(parsec: Parsec, connection: http.client.HTTPConnection) -> None:
    for name, one in TAKEN.items():
        body = one.replace(b'"evt-1"', compact(name))
        assert answer(connection, WAYS["sized"], body) == (200, [], 1), name
    parsec.wait_processed()
    assert parsec.stats()["ledger"]["dead"] == 0
    stored = {found["id"] for found in parsec.search(TENANT, fields="id")}
    assert TAKEN.keys() <= stored
