"""Requests that two servers may read differently, heads without end, clients that stop: over plain sockets.

Numbers: parsec.web.http1.limits ("guarded n") and parsec.web.http1.close ("ending n").
"""

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.sabotaged import under

PATIENCE_S = 20.0
HOST = b"Host: localhost\r\n"
CHUNKED = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    directory: Path = tmp_path_factory.mktemp("hostile")
    quick = under(HEAD_TIMEOUT_S=2, SEND_TIMEOUT_S=2, MIN_BYTES_PER_S=100)
    with Parsec(directory / "data", quick, PARSEC_DISK_RESERVE="0", PARSEC_MAX_BODY_BYTES="1MiB") as running:
        yield running
        assert running.terminate() == 0
        assert "Traceback" not in running.logs()


def connect(parsec: Parsec) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", parsec.port), timeout=PATIENCE_S))


def until_closed(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def exchange(parsec: Parsec, *parts: bytes) -> bytes:
    """All that is answered until the server closes."""
    with connect(parsec) as client:
        for part in parts:
            client.sendall(part)
        return until_closed(client)


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def code(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["code"])


def refused(parsec: Parsec, reason: str) -> float:
    """How often so far."""
    _, text = parsec.get("/metrics")
    found = re.search(rb'parsec_http_refused_total\{reason="%b"\} (\S+)' % reason.encode(), text)
    return float(found[1]) if found else 0.0


def ingest(*headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1", host: bytes = HOST) -> bytes:
    return b"POST /ingest " + version + b"\r\n" + host + b"".join(each + b"\r\n" for each in headers) + b"\r\n" + body


MALFORMED = {
    "length and chunks": ingest(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunks and length": ingest(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\n"),
    "two lengths": ingest(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
    "the same length twice": ingest(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "a list of lengths": ingest(b"Content-Length: 3, 3", body=b"abc"),
    "a signed length": ingest(b"Content-Length: +3", body=b"abc"),
    "a length in hex": ingest(b"Content-Length: 0x3", body=b"abc"),
    "no length": ingest(b"Content-Length:", body=b"abc"),
    "a length beyond all": ingest(b"Content-Length: 99999999999999999999999", body=b"abc"),
    "another coding": ingest(b"Transfer-Encoding: identity"),
    "two codings": ingest(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked is not last": ingest(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked twice": ingest(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "nearly chunked": ingest(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked behind a tabulator": ingest(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "chunks in HTTP/1.0": ingest(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"HTTP/1.0"),
    "a folded line": ingest(b"X: a\r\n b"),
    "a folded length": ingest(b"Content-Length: 3\r\n 3", body=b"abc"),
    "space before the first header": b"POST /ingest HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "space before a colon": ingest(b"Content-Length : 3", body=b"abc"),
    "space before a name": ingest(b" Content-Length: 3", body=b"abc"),
    "LF alone in headers": ingest(b"X: a\nContent-Length: 3", body=b"abc"),
    "LF alone everywhere": b"POST /ingest HTTP/1.1\nHost: localhost\n\n",
    "LF alone at the end": ingest(b"X: a\r\n\n"),
    "CR alone": ingest(b"X: a\rContent-Length: 3", body=b"abc"),
    "NUL in a value": ingest(b"X: a\0b"),
    "NUL in a name": ingest(b"X\0: a"),
    "NUL in the address": b"GET /livez\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a name without a colon": ingest(b"abc"),
    "no name": ingest(b": a"),
    "no host": ingest(host=b""),
    "two hosts": ingest(b"Host: y"),
    "no known method": b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no address": b"GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a chunk size that is none": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk size and a space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "a chunk size beyond all": CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"3\r\nabc0\r\n\r\n",
    "LF alone around chunks": CHUNKED + b"3\nabc\n0\n\n",
    "a length behind chunks": CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "an extension without end": CHUNKED + b"3;a=" + b"b" * 100_000,
    "zeros without end": CHUNKED + b"0" * 100_000,
    "a trailer without end": CHUNKED + b"3\r\nabc\r\n0\r\nX: " + b"b" * 100_000,
    "extensions larger than chunks": CHUNKED + (b"1;" + b"b" * 1000 + b"\r\na\r\n") * 200,
}  # fmt: skip


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_what_may_mean_two_things_is_refused_and_what_follows_is_not_read(parsec: Parsec, request_bytes: bytes) -> None:
    before = refused(parsec, "malformed_request")
    answers = exchange(parsec, request_bytes + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert statuses(answers) == [400]
    assert code(answers) == "malformed_request"
    assert b"connection: close" in answers
    assert refused(parsec, "malformed_request") == before + 1


@pytest.mark.parametrize("target", [b"http://localhost/livez", b"http://[::1]:80/livez?a=b", b"/livez?a=b#c"])
def test_other_forms_of_an_address_mean_the_path(parsec: Parsec, target: bytes) -> None:
    answers = exchange(parsec, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert statuses(answers) == [200]


OTHER_VERSIONS = [
    b"GET /livez HTTP/%b\r\nHost: localhost\r\n\r\n" % version for version in (b"0.9", b"1.3", b"1.7", b"2.0", b"3.0")
]


@pytest.mark.parametrize("request_bytes", [*OTHER_VERSIONS, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_other_versions_are_refused(parsec: Parsec, request_bytes: bytes) -> None:
    answers = exchange(parsec, request_bytes)
    assert (statuses(answers), code(answers)) == ([505], "http_version")
    assert refused(parsec, "http_version")


def test_a_mistake_behind_good_requests_is_told_after_their_answers(parsec: Parsec) -> None:  # ending 1
    body = json.dumps(event("good-one", "behind")).encode()
    good = ingest(b"Content-Length: %d" % len(body), body=body)
    health = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for first in (good, health):
        answers = exchange(parsec, first + health + ingest(b"Content-Length : 3", body=b"abc") + health)
        assert statuses(answers) == [200, 200, 400]


def test_trailers_are_not_headers(parsec: Parsec) -> None:
    body = json.dumps(event("trailed") | {"tenant_id": None}).encode()
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    answers = exchange(parsec, CHUNKED + chunk + b"X-Tenant-ID: evil\r\n\r\n", health_closing())
    assert statuses(answers) == [400, 200]
    assert b'"missing_field"' in answers


def health_closing() -> bytes:
    return b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("path", [b"/ingest", b"/livez"])
@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 100_000, 431, "head_too_large"),
        (b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + b"X: %b\r\n" % (b"y" * 500) * 99 + b"\r\n", 431, "head_too_large"),
        (b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "head_too_large"),
        (b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000, 431, "head_too_large"),
        (b"GET %b?a=" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "url_too_long"),
        (b"GET %b?a=" + b"y" * 100_000, 414, "url_too_long"),
    ],
    ids=["one header", "headers", "many", "no end", "address", "address without end"],
)
def test_heads_are_bounded(parsec: Parsec, path: bytes, head: bytes, status: int, reason: str) -> None:
    """Guarded 1."""
    before = refused(parsec, reason)
    answers = exchange(parsec, head.replace(b"%b", path, 1) if b"%b" in head else head)
    assert (statuses(answers), code(answers)) == ([status], reason)
    assert refused(parsec, reason) == before + 1


def test_large_pipelined_bodies_are_not_taken_for_heads(parsec: Parsec) -> None:
    body = json.dumps(event("long", "pipelined-long") | {"message": "x" * 50_000}).encode()
    one = ingest(b"Content-Length: %d" % len(body), body=body)
    answers = exchange(parsec, one * 20 + health_closing())
    assert statuses(answers) == [200] * 21


def test_requests_that_wait_on_one_connection_are_bounded(parsec: Parsec) -> None:
    answers = exchange(parsec, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
    assert statuses(answers)[-1] == 429
    assert set(statuses(answers)[:-1]) == {200}
    assert len(statuses(answers)) < 1000
    assert refused(parsec, "too_many_pipelined")


SLOW_HEADS = (b"GET /", b"GET / HTTP/1.1\r\nHost:", b"POST /ingest HTTP/1.1\r\nX: ")
SLOW_BODIES = (
    ingest(b"Content-Length: 500"),
    ingest(b"Content-Length: 500000"),
    ingest(b"Content-Length: 500000", b"Content-Encoding: gzip", body=gzip.compress(b"[]")[:10]),
    CHUNKED,
    CHUNKED + b"f",
)


@pytest.mark.parametrize(
    ("reason", "beginnings", "drops"),
    [("head_too_slow", SLOW_HEADS, b"a"), ("body_too_slow", SLOW_BODIES, b"f")],
    ids=["heads", "bodies"],
)
def test_a_few_bytes_a_second_are_refused_and_so_is_none(
    parsec: Parsec, reason: str, beginnings: Sequence[bytes], drops: bytes
) -> None:
    """Guarded 2, ending 2."""
    before = refused(parsec, reason)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(parsec)) for _ in (*beginnings, *beginnings)]
        for client, beginning in zip(clients, (*beginnings, *beginnings), strict=True):
            client.sendall(beginning)
        dripped = clients[: len(beginnings)]  # the others stop here
        ended = threading.Event()
        dripping = threading.Thread(target=drip, args=(dripped, beginnings, drops, ended))
        dripping.start()
        try:
            answers = [until_closed(client) for client in clients]
        finally:
            ended.set()
            dripping.join()
    assert [statuses(answer) for answer in answers] == [[408]] * len(answers)
    assert all(b'"%b"' % reason.encode() in answer for answer in answers)
    assert refused(parsec, reason) == before + len(answers)


def drip(clients: Sequence[socket.socket], beginnings: Sequence[bytes], drops: bytes, ended: threading.Event) -> None:
    """A byte every half second, where it cannot be taken for a mistake."""
    while not ended.wait(0.5):
        for client, beginning in zip(clients, beginnings, strict=True):
            if b"gzip" not in beginning and not beginning.endswith(b"f"):
                with suppress(OSError):
                    client.sendall(drops)


@pytest.mark.integration
def test_a_body_at_a_fair_rate_is_taken(parsec: Parsec) -> None:
    body = json.dumps(event("fair", "fair") | {"message": "x" * 7_000}).encode()
    with connect(parsec) as client:
        client.sendall(ingest(b"Content-Length: %d" % len(body), b"Connection: close"))
        for at in range(0, len(body), 1000):
            client.sendall(body[at : at + 1000])
            time.sleep(0.9)
        assert statuses(until_closed(client)) == [200]


@pytest.mark.integration
def test_a_body_that_a_route_does_not_read_does_not_hold_its_connection(parsec: Parsec) -> None:
    with connect(parsec) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        started = time.monotonic()
        answers = b""
        try:
            while part := client.recv(65536):
                answers += part
                client.sendall(b"1")
        except OSError:
            pass
        assert statuses(answers) == [200]
        assert time.monotonic() - started < PATIENCE_S


EXPECTS = b"Expect: 100-continue"


def test_a_body_is_asked_for_only_when_it_would_be_read(parsec: Parsec) -> None:
    body = json.dumps(event("expected", "expects")).encode()
    with connect(parsec) as client:
        client.sendall(ingest(EXPECTS, b"Content-Length: %d" % len(body)))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body + health_closing())
        assert statuses(until_closed(client)) == [200, 200]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (ingest(EXPECTS, b"Content-Length: 2000000"), 413),
        (ingest(EXPECTS, b"Content-Length: 2000000", b"Content-Encoding: gzip"), 413),
        (ingest(EXPECTS, b"Content-Length: 20", b"Content-Encoding: br"), 415),
        (ingest(b"Expect: the impossible", b"Content-Length: 20"), 417),
        (b"PUT /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n", 405),
        (b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n", 405),
        (b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n", 404),
    ],
)
def test_a_body_that_would_not_be_read_is_not_asked_for(parsec: Parsec, request_bytes: bytes, status: int) -> None:
    answers = exchange(parsec, request_bytes)
    assert statuses(answers) == [status]
    assert b"connection: close" in answers


def test_an_old_client_is_not_told_to_continue(parsec: Parsec) -> None:
    body = json.dumps(event("old", "old")).encode()
    answers = exchange(parsec, ingest(EXPECTS, b"Content-Length: %d" % len(body), body=body, version=b"HTTP/1.0"))
    assert statuses(answers) == [200]


@pytest.mark.parametrize("cut", [0, 30, 150])
def test_an_upgrade_is_not_made_and_costs_nothing(parsec: Parsec, cut: int) -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    body = json.dumps(event("upgrade", "upgrade")).encode()
    asked = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(offer) + b"\r\n\r\n"
    posted = ingest(*offer, b"Content-Length: %d" % len(body), body=body)
    chunked = ingest(*offer, b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    for request_bytes in (asked, posted, chunked):
        answers = exchange(parsec, request_bytes[:cut], request_bytes[cut:] + asked + health_closing())
        assert statuses(answers) == [200, 200, 200]
    assert statuses(exchange(parsec, b"CONNECT x:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + asked)) == [400]


def test_a_client_that_ends_its_side_gets_its_answers(parsec: Parsec) -> None:  # ending 3
    body = json.dumps(event("half", "half")).encode()
    one = ingest(b"Content-Length: %d" % len(body), body=body)
    health = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for asked, expected in [(one, [200]), (one + health + one, [200] * 3), (one + one[:-5], [200]), (one[:-5], [])]:
        with connect(parsec) as client:
            client.sendall(asked)
            client.shutdown(socket.SHUT_WR)
            assert statuses(until_closed(client)) == expected


def test_a_client_that_reads_no_answers_is_cut_off_and_its_answers_are_bounded(parsec: Parsec) -> None:
    before, memory = refused(parsec, "answer_not_taken"), parsec.resident_bytes()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", parsec.port))
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            ask_without_end(client)
    assert refused(parsec, "answer_not_taken") == before + 1
    assert parsec.resident_bytes() - memory < 20 << 20


def ask_without_end(client: socket.socket) -> None:
    for _ in range(200):
        client.sendall(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
        )  # few: more than 32 that wait would be refused
        time.sleep(0.1)


@pytest.mark.integration
def test_a_stream_that_is_not_read_ends_and_is_bounded(parsec: Parsec) -> None:
    for n in range(30):
        events = [event(f"long-{n}-{m}", "stream") | {"message": "x" * 2000} for m in range(400)]
        assert parsec.ingest(events)[0] == 200
    parsec.wait_processed()
    before, memory = refused(parsec, "answer_not_taken"), parsec.resident_bytes()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", parsec.port))
        client.sendall(b"GET /query/events?tenant=stream&format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end = time.monotonic() + PATIENCE_S
        while refused(parsec, "answer_not_taken") == before:
            assert time.monotonic() < end
            assert parsec.resident_bytes() - memory < 100 << 20
            time.sleep(0.2)
