"""POST /ingest on the real process: shapes, refusals, and clients that do not play by the rules."""

import gzip
import json
import socket
import time
import zlib
from typing import Any

import pytest

from tests.support.load import event
from tests.support.process import Parsec


def raw(parsec: Parsec, data: bytes, *, half_close: bool = False, timeout_s: float = 10.0) -> bytes:
    """Bytes on a fresh connection; everything that comes back until it closes or nothing comes for a moment."""
    with socket.create_connection(("127.0.0.1", parsec.port), timeout=timeout_s) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        connection.settimeout(2)
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except TimeoutError:
            pass
        return answer


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /ingest HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def stored(parsec: Parsec, tenant: str) -> list[dict[str, Any]]:
    parsec.wait_processed()
    return parsec.search(tenant)


def test_an_event_is_found_as_it_was_sent(parsec: Parsec) -> None:
    sent = event("found-1", "found") | {"severity": " WARNING ", "source": "Api-Gateway", "message": "  timed out  "}
    assert parsec.ingest(sent) == (
        200, {"success": True, "ack": "durable", "accepted": 1, "rejected": 0, "errors": [], "blank": 0},
    )  # fmt: skip
    (found,) = stored(parsec, "found")
    assert found["id"] == "found-1"
    assert found["tenant_id"] == "found"
    assert (found["severity"], found["source"], found["message"]) == ("warn", "api-gateway", "  timed out  ")
    assert found["metadata"] == sent["metadata"]


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        (json.dumps(event("s-1", "shapes")).encode(), 1),
        (json.dumps([event("s-2", "shapes"), event("s-3", "shapes")]).encode(), 2),
        (json.dumps({"events": [event("s-4", "shapes")]}).encode(), 1),
        (b"\n".join(json.dumps(event(f"s-{n}", "shapes")).encode() for n in (5, 6, 7)) + b"\n", 3),
        (json.dumps(event("s-8", "shapes")).encode() * 2, 2),
    ],
    ids=["single", "array", "envelope", "ndjson", "concatenated"],
)
def test_every_shape_is_accepted(parsec: Parsec, body: bytes, accepted: int) -> None:
    status, answer = parsec.ingest(body)
    assert (status, answer["accepted"], answer["rejected"]) == (200, accepted, 0)


def test_good_events_are_taken_and_each_bad_one_gets_its_verdict(parsec: Parsec) -> None:
    bad = event("p-2", "partial") | {"timestamp": "yesterday"}
    status, answer = parsec.ingest([event("p-1", "partial"), bad, event("p-3", "partial")])
    assert (status, answer["success"], answer["accepted"], answer["rejected"]) == (200, False, 2, 1)
    (error,) = answer["errors"]
    assert (error["index"], error["id"], error["code"], error["field"]) == (1, "p-2", "invalid_timestamp", "timestamp")
    assert {found["id"] for found in stored(parsec, "partial")} == {"p-1", "p-3"}


def test_when_every_event_is_bad_the_answer_is_400(parsec: Parsec) -> None:
    status, answer = parsec.ingest([{"message": "no fields"}] * 150)
    assert (status, answer["accepted"], answer["rejected"]) == (400, 0, 150)
    assert len(answer["errors"]) == 100
    assert answer["errors_truncated"] is True


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_the_same_body_compressed_has_the_same_ids(parsec: Parsec, encoding: str, compress: Any) -> None:
    without_id = [{k: v for k, v in event("", "squeezed").items() if k != "id"} for _ in range(3)]
    for one in without_id:
        one["timestamp"] = "2026-01-01T00:00:00Z"
        one["message"] = f"by {encoding}"
    body = json.dumps(without_id).encode()
    assert parsec.ingest(body)[1]["accepted"] == 3
    assert parsec.ingest(compress(body), headers={"Content-Encoding": encoding})[1]["accepted"] == 3
    ids = [e["id"] for e in stored(parsec, "squeezed") if e["message"] == f"by {encoding}"]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "no_events"),
        (b"[]", {}, 400, "no_events"),
        (b"{]", {}, 400, None),
        (b"x", {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "invalid_encoding"),
        (b" " * (16 * 1024 * 1024 + 1), {}, 413, "payload_too_large"),
        (gzip.compress(b" " * (64 * 1024 * 1024)), {"Content-Encoding": "gzip"}, 413, "payload_too_large"),
        (b"[" * 100_000, {}, 400, None),
        (b"\xff\xfe", {}, 400, None),
    ],
    ids=["empty", "no events", "broken", "unknown encoding", "false gzip", "large", "bomb", "deep", "not utf-8"],
)
def test_a_bad_request_gets_a_code(
    parsec: Parsec, body: bytes, headers: dict[str, str], status: int, code: str | None
) -> None:
    answered, answer = parsec.ingest(body, headers=headers)
    assert answered == status, answer
    assert answer["accepted"] == 0
    assert code is None or answer["errors"][0]["code"] == code


