"""The short way of a small body past ASGI (parsec.web.http1.fast_path), over plain sockets. Numbers: the same."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.sabotaged import under

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    directory: Path = tmp_path_factory.mktemp("connection")
    with Parsec(directory / "data", under(BODY_TIMEOUT_S=1), PARSEC_DISK_RESERVE="0") as running:
        yield running


def connect(parsec: Parsec) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", parsec.port), timeout=PATIENCE_S))


def post(name: str, *, close: bool = False) -> bytes:
    body = json.dumps(event(name, "pipelined")).encode()
    more = b"Connection: close\r\n" if close else b""
    return b"POST /ingest HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n%b" % (more, len(body), body)


def until_closed(client: socket.socket) -> bytes:
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def test_pipelined_requests_are_answered_in_order_whichever_way_they_take(parsec: Parsec) -> None:  # 1, 2
    expects = post("slow").replace(b"Host: localhost\r\n", b"Host: localhost\r\nExpect: 100-continue\r\n")
    asked = [post("a"), b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", post("b"), expects, post("c"),
             b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", post("d", close=True)]  # fmt: skip
    with connect(parsec) as client:
        client.sendall(b"".join(asked))
        answers = until_closed(client).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"").split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"200", b"200", b"200", b"404", b"200"]
    assert [b'"accepted":1' in answer for answer in answers] == [True, False, True, True, True, False, True]
    assert b"connection: close" in answers[-1]


@pytest.mark.parametrize("cut", [1, 5, 60, 100, 200])
def test_a_request_in_two_parts_is_one_request(parsec: Parsec, cut: int) -> None:
    request = post(f"cut-{cut}", close=True)
    with connect(parsec) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(request[:cut])
        assert parsec.request("GET", "/livez")[0] == 200
        client.sendall(request[cut:])
        assert b'"accepted":1' in until_closed(client)


def test_a_small_body_that_stops_is_answered_and_its_connection_closed(parsec: Parsec) -> None:
    with connect(parsec) as client:
        client.sendall(post("stops")[:-5])
        answer = until_closed(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"body_too_slow"' in answer


def test_a_client_that_leaves_before_its_answer_costs_nothing(parsec: Parsec) -> None:
    for number in range(20):
        with connect(parsec) as client:
            client.sendall(post(f"leaves-{number}"))
    assert parsec.request("POST", "/ingest", json.dumps(event("stays", "left")).encode())[0] == 200
    parsec.wait_processed()
    assert len(parsec.search("left")) == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    "sent", [b"", b"POST /ingest HTTP/1.1\r\nHost:", post("answered")], ids=["nothing", "half", "one"]
)
def test_a_silent_connection_is_closed(parsec: Parsec, sent: bytes) -> None:
    with connect(parsec) as client:
        client.sendall(sent)
        assert until_closed(client).count(b"HTTP/1.1 200") == (b"answered" in sent)
