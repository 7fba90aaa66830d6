"""Any bytes at the socket: an answer or an end, never a 500, never silence, and the process goes on."""

import json
import re
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.results import keep
from tests.support.sabotaged import under

PATIENCE_S = 20.0
BODY = json.dumps(event("fuzzed", "fuzz")).encode()
LINES = (
    b"POST /ingest HTTP/1.1\r\n",
    b"POST /ingest?ack=enqueued HTTP/1.1\r\n",
    b"GET /livez HTTP/1.1\r\n",
    b"GET /query/events?tenant=fuzz HTTP/1.1\r\n",
    b"GET http://x/stats HTTP/1.0\r\n",
    b"HEAD /health HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n",
)
PARTS = (
    b"Host: localhost\r\n",
    b"Content-Length: %d\r\n" % len(BODY),
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: zstd\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Origin: http://y\r\n",
    b"Authorization: Bearer x\r\n",
    b"X-Tenant-ID: a\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"3\r\nabc\r\n",
    b"%x\r\n%b\r\n" % (len(BODY), BODY),
    BODY,
    b"\n",
    b"\0",
)
WHOLE = LINES[0] + PARTS[0] + PARTS[1] + b"\r\n" + BODY
pieces = st.one_of(
    st.sampled_from(LINES), st.sampled_from(PARTS), st.sampled_from(PARTS), st.just(WHOLE), st.binary(max_size=40)
)
many = settings(max_examples=1_000, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir = tmp_path_factory.mktemp("fuzz") / "data"
    with Parsec(data_dir, under(HEAD_TIMEOUT_S=1), PARSEC_DISK_RESERVE="0") as running:
        yield running
        assert running.terminate() == 0
        assert "Traceback" not in running.logs()


@many
@given(st.lists(pieces, max_size=12), st.lists(st.integers(0, 400), max_size=3))
def test_any_bytes(parsec: Parsec, sent: list[bytes], cuts: list[int]) -> None:
    check(parsec, b"".join(sent), cuts)


@many
@given(st.integers(0, len(WHOLE) * 2), st.binary(max_size=4), st.integers(0, 8), st.lists(st.integers(0, 999)))
def test_a_good_request_with_a_little_damage(
    parsec: Parsec, at: int, instead: bytes, drop: int, cuts: list[int]
) -> None:
    two = WHOLE * 2
    check(parsec, two[:at] + instead + two[at + drop :], cuts[:3])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_very_many_bytes(parsec: Parsec) -> None:
    tried = 0

    @settings(many, max_examples=20_000)
    @given(st.lists(pieces, max_size=30), st.lists(st.integers(0, 2_000), max_size=6))
    def any_of_them(sent: list[bytes], cuts: list[int]) -> None:
        nonlocal tried
        tried += 1
        check(parsec, b"".join(sent), cuts)

    started = time.monotonic()
    any_of_them()
    figures = {"connections": tried, "seconds": round(time.monotonic() - started), "failures": 0}
    keep("socket_fuzz", "tests/model/test_socket_fuzz.py", figures)


def check(parsec: Parsec, sent: bytes, cuts: list[int]) -> None:
    """Sends it in pieces and ends the side that sends: what is whole is answered, and then it is over."""
    places = [0, *sorted(cut for cut in cuts if cut < len(sent)), len(sent)]
    answers = b""
    with socket.create_connection(("127.0.0.1", parsec.port), timeout=PATIENCE_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start, end in pairwise(places):
                client.sendall(sent[start:end])
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65536):
                answers += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    statuses = {int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)}
    assert not statuses & {500, 502, 504}, (sent, answers)
    assert parsec.request("GET", "/livez", timeout_s=PATIENCE_S)[0] == 200