def test_enqueued_says_so(parsec: Parsec) -> None:
    status, answer = parsec.ingest(event("q-1", "queued"), "?ack=enqueued")
    assert (status, answer["ack"], answer["accepted"]) == (200, "enqueued", 1)
    end = time.monotonic() + 10
    while [found["id"] for found in parsec.search("queued")] != ["q-1"]:
        assert time.monotonic() < end, "an enqueued event did not arrive"
        time.sleep(0.02)


def test_names_of_other_agents(parsec: Parsec) -> None:
    line = {"log": "hello", "date": 1_700_000_000.25, "level": "err", "service": "web", "pod": "p-1"}
    mapping = "?message_field=log&timestamp_field=date&severity_field=level&source_field=service&tenant_id=agents"
    status, answer = parsec.ingest(line, mapping)
    assert (status, answer["accepted"]) == (200, 1), answer
    (found,) = stored(parsec, "agents")
    assert (found["message"], found["severity"], found["source"]) == ("hello", "error", "web")
    assert found["timestamp"] == "2023-11-14T22:13:20.25Z"
    assert found["metadata"] == {"pod": "p-1"}


def test_unknown_parameters_are_named(parsec: Parsec) -> None:
    status, answer = parsec.ingest(event("u-1"), "?mesage_field=log")
    assert status == 400
    assert answer["errors"][0]["field"] == "mesage_field"


def test_other_methods_are_refused(parsec: Parsec) -> None:
    status, headers, _ = parsec.request("GET", "/ingest")
    assert (status, headers["allow"]) == (405, "POST")


def test_chunked_bodies_down_to_one_byte(parsec: Parsec) -> None:
    body = json.dumps(event("chunked-1", "chunked")).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert b'"accepted":1' in raw(parsec, post(chunks, "Transfer-Encoding: chunked"))
    assert b" 400 " in raw(parsec, post(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"))


def test_a_content_length_that_lies(parsec: Parsec) -> None:
    body = json.dumps(event("lies-1", "lies")).encode()
    assert b" 400 " in raw(parsec, post(body, f"Content-Length: {len(body) - 5}"))
    assert b"200 OK" not in raw(parsec, post(body, f"Content-Length: {len(body) + 50}"), half_close=True)
    assert b" 400 " in raw(parsec, post(body, "Content-Length: -1"))
    assert b" 413 " in raw(parsec, post(b"", "Content-Length: 999999999999"))
    assert stored(parsec, "lies") == []


def test_a_client_that_stops_in_the_middle_costs_nothing(parsec: Parsec) -> None:
    body = json.dumps(event("half-1", "half")).encode()
    for cut in (1, 20, len(body) - 1):
        with socket.create_connection(("127.0.0.1", parsec.port), timeout=5) as connection:
            connection.sendall(post(body, f"Content-Length: {len(body)}")[: -len(body) + cut])
    open_one = socket.create_connection(("127.0.0.1", parsec.port), timeout=5)
    open_one.sendall(post(body, f"Content-Length: {len(body)}")[:-3])
    assert parsec.ingest(event("half-2", "half"))[0] == 200
    open_one.close()
    assert [found["id"] for found in stored(parsec, "half")] == ["half-2"]


def test_broken_http_is_refused_and_forgotten(parsec: Parsec) -> None:
    for noise in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"POST /ingest HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 50):
        raw(parsec, noise)
    assert parsec.get("/livez")[0] == 200


def test_searchable_within_two_seconds(parsec: Parsec) -> None:
    assert parsec.ingest(event("soon-1", "soon"))[0] == 200
    end = time.monotonic() + 2
    while not parsec.search("soon"):
        assert time.monotonic() < end, "not searchable within 2 s"
        time.sleep(0.02)
